"""Tiles -> operators, by fidelity."""

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np

from circuitsim import effective_conductance
from circuitsim.calibrate import calibrate
from netlists.cells import OneR, is_linear
from netlists.tile import FloatArray, Tile, TileSpec


class Fidelity(Enum):
    """What a column current is taken to be.

    IDEAL: G^T v with memory conductances alone, as the papers do: no wires, no transistor. A memory
    whose transistor is open or off contributes nothing, a shorted transistor leaves the memory as
    it is, and defects of lines that carry current have no meaning.
    LINEAR: exact nodal solution with wires, each cell at its calibrated secant conductance.
    """

    IDEAL = "ideal"
    LINEAR = "linear"


def cell_function(spec: TileSpec, fidelity: Fidelity) -> Callable[[FloatArray], FloatArray]:
    """Total memory conductance, S -> cell conductance, S, as this fidelity sees the cell."""
    if fidelity is Fidelity.IDEAL or is_linear(spec.cell):
        return np.asarray
    if isinstance(spec.cell, OneR):
        factor = spec.cell.rram.secant_factor(spec.v_read)
        return lambda g: factor * np.asarray(g)
    return calibrate(spec.cell, spec.v_read)


def tile_operators(tiles: Sequence[Tile], fidelity: Fidelity) -> FloatArray:
    """i_out = operator @ v for tiles of one spec; S [tiles, cols, rows]."""
    if fidelity is Fidelity.IDEAL:
        g = np.stack([tile.g_reachable for tile in tiles])
        return (g if g.ndim == 3 else g.sum(axis=3)).transpose(0, 2, 1)
    return effective_conductance(tiles)
