"""Cell -> CellSurface, from ngspice sweeps of it over both its voltages and its state."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from circuitsim.cells.calibrate_secant import MARGIN, calibrate, margin_for
from circuitsim.cells.measure import measure_currents, netlist_sha256
from circuitsim.cells.polynomial import PolynomialSurface, fit_polynomials, term_powers
from circuitsim.cells.series import SeriesSurface, spline_coefficients
from circuitsim.cells.surface import SLACK, TARGET_MAX, TARGET_P99, CellSurface, StateError
from netlists.arrays import FloatArray
from netlists.cells import Cell
from netlists.errors import InputError
from netlists.spice import NONLINEAR_OPTIONS

# (degree in the voltages, degree in the state, samples of each voltage, samples of the state): the
# first does for a transistor that is well on, the second for one that comes close to saturation.
GRADES = ((6, 7, 14, 11), (11, 13, 26, 19))
KNOTS = (
    33,
    65,
    129,
    257,
    513,
)  # of a transistor's table, each way, where no polynomial is on target
GOOD_ENOUGH = 0.3  # of the targets; held-out errors at which no finer grade is tried
WORTH_IT = 0.7  # what a finer grade must bring the errors to for the next one to be tried
RIPPLE = TARGET_MAX  # how far a current may fall where it should rise, of full scale
HELD_OUT_DRIVES, HELD_OUT_SENSES, HELD_OUT_STATES = 32, 24, 72


class _HeldOut:
    """Random voltages, in each level and in the bands between and beyond, and their currents."""

    def __init__(
        self,
        cell: Cell,
        v_low: float,
        v_high: float,
        levels: tuple[float, ...],
        reach: tuple[float, float],
    ) -> None:
        rng = np.random.default_rng(0)
        low, high = reach
        hrs, lrs = cell.rram.g_hrs, cell.rram.g_lrs * cell.n_rram
        names = _level_names(levels, hrs, lrs)
        bands = [(name, g, g, HELD_OUT_SENSES) for name, g in zip(names, levels, strict=True)]
        bands.append(("between", hrs, lrs, HELD_OUT_STATES))
        if low < hrs:
            bands.append(("below HRS", low, hrs, HELD_OUT_SENSES))
        if high > lrs:
            bands.append(("above LRS", lrs, high, HELD_OUT_SENSES))
        self._bands = bands
        columns = sum(count for *_, count in bands)
        self.v_drive = rng.uniform(v_low, v_high, (HELD_OUT_DRIVES, 1))
        self.v_sense = rng.uniform(v_low, v_high, columns)
        self.g = np.concatenate(
            [np.exp(rng.uniform(np.log(a), np.log(b), count)) for _, a, b, count in bands]
        ).clip(low, high)
        self.i, self.source = measure_currents(cell, self.v_drive[:, 0], self.v_sense, self.g)

    def errors(self, surface: CellSurface) -> tuple[StateError, ...]:
        """Error of a surface, band by band."""
        off = np.abs(surface(self.v_drive, self.v_sense, self.g) - self.i) / surface.full_scale
        found, start = [], 0
        for name, low, high, count in self._bands:
            some = off[:, start : start + count]
            start += count
            found.append(
                StateError(
                    name=name,
                    g_low=low,
                    g_high=high,
                    samples=some.size,
                    max=float(some.max()),
                    p99=float(np.quantile(some, 0.99)),
                )
            )
        return tuple(found)


def _level_names(levels: tuple[float, ...], hrs: float, lrs: float) -> list[str]:
    named = {hrs: "HRS", lrs: "LRS"}
    return [named.get(g, f"level {k + 1} of {len(levels)}") for k, g in enumerate(levels)]


def _is_monotone(surface: CellSurface) -> bool:
    """Whether the current rises with the drive voltage and falls with the sense voltage."""
    v = np.linspace(surface.v_low, surface.v_high, 41)
    g = np.geomspace(surface.g_low, surface.g_high, 17)
    i = surface(v[:, None, None], v[:, None], g)
    # A cut-off cell is flat, and a fit near 0 may wave by what it is off.
    falls = (np.maximum.accumulate(i, axis=0) - i, i - np.minimum.accumulate(i, axis=1))
    return max(float(fall.max()) for fall in falls) <= RIPPLE * surface.full_scale


def _spread(low: float, high: float, n: int) -> FloatArray:
    """n Chebyshev-Lobatto points from low to high."""
    return np.asarray(low + (high - low) * (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2)


def _polynomials(cell: Cell, common: dict[str, Any]) -> Iterator[PolynomialSurface]:
    """One fit per grade."""
    v_low, v_high, low, high = (common[key] for key in ("v_low", "v_high", "g_low", "g_high"))
    v_least = min(abs(v) for v in (v_low, v_high) if v)
    margin = margin_for(cell, (low, high), slack=SLACK)
    r_series = calibrate(cell, v_least, margin=margin).r_series[-1]
    # A subcircuit may hold less than its state suggests; some share must remain to divide by.
    r_series = max(r_series, 0.01 / high)
    for degree, state_degree, n_volts, n_states in GRADES:
        share_low, share_high = (g * r_series / (1 + g * r_series) for g in (low, high))
        share = _spread(share_low, share_high, n_states)
        states = np.clip(share / (1 - share) / r_series, low, high)
        v = _spread(v_low, v_high, n_volts)
        i, _ = measure_currents(cell, v, np.repeat(v, n_states), np.tile(states, n_volts))
        blank = PolynomialSurface(
            **common,
            r_series=r_series,
            degree=degree,
            coefficients=np.zeros((2, state_degree + 1, len(term_powers(degree)))),
        )
        drive, sense = np.repeat(v, n_volts), np.tile(v, n_volts)
        found = fit_polynomials(blank, drive, sense, states, i.reshape(-1, n_states))
        yield replace(blank, coefficients=found)


def _series(cell: Cell, common: dict[str, Any], memory_on_drive: bool) -> Iterator[SeriesSurface]:
    """One table per number of knots."""
    bend, backward = cell.rram.bend or (0.0, 1.0)
    shorted, g_short = cell.with_memory_shorted()
    for n in KNOTS:
        table = _transistor_table(
            shorted, common["v_low"], common["v_high"], n, g_short, memory_on_drive
        )
        yield SeriesSurface(
            **common, bend=bend, backward=backward, memory_on_drive=memory_on_drive, table=table
        )


def _transistor_table(
    shorted: Cell, v_low: float, v_high: float, n: int, g_short: float, memory_on_drive: bool
) -> FloatArray:
    """Spline coefficients of what is in series with a memory of a large conductance, S."""
    low = np.linspace(v_low, v_high, n)
    # Some more beyond the last drop, for what the shorted memory takes of it.
    high = v_low + (low[1] - v_low) * np.arange(2 * n + n // 4)
    # The memory on the higher line: the lower end of the transistor is where it is put.
    if memory_on_drive:
        i = measure_currents(shorted, high, low, np.full(len(low), g_short))[0]
    else:
        i = -measure_currents(shorted, low, high, np.full(len(high), g_short))[0].T
    drop = high[:, None] - low - i / g_short
    along = [CubicSpline(drop[k:, k], i[k:, k])(low - v_low) for k in range(n)]
    return spline_coefficients(np.array(along))


def require_calibrated(cell: Cell) -> None:
    """Raise InputError for a cell that is solved with its own equation."""
    if cell.is_bare:
        raise InputError(
            f"{type(cell).__name__} is solved with its own equation and needs no surface; leave "
            "the surface out."
        )


def calibrate_surface(
    cell: Cell,
    v_low: float,
    v_high: float,
    levels: tuple[float, ...] | None = None,
    *,
    margin: float = MARGIN,
) -> CellSurface:
    """Calibrate a cell over [v_low, v_high], V, on both of its lines.

    Node voltages of a tile never leave the range that its inputs and 0 V span, so that range is
    enough. levels: states, S over all memories of the cell, whose error is reported one by one
    (HRS and LRS where none are given); random states between and beyond are always held out too.
    margin: calibrated states beyond HRS and LRS, as a factor on either side.

    Polynomials are tried first and a table of the transistor where they miss the target, each in
    finer grades until one is good enough; the best is returned with the errors it has, and
    `on_target` says whether they are as small as they are meant to be. Repeated calls return the
    same surface.

    Raises InputError for a cell that is its memory alone, an empty range, a range that lacks 0 V or
    leaves the memory's, levels outside [HRS, LRS], or a cell whose fitted current does not rise;
    MissingToolError without ngspice.
    """
    return _calibrated(cell, v_low, v_high, levels, margin)


@functools.lru_cache(maxsize=32)
def _calibrated(
    cell: Cell, v_low: float, v_high: float, levels: tuple[float, ...] | None, margin: float
) -> CellSurface:
    require_calibrated(cell)
    if not v_low <= 0 <= v_high or v_low == v_high:
        raise InputError(
            f"calibrate_surface: [{v_low!r}, {v_high!r}] V must be a range that holds 0 V, where "
            "columns are sensed."
        )
    cell.rram.secant_factor(v_high - v_low)  # raises beyond the memory's fitted range
    low, high = cell.reach(margin)
    hrs, lrs = cell.rram.g_hrs, cell.rram.g_lrs * cell.n_rram
    levels = (hrs, lrs) if levels is None else levels
    outside = [g for g in levels if not low <= g <= high]
    if outside:
        raise InputError(
            f"calibrate_surface: level {outside[0]:.6g} S lies outside the states from {low:.6g} S "
            f"to {high:.6g} S that are calibrated for HRS {hrs:.6g} S and LRS {lrs:.6g} S."
        )
    truth = _HeldOut(cell, v_low, v_high, levels, (low, high))
    extremes = np.array([v_low, v_high]), np.array([v_low, v_high])
    both, _ = measure_currents(cell, *extremes, np.full(2, lrs))
    common = {
        "cell": repr(cell),
        "cell_id": cell.calibrated_as,
        "netlist_sha256": netlist_sha256(cell),
        "v_gate": 0.0 if cell.gate is None else cell.gate.v,
        "v_low": v_low,
        "v_high": v_high,
        "g_low": low,
        "g_high": high,
        "full_scale": float(both.max()),
        "source": truth.source,
        "options": NONLINEAR_OPTIONS,
    }
    best: CellSurface | None = None
    forms: list[Iterator[CellSurface]] = [_polynomials(cell, common)]
    forms += [_series(cell, common, side) for side in cell.memory_sides]
    for form in forms:
        before = np.inf
        for surface in form:
            if not _is_monotone(surface):
                continue
            surface = replace(surface, errors=truth.errors(surface))
            worst = max(surface.held_out_max / TARGET_MAX, surface.held_out_p99 / TARGET_P99)
            if best is None or surface.held_out_max < best.held_out_max:
                best = surface
            if worst <= GOOD_ENOUGH or worst > WORTH_IT * before:
                break
            before = worst
        if best is not None and best.on_target:
            return best
    if best is None:
        raise InputError(
            f"the fitted current of {cell!r} does not rise everywhere between {v_low} V and "
            f"{v_high} V; narrow the range or raise the gate voltage."
        )
    return best
