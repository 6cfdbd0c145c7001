"""A calibrated surface in whole tiles: the fast solver against ngspice on random ones."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from circuitsim.cells.measure import measure_currents
from circuitsim.cells.surface import CellSurface
from circuitsim.compare_solutions import compare
from circuitsim.nonlinear.newton import prepare_nonlinear
from circuitsim.solution import Outcome
from circuitsim.solvers import solve
from netlists.arrays import FloatArray
from netlists.cells import Cell
from netlists.faults import FaultRates
from netlists.sampling import sample_faults
from netlists.tile import Drive, Tile, TileSpec, inject
from netlists.wires import Wires

TILES, INPUTS = 6, 4
SIDES, SEGMENTS, RATES = (8, 64), (0.1, 10.0), (0.0, 0.1, 0.3)
TARGET_MAX, TARGET_P99 = 1e-4, 2e-5  # error of a tile's output currents, of full scale


@dataclass(frozen=True, kw_only=True)
class TileCheck:
    """One random tile solved twice.

    seed: of `verify_surface`, whose tiles follow from it one after the other.  v_gate: V.
    segment: ohm, of rows and columns.  fault_rate: memories stuck, half LRS, half HRS.
    inputs: vectors, half of them binary.  full_scale: largest output current in ngspice, A.
    max, p99: difference of the output currents relative to it.  outcome: of the fast solver.
    """

    seed: int
    v_gate: float
    rows: int
    cols: int
    segment: float
    fault_rate: float
    inputs: int
    full_scale: float
    max: float
    p99: float
    outcome: str

    @property
    def on_target(self) -> bool:
        """Whether the tile was solved and its error is as small as it is meant to be."""
        near = self.max <= TARGET_MAX and self.p99 <= TARGET_P99
        return near and self.outcome != Outcome.NOT_CONVERGED.name


def _random_states(cell: Cell, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """A third LRS, a third HRS, a third between, log-uniform."""
    low, high = cell.rram.g_hrs, cell.rram.g_lrs
    between = np.exp(rng.uniform(np.log(low), np.log(high), shape)).clip(low, high)
    return np.asarray(np.choose(rng.integers(0, 3, shape), [low, high, between]))


def verify_surface(
    surface: CellSurface,
    cell: Cell,
    *,
    tiles: int = TILES,
    seed: int = 0,
    on_tile: Callable[[int], None] = lambda more: None,
) -> tuple[TileCheck, ...]:
    """Random tiles of a cell, solved on its surface and by ngspice on the emitted netlist.

    Sides between 8 and 64, segments between 0.1 and 10 ohm, up to 30 % of the memories stuck,
    inputs over the calibrated range. The same seed gives the same tiles; on_tile is told after
    each. Raises InputError when the surface belongs to another cell, MissingToolError without
    ngspice.
    """
    found = []
    for child in np.random.default_rng(seed).spawn(tiles):
        rows, cols = (
            int(k) for k in np.exp(child.uniform(np.log(SIDES[0]), np.log(SIDES[1]), 2)).round()
        )
        segment = float(np.exp(child.uniform(np.log(SEGMENTS[0]), np.log(SEGMENTS[1]))))
        rate = float(child.choice(RATES))
        spec = TileSpec(
            rows=rows,
            cols=cols,
            wires=Wires(r_row_segment=segment, r_col_segment=segment),
            cell=cell,
            v_read=max(abs(surface.v_low), abs(surface.v_high)),
        )
        tile = Tile(spec=spec, g=_random_states(cell, spec.g_shape, child))
        if rate:
            faults = sample_faults(spec, FaultRates.from_ocr(rate, 1.0), rng=child)
            tile = inject(tile, faults)
        half = (INPUTS // 2, rows)
        share = np.concatenate([child.integers(0, 2, half), child.random(half)])
        drive = Drive(v=surface.v_low + (surface.v_high - surface.v_low) * share)
        prepared = prepare_nonlinear(
            tile, v_low=surface.v_low, v_high=surface.v_high, surface=surface
        )
        fast = prepared.solve(drive)
        apart = compare(fast, solve(tile, drive, "ngspice"))
        found.append(
            TileCheck(
                seed=seed,
                v_gate=surface.v_gate,
                rows=rows,
                cols=cols,
                segment=segment,
                fault_rate=rate,
                inputs=INPUTS,
                full_scale=apart.full_scale,
                max=apart.max_relative,
                p99=apart.p99_relative,
                outcome=fast.outcome.name,
            )
        )
        on_tile(1)
    return tuple(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """A surface beside fresh ngspice currents on an even grid that the fit has not seen.

    g: state, S.  v: V [n], of the drive and the sense line alike.
    measured, off: current and error of the surface, A [n (drive), n (sense)].
    """

    g: float
    v: FloatArray
    measured: FloatArray
    off: FloatArray


def residuals(surface: CellSurface, cell: Cell, g: float, *, points: int = 61) -> Residuals:
    """Measure a cell in one state, S, over the surface's whole range of voltages.

    Raises InputError for a state outside the surface's range, MissingToolError without ngspice.
    """
    v = np.linspace(surface.v_low, surface.v_high, points)
    found = surface(v[:, None], v, g)
    measured, _ = measure_currents(cell, v, v, np.full(points, g))
    return Residuals(g=g, v=v, measured=measured, off=found - measured)
