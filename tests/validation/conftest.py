from dataclasses import replace

import pytest

from nnmap import Recipe
from nnmap.networks.catalogue import NETWORKS, Setting
from validation.files.study_file import study_grid

TINY = {
    "name": "tiny",
    "network": {"dataset": "digits", "hidden": [16], "epochs": 2},
    "tile": {"rows": 32, "cols": 24},
    "cell": {"kind": "1r"},
    "faults": {"rates": [0.0, 0.2], "chips": 2, "ocr": 3.0},
    "measure": {"fidelities": ["ideal", "linear"], "images": 50},
    "audit": {"samples": 0},
}


@pytest.fixture
def tiny(tmp_path):
    """The study of seconds, with changes: `tiny({"faults": {"chips": 3}})` is its grid."""

    def made(changes=None, *, settings=(), out="out", network=None):
        raw = {**TINY, "run": {"out": str(tmp_path / out), "workers": 1}}
        for section, values in (changes or {}).items():
            known = raw.get(section)
            merged = isinstance(values, dict) and isinstance(known, dict)
            raw[section] = {**known, **values} if merged else values
        if network is not None:
            raw["network"] = network
        return study_grid(raw, beside=tmp_path, settings=settings)

    return made


@pytest.fixture
def digits_network(monkeypatch):
    """A network of the catalogue, by the name "digits", that trains in a second."""
    setting = Setting(recipe=Recipe(epochs=6), arguments={"sizes": (64, 32, 10)})
    network = replace(
        NETWORKS["mlp-mnist"], dataset="digits", full=setting, shipped=setting, weight_bits=8
    )
    monkeypatch.setitem(NETWORKS, "digits", network)
