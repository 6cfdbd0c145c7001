"""Cells of a tile as the nonlinear solver sees them: current and slope between two voltages."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from circuitsim.cell_kernels import sinh_step, surface_step
from circuitsim.cellsurface import CellSurface
from circuitsim.characterise import calibrate_surface
from circuitsim.solution import FloatArray
from netlists.cells import OneR
from netlists.devices import SinhRram
from netlists.errors import InputError
from netlists.tile import Tile


class CellLaw(Protocol):
    """What all cells of one tile do; voltages are [rows, cols, ...] in V."""

    def step(
        self,
        v_row: FloatArray,
        v_col: FloatArray,
        g0: FloatArray,
        excess: FloatArray,
        i_out: FloatArray,
        change: FloatArray,
    ) -> None:
        """Update the excess over g0 in place; see `cell_kernels`."""
        ...

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """A symmetric slope [rows, cols], S, at node voltages that broadcast to that,
        positive or 0.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceLaw:
    """Transistor cells: one calibrated surface, each cell's polynomials at its own state."""

    surface: CellSurface
    g: FloatArray
    polynomials: FloatArray

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
        s = self.surface
        surface_step(
            v_row,
            v_col,
            self.polynomials,
            s.degree,
            s.v_low,
            s.v_high,
            g0,
            excess,
            i_out,
            change,
        )

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """The mean of the slopes with either voltage."""
        low, high = self.surface.v_low, self.surface.v_high
        states, place = self.g, None
        if v_row.size == v_col.size == 1:  # cells of one state then have one slope
            states, place = np.unique(self.g, return_inverse=True)
            v_row, v_col = v_row.ravel(), v_col.ravel()
        pair = self.surface.slopes(np.clip(v_row, low, high), np.clip(v_col, low, high), states)
        mean = np.maximum((pair[0] + pair[1]) / 2, 0.0)
        return mean if place is None else mean[place].reshape(self.g.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class SinhLaw:
    """Bare memories that bend, by their own equation: nothing is fitted."""

    rram: SinhRram
    g: FloatArray

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
        rram = self.rram
        sinh_step(v_row, v_col, self.g, rram.v0, rram.v_max, g0, excess, i_out, change)

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """dI/d(drop)."""
        limit = self.rram.v_max
        return self.rram.slope(np.clip(v_row - v_col, -limit, limit), self.g)


def cell_law(
    tile: Tile, *, v_low: float, v_high: float, surface: CellSurface | None = None
) -> CellLaw:
    """The law of a tile's cells, faults applied, for inputs between v_low and v_high, V.

    Transistor cells are calibrated on first use where no surface is given. Raises InputError when
    the surface belongs to another cell, or when the inputs leave the range of a surface or memory.
    """
    cell = tile.spec.cell
    g = tile.g_device if tile.g_device.ndim == 2 else tile.g_device.sum(axis=2)
    if isinstance(cell, OneR):
        if not isinstance(cell.rram, SinhRram):
            raise InputError(f"{cell!r} obeys Ohm's law; solve it with 'dissection'.")
        span = max(v_high, 0.0) - min(v_low, 0.0)
        if span > cell.rram.v_max * (1 + 1e-12):
            raise InputError(
                f"inputs from {v_low:.6g} V to {v_high:.6g} V can put {span:.6g} V across a memory "
                f"fitted up to v_max={cell.rram.v_max!r} V; lower the inputs."
            )
        return SinhLaw(rram=cell.rram, g=np.ascontiguousarray(g))
    v_read = tile.spec.v_read
    surface = surface or calibrate_surface(
        cell, min(v_low, -v_read if v_low < 0 else 0.0), max(v_high, v_read)
    )
    if surface.cell != repr(cell):
        raise InputError(
            f"the surface was calibrated for {surface.cell}, the tile has {cell!r}; recalibrate."
        )
    if v_low < surface.v_low or v_high > surface.v_high:
        raise InputError(
            f"inputs from {v_low:.6g} V to {v_high:.6g} V leave the calibrated range "
            f"[{surface.v_low:.6g}, {surface.v_high:.6g}] V; calibrate a wider range."
        )
    polynomials = surface.polynomials(g).reshape(g.size, 2, -1)
    return SurfaceLaw(surface=surface, g=g, polynomials=np.ascontiguousarray(polynomials))
