"""Cells of a tile as the nonlinear solver sees them: current and slope between two voltages."""

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from circuitsim.cell_kernels import sinh_step, surface_step
from circuitsim.cellsurface import CellSurface
from circuitsim.characterise import calibrate_surface
from circuitsim.defective_cells import with_defective_cells
from circuitsim.patched_law import PatchedLaw
from circuitsim.polynomial_surface import PolynomialSurface, term_powers
from circuitsim.series_law import LEAST, SeriesLaw
from circuitsim.series_surface import SeriesSurface
from circuitsim.solution import FloatArray
from netlists.cells import OneR
from netlists.devices import SinhConduction
from netlists.errors import InputError
from netlists.tile import Access, Tile


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
    """Transistor cells: one calibrated surface, each cell's polynomials at its own state.

    polynomials: [rows, cols, 2, terms] as `CellSurface.polynomials` gives them, of this degree;
    those of cells whose transistor is stuck or off are another's on the same voltages.
    """

    surface: CellSurface
    degree: int
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
            self.polynomials.reshape(-1, *self.polynomials.shape[2:]),
            self.degree,
            s.v_low,
            s.v_high,
            g0,
            excess,
            i_out,
            change,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class SinhLaw:
    """Bare memories that bend, by their own equation: nothing is fitted."""

    rram: SinhConduction
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
        sinh_step(
            v_row,
            v_col,
            self.g,
            rram.v0,
            rram.backward,
            rram.v_max,
            g0,
            excess,
            i_out,
            change,
        )

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """dI/d(drop)."""
        limit = self.rram.v_max
        return self.rram.slope(np.clip(v_row - v_col, -limit, limit), self.g)


def cell_law(
    tile: Tile, *, v_low: float, v_high: float, surface: CellSurface | None = None
) -> CellLaw:
    """The law of a tile's cells for inputs between v_low and v_high, V, faults and defects applied.

    Transistor cells are calibrated on first use where no surface is given. Raises InputError when
    the surface belongs to another cell, or when the inputs leave the range of a surface or memory.
    """
    cell = tile.spec.cell
    g = tile.g_device if tile.g_device.ndim == 2 else tile.g_device.sum(axis=2)
    if isinstance(cell, OneR):
        if not isinstance(cell.rram, SinhConduction):
            raise InputError(f"{cell!r} obeys Ohm's law; solve it with 'dissection'.")
        span = max(v_high, 0.0) - min(v_low, 0.0)
        if span > cell.rram.v_max * (1 + 1e-12):
            raise InputError(
                f"inputs from {v_low:.6g} V to {v_high:.6g} V can put {span:.6g} V across a memory "
                f"fitted up to v_max={cell.rram.v_max!r} V; lower the inputs."
            )
        return SinhLaw(rram=cell.rram, g=np.ascontiguousarray(g))
    if surface is None:
        v_read = tile.spec.v_read
        least, most = min(v_low, -v_read if v_low < 0 else 0.0), max(v_high, v_read)
        if most - least > cell.rram.v_max:  # the wider range serves more tiles, where it can
            least, most = v_low, v_high
        surface = calibrate_surface(cell, least, most)
        if not surface.on_target:
            warnings.warn(
                f"the surface of {surface.cell} misses its target: held-out error at most "
                f"{surface.held_out_max:.1e}, p99 {surface.held_out_p99:.1e} of full scale.",
                stacklevel=2,
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
    if isinstance(surface, SeriesSurface):
        return _series_law(tile, surface, g)
    assert isinstance(surface, PolynomialSurface)
    if tile.defects is None:
        polynomials, degree = surface.polynomials(g), surface.degree
    else:
        access = tile.access
        polynomials = surface.polynomials(np.where(access == Access.GATED, g, 0.0))
        polynomials, degree = with_defective_cells(
            polynomials,
            surface.degree,
            surface,
            cell=cell,
            g=g,
            access=access,
            r_short=tile.defects.r_short,
        )
    return SurfaceLaw(surface=surface, degree=degree, polynomials=np.ascontiguousarray(polynomials))


def _series_law(tile: Tile, surface: SeriesSurface, g: FloatArray) -> CellLaw:
    """Cells whose transistor works by parts, the others by the polynomials that they have."""
    access = tile.access
    works = access == Access.GATED
    law = SeriesLaw.of(surface, np.where(works, g, 0.0))
    if tile.defects is None or works.all():
        return law
    polynomials, degree = with_defective_cells(
        np.zeros((1, np.count_nonzero(~works), 2, 1)),
        0,
        surface,
        cell=tile.spec.cell,
        g=g[~works][None],
        access=access[~works][None],
        r_short=tile.defects.r_short,
    )
    theirs = SurfaceLaw(surface=surface, degree=degree, polynomials=polynomials)
    return PatchedLaw(most=law, few=theirs, places=np.nonzero(~works))
