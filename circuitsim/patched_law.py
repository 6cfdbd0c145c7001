"""Two laws on one tile: what most cells do, and what a few others do instead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from circuitsim.cellsurface import FloatArray
from circuitsim.series_law import SeriesLaw

if TYPE_CHECKING:
    from circuitsim.cell_law import CellLaw


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchedLaw:
    """See `cell_law.CellLaw`.

    most: the law of the whole tile; its cells at `places` hold no state and carry no current.
    few: of those cells, as a tile of one row.  places: their rows and their columns.
    """

    most: SeriesLaw
    few: "CellLaw"
    places: tuple[NDArray[np.intp], ...]

    def step(
        self,
        v_row: FloatArray,
        v_col: FloatArray,
        g0: FloatArray,
        excess: FloatArray,
        i_out: FloatArray,
        change: FloatArray,
    ) -> None:
        """See CellLaw."""
        at, columns = self.places, self.places[1]
        theirs = excess[at][None]
        # What a cell without state has anyway, so that it does not count as a change.
        low, high = self.most.surface.v_low, self.most.surface.v_high
        drop = np.clip(v_row[at], low, high) - np.clip(v_col[at], low, high)
        excess[at] = 0.0 - g0[at][:, None] * drop
        self.most.step(v_row, v_col, g0, excess, i_out, change)
        sums, moves = np.empty(theirs.shape[1:]), np.empty(theirs.shape[1:])
        self.few.step(v_row[at][None], v_col[at][None], g0[at][None], theirs, sums, moves)
        excess[at] = theirs[0]
        np.add.at(i_out, columns, sums)
        np.add.at(change, columns, moves)

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """See CellLaw."""
        found = self.most.slopes(v_row, v_col)
        shape = found.shape
        row, column = (np.broadcast_to(v, shape)[self.places][None] for v in (v_row, v_col))
        found[self.places] = self.few.slopes(row, column)[0]
        return found
