"""A calibrated cell on one self-contained HTML page."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from circuitsim import Calibration, CellSurface
from circuitsim.calibration import at_gate
from circuitsim.cells.polynomial import PolynomialSurface
from circuitsim.cells.series import SeriesSurface
from circuitsim.cells.surface import TARGET_MAX, TARGET_P99
from circuitsim.verification import TARGET_MAX as TILE_MAX
from circuitsim.verification import TARGET_P99 as TILE_P99
from circuitsim.verification import residuals
from netlists import Cell
from validation.report.plots import cell_figure, error_figure


def _form(surface: CellSurface) -> str:
    if isinstance(surface, PolynomialSurface):
        states = surface.coefficients.shape[1] - 1
        return (
            f"ratio to an ideal series circuit: polynomials of degree {surface.degree} in the "
            f"voltages and {states} in the state"
        )
    assert isinstance(surface, SeriesSurface)
    knots = surface.table.shape[0] - 2
    return (
        f"the memory's own equation in series with a bicubic spline of the transistor, "
        f"{knots}x{knots} knots"
    )


def _gate(surface: CellSurface, cell: Cell) -> dict[str, Any]:
    """What the page shows of one gate voltage; measures the cell anew for its figures."""
    levels = [error for error in surface.errors if error.g_low == error.g_high]
    found = {error.name: residuals(surface, cell, error.g_low) for error in levels}
    curves = [
        (name, one.v, (one.measured + one.off)[:, 0], one.measured[:, 0])
        for name, one in found.items()
    ]
    chosen = [levels[-1], levels[0]] if len(levels) > 1 else levels
    maps = [
        (error.name, found[error.name].v, found[error.name].measured, found[error.name].off)
        for error in chosen
    ]
    return {
        "surface": surface,
        "form": _form(surface),
        "figure": cell_figure(curves, maps, full_scale=surface.full_scale),
    }


def render(found: Calibration, cell: Cell) -> str:
    """The page of a calibration of this cell; needs ngspice for its figures."""
    assert not cell.is_bare
    several = len(found.surfaces) > 1
    states = [
        (
            f"{error.name}, gate {surface.v_gate:g} V" if several else error.name,
            error.max,
            error.p99,
        )
        for surface in found.surfaces
        for error in surface.errors
    ]
    tiles = [
        (
            f"{tile.rows}x{tile.cols}" + (f", gate {tile.v_gate:g} V" if several else ""),
            tile.max,
            tile.p99,
        )
        for tile in found.tiles
    ]
    environment = Environment(
        loader=PackageLoader("validation.report"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("calibration.html").render(
        found=found,
        description=re.sub(r"v_gate=[^,)]+", "v_gate=...", repr(cell)) if several else repr(cell),
        gates=[_gate(one, at_gate(cell, one.v_gate)) for one in found.surfaces],
        state_figure=error_figure(
            states, limits=(TARGET_MAX, TARGET_P99), title="cell current, held-out samples"
        ),
        seeds=", ".join(str(seed) for seed in sorted({tile.seed for tile in found.tiles})),
        tile_figure=error_figure(
            tiles, limits=(TILE_MAX, TILE_P99), title="output currents of random tiles"
        )
        if tiles
        else None,
        state_limits=(TARGET_MAX, TARGET_P99),
        tile_limits=(TILE_MAX, TILE_P99),
        version=metadata.version("xbarverify"),
    )


def write_calibration_report(found: Calibration, cell: Cell, path: Path) -> Path:
    """Write the page of a calibration of this cell; returns its path."""
    path.write_text(render(found, cell))
    return path
