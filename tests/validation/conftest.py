from dataclasses import replace

import pytest

from nnmap import Recipe
from nnmap.networks.catalogue import NETWORKS, Setting
from validation import EvaluationFile


@pytest.fixture
def tiny(tmp_path):
    """An evaluation of seconds: small tiles of bare memories, so that no simulator is needed."""
    return EvaluationFile.model_validate(
        {
            "name": "tiny",
            "network": {"dataset": "digits", "hidden": [16], "epochs": 2},
            "tile": {"rows": 32, "cols": 32},
            "faults": {"rates": [0.0, 0.2], "chips": 2},
            "compare": {"cells": ["1r"], "test_images": 50},
            "audit": {"samples": 0},
            "run": {"out": str(tmp_path / "out"), "workers": 1},
        }
    )


@pytest.fixture
def digits_network(monkeypatch):
    """A network of the catalogue, by the name "digits", that trains in a second."""
    setting = Setting(recipe=Recipe(epochs=6), arguments={"sizes": (64, 32, 10)})
    network = replace(
        NETWORKS["mlp-mnist"], dataset="digits", full=setting, shipped=setting, weight_bits=8
    )
    monkeypatch.setitem(NETWORKS, "digits", network)
