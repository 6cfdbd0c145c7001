"""Power of a network's tiles, from their solved circuits."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import solve
from netlists.arrays import FloatArray
from netlists.tile import Drive, Tile
from nnmap.convert import mapped_layers
from nnmap.layers import MappedLayer
from nnmap.operator import Fidelity

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


def tile_power(tile: Tile, v: FloatArray, fidelity: Fidelity) -> FloatArray:
    """Power that the drivers deliver, W [batch], for inputs v [batch, rows].

    At IDEAL it is what memories on perfect wires take, sum of g v^2.
    """
    if fidelity is Fidelity.IDEAL:
        g = tile.g_reachable.reshape(tile.spec.rows, -1).sum(axis=1)
        return np.asarray(v**2 @ g)
    return np.asarray(solve(tile, Drive(v=v), SOLVERS[fidelity]).power)


def _sampled_reads(
    layer: MappedLayer, x: Tensor, count: int, rng: np.random.Generator
) -> FloatArray:
    """Row voltages of some reads drawn among all that x causes, V [reads, count, rows]."""
    v = layer.all_voltages(x)
    chosen = np.sort(rng.choice(v.shape[1], size=min(count, v.shape[1]), replace=False))
    return np.asarray(v[:, torch.from_numpy(chosen)].double().cpu().numpy())


@torch.no_grad()
def array_power(
    mapped: nn.Module, x: Tensor, *, samples: int = 8, rng: np.random.Generator
) -> tuple[LayerPower, ...]:
    """Power of every layer's tiles, each layer at its own fidelity, on inputs x [batch, ...].

    samples: reads drawn for each layer. A read's energy is its power times the time for which the
    rows are driven, which the circuit does not know.
    """
    names = {id(layer): name for name, layer in mapped_layers(mapped)}
    found: list[LayerPower] = []

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, MappedLayer)
        matrix = layer.matrix
        v = _sampled_reads(layer, inputs[0], samples, rng)
        total = np.zeros(v.shape[1])
        for k in range(matrix.placement.tiles):
            driven = v[k // matrix.placement.col_tiles]
            total += tile_power(matrix.tile(k), driven, layer.fidelity)
        found.append(
            LayerPower(
                layer=names[id(layer)],
                fidelity=layer.fidelity,
                mean=float(total.mean()),
                largest=float(total.max()),
                samples=len(total),
            )
        )

    hooks = [layer.register_forward_pre_hook(measure) for _, layer in mapped_layers(mapped)]
    try:
        mapped(x)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found)
