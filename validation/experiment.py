"""One evaluation: trained networks, its tasks, and what a task does."""

import functools
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from netlists import FaultRates, SubcktCell
from nnmap import (
    Fidelity,
    MappingPlan,
    accuracy,
    at_fidelity,
    bnn_mlp,
    inject_faults,
    map_network,
    mapped_layers,
    train,
)
from nnmap import data as datasets
from validation.campaign import Task
from validation.config import CellSection, EvaluationFile, MappingSection, TileSection, tile_spec
from validation.store import canonical

SAMPLE_IMAGES = 512  # training images that set the converter ranges


def load_data(name: str, test_images: int) -> datasets.Dataset:
    """The data set with its test part cut to the first `test_images` (0 keeps all)."""
    data = _load_once(name)
    n = test_images or len(data.test_x)
    return replace(data, test_x=data.test_x[:n], test_y=data.test_y[:n])


_load_once = functools.lru_cache(maxsize=2)(datasets.load)


def trained_network(
    config: EvaluationFile, activation: str, *, on_epoch: Callable[[int], None]
) -> tuple[Path, str]:
    """Train, or find, the network of this recipe: (weights file, SHA-256 of its content).

    `on_epoch` hears how many more epochs are done.
    """
    recipe = config.network.recipe(activation)
    data = _load_once(config.network.dataset)
    made_from = canonical([repr(recipe), data.fingerprint, torch.__version__])
    name = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    path = config.folder() / f"network-{activation}-{name}.pt"
    if path.exists():
        on_epoch(recipe.epochs)
    else:
        model = train(recipe, data, on_epoch=lambda _: on_epoch(1))
        buffer = io.BytesIO()
        sizes = [data.train_x.shape[1], *recipe.hidden, int(data.train_y.max()) + 1]
        torch.save({"sizes": sizes, "activation": activation, "state": model.state_dict()}, buffer)
        partial = path.with_suffix(".partial")
        partial.write_bytes(buffer.getvalue())
        partial.rename(path)
    return path, _weights_hash(load_network(path))


def _weights_hash(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def load_network(path: Path) -> nn.Module:
    """The network saved by `trained_network`, in eval mode."""
    saved = torch.load(path, weights_only=True)
    model = bnn_mlp(saved["sizes"], saved["activation"])
    model.load_state_dict(saved["state"])
    return model.eval()


def setup_text(config: EvaluationFile) -> str:
    """Everything but the network that determines a task's result, as canonical JSON.

    The program's version is part of it: results of another version are not mixed in. So is what a
    cell's own SPICE files say.
    """
    own = {}
    if "subckt" in config.compare.cells:
        kit = config.cell.build("subckt")
        assert isinstance(kit, SubcktCell)
        own = {"kit": kit.sha256}
    return canonical(
        own
        | {
            "program": metadata.version("xbarverify"),
            "tile": config.tile.model_dump(),
            "cell": config.cell.model_dump(exclude={"kind"}),
            "mapping": config.mapping.model_dump(),
            "dataset": config.network.dataset,
            "test_images": config.compare.test_images,
        }
    )


def tasks(config: EvaluationFile, networks: dict[str, str]) -> Iterator[Task]:
    """All tasks of an evaluation; `networks` maps activation to weights hash.

    The chip alone seeds its faults, so every variant and fidelity sees the same maps, and maps at
    rising rates are nested.
    """
    for activation in config.network.activations:
        for rate in config.faults.rates:
            for chip in range(config.faults.chips):
                for cell in config.compare.cells:
                    for fidelity in config.compare.fidelities:
                        yield Task(
                            network=networks[activation],
                            setup=setup_text(config),
                            activation=activation,
                            cell=cell,
                            fidelity=fidelity,
                            rate=rate,
                            ocr=config.faults.ocr,
                            chip=chip,
                            fault_seed=config.faults.seed,
                        )


@functools.lru_cache(maxsize=8)
def mapped_network(weights: Path, setup: str, cell: str) -> tuple[nn.Module, MappingPlan]:
    """The fault-free network of a variant on tiles, and its plan."""
    sections = json.loads(setup)
    built = CellSection(**sections["cell"]).build(cell)  # type: ignore[arg-type]
    spec = tile_spec(TileSection(**sections["tile"]), built)
    plan = MappingSection(**sections["mapping"]).plan(spec)
    sample = _load_once(sections["dataset"]).train_x[:SAMPLE_IMAGES]
    rng = np.random.default_rng(0)
    return map_network(load_network(weights), plan, rng=rng, sample=sample), plan


def faulty_chip(task: Task, weights: Path) -> nn.Module:
    """The chip of a task, at IDEAL fidelity."""
    mapped, plan = mapped_network(weights, task.setup, task.cell)
    stream = np.random.SeedSequence(entropy=task.fault_seed, spawn_key=(task.chip,))
    rates = FaultRates.from_ocr(task.rate, task.ocr)
    rng = np.random.default_rng(stream)
    return inject_faults(mapped, rates, rng=rng, offset_faults=plan.offset_faults)


def run_task(task: Task, weights: Path) -> dict[str, Any]:
    """Accuracy of one chip, its realised fault rates, and how often converters saturated."""
    torch.set_num_threads(1)
    sections = json.loads(task.setup)
    data = load_data(sections["dataset"], sections["test_images"])
    start = time.perf_counter()
    chip = at_fidelity(faulty_chip(task, weights), Fidelity(task.fidelity))
    extracted = time.perf_counter()
    score = accuracy(chip, data.test_x, data.test_y)
    layers = [layer for _, layer in mapped_layers(chip)]
    maps = [faults for layer in layers for faults in layer.matrix.faults or ()]
    memories = sum(faults.kind.size for faults in maps)
    stuck = {
        name: sum(getattr(f.realised, name) * f.kind.size for f in maps) / memories
        for name in ("stuck_lrs", "stuck_hrs")
    }
    digest = hashlib.sha256("".join(f.sha256 for f in maps).encode()).hexdigest()
    conversions = sum(layer.clips.adc_of for layer in layers)
    return {
        "accuracy": score,
        "images": len(data.test_x),
        "tiles": len(maps),
        "memories": memories,
        "faults_sha256": digest,
        "adc_clipped": sum(layer.clips.adc for layer in layers) / max(conversions, 1),
        "seconds_operators": extracted - start,
        "seconds_images": time.perf_counter() - extracted,
        **stuck,
    }


class TaskRunner:
    """`run_task` with the weights files bound; travels to worker processes."""

    def __init__(self, weights: dict[str, Path]) -> None:
        self.weights = {name: path.resolve() for name, path in weights.items()}

    def __call__(self, task: Task) -> dict[str, Any]:
        """Run one task."""
        return run_task(task, self.weights[task.activation])
