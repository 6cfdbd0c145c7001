"""Tile -> the law of its cells, faults and defects applied."""

import warnings

import numpy as np

from circuitsim.cells.calibrate_secant import margin_for
from circuitsim.cells.calibrate_surface import calibrate_surface
from circuitsim.cells.polynomial import PolynomialSurface
from circuitsim.cells.series import SeriesSurface
from circuitsim.cells.stuck_transistors import with_defective_cells
from circuitsim.cells.surface import SLACK, CellSurface
from circuitsim.laws.by_equation import EquationLaw, SinhLaw
from circuitsim.laws.by_parts import SeriesLaw
from circuitsim.laws.by_surface import SurfaceLaw
from circuitsim.laws.law import CellLaw
from circuitsim.laws.mixed import MixedLaw
from netlists.arrays import FloatArray
from netlists.devices import Rram, SinhConduction
from netlists.errors import InputError
from netlists.tile import Access, Tile


def cell_law(
    tile: Tile, *, v_low: float, v_high: float, surface: CellSurface | None = None
) -> CellLaw:
    """The law of a tile's cells for inputs between v_low and v_high, V, faults and defects applied.

    Transistor cells are calibrated on first use where no surface is given. Raises InputError when
    the surface belongs to another cell, or when the inputs leave the range of a surface or memory.
    """
    cell = tile.spec.cell
    g = tile.g_device if tile.g_device.ndim == 2 else tile.g_device.sum(axis=2)
    if cell.is_bare:
        return _own_law(cell.rram, np.ascontiguousarray(g), v_low, v_high)
    if surface is None:
        v_read = tile.spec.v_read
        least, most = min(v_low, -v_read if v_low < 0 else 0.0), max(v_high, v_read)
        if most - least > cell.rram.v_max:  # the wider range serves more tiles, where it can
            least, most = v_low, v_high
        gated = g if tile.defects is None else np.where(tile.access == Access.GATED, g, 0.0)
        # Over all that the tile holds: stuck memories may hold what no level is.
        margin = margin_for(cell, gated, slack=SLACK)
        surface = calibrate_surface(cell, least, most, margin=margin)
        if not surface.on_target:
            warnings.warn(
                f"the surface of {surface.cell} misses its target: held-out error at most "
                f"{surface.held_out_max:.1e}, p99 {surface.held_out_p99:.1e} of full scale.",
                stacklevel=2,
            )
    if surface.cell_id != cell.calibrated_as:
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


def _own_law(rram: Rram, g: FloatArray, v_low: float, v_high: float) -> CellLaw:
    """Bare memories of states g [rows, cols], S, by their own equation."""
    if rram.is_ohmic:
        raise InputError(f"{rram!r} obeys Ohm's law; solve it with 'dissection'.")
    span = max(v_high, 0.0) - min(v_low, 0.0)
    if span > rram.v_max * (1 + 1e-12):
        raise InputError(
            f"inputs from {v_low:.6g} V to {v_high:.6g} V can put {span:.6g} V across a memory "
            f"fitted up to v_max={rram.v_max!r} V; lower the inputs."
        )
    if isinstance(rram, SinhConduction):
        return SinhLaw(rram=rram, g=g)  # compiled
    return EquationLaw(rram=rram, g=g)


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
    return MixedLaw(most=law, few=theirs, places=np.nonzero(~works))
