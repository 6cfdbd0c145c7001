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
from netlists.arrays import FloatArray
from netlists.tile import Tile, TileSpec
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
    """`n` samples over the LINEAR tasks of a run, or without any its NONLINEAR ones.

    layers: tiles of each layer, by cell and layer name; all weigh the same.
    """
    rng = np.random.default_rng(seed)
    solved: list[Task] = []
    for fidelity in (Fidelity.LINEAR, Fidelity.NONLINEAR):
        solved = solved or [task for task in tasks if task.fidelity == fidelity.value]
    samples = []
    for _ in range(n if solved else 0):
        task = solved[rng.integers(len(solved))]
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
    """One read of one tile as a network performed it, and the same in ngspice.

    v: row voltages [rows].  columns: those that the network reads.  i_fast, i_spice: their
    currents at the layer's fidelity and on the emitted netlist, A.  solver: the simulator.
    full_scale: the converter's range, or without converters the current of a column whose cells
        are all LRS under full input, A.
    """

    tile: Tile
    v: FloatArray
    columns: list[int]
    i_fast: FloatArray
    i_spice: FloatArray
    full_scale: float
    solver: str

    @property
    def error(self) -> FloatArray:
        """How far the layer's currents are off, of full scale, [columns].

        Not of the read's own current, which is 0 for blank inputs.
        """
        return np.asarray(np.abs(self.i_fast - self.i_spice) / self.full_scale)

    def error_of(self, i: FloatArray) -> FloatArray:
        """The same for other currents of the tile, A [cols]."""
        return np.asarray(np.abs(i[self.columns] - self.i_spice) / self.full_scale)

    @property
    def ideal(self) -> FloatArray:
        """Currents of the memories alone, A [cols]."""
        g = self.tile.g_reachable
        return np.asarray(self.v @ (g if g.ndim == 2 else g.sum(axis=2)))


def read_in_spice(layer: MappedLayer, x: Tensor, tile: int) -> TileRead:
    """The read of a tile that layer inputs x [1, ...] bring about, solved again by ngspice."""
    # Layers with signed inputs read twice; the read with more signal is audited.
    if (-x).clamp(min=0).sum() > x.clamp(min=0).sum():
        x = -x
    volts = layer.voltages(x)
    row_tile, col_tile = divmod(tile, layer.matrix.placement.col_tiles)
    # A convolution reads once a position; the one with most signal is audited.
    vector = int(volts[row_tile].sum(1).argmax())
    v = volts[row_tile, vector]
    matrix, spec = layer.matrix, layer.matrix.spec
    outputs = matrix.placement.tile_outputs[col_tile]
    columns = matrix.encoding.columns(outputs, spec.cols)
    everything = [col_tile * spec.cols + column for column in columns]
    used = matrix.placement.input_slices()[row_tile]
    entering = layer.reader.applied(v[: used.stop - used.start, None])
    fast = layer.reader.currents(row_tile, entering, torch.tensor(everything))
    spice = solve(matrix.tile(tile), Drive(v=v.double().numpy()), solver="ngspice")
    return TileRead(
        tile=matrix.tile(tile),
        v=v.double().numpy(),
        columns=columns,
        i_fast=fast[:, 0].double().numpy(),
        i_spice=spice.i_out[0, columns],
        full_scale=layer.adc.full_scale if layer.adc.bits else _largest_current(spec),
        solver=spice.solver,
    )


def _largest_current(spec: TileSpec) -> float:
    return spec.rows * spec.v_read * spec.cell.n_rram * spec.cell.rram.g_lrs


def audit_sample(sample: AuditSample, network: NetworkFile, test_x: Tensor) -> dict[str, Any]:
    """Error of one read against ngspice on the netlist of that very tile, transistors included.

    The sampled chip is built again and runs its image at the fidelity of its task.
    """
    fidelity = Fidelity(sample.task.fidelity)
    chip = at_fidelity(faulty_chip(sample.task, network), fidelity)
    layer = chip.get_submodule(sample.layer)
    assert isinstance(layer, MappedLayer)
    x = layer_input(chip, sample.layer, test_x[sample.image : sample.image + 1])
    read = read_in_spice(layer, x, sample.tile)
    worst, step = float(read.error.max()), layer.adc.step
    return {
        "fidelity": fidelity.value,
        "columns": len(read.columns),
        "full_scale": read.full_scale,
        "largest_current": float(read.i_spice.max()),
        "max_relative": worst,
        "mean_relative": float(read.error.mean()),
        "max_adc_steps": None if np.isnan(step) else worst * read.full_scale / step,
        "ideal_max_relative": float(read.error_of(read.ideal).max()),
        "solver": read.solver,
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
