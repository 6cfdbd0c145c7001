"""Cells of a tile by parts, as the nonlinear solver sees them; see `law.CellLaw`."""

from dataclasses import dataclass

import numpy as np

from circuitsim.cells.series import SeriesSurface
from circuitsim.cells.series_kernels import series_step
from circuitsim.laws.law import LEAST, Iterate
from netlists.arrays import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesLaw:
    """Transistor cells near threshold: one tabulated transistor, each memory at its own state."""

    surface: SeriesSurface
    g: FloatArray

    @classmethod
    def of(cls, surface: SeriesSurface, g: FloatArray) -> "SeriesLaw":
        """The law for states g [rows, cols], S; raises InputError outside the surface's range."""
        return cls(surface=surface, g=np.ascontiguousarray(surface.checked_states(g)))

    def step(self, now: Iterate) -> None:
        """See CellLaw."""
        s = self.surface
        series_step(
            now.v_row,
            now.v_col,
            self.g,
            s.table,
            s.v_low,
            s.v_high,
            s.knots,
            s.memory_on_drive,
            s.bend,
            s.backward,
            now.g0,
            now.excess,
            now.i_out,
            now.change,
        )

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """The mean of the slopes with either voltage; LEAST where the cell is cut off."""
        low, high = self.surface.v_low, self.surface.v_high
        pair = self.surface.slopes(np.clip(v_row, low, high), np.clip(v_col, low, high), self.g)
        return np.maximum((pair[0] + pair[1]) / 2, np.where(self.g > 0, LEAST, 0.0))
