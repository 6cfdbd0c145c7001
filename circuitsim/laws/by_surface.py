"""Transistor cells by the polynomials of their calibrated surface."""

from dataclasses import dataclass

import numpy as np

from circuitsim.cells.polynomial import term_powers
from circuitsim.cells.surface import CellSurface
from circuitsim.laws.kernels import surface_step
from circuitsim.laws.law import LEAST, Iterate
from netlists.arrays import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceLaw:
    """Transistor cells: one calibrated surface, each cell's polynomials at its own state.

    polynomials: [rows, cols, 2, terms] as `CellSurface.polynomials` gives them, of this degree;
    those of cells whose transistor is stuck or off are another's on the same voltages.
    """

    surface: CellSurface
    degree: int
    polynomials: FloatArray

    def step(self, now: Iterate) -> None:
        """See CellLaw."""
        s = self.surface
        surface_step(
            now.v_row,
            now.v_col,
            self.polynomials.reshape(-1, *self.polynomials.shape[2:]),
            self.degree,
            s.v_low,
            s.v_high,
            now.g0,
            now.excess,
            now.i_out,
            now.change,
        )

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """The mean of the slopes with either voltage.

        A cell that conducts at all keeps LEAST where the fit of a leak is flat or falls, so that
        what hangs on it does not float.
        """
        low, high, scale = self.surface.v_low, self.surface.v_high, self.surface.scale
        drive, sense = (np.clip(v, low, high)[..., None] for v in (v_row, v_col))
        d = drive - sense
        u, t = scale * np.abs(d) - 1, scale * (np.minimum(drive, sense) - low) - 1
        a, b = term_powers(self.degree).T
        by_u, by_t = a * u ** np.maximum(a - 1, 0) * t**b, b * u**a * t ** np.maximum(b - 1, 0)
        terms = u**a * t**b + scale * np.abs(d) * (by_u - by_t / 2)
        forward, backward = self.polynomials[..., 0, :], self.polynomials[..., 1, :]
        mean = (np.where(d >= 0, forward, backward) * terms).sum(axis=-1)
        conducts = self.polynomials.any(axis=(2, 3))
        return np.asarray(np.maximum(mean, np.where(conducts, LEAST, 0.0)))
