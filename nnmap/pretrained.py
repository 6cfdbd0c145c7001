"""Small trained networks that come with the package, and the command that made them.

    python -m nnmap.pretrained lenet-mnist

trains one again (a few minutes) and writes its weights and the manifest beside this file.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netlists.errors import InputError
from nnmap.checkpoint import load_checkpoint
from nnmap.data import load
from nnmap.models import lenet
from nnmap.training import Recipe, accuracy, fit

FOLDER = Path(__file__).parent / "weights"
# Name -> (network, data set, recipe).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, Recipe]] = {
    "lenet-mnist": (lenet, "mnist", Recipe(epochs=6, batch=64, lr=0.002)),
}


def pretrained(name: str) -> nn.Module:
    """A trained network in eval mode; raises InputError for an unknown name."""
    make, _, _ = _entry(name)
    return load_checkpoint(make(), FOLDER / f"{name}.pt")


def manifest(name: str) -> dict[str, Any]:
    """How the weights came to be: command, recipe, data and weights hash, test accuracy."""
    _entry(name)
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and values of the state dict."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _entry(name: str) -> tuple[Callable[[], nn.Module], str, Recipe]:
    if name not in NETWORKS:
        raise InputError(f"network={name!r} is not one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def make(name: str) -> dict[str, Any]:
    """Train the network again and write its weights and manifest; returns the manifest."""
    network, dataset, recipe = _entry(name)
    data = load(dataset)
    model = fit(network, recipe, data, on_epoch=lambda epoch: print(f"epoch {epoch}", flush=True))
    content = {
        "command": f"python -m nnmap.pretrained {name}",
        "recipe": repr(recipe),
        "data_sha256": data.fingerprint,
        "weights_sha256": weights_hash(model),
        "test_accuracy": accuracy(model, data.test_x, data.test_y),
        "torch": torch.__version__,
    }
    FOLDER.mkdir(exist_ok=True)
    torch.save(model.state_dict(), FOLDER / f"{name}.pt")
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    return content


if __name__ == "__main__":
    try:
        for chosen in sys.argv[1:] or NETWORKS:
            print(json.dumps(make(chosen), indent=1))
    except InputError as problem:
        sys.exit(str(problem))
