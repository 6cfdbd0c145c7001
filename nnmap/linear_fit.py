"""LINEAR for cells that bend: resistors that come close to the nonlinear tile at little cost.

A cell bends with the voltage of its own row first, and with what the wires leave of it second.
The first is taken out before the matrix: row voltages pass through the curve of an LRS cell,

    w(v) = v_read I(v) / I(v_read),

which keeps 0 and v_read, so that binary inputs are what they were. The second is taken out behind
it: every column's currents are scaled by the least-squares ratio between the NONLINEAR solution and
the operator at nominal secants, over a few inputs like those that the tile will meet. A read stays
one matrix product. `python -m benchmarks.linear` measures it against the alternatives.
"""

import functools

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import effective_conductance, prepare_nonlinear
from netlists.cells import Cell, OneR
from netlists.tile import Drive, FloatArray, Tile, TileSpec, Wires

POINTS = 512  # pieces of the curve; straight between, off by 1e-6 of the current


@functools.lru_cache(maxsize=64)
def curve_table(cell: Cell, v_read: float) -> FloatArray:
    """The curve w at POINTS + 1 even steps from 0 to v_read, V."""
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    spec = TileSpec(rows=1, cols=1, wires=perfect, cell=cell, v_read=v_read)
    on = Tile(spec=spec, g=np.full(spec.g_shape, cell.rram.g_lrs))
    v = np.linspace(0.0, v_read, POINTS + 1)
    current = solve_nonlinear_tile(on, v[:, None])[:, 0]
    return np.asarray(v_read * current / current[-1])


class InputCurve(nn.Module):
    """Row voltages -> what the operator takes in their place; beyond v_read a straight line."""

    table: Tensor

    def __init__(self, table: FloatArray, v_read: float) -> None:
        super().__init__()
        self.v_read = v_read
        self.register_buffer("table", torch.from_numpy(table))

    def forward(self, v: Tensor) -> Tensor:
        """V -> V, same shape."""
        at = v * (POINTS / self.v_read)
        piece = at.long().clamp_(max=POINTS - 1)
        low = self.table[piece]
        return torch.addcmul(low, at - piece, self.table[piece + 1] - low)


def solve_nonlinear_tile(tile: Tile, v: FloatArray) -> FloatArray:
    """Column currents at NONLINEAR, A [batch, cols], for row voltages v >= 0, V [batch, rows].

    Raises InputError when an input finds no balance or leaves the range of the memory.
    """
    v_read, highest = tile.spec.v_read, float(v.max())
    if highest > v_read and not isinstance(tile.spec.cell, OneR):
        # A surface is calibrated for every range: few ranges, few calibrations.
        highest = v_read * 2.0 ** np.ceil(np.log2(highest / v_read))
    prepared = prepare_nonlinear(tile, v_high=max(v_read, highest))
    return prepared.currents(Drive(v=v))


def column_gains(tile: Tile, operator: FloatArray, v: FloatArray) -> FloatArray:
    """What each column of the operator is scaled by, [cols], to fit NONLINEAR at inputs v.

    operator: S [cols, rows], of the tile at nominal secants.  v: row voltages, V [batch, rows].
    A column that carries no current keeps its operator.
    """
    v_read = tile.spec.v_read
    curve = InputCurve(curve_table(tile.spec.cell, v_read), v_read)
    linear = curve(torch.from_numpy(v)).numpy() @ operator.T
    truth = solve_nonlinear_tile(tile, v)
    square = (linear * linear).sum(axis=0)
    seen = square > 0
    gains = np.ones(len(operator))
    gains[seen] = (linear * truth).sum(axis=0)[seen] / square[seen]
    return gains


def fitted_operators(tiles: list[Tile], inputs: list[FloatArray]) -> FloatArray:
    """Operators that take `InputCurve` voltages, S [tiles, cols, rows].

    inputs: a few typical row voltages of each tile, V [batch, rows].
    """
    operators = effective_conductance(tiles)
    for tile, operator, v in zip(tiles, operators, inputs, strict=True):
        operator *= column_gains(tile, operator, v)[:, None]
    return operators
