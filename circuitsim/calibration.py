"""The calibration of a cell as a file: a surface per gate voltage, and how tiles of it fare."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from circuitsim.cells.calibrate_secant import measure_states
from circuitsim.cells.calibrate_surface import calibrate_surface, netlist_sha256, require_calibrated
from circuitsim.cells.polynomial import PolynomialSurface
from circuitsim.cells.sealed_file import read_sealed, write_sealed
from circuitsim.cells.series import SeriesSurface
from circuitsim.cells.surface import CellSurface, StateError
from circuitsim.verification import TILES, TileCheck, verify_surface
from netlists.cells import Cell, SubcktCell, gate_of
from netlists.errors import InputError

FORMAT = "xbarverify-cell-2"
FORMS: dict[str, type[CellSurface]] = {"polynomials": PolynomialSurface, "series": SeriesSurface}


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A calibrated cell at one or several gate voltages.

    surfaces: one per gate voltage; each says which cell, netlist, simulator and range it comes from
    and how large its held-out error is.  tiles: random tiles against ngspice, empty where that was
    left out.
    """

    surfaces: tuple[CellSurface, ...]
    tiles: tuple[TileCheck, ...] = ()

    def of(self, cell: Cell) -> CellSurface:
        """The surface of a cell at its gate voltage.

        Raises InputError when the calibration is of another cell, of another gate voltage, or of
        a netlist that has changed since.
        """
        require_calibrated(cell)
        for surface in self.surfaces:
            if surface.cell_id == cell.calibrated_as:
                if surface.netlist_sha256 != netlist_sha256(cell):
                    raise InputError(
                        f"the netlist of {surface.cell} has changed since its surface was "
                        "calibrated; recalibrate."
                    )
                return surface
        if any(s.cell_id == cell.at_gate(s.v_gate).calibrated_as for s in self.surfaces):
            gates = ", ".join(f"{s.v_gate:g} V" for s in self.surfaces)
            own = gate_of(cell).v
            raise InputError(
                f"v_gate={own!r} V is not among the calibrated gate voltages ({gates}); "
                "calibrate it too, surfaces are not interpolated between gates."
            )
        raise InputError(
            f"the surface was calibrated for {self.surfaces[0].cell}, the tile has {cell!r}; "
            "recalibrate."
        )

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """One sentence for each state or tile whose error is larger than it is meant to be."""
        states = [
            f"gate {surface.v_gate:g} V, {error.name}: held-out error at most {error.max:.1e}, p99 "
            f"{error.p99:.1e} of full scale misses the target."
            for surface in self.surfaces
            for error in surface.errors
            if not error.on_target
        ]
        tiles = [
            f"gate {tile.v_gate:g} V, {tile.rows}x{tile.cols} tile: error at most {tile.max:.1e}, "
            f"p99 {tile.p99:.1e} of full scale, {tile.outcome}, misses the target."
            for tile in self.tiles
            if not tile.on_target
        ]
        return (*states, *tiles)

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON; raises InputError where a number of it is not finite."""
        surfaces = [_as_json(surface) for surface in self.surfaces]
        content = {
            "format": FORMAT,
            "on_target": not self.shortfalls,
            "surfaces": surfaces,
            "tiles": [_known(asdict(tile)) for tile in self.tiles],
        }
        write_sealed(path, content)

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Read what `save` wrote; raises InputError on another or a damaged file or format."""
        content = read_sealed(path, "calibration", FORMAT)
        try:
            return cls(
                surfaces=tuple(_from_json(surface) for surface in content["surfaces"]),
                tiles=tuple(TileCheck(**_measured(tile)) for tile in content["tiles"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise InputError(f"{path} is damaged ({problem!r}); recalibrate.") from None


def _as_json(surface: CellSurface) -> dict[str, Any]:
    form = next(name for name, kind in FORMS.items() if isinstance(surface, kind))
    content: dict[str, Any] = {"form": form, "on_target": surface.on_target}
    content |= {
        "held_out": surface.held_out,
        "held_out_max": surface.held_out_max,
        "held_out_p99": surface.held_out_p99,
    }
    for one in fields(surface):
        value = getattr(surface, one.name)
        content[one.name] = value.tolist() if isinstance(value, np.ndarray) else value
    return content | {"errors": [asdict(error) for error in surface.errors]}


def _from_json(content: dict[str, Any]) -> CellSurface:
    kind = FORMS[content["form"]]
    known = {one.name for one in fields(kind)}
    values = {name: value for name, value in content.items() if name in known}
    return kind(**values | {"errors": tuple(StateError(**error) for error in content["errors"])})


def _known(tile: dict[str, Any]) -> dict[str, Any]:
    """A tile that was not solved has no error: null in a file, where NaN would be no JSON."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in tile.items()}


def _measured(tile: dict[str, Any]) -> dict[str, Any]:
    return {k: np.nan if v is None else v for k, v in tile.items()}


def at_gate(cell: Cell, v_gate: float) -> Cell:
    """The cell at a gate voltage, V; where its states are parameters, they are measured there."""
    moved = cell.at_gate(v_gate)
    return measure_states(moved) if isinstance(moved, SubcktCell) and moved != cell else moved


def calibrate_cell(
    cell: Cell,
    v_low: float,
    v_high: float,
    *,
    gates: Sequence[float] = (),
    levels: Sequence[float] | int = 2,
    on_gate: Callable[[int], None] = lambda more: None,
) -> Calibration:
    """Calibrate a transistor cell at its own gate voltage, or at each of `gates`, V.

    v_low, v_high: as for `calibrate_surface`. levels: states whose errors are reported one by one,
    S over all memories of the cell, or how many, evenly spaced from HRS to LRS. on_gate is told
    after each. Raises InputError as `calibrate_surface` does, and for a gate voltage at which the
    cell cannot be made.
    """
    require_calibrated(cell)
    surfaces = []
    own = 0.0 if cell.gate is None else cell.gate.v
    for v_gate in sorted(set(gates or (own,))):
        here = at_gate(cell, v_gate)
        if isinstance(levels, int):
            lrs = here.rram.g_lrs * here.n_rram
            chosen = np.linspace(here.rram.g_hrs, lrs, levels).tolist()
            chosen = [here.rram.g_hrs, *chosen[1:-1], lrs]
        else:
            chosen = list(levels)
        surfaces.append(calibrate_surface(here, v_low, v_high, tuple(chosen)))
        on_gate(1)
    return Calibration(surfaces=tuple(surfaces))


def verify(
    calibration: Calibration,
    cell: Cell,
    *,
    tiles: int = TILES,
    seed: int = 0,
    on_tile: Callable[[int], None] = lambda more: None,
) -> Calibration:
    """The calibration with its tile table: `verify_surface` at each of its gate voltages."""
    require_calibrated(cell)
    checks: list[TileCheck] = []
    for surface in calibration.surfaces:
        here = at_gate(cell, surface.v_gate)
        checks += verify_surface(surface, here, tiles=tiles, seed=seed, on_tile=on_tile)
    return replace(calibration, tiles=tuple(checks))
