"""Sampled tile inputs of a run, solved again by ngspice on the emitted netlist."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import solve
from netlists import Drive
from netlists.tile import FloatArray, Tile, TileSpec
from nnmap import Fidelity, MappedLayer, at_fidelity, mapped_layers
from validation.campaign import Task
from validation.experiment import faulty_chip
from validation.networks import NetworkFile
from validation.store import Store, canonical


@dataclass(frozen=True, kw_only=True)
class AuditSample:
    """One (chip, image, layer, tile) of a run."""

    task: Task
    image: int
    layer: str
    tile: int

    @property
    def id(self) -> str:
        """SHA-256 of the sample's canonical JSON."""
        return hashlib.sha256(canonical(["audit", asdict(self)]).encode()).hexdigest()


def choose_samples(
    tasks: list[Task], layers: dict[str, dict[str, int]], *, images: int, n: int, seed: int
) -> list[AuditSample]:
    """`n` samples over the LINEAR tasks of a run, tiles weighted equally.

    layers: tiles of each layer, by cell and layer name.
    """
    rng = np.random.default_rng(seed)
    linear = [task for task in tasks if task.fidelity == Fidelity.LINEAR.value]
    samples = []
    for _ in range(n if linear else 0):
        task = linear[rng.integers(len(linear))]
        places = [(name, k) for name, count in layers[task.cell].items() for k in range(count)]
        layer, tile = places[rng.integers(len(places))]
        image = int(rng.integers(images))
        samples.append(AuditSample(task=task, image=image, layer=layer, tile=tile))
    return samples


def layer_input(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """What reaches a layer when the network runs on x, [batch, inputs]."""
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        with torch.no_grad():
            model(x)
    finally:
        hook.remove()
    return seen[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class TileRead:
    """One read of one tile as the network performed it.

    v: row voltages [rows].  i_fast: column currents the network used, A [cols].  adc_step: A.
    full_scale: the converter's range, or without converters the current of a column whose cells
        are all LRS under full input, A.
    """

    tile: Tile
    v: FloatArray
    i_fast: FloatArray
    adc_step: float
    full_scale: float


def tile_read(sample: AuditSample, network: NetworkFile, test_x: Tensor) -> TileRead:
    """Rebuild the sampled chip, run its image, and take the read of the sampled tile."""
    chip = at_fidelity(faulty_chip(sample.task, network), Fidelity.LINEAR)
    layer = chip.get_submodule(sample.layer)
    assert isinstance(layer, MappedLayer)
    x = layer_input(chip, sample.layer, test_x[sample.image : sample.image + 1])
    # Layers with signed inputs read twice; the read with more signal is audited.
    if (-x).clamp(min=0).sum() > x.clamp(min=0).sum():
        x = -x
    volts = layer.voltages(x)
    row_tile, col_tile = divmod(sample.tile, layer.matrix.placement.col_tiles)
    # A convolution reads once a position; the one with most signal is audited.
    vector = int(volts[row_tile].sum(1).argmax())
    read = layer.currents(volts[:, vector : vector + 1])
    return TileRead(
        tile=layer.matrix.tile(sample.tile),
        v=volts[row_tile, vector].numpy(),
        i_fast=read[row_tile, 0, col_tile].numpy(),
        adc_step=layer.adc.step,
        full_scale=layer.adc.full_scale if layer.adc.bits else _largest_current(layer.matrix.spec),
    )


def _largest_current(spec: TileSpec) -> float:
    return spec.rows * spec.v_read * spec.cell.n_rram * spec.cell.rram.g_lrs


def audit_sample(sample: AuditSample, network: NetworkFile, test_x: Tensor) -> dict[str, Any]:
    """Error of one read against ngspice on the netlist of that very tile, transistors included.

    Errors are relative to full scale, not to the read's own current, which is 0 for blank inputs.
    """
    read = tile_read(sample, network, test_x)
    spice = solve(read.tile, Drive(v=read.v), solver="ngspice")
    error = np.abs(read.i_fast - spice.i_out[0])
    ideal = read.tile.g_device
    ideal = ideal if ideal.ndim == 2 else ideal.sum(axis=2)
    ideal_error = np.abs(read.v @ ideal - spice.i_out[0])
    return {
        "columns": len(error),
        "full_scale": read.full_scale,
        "largest_current": float(np.abs(spice.i_out).max()),
        "max_relative": float(error.max()) / read.full_scale,
        "mean_relative": float(error.mean()) / read.full_scale,
        "max_adc_steps": None if np.isnan(read.adc_step) else float(error.max()) / read.adc_step,
        "ideal_max_relative": float(ideal_error.max()) / read.full_scale,
        "solver": spice.solver,
    }


def run_audit(
    samples: list[AuditSample],
    networks: dict[str, NetworkFile],
    store: Store,
    *,
    test_x: Tensor,
    on_done: Callable[[int], None] = lambda finished: None,
) -> list[dict[str, Any]]:
    """Audit what the store lacks and return all results in the order of `samples`."""
    known = store.get(sample.id for sample in samples)
    for sample in samples:
        if sample.id not in known:
            value = audit_sample(sample, networks[sample.task.label], test_x)
            store.put(sample.id, asdict(sample), value)
            known[sample.id] = value
        on_done(1)
    return [known[sample.id] for sample in samples]


def layer_tiles(mapped: nn.Module) -> dict[str, int]:
    """Number of tiles of each mapped layer."""
    return {name: layer.matrix.placement.tiles for name, layer in mapped_layers(mapped)}
