"""Cell -> CellSurface, from ngspice sweeps of that very cell over both its voltages and its state.

The sweep is a one-row tile on perfect wires, one column a sample of (sense voltage, state), one
input a sample of the drive voltage: what is measured is what the netlist writer emits for a tile.
"""

import functools
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev

from circuitsim import ngspice
from circuitsim.calibrate import MARGIN, calibrate
from circuitsim.cellsurface import CellSurface, FloatArray, term_powers
from netlists.build import build_circuit
from netlists.cells import Cell, OneR
from netlists.errors import InputError
from netlists.spice import NONLINEAR_OPTIONS
from netlists.tile import Drive, Tile, TileSpec, Wires

# (degree in the voltages, degree in the state, samples of each voltage, samples of the state): the
# first does for a transistor that is well on, the second for one that comes close to saturation.
GRADES = ((6, 7, 14, 11), (11, 13, 26, 19))
GOOD_ENOUGH = 1e-5  # held-out maximum at which no finer grade is tried
FLATNESS = 1e-3  # how far a slope may fall below 0, of the cell's mean conductance
HELD_OUT_DRIVES, HELD_OUT_COLUMNS = 32, 96


def measure_surface(
    cell: Cell, v_drive: FloatArray, v_sense: FloatArray, g_memory: FloatArray
) -> tuple[FloatArray, str]:
    """Currents, A [drives, columns], of one cell, and the simulator's name.

    v_drive: V [drives].  v_sense, g_memory: V and S [columns], g over all memories of the cell.
    """
    n = len(g_memory)
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    spec = TileSpec(rows=1, cols=n, wires=perfect, cell=cell)
    per_device = np.repeat(g_memory / cell.n_rram, cell.n_rram).reshape(spec.g_shape)
    circuit = build_circuit(Tile(spec=spec, g=per_device), Drive(v=v_drive[:, None]))
    volts = circuit.sources.v.copy()
    volts[:, circuit.layout.outputs] = v_sense
    circuit = replace(circuit, sources=replace(circuit.sources, v=volts))
    solution = ngspice.solve_circuit(circuit)
    return solution.i_out, solution.solver


def _fit(
    blank: CellSurface, v_drive: FloatArray, v_sense: FloatArray, g: FloatArray, i: FloatArray
) -> FloatArray:
    """Least-squares coefficients [2, w, terms] from flat samples of every sign of the drop."""
    a, b = term_powers(blank.degree).T
    d = v_drive - v_sense
    ideal = g / (1 + g * blank.r_series)
    share = g * blank.r_series / (1 + g * blank.r_series)
    u = blank.scale * np.abs(d) - 1
    t = blank.scale * (np.minimum(v_drive, v_sense) - blank.v_low) - 1
    branches = []
    for sign in (1, -1):
        # Errors count as currents: a ratio of two tiny numbers near 0 V has few digits.
        weight = np.abs(d) * blank.scale
        some = sign * d > 1e-6 / blank.scale
        in_volts = chebyshev.chebvander(u[some], blank.degree)[:, a]
        in_volts *= chebyshev.chebvander(t[some], blank.degree)[:, b]
        in_state = chebyshev.chebvander(2 * share[some] - 1, blank.coefficients.shape[1] - 1)
        basis = (in_state[:, :, None] * in_volts[:, None, :]).reshape(np.count_nonzero(some), -1)
        ratio = i[some] / (d[some] * ideal[some])
        found = np.linalg.lstsq(basis * weight[some, None], ratio * weight[some], rcond=None)[0]
        branches.append(found.reshape(-1, len(a)))
    return np.stack(branches)


def _is_monotone(surface: CellSurface) -> bool:
    v = np.linspace(surface.v_low, surface.v_high, 41)
    g = np.geomspace(surface.g_low, surface.g_high, 17)
    # A cut-off cell is flat, and a polynomial near 0 may wave by what the fit is off.
    least = -FLATNESS * surface.full_scale / (surface.v_high - surface.v_low)
    slopes = surface.slopes(v[:, None, None], v[:, None], g)
    return all(bool((slope >= least).all()) for slope in slopes)


def _spread(low: float, high: float, n: int) -> FloatArray:
    """N Chebyshev-Lobatto points from low to high."""
    return np.asarray(low + (high - low) * (1 - np.cos(np.pi * np.arange(n) / (n - 1))) / 2)


@functools.lru_cache(maxsize=32)
def calibrate_surface(cell: Cell, v_low: float, v_high: float) -> CellSurface:
    """Calibrate a transistor cell over [v_low, v_high], V, on both of its lines.

    Node voltages of a tile never leave the range that its inputs and 0 V span, so that range is
    enough. A finer grade of fit is tried where the first misses GOOD_ENOUGH; the best is returned
    with the error it has, which near saturation can be larger. Repeated calls return the same
    surface.

    Raises InputError for a cell without a transistor, an empty range, a range that lacks 0 V, or a
    cell whose fitted current does not rise; MissingToolError without ngspice.
    """
    if isinstance(cell, OneR):
        raise InputError("OneR is solved with its own equation; it needs no surface.")
    if not v_low <= 0 <= v_high or v_low == v_high:
        raise InputError(
            f"calibrate_surface: [{v_low!r}, {v_high!r}] V must be a range that holds 0 V, where "
            "columns are sensed."
        )
    rng = np.random.default_rng(0)
    low, high = cell.rram.g_hrs / MARGIN, cell.rram.g_lrs * cell.n_rram * MARGIN
    r_series = calibrate(cell, min(abs(v) for v in (v_low, v_high) if v)).r_series[-1]
    # A subcircuit may hold less than its state suggests; some share must remain to divide by.
    r_series = max(r_series, 0.01 / high)

    fresh_drive = rng.uniform(v_low, v_high, HELD_OUT_DRIVES)
    fresh_sense = rng.uniform(v_low, v_high, HELD_OUT_COLUMNS)
    fresh_g = np.exp(rng.uniform(np.log(low), np.log(high), HELD_OUT_COLUMNS))
    truth, _ = measure_surface(cell, fresh_drive, fresh_sense, fresh_g)
    extremes = np.array([v_low, v_high]), np.array([v_low, v_high])
    both, _ = measure_surface(cell, *extremes, np.full(2, cell.rram.g_lrs * cell.n_rram))

    best: CellSurface | None = None
    for degree, state_degree, n_volts, n_states in GRADES:
        share_low, share_high = (g * r_series / (1 + g * r_series) for g in (low, high))
        share = _spread(share_low, share_high, n_states)
        states = np.clip(share / (1 - share) / r_series, low, high)
        v = _spread(v_low, v_high, n_volts)
        sense, g = (a.ravel() for a in np.meshgrid(v, states, indexing="ij"))
        i, source = measure_surface(cell, v, sense, g)
        blank = CellSurface(
            cell=repr(cell),
            v_low=v_low,
            v_high=v_high,
            g_low=low,
            g_high=high,
            r_series=r_series,
            degree=degree,
            coefficients=np.zeros((2, state_degree + 1, len(term_powers(degree)))),
            full_scale=float(both.max()),
            held_out=truth.size,
            held_out_max=0.0,
            held_out_p99=0.0,
            source=source,
            options=NONLINEAR_OPTIONS,
        )
        at = [np.ravel(a) for a in np.broadcast_arrays(v[:, None], sense, g)]
        surface = replace(blank, coefficients=_fit(blank, at[0], at[1], at[2], i.ravel()))
        if not _is_monotone(surface):
            continue
        found = surface(fresh_drive[:, None], fresh_sense, fresh_g)
        error = np.abs(found - truth) / surface.full_scale
        surface = replace(
            surface,
            held_out_max=float(error.max()),
            held_out_p99=float(np.quantile(error, 0.99)),
        )
        if best is None or surface.held_out_max < best.held_out_max:
            best = surface
        if surface.held_out_max <= GOOD_ENOUGH:
            break
    if best is None:
        raise InputError(
            f"the fitted current of {cell!r} does not rise everywhere between {v_low} V and "
            f"{v_high} V; narrow the range or raise the gate voltage."
        )
    return best
