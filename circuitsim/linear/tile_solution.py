"""Node voltages of a crossbar of resistors, or of cells with known currents -> Solution."""

from collections.abc import Sequence

import numpy as np

from circuitsim.linear.tile_arrays import Conductances, floating_nodes
from circuitsim.solution import Outcome, Solution, assemble
from netlists.arrays import FloatArray
from netlists.bridges import Bridge


def solution_of_tile(
    conductances: Conductances,
    v: FloatArray,
    v_row: FloatArray,
    v_col: FloatArray,
    *,
    solver: str,
    timings: dict[str, float],
    operator: FloatArray | None = None,
    i_cell: FloatArray | None = None,
    outcome: Outcome = Outcome.SOLVED,
    bridges: Sequence[Bridge] = (),
    drawn: tuple[FloatArray, FloatArray] | None = None,
) -> Solution:
    """A Solution from the node voltages of one tile, floating nodes still at 0 V.

    conductances: of row segments, column segments and cells, S [rows, cols] each; infinite for a
    segment that is a perfect conductor.  v: [batch, rows].  v_row, v_col: [batch, rows, cols].
    operator: what the output currents are, S [cols, rows]; None where they are sums of cell
    currents.  i_cell: what the cells carry, A [batch, rows, cols], where that is not g_cell times
    their drop.  drawn: net currents that bridges take from row and from column nodes, A [batch,
    rows, cols] each.
    """
    g_row, g_col, g_cell = conductances
    across = v_row - v_col
    before, after = np.empty_like(v_row), np.array(v_col, order="K")
    before[:, :, 0] = v - v_row[:, :, 0]
    np.subtract(v_row[:, :, :-1], v_row[:, :, 1:], out=before[:, :, 1:])
    after[:, :-1] -= v_col[:, 1:]
    i_cell = g_cell * across if i_cell is None else i_cell
    leaving, arriving = i_cell, i_cell
    lost = np.zeros(len(v))
    if drawn is not None:
        leaving, arriving = i_cell + drawn[0], i_cell - drawn[1]
        lost = (drawn[0] * v_row + drawn[1] * v_col).sum(axis=(1, 2))
    i_row = _along(g_row, before, leaving)
    upwards = (a[..., ::-1, :].swapaxes(-1, -2) for a in (g_col, after, arriving))
    i_col = _along(*upwards).swapaxes(1, 2)[:, ::-1]
    i_out = arriving.sum(axis=1) if operator is None else v @ operator.T
    # The sum over cells is exact where the drop over the first segment has lost its digits.
    i_in = leaving.sum(axis=2)
    net_row = i_row - leaving
    net_row[:, :, :-1] -= i_row[:, :, 1:]
    net_col = arriving - i_col
    net_col[:, 1:] += i_col[:, :-1]
    loose_row, loose_col = floating_nodes(conductances, bridges)
    if loose_row.any() or loose_col.any():
        v_row, v_col = np.where(loose_row, np.nan, v_row), np.where(loose_col, np.nan, v_col)
    return assemble(
        v_row=v_row,
        v_col=v_col,
        i_in=i_in,
        i_out=i_out,
        net=[net_row, net_col],
        scale=np.maximum(np.abs(i_in).max(axis=1), np.abs(i_out).max(axis=1)),
        power=np.einsum("br,br->b", v, i_in),
        dissipation=lost
        + sum(
            (i * drop).sum(axis=(1, 2))
            for i, drop in ((i_cell, across), (i_row, before), (i_col, after))
        ),
        outcome=outcome,
        solver=solver,
        timings=timings,
        i_cell=i_cell,
    )


def _along(g: FloatArray, drop: FloatArray, drawn: FloatArray) -> FloatArray:
    """Currents through the segments of lines fed from the left, A [batch, lines, n].

    By Ohm's law, g times the drop. Over a perfect conductor no drop says what flows: there it is
    what Kirchhoff's law leaves for it, the sum of what is drawn at its end and flows on.
    """
    perfect = np.isinf(g)
    if not perfect.any():
        return g * drop
    current = np.where(perfect, 0.0, g) * drop
    onwards = np.zeros_like(current[:, :, 0])
    for k in range(g.shape[1] - 1, -1, -1):
        known = current[:, :, k]
        current[:, :, k] = np.where(perfect[:, k], drawn[:, :, k] + onwards, known)
        onwards = current[:, :, k]
    return current
