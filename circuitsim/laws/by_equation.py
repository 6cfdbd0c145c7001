"""Bare memories by their own equation: nothing is fitted."""

from dataclasses import dataclass

import numpy as np

from circuitsim.laws.kernels import sinh_step
from circuitsim.laws.law import Iterate
from netlists.arrays import FloatArray
from netlists.devices import Rram, SinhConduction


@dataclass(frozen=True, kw_only=True, eq=False)
class SinhLaw:
    """Bare memories that bend, by their own equation: nothing is fitted."""

    rram: SinhConduction
    g: FloatArray

    def step(self, now: Iterate) -> None:
        """See CellLaw."""
        rram = self.rram
        sinh_step(
            now.v_row,
            now.v_col,
            self.g,
            rram.v0,
            rram.backward,
            rram.v_max,
            now.g0,
            now.excess,
            now.i_out,
            now.change,
        )

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """dI/d(drop)."""
        limit = self.rram.v_max
        return self.rram.slope(np.clip(v_row - v_col, -limit, limit), self.g)


@dataclass(frozen=True, kw_only=True, eq=False)
class EquationLaw:
    """Bare memories of any kind, by `Rram.current` and `Rram.slope`, as numpy evaluates them.

    g: states [rows, cols], S.
    """

    rram: Rram
    g: FloatArray

    def step(self, now: Iterate) -> None:
        """See CellLaw."""
        limit = self.rram.v_max
        drop = np.clip(now.v_row - now.v_col, -limit, limit)
        current = self.rram.current(drop, self.g[:, :, None])
        new = current - now.g0[:, :, None] * drop
        np.abs(new - now.excess).sum(axis=0, out=now.change)
        now.excess[:] = new
        current.sum(axis=0, out=now.i_out)

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """dI/d(drop)."""
        limit = self.rram.v_max
        return self.rram.slope(np.clip(v_row - v_col, -limit, limit), self.g)
