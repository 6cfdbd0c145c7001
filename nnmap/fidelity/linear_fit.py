"""LINEAR for cells that bend: resistors that come close to the nonlinear tile at little cost.

A cell bends with the voltage of its own row first, and with what the wires leave of it second.
The first is taken out before the matrix: row voltages pass through the curve of an LRS cell,

    w(v) = v_read I(v) / I(v_read),

which keeps 0 and v_read, so that binary inputs are what they were. The second is taken out behind
it: every column's currents are scaled by the least-squares ratio between the NONLINEAR solution and
the operator at nominal secants, over a few row voltages that the chip itself meets: the share of
the voltage that is lost grows with the load, so that inputs of another strength would not do. A
read stays one matrix product. `python -m benchmarks.linear` measures it against the alternatives.
"""

import functools

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import prepare_nonlinear
from netlists.arrays import FloatArray
from netlists.cells import Cell
from netlists.tile import Drive, Tile, TileSpec
from netlists.wires import Wires

ROUNDING = 1e-6  # by which a read voltage in float32 may exceed itself
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

    def __init__(self, cell: Cell, v_read: float) -> None:
        super().__init__()
        self.v_read = v_read
        self.register_buffer("table", torch.from_numpy(curve_table(cell, v_read).copy()))

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
    if highest <= v_read * (1 + ROUNDING):
        v, highest = np.minimum(v, v_read), v_read
    elif not tile.spec.cell.is_bare:
        # A surface is calibrated for every range: few ranges, few calibrations.
        highest = v_read * 2.0 ** np.ceil(np.log2(highest / v_read))
    return prepare_nonlinear(tile, v_high=highest).currents(Drive(v=v))


def column_gains(tile: Tile, operator: FloatArray, curve: InputCurve, v: FloatArray) -> FloatArray:
    """What each column of the operator is scaled by, [cols], to fit NONLINEAR at inputs v.

    operator: S [cols, rows], of the tile at nominal secants.  v: row voltages, V [batch, rows].
    A column that carries no current keeps its operator.
    """
    linear = curve(torch.from_numpy(v)).numpy() @ operator.T
    truth = solve_nonlinear_tile(tile, v)
    square = (linear * linear).sum(axis=0)
    seen = square > 0
    gains = np.ones(len(operator))
    gains[seen] = (linear * truth).sum(axis=0)[seen] / square[seen]
    return gains


def spread(v: FloatArray, count: int) -> FloatArray:
    """Of row voltages v [vectors, rows], `count` evenly spread over the sums of those not blank."""
    sums = v.sum(axis=1)
    order = np.argsort(-sums, kind="stable")[: max(1, np.count_nonzero(sums))]
    middles = (np.arange(count) + 0.5) / count * len(order)
    return np.ascontiguousarray(v[order[middles.astype(int)]])
