"""Trained networks of the catalogue: those that come with the package, and one's own.

A network is two files of its name: weights (`.safetensors`, see `packing`) and a manifest
(`.json`) of how they came to be. `xbarverify train NAME -o FOLDER` makes both.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netlists.errors import InputError
from nnmap.mapping.plan import MappingPlan
from nnmap.measures.mapping_accuracy import measure_mapping
from nnmap.networks.catalogue import NETWORKS, PaperNetwork, Setting, reference
from nnmap.networks.checkpoint import load_checkpoint, save_checkpoint
from nnmap.training.data import Dataset, load
from nnmap.training.quantise import quantise_aware
from nnmap.training.recipe import batches_an_epoch, fit

__all__ = ["NETWORKS", "images", "manifest", "plan", "pretrained", "train_network", "weights_hash"]

FOLDER = Path(__file__).parent / "weights"


def pretrained(name: str, folder: Path = FOLDER) -> nn.Module:
    """A trained network in eval mode, its weights those that its devices hold.

    folder: where `train_network` wrote it; left out, the package's own.
    Raises InputError for an unknown name or files that are missing or do not fit.
    """
    network = reference(name)
    setting = _setting(network, _read(name, folder)["setting"] == "full")
    return load_checkpoint(network.make(**setting.arguments), folder / f"{name}.safetensors")


def manifest(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """How the weights came to be: command, recipe, hashes, training time, accuracies."""
    reference(name)
    return _read(name, folder)


def plan(name: str) -> MappingPlan:
    """How its paper puts the network on tiles; raises InputError for an unknown name."""
    return reference(name).plan


def images(name: str) -> Dataset:
    """The network's data set in the form it takes; raises InputError as `load` does."""
    network = reference(name)
    return load(network.dataset).prepared(network.inputs)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and values of the state dict."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _read(name: str, folder: Path) -> dict[str, Any]:
    path = folder / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{path} is no manifest ({type(problem).__name__}); make it with "
            f"`xbarverify train {name} -o {folder}`."
        ) from None
    return content


def batches(name: str, data: Dataset, *, full: bool = False) -> int:
    """How many training batches `train_network` will report."""
    recipe = _setting(reference(name), full).recipe
    return recipe.epochs * batches_an_epoch(recipe, data)


def _setting(network: PaperNetwork, full: bool) -> Setting:
    return network.full if full else network.shipped


def train_network(
    name: str,
    folder: Path,
    *,
    data: Dataset,
    full: bool = False,
    device: str = "cpu",
    on_batch: Callable[[int], None] = lambda more: None,
) -> dict[str, Any]:
    """Train a network of the catalogue, write its weights and manifest, return the manifest.

    data: what `images(name)` gives.  full: the full setting, not the shipped one.
    Raises InputError when the folder cannot be written or the data hold no training images.
    """
    network = reference(name)
    setting = _setting(network, full)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder} cannot be made: {problem.strerror}.") from None

    def make() -> nn.Module:
        model = network.make(**setting.arguments)
        return model if network.weight_bits is None else quantise_aware(model, network.weight_bits)

    start = time.perf_counter()
    trained = fit(make, setting.recipe, data, device=device, on_batch=on_batch)
    seconds = time.perf_counter() - start
    save_checkpoint(trained, folder / f"{name}.safetensors")
    command = f"xbarverify train {name} -o FOLDER"
    content = {
        "command": f"{command} --full" if full else command,
        "setting": "full" if full or not network.reduced else "reduced",
        "full_command": f"{command} --full" if network.reduced else command,
        "arguments": dict(setting.arguments),
        "recipe": asdict(setting.recipe),
        "weight_bits": network.weight_bits,
        "data": {"name": network.dataset, "inputs": network.inputs, "sha256": data.fingerprint},
        "train_seconds": round(seconds, 1),
        "device": device,
        "torch": torch.__version__,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    content["weights_sha256"] = weights_hash(pretrained(name, folder))
    content["test_accuracy"] = asdict(measure_mapping(trained, network.plan, data))
    path.write_text(json.dumps(content, indent=1) + "\n")
    return _read(name, folder)
