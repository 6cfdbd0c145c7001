"""Power of a network's tiles, from their solved circuits."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import solve
from netlists.arrays import FloatArray
from netlists.tile import Drive, Tile
from nnmap.chip import shown
from nnmap.fidelity.fidelity import Fidelity
from nnmap.layers.layer import MappedLayer
from nnmap.mapping.levels import Levels
from nnmap.watch import first_inputs, mapped_layers

SOLVERS = {
    Fidelity.LINEAR: "dissection",
    Fidelity.NONLINEAR: "newton",
    Fidelity.SPICE: "ngspice",
}


@dataclass(frozen=True, kw_only=True)
class LayerPower:
    """What the row drivers deliver to all tiles of a layer in one read, W.

    mean, largest: over the sampled reads.  samples: how many.  fidelity: how tiles were solved.
    """

    layer: str
    fidelity: Fidelity
    mean: float
    largest: float
    samples: int


def tile_power(
    tile: Tile, v: FloatArray, fidelity: Fidelity, levels: Levels = "cell"
) -> FloatArray:
    """Power that the drivers deliver, W [batch], for inputs v [batch, rows].

    At IDEAL it is what cells take that have what they show, on perfect wires: sum of g v^2.
    """
    if fidelity is Fidelity.IDEAL:
        g = shown(tile, levels).sum(axis=1)
        return np.asarray(v**2 @ g)
    return np.asarray(solve(tile, Drive(v=v), SOLVERS[fidelity]).power)


def _sampled_reads(
    layer: MappedLayer, x: Tensor, count: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Row voltages of some reads drawn among all that x causes, V [count, rows] per row group."""
    volts = layer.row_voltages(x)
    most = len(volts[0])
    chosen = torch.from_numpy(np.sort(rng.choice(most, size=min(count, most), replace=False)))
    return [np.asarray(v[chosen.to(v.device)].double().cpu().numpy()) for v in volts]


def array_power(
    chip: nn.Module, x: Tensor, *, samples: int = 8, rng: np.random.Generator
) -> tuple[LayerPower, ...]:
    """Power of every layer's tiles, each layer at its own fidelity, on inputs x [batch, ...].

    samples: reads drawn for each layer. A read's energy is its power times the time for which the
    rows are driven, which the circuit does not know. Raises InputError for a network without
    layers on tiles.
    """
    layers = mapped_layers(chip)
    return tuple(
        _layer_power(layers[name], inputs, samples, rng)
        for name, inputs in first_inputs(chip, layers, x).items()
    )


def _layer_power(
    layer: MappedLayer, x: Tensor, samples: int, rng: np.random.Generator
) -> LayerPower:
    volts = _sampled_reads(layer, x, samples, rng)
    total = np.zeros(len(volts[0]))
    for number, group in enumerate(layer.row_groups):
        for k in group.tiles.tolist():
            total += tile_power(
                layer.on_chip.tile(k), volts[number], layer.fidelity, layer.programme.levels
            )
    return LayerPower(
        layer=layer.name,
        fidelity=layer.fidelity,
        mean=float(total.mean()),
        largest=float(total.max()),
        samples=len(total),
    )
