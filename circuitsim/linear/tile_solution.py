"""Node voltages of a structured tile -> Solution."""

from collections.abc import Sequence

import numpy as np

from circuitsim.dissection import Crossbar
from circuitsim.linear.tile_arrays import floating_nodes
from circuitsim.solution import Outcome, Solution
from netlists.arrays import FloatArray
from netlists.bridges import Bridge


def solution_of(
    circuit: Crossbar,
    v: FloatArray,
    v_row: FloatArray,
    v_col: FloatArray,
    operator: FloatArray | None,
    *,
    solver: str,
    timings: dict[str, float],
    i_cell: FloatArray | None = None,
    outcome: Outcome = Outcome.SOLVED,
    bridges: Sequence[Bridge] = (),
    drawn: tuple[FloatArray, FloatArray] | None = None,
) -> Solution:
    """A Solution from the node voltages of a one-tile circuit, floating nodes still at 0 V.

    v: [batch, rows].  v_row, v_col: [batch, rows, cols].  operator: [cols, rows], or None where the
    cells carry i_cell [batch, rows, cols] instead of g_cell times their drop.  drawn: net currents
    that bridges take from row and from column nodes, A [batch, rows, cols] each.
    """
    g_row, g_col, g_cell = circuit.tile(0)
    across = v_row - v_col
    before, after = np.empty_like(v_row), np.array(v_col, order="K")
    before[:, :, 0] = v - v_row[:, :, 0]
    np.subtract(v_row[:, :, :-1], v_row[:, :, 1:], out=before[:, :, 1:])
    after[:, :-1] -= v_col[:, 1:]
    i_row, i_col = g_row * before, g_col * after
    i_cell = g_cell * across if i_cell is None else i_cell
    leaving, arriving = i_cell, i_cell
    lost = np.zeros(len(v))
    if drawn is not None:
        leaving, arriving = i_cell + drawn[0], i_cell - drawn[1]
        lost = (drawn[0] * v_row + drawn[1] * v_col).sum(axis=(1, 2))
    i_out = arriving.sum(axis=1) if operator is None else v @ operator.T
    # The sum over cells is exact where the drop over the first segment has lost its digits.
    i_in = leaving.sum(axis=2)
    net_row = i_row - leaving
    net_row[:, :, :-1] -= i_row[:, :, 1:]
    net_col = arriving - i_col
    net_col[:, 1:] += i_col[:, :-1]
    scale = max(float(np.abs(i_in).max()), float(np.abs(i_out).max()))
    residual = max(float(np.abs(net_row).max()), float(np.abs(net_col).max()))
    loose_row, loose_col = floating_nodes(circuit, bridges)
    floating = bool(loose_row.any() or loose_col.any())
    if floating:
        v_row, v_col = np.where(loose_row, np.nan, v_row), np.where(loose_col, np.nan, v_col)
    return Solution(
        v_row=v_row,
        v_col=v_col,
        i_out=i_out,
        i_in=i_in,
        kcl_residual=residual / scale if scale else 0.0,
        power=np.einsum("br,br->b", v, i_in),
        dissipation=lost
        + sum(
            (i * drop).sum(axis=(1, 2))
            for i, drop in ((i_cell, across), (i_row, before), (i_col, after))
        ),
        outcome=Outcome.FLOATING if floating and outcome is Outcome.SOLVED else outcome,
        solver=solver,
        timings=timings,
        i_cell=i_cell,
    )
