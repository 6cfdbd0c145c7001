"""The circuit that the solver takes: conductances and wires of one tile or of many alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Crossbar:
    """Cell conductances and wire conductances of `tiles` crossbars, in S.

    g_cell [tiles, rows, cols]. g_row[.., i, j] arrives at row node (i, j) from the left, for j = 0
    from the source; g_col[.., i, j] leaves column node (i, j) downwards, for the last row to the
    sense terminal at 0 V: both [tiles, rows, cols], or [1, rows, cols] where all tiles share them.
    """

    g_cell: FloatArray
    g_row: FloatArray
    g_col: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(tiles, rows, cols)."""
        tiles, rows, cols = self.g_cell.shape
        return tiles, rows, cols

    def tile(self, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(g_row, g_col, g_cell) of one tile, each [rows, cols], contiguous."""
        row, col = (g[k if len(g) > 1 else 0] for g in (self.g_row, self.g_col))
        return row, col, self.g_cell[k]


def crossbar(
    g_cell: ArrayLike,
    r_row: ArrayLike = 1.0,
    r_col: ArrayLike = 1.0,
    r_driver: ArrayLike = 0.0,
    r_sense: ArrayLike = 0.0,
) -> Crossbar:
    """Build a Crossbar from resistances in ohm.

    g_cell is [rows, cols] or [tiles, rows, cols] in S. r_row and r_col are segments that broadcast
    against it (inf: an open wire), r_driver [.., rows] and r_sense [.., cols] are in series with
    the first row segment and the last column segment. No path may have exactly 0 ohm.
    """
    g = np.ascontiguousarray(g_cell, np.float64)
    if g.ndim == 2:
        g = g[None]
    if g.ndim != 3 or 0 in g.shape:
        shape = np.shape(g_cell)
        raise InputError(f"g_cell.shape={shape} is not [rows, cols] or [tiles, rows, cols]")
    tiles, rows, cols = g.shape
    many = any(np.ndim(r) == 3 and np.shape(r)[0] > 1 for r in (r_row, r_col)) or any(
        np.ndim(r) == 2 and np.shape(r)[0] > 1 for r in (r_driver, r_sense)
    )
    shape = (tiles if many else 1, rows, cols)
    row = np.array(np.broadcast_to(np.asarray(r_row, np.float64), shape))
    col = np.array(np.broadcast_to(np.asarray(r_col, np.float64), shape))
    row[:, :, 0] += np.asarray(r_driver, np.float64)
    col[:, -1, :] += np.asarray(r_sense, np.float64)
    for name, values in (("r_row", row), ("r_col", col)):
        if not values.min() > 0:
            raise InputError(f"min({name} in series)={values.min()} is not > 0")
    if not g.min() >= 0:
        raise InputError(f"min(g_cell)={g.min()} is not >= 0")
    if not np.isfinite(g.max()):
        raise InputError(f"max(g_cell)={g.max()} is not finite")
    return Crossbar(g_cell=g, g_row=np.reciprocal(row, out=row), g_col=np.reciprocal(col, out=col))
