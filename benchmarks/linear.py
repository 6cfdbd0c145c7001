"""LINEAR for cells that bend: ways to make it, their error and their cost, measured.

    python -m benchmarks.linear [benchmarks/linear.csv]

Tiles of the shipped LeNet-5 (8-bit weights on two 4-bit devices, 64x64 tiles, 1 ohm segments, 10 %
stuck memories), read at what MNIST test images put on their rows; fitted, where a way needs it, at
8 row voltages that training images put there on the same chip. The truth is NONLINEAR. Errors are
in steps of the layer's 8-bit converter. `vector_us` counts the input curve once per row tile; a
network applies it once per layer input, before a convolution's patches. Needs the data sets.
"""

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.nonlinear import CELLS
from benchmarks.operating_point import linearise_at
from circuitsim import effective_conductance, prepare_nonlinear
from netlists import Drive, FaultRates, InputError, Tile, TileSpec, Wires
from netlists.arrays import FloatArray
from nnmap import Chip, MappingPlan, map_network, mapped_layers
from nnmap.fidelity.linear_fit import InputCurve, column_gains, spread
from nnmap.networks.pretrained import pretrained
from nnmap.training.data import load
from nnmap.watch import first_inputs

IMAGES, VECTORS, FITTED, TILES, SAMPLE = 32, 64, 8, 4, 128
# What a way makes of a tile and its typical inputs: row voltages [batch, rows] -> A [batch, cols].
Read = Callable[[FloatArray], FloatArray]
Way = Callable[[Tile, FloatArray], Read]


def _times(operator: FloatArray) -> Read:
    return lambda v: v @ operator.T


def _after_curve(tile: Tile, read: Read) -> Read:
    curve = InputCurve(tile.spec.cell, tile.spec.v_read)
    return lambda v: read(curve(torch.from_numpy(v)).numpy())


def _gains(read: Read, tile: Tile, v: FloatArray) -> FloatArray:
    linear, truth = read(v), prepare_nonlinear(tile).currents(Drive(v=v))
    square = (linear * linear).sum(axis=0)
    return np.where(square > 0, (linear * truth).sum(axis=0) / np.maximum(square, 1e-300), 1.0)


def nominal(tile: Tile, v: FloatArray) -> Read:
    return _times(effective_conductance(tile))


def operating(tile: Tile, v: FloatArray) -> Read:
    return _times(effective_conductance(linearise_at(tile, Drive(v=v))))


def nominal_gains(tile: Tile, v: FloatArray) -> Read:
    operator = effective_conductance(tile)
    return _times(operator * _gains(_times(operator), tile, v)[:, None])


def curve_nominal(tile: Tile, v: FloatArray) -> Read:
    return _after_curve(tile, nominal(tile, v))


def curve_gains(tile: Tile, v: FloatArray) -> Read:
    operator = effective_conductance(tile)
    fitted = (
        operator
        * column_gains(tile, operator, InputCurve(tile.spec.cell, tile.spec.v_read), v)[:, None]
    )
    return _after_curve(tile, _times(fitted))


def curve_quadratic(tile: Tile, v: FloatArray) -> Read:
    """Column gains and one term per tile in the square of each current."""
    read = curve_nominal(tile, v)
    linear, truth = read(v), prepare_nonlinear(tile).currents(Drive(v=v))
    gains, bend = np.ones(linear.shape[1]), 0.0
    for _ in range(20):
        square = linear * linear
        bend = float((square * (truth - gains * linear)).sum() / max((square**2).sum(), 1e-300))
        rest = (linear * (truth - bend * square)).sum(axis=0)
        gains = np.where(square.sum(axis=0) > 0, rest / np.maximum(square.sum(axis=0), 1e-300), 1.0)

    def corrected(v: FloatArray) -> FloatArray:
        i = read(v)
        return np.asarray(gains * i + bend * i * i)

    return corrected


def chord_step(tile: Tile, v: FloatArray) -> Read:
    prepared = prepare_nonlinear(tile, tolerance=1e300)
    return lambda v: prepared.currents(Drive(v=v))


def balanced(tile: Tile, v: FloatArray) -> Read:
    prepared = prepare_nonlinear(tile)
    return lambda v: prepared.currents(Drive(v=v))


WAYS: dict[str, Way] = {
    "nominal secants": nominal,
    "operating-point secants": operating,
    "nominal secants, column gains": nominal_gains,
    "input curve, nominal secants": curve_nominal,
    "input curve, column gains (LINEAR)": curve_gains,
    "input curve, column gains, square": curve_quadratic,
    "one chord step": chord_step,
    "NONLINEAR": balanced,
}
COLUMNS = ("cell", "way", "max_steps", "p99_steps", "mean_steps", "tile_ms", "vector_us")


def inputs_of(chip: nn.Module, images: torch.Tensor, count: int) -> dict[str, list[FloatArray]]:
    """Row voltages of each row group of each layer, V [count, rows], by name."""
    layers = mapped_layers(chip)
    return {
        name: [spread(v.numpy(), count) for v in layers[name].row_voltages(x)]
        for name, x in first_inputs(chip, layers, images).items()
    }


def measure(cell_name: str) -> list[dict[str, object]]:
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    spec = TileSpec(rows=64, cols=64, wires=wires, cell=CELLS[cell_name])
    plan = MappingPlan(spec=spec, weight_bits=8, device_bits=4, levels="memory")
    data, rng = load("mnist"), np.random.default_rng(0)
    network = map_network(pretrained("lenet-mnist"), plan, rng=rng, sample=data.train_x[:SAMPLE])
    chip = network.on(Chip(rates=FaultRates.from_ocr(0.1, 1.0)))
    inputs = inputs_of(chip, data.test_x[:IMAGES], VECTORS)
    typical_inputs = inputs_of(chip, data.train_x[:FITTED], FITTED)
    errors: dict[str, list[FloatArray]] = {name: [] for name in WAYS}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for name, layer in mapped_layers(chip).items():
        placement = layer.programme.placement
        for k in rng.permutation(placement.tiles)[:TILES].tolist():
            tile, group = layer.on_chip.tile(k), int(placement.group_of[k])
            v, typical = inputs[name][group], typical_inputs[name][group]
            truth = prepare_nonlinear(tile).currents(Drive(v=v))
            for way, make in WAYS.items():
                start = time.perf_counter()
                made = make(tile, typical)
                ready = time.perf_counter()
                found = made(v)
                done = time.perf_counter()
                errors[way].append(np.abs(found - truth).ravel() / layer.adc.step)
                times[way].append((ready - start, (done - ready) / len(v)))
    return [
        {
            "cell": cell_name,
            "way": way,
            "max_steps": f"{np.concatenate(errors[way]).max():.3f}",
            "p99_steps": f"{np.quantile(np.concatenate(errors[way]), 0.99):.3f}",
            "mean_steps": f"{np.concatenate(errors[way]).mean():.4f}",
            "tile_ms": f"{1e3 * np.median([t for t, _ in times[way]]):.2f}",
            "vector_us": f"{1e6 * np.median([t for _, t in times[way]]):.2f}",
        }
        for way in WAYS
    ]


def main(arguments: list[str]) -> None:
    table = Table(*COLUMNS)
    rows = []
    for name in CELLS:
        for row in measure(name):
            rows.append(row)
            table.add_row(*[str(row[column]) for column in COLUMNS])
    Console(width=120).print(table)
    if arguments:
        with Path(arguments[0]).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as problem:
        sys.exit(str(problem))
