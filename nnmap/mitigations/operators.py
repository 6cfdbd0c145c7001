"""What tiles compute as matrices: the one that was ordered, and the one of a chip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netlists.arrays import FloatArray
from nnmap.fidelity.fidelity import Fidelity, cell_function
from nnmap.fidelity.readers import MatrixReader
from nnmap.layers.layer import MappedLayer
from nnmap.mapping.decode import decoded_matrix, operators_of
from nnmap.mapping.programme import Programme
from nnmap.network import MappedNetwork
from nnmap.watch import mapped_layers, watch


@dataclass(frozen=True, kw_only=True, eq=False)
class Operators:
    """Operators of a network on a chip as reads of one row at a time give them.

    of_layer: S [driven, read columns] of every row group, by layer.
    fidelity: IDEAL or LINEAR, whose decoder belongs to them.
    """

    of_layer: Mapping[str, Sequence[FloatArray]]
    fidelity: Fidelity

    @classmethod
    def of(cls, running: nn.Module, fidelity: Fidelity) -> "Operators":
        """Of a network that runs at IDEAL or LINEAR."""
        found = {}
        for name, layer in mapped_layers(running).items():
            reader = layer.reader
            assert isinstance(reader, MatrixReader)
            groups = range(len(layer.row_groups))
            found[name] = [reader.operator(k).double().cpu().numpy() for k in groups]
        return cls(of_layer=found, fidelity=fidelity)

    def matrix(self, name: str, programme: Programme, gain: FloatArray | None = None) -> FloatArray:
        """What the tiles of a layer compute, weight [inputs, outputs] of all groups."""
        g_cell = cell_function(programme, self.fidelity)
        return decoded_matrix(programme, self.of_layer[name], g_cell, gain)

    def ordered(self, programme: Programme) -> list[FloatArray]:
        """The operators that the programme orders: no faults, no wires; as `of_layer`."""
        return operators_of(
            programme.placement,
            cell_function(programme, self.fidelity)(_cells(programme)),
        )


def ordered_matrix(programme: Programme) -> FloatArray:
    """The product that a layer orders, weight [inputs, outputs] of all groups."""
    shown = programme.cell_levels.shown
    cells = operators_of(programme.placement, shown(_cells(programme)))
    return decoded_matrix(programme, cells, shown)


def _cells(programme: Programme) -> FloatArray:
    target = programme.target
    return target if target.ndim == 3 else np.asarray(target.sum(axis=3))


def second_moments(network: MappedNetwork, images: Tensor) -> dict[str, FloatArray]:
    """E[x x^T] of what enters each layer, [inputs, inputs] of all groups, at IDEAL without faults.

    Over images, and positions of a window; inputs as the converters round them.
    """
    running = network.on()
    layers = mapped_layers(running)
    sums = {n: torch.zeros(1, dtype=torch.float64) for n in layers}
    counts = dict.fromkeys(layers, 0)

    def see(name: str, layer: nn.Module, x: Tensor) -> None:
        assert isinstance(layer, MappedLayer)
        for vectors in layer.entering(x):
            v = vectors.double()
            sums[name] = sums[name] + v @ v.T
            counts[name] += v.shape[1]

    watch(running, layers, see, images)
    return {name: (sums[name] / max(1, counts[name])).numpy() for name in layers if counts[name]}
