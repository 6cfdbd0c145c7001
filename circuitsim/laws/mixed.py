"""Two laws on one tile: what most cells do, and what a few others do instead."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitsim.laws.by_parts import SeriesLaw
from circuitsim.laws.law import CellLaw, Iterate
from netlists.arrays import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedLaw:
    """See `law.CellLaw`.

    most: the law of the whole tile; its cells at `places` hold no state and carry no current.
    few: of those cells, as a tile of one row.  places: their rows and their columns.
    """

    most: SeriesLaw
    few: CellLaw
    places: tuple[NDArray[np.intp], ...]

    def step(self, now: Iterate) -> None:
        """See CellLaw."""
        at, columns = self.places, self.places[1]
        theirs = now.excess[at][None]
        # What a cell without state has anyway, so that it does not count as a change.
        low, high = self.most.surface.v_low, self.most.surface.v_high
        drop = np.clip(now.v_row[at], low, high) - np.clip(now.v_col[at], low, high)
        now.excess[at] = 0.0 - now.g0[at][:, None] * drop
        self.most.step(now)
        few = Iterate(
            v_row=now.v_row[at][None],
            v_col=now.v_col[at][None],
            g0=now.g0[at][None],
            excess=theirs,
            i_out=np.empty(theirs.shape[1:]),
            change=np.empty(theirs.shape[1:]),
        )
        self.few.step(few)
        now.excess[at] = theirs[0]
        np.add.at(now.i_out, columns, few.i_out)
        np.add.at(now.change, columns, few.change)

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """See CellLaw."""
        found = self.most.slopes(v_row, v_col)
        shape = found.shape
        row, column = (np.broadcast_to(v, shape)[self.places][None] for v in (v_row, v_col))
        found[self.places] = self.few.slopes(row, column)[0]
        return found
