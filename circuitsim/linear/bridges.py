"""Shorts between lines: a low-rank correction on top of a factorised tile.

With A the nodal matrix of the tile without its bridges, E [nodes, k] their incidence (+1 where a
bridge begins, -1 where it ends) and R their resistances,

    i = (R + E' A^-1 E)^-1 E' A^-1 f        what the bridges carry
    v = A^-1 f - A^-1 E i                   under whatever f the tile is under

(the Woodbury identity with the resistances kept as they are, so that 0 ohm is a number like any
other). A^-1 E takes one substitution of unit currents for each bridge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitsim.dissection import Factorisation, Injection
from circuitsim.dissection.operator import BATCH
from circuitsim.dissection.plan import padded
from circuitsim.dissection.update_kernels import invert
from circuitsim.linear.tile_arrays import floating_nodes
from netlists.arrays import FloatArray
from netlists.bridges import Bridge, bridge_ends

WORST_LOSS = 1e5
"""Growth of rounding errors in the k x k system above which a correction is refused."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BridgeEnds:
    """Where bridges begin and end: planes (0 row nodes, 1 column nodes), rows and columns, each
    [k, 2]; r: ohm [k]. A current counts from the beginning to the end.
    """

    plane: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    r: FloatArray

    def voltages(self, end: int, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """At one end of each bridge, V [k, width], of node voltages [rows, cols, width]."""
        at = self.row[:, end], self.col[:, end]
        return np.where(self.plane[:, end, None] == 0, v_row[at], v_col[at])

    def drops(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """Along the bridges, V [k, width], of node voltages [rows, cols, width]."""
        return self.voltages(0, v_row, v_col) - self.voltages(1, v_row, v_col)

    def drawn(self, i: FloatArray, rows: int, cols: int) -> tuple[FloatArray, FloatArray]:
        """Net current that bridges take from row and column nodes, A [width, rows, cols] each.

        i: what they carry, A [k, width].
        """
        total = np.zeros((2, i.shape[1], rows, cols))
        for k, current in enumerate(i):
            for end, sign in ((0, 1.0), (1, -1.0)):
                place = self.plane[k, end], slice(None), self.row[k, end], self.col[k, end]
                total[place] += sign * current
        return total[0], total[1]

    def into_columns(self, i: FloatArray, cols: int) -> FloatArray:
        """Net current that bridges bring to each column line, A [cols, width]."""
        total = np.zeros((cols, i.shape[1]))
        for end, sign in ((0, -1.0), (1, 1.0)):
            of_column = self.plane[:, end] == 1
            np.add.at(total, self.col[of_column, end], sign * i[of_column])
        return total


def ends_of(bridges: Sequence[Bridge]) -> BridgeEnds:
    """Bridges between current-carrying lines as arrays."""
    ends = [bridge_ends(bridge, "row") for bridge in bridges]
    planes = {"row": (0, 0), "column": (1, 1), "cell": (0, 1)}
    where = np.array(ends, dtype=np.int64).reshape(-1, 2, 2)
    plane = np.array([planes[bridge.kind] for bridge in bridges], dtype=np.int64)
    return BridgeEnds(
        plane=plane.reshape(-1, 2),
        row=where[..., 0],
        col=where[..., 1],
        r=np.array([bridge.r for bridge in bridges], dtype=np.float64),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class BridgeCorrection:
    """What bridges change on a factorised tile.

    row_response, col_response: node voltages [rows, cols, k] for 1 A through each bridge, V.
    inverse: (R + E' A^-1 E)^-1, S [k, k].  operator: of the tile with its bridges, S [cols, rows].
    """

    ends: BridgeEnds
    row_response: FloatArray
    col_response: FloatArray
    inverse: FloatArray
    operator: FloatArray

    def apply(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """Correct node voltages [rows, cols, width] in place; what the bridges carry [k, width]."""
        i = self.inverse @ self.ends.drops(v_row, v_col)
        v_row -= self.row_response @ i
        v_col -= self.col_response @ i
        return i


def _responses(done: Factorisation, ends: BridgeEnds) -> tuple[FloatArray, FloatArray]:
    rows, cols, k = done.plan.rows, done.plan.cols, len(ends.r)
    engine = Injection(done)
    responses = np.empty((2, rows, cols, k))
    for start in range(0, k, BATCH):
        some = range(start, min(start + BATCH, k))
        width = padded(len(some))
        into = np.zeros((2, rows, cols, width))
        for at, bridge in enumerate(some):
            for end, sign in ((0, 1.0), (1, -1.0)):
                place = ends.plane[bridge, end], ends.row[bridge, end], ends.col[bridge, end]
                into[(*place, at)] = sign
        v = np.empty_like(into)
        engine.voltages_of_nodes(np.zeros((rows, width)), -into[0], into[1], v[0], v[1])
        responses[..., some.start : some.stop] = v[..., : len(some)]
    return responses[0], responses[1]


def correct_for(done: Factorisation, bridges: Sequence[Bridge]) -> BridgeCorrection | None:
    """The correction of a factorised tile for its bridges, or None where it cannot be exact.

    That is where a bridge ends at a node that floats without it, which no correction of zero
    conductance can mend, and where bridges form a loop whose resistance is lost in the rounding of
    a much larger one, as two bridges to one cut-off line do.
    """
    ends = ends_of(bridges)
    loose = np.stack(floating_nodes(done.circuit.tile(0)))
    if loose[ends.plane, ends.row, ends.col].any():
        return None
    row_response, col_response = _responses(done, ends)
    k = len(ends.r)
    loop = ends.drops(row_response, col_response)  # E' A^-1 E
    size = padded(k)
    matrix = np.eye(size)
    matrix[:k, :k] = np.diag(ends.r) + (loop + loop.T) / 2
    inverse = np.empty_like(matrix)
    if not invert(matrix, inverse):
        return None
    inverse = np.ascontiguousarray(inverse[:k, :k])
    # Each entry of the loops is a difference of voltages, whose rounding it keeps.
    rounding = sum(
        np.abs(ends.voltages(end, row_response, col_response)).sum(axis=1) for end in range(2)
    )
    growth = np.abs(inverse) @ rounding
    if not float(growth.max()) < WORST_LOSS:
        return None
    g_row, g_col, _ = done.circuit.tile(0)
    driven = g_row[:, 0, None] * row_response[:, 0]
    sensed = g_col[-1, :, None] * col_response[-1]
    # No branch is negative: what rounding leaves below 0 is 0.
    operator = np.maximum(done.operator - sensed @ inverse @ driven.T, 0.0)
    return BridgeCorrection(
        ends=ends,
        row_response=row_response,
        col_response=col_response,
        inverse=inverse,
        operator=operator,
    )
