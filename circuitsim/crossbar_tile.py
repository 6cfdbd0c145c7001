"""Tile -> the arrays of the structured solver, and its node voltages -> Solution."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from circuitsim.dissection import Crossbar, crossbar
from circuitsim.solution import FloatArray, Outcome, Solution
from netlists.defects import Bridge, bridge_ends
from netlists.tile import Tile, Wires


def has_perfect_conductor(wires: Wires) -> bool:
    """Whether some path between neighbouring nodes has 0 ohm, so that two nodes are one."""
    row = np.array(wires.r_row_segment)
    col = np.array(wires.r_col_segment)
    row[:, 0] += wires.r_driver
    col[-1] += wires.r_sense
    return not (row.min() > 0 and col.min() > 0)


def crossbar_of(tiles: Sequence[Tile]) -> Crossbar:
    """Linear tiles of one shape as one batch; wires are stored once where all share them."""
    wires = [tile.spec.wires for tile in tiles]
    if all(other is wires[0] for other in wires):
        wires = wires[:1]

    def stacked(name: str) -> FloatArray:
        return np.stack([np.asarray(getattr(w, name)) for w in wires])

    return crossbar(
        np.stack([tile.g_device for tile in tiles]),
        stacked("r_row_segment"),
        stacked("r_col_segment"),
        stacked("r_driver"),
        stacked("r_sense"),
    )


def floating_nodes(
    circuit: Crossbar, bridges: Sequence[Bridge] = ()
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Row and column nodes of a one-tile circuit without a path to any terminal, [rows, cols]."""
    g_row, g_col, g_cell = circuit.tile(0)
    rows, cols = g_cell.shape
    none = np.zeros((rows, cols), dtype=bool)
    if g_row.min() > 0 and g_col.min() > 0:
        return none, none
    n = rows * cols
    x = 1 + np.arange(n).reshape(rows, cols)
    y = n + x
    terminal = np.zeros((rows, 1), dtype=np.int64), np.zeros((1, cols), dtype=np.int64)
    links = [
        (np.hstack([terminal[0], x[:, :-1]]), x, g_row),
        (y, np.vstack([y[1:], terminal[1]]), g_col),
        (x, y, g_cell),
    ]
    for bridge in bridges:
        first, second = bridge_ends(bridge, "row")
        one, other = (y if bridge.kind == "column" else x), (x if bridge.kind == "row" else y)
        links.append((one[first], other[second], np.ones(1)))
    a, b, g = (np.concatenate([np.ravel(link[k]) for link in links]) for k in range(3))
    real = g > 0
    graph = coo_matrix((g[real], (a[real], b[real])), shape=(2 * n + 1, 2 * n + 1))
    _, island = connected_components(graph, directed=False)
    loose = island[1:] != island[0]
    return loose[:n].reshape(rows, cols), loose[n:].reshape(rows, cols)


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
