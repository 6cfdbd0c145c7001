"""One evaluation: trained networks, its tasks, and what a task does."""

import functools
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import nn

from netlists import FaultRates, InputError, SubcktCell
from nnmap import (
    Fidelity,
    MappingPlan,
    accuracy,
    at_fidelity,
    inject_faults,
    map_network,
    mapped_layers,
)
from nnmap import data as datasets
from validation.campaign import Task
from validation.config import EvaluationFile
from validation.files.cell_section import CellSection
from validation.files.plan_file import MappingSection
from validation.files.tile_section import TileSection, tile_spec
from validation.networks import NetworkFile
from validation.store import canonical

SAMPLE_IMAGES = 512  # training images that set the converter ranges
BATCH = 250  # test images at a time, which bounds the memory of convolutions


def load_data(name: str, inputs: datasets.Inputs, test_images: int) -> datasets.Dataset:
    """The data set in the form a network takes, with its first `test_images` (0 keeps all).

    Of the training images only those that set converter ranges are kept.
    Raises InputError when there are none.
    """
    data = _load_once(name, inputs)
    n = test_images or len(data.test_x)
    return replace(data, test_x=data.test_x[:n], test_y=data.test_y[:n])


@functools.lru_cache(maxsize=2)
def _load_once(name: str, inputs: datasets.Inputs) -> datasets.Dataset:
    data = datasets.load(name)
    if not len(data.train_x):
        raise InputError(f"the data set {name!r} holds no training images to set ranges from.")
    few = data.train_x[:SAMPLE_IMAGES].clone(), data.train_y[:SAMPLE_IMAGES].clone()
    return replace(data, train_x=few[0], train_y=few[1]).prepared(inputs)


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
            "inputs": config.network.inputs,
            "test_images": config.compare.test_images,
        }
    )


def tasks(config: EvaluationFile, networks: dict[str, str]) -> Iterator[Task]:
    """All tasks of an evaluation; `networks` maps label to weights hash.

    The chip alone seeds its faults, so every variant and fidelity sees the same maps, and maps at
    rising rates are nested.
    """
    for label in config.network.labels:
        for rate in config.faults.rates:
            for chip in range(config.faults.chips):
                for cell in config.compare.cells:
                    for fidelity in config.compare.fidelities:
                        yield Task(
                            network=networks[label],
                            setup=setup_text(config),
                            label=label,
                            cell=cell,
                            fidelity=fidelity,
                            rate=rate,
                            ocr=config.faults.ocr,
                            chip=chip,
                            fault_seed=config.faults.seed,
                        )


@functools.lru_cache(maxsize=8)
def mapped_network(network: NetworkFile, setup: str, cell: str) -> tuple[nn.Module, MappingPlan]:
    """The fault-free network of a variant on tiles, and its plan."""
    sections = json.loads(setup)
    built = CellSection(**sections["cell"]).build(cell)  # type: ignore[arg-type]
    spec = tile_spec(TileSection(**sections["tile"]), built)
    plan = MappingSection(**sections["mapping"]).plan(spec)
    sample = _load_once(sections["dataset"], sections["inputs"]).train_x
    return map_network(network.load(), plan, rng=np.random.default_rng(0), sample=sample), plan


def faulty_chip(task: Task, network: NetworkFile) -> nn.Module:
    """The chip of a task, at IDEAL fidelity."""
    mapped, plan = mapped_network(network, task.setup, task.cell)
    stream = np.random.SeedSequence(entropy=task.fault_seed, spawn_key=(task.chip,))
    rates = FaultRates.from_ocr(task.rate, task.ocr)
    rng = np.random.default_rng(stream)
    return inject_faults(mapped, rates, rng=rng, offset_faults=plan.offset_faults)


def run_task(task: Task, network: NetworkFile) -> dict[str, Any]:
    """Accuracy of one chip, its realised fault rates, and how often converters saturated."""
    torch.set_num_threads(1)
    sections = json.loads(task.setup)
    data = load_data(sections["dataset"], sections["inputs"], sections["test_images"])
    start = time.perf_counter()
    chip = at_fidelity(faulty_chip(task, network), Fidelity(task.fidelity))
    extracted = time.perf_counter()
    score = accuracy(chip, data.test_x, data.test_y, batch=BATCH)
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
    """`run_task` with the networks' files bound; travels to worker processes."""

    def __init__(self, networks: dict[str, NetworkFile]) -> None:
        self.networks = networks

    def __call__(self, task: Task) -> dict[str, Any]:
        """Run one task."""
        return run_task(task, self.networks[task.label])
