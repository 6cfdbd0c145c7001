"""Cells whose transistor is not gated as it should be: shorted, or with its gate cut off.

A shorted transistor leaves the memory in series with a resistor: the memory's own equation says
all. A gate that is cut off stands at ground, and what the transistor then lets through is measured
in ngspice on the emitted netlist of such a cell, like any calibration.
"""

import functools
from dataclasses import replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from circuitsim.cells.calibrate_secant import MARGIN, margin_for
from circuitsim.cells.measure import measure_currents
from circuitsim.cells.polynomial import PolynomialSurface, term_powers
from circuitsim.cells.surface import SLACK, CellSurface, StateError
from netlists.arrays import FloatArray
from netlists.cells import Cell
from netlists.defects import Defects
from netlists.devices import Rram
from netlists.errors import InputError
from netlists.spice import NONLINEAR_OPTIONS
from netlists.tile import Access

DEGREE, STATE_DEGREE = 10, 4  # of an off surface, in the voltages and in the state
SAMPLES, STATES, HELD_OUT = 24, 7, 24
NOTHING = 1e-12  # current, of the cell's when it is on, below which an off cell carries none
GOOD_ENOUGH = 1e-5  # held-out error, of the same, beyond which an off surface is refused

SHORTED_TAIL, MOST_DEGREE = 1e-10, 16  # last coefficients, of the largest, of a shorted cell's fit


def shorted_current(rram: Rram, g: ArrayLike, r: float, v: ArrayLike) -> FloatArray:
    """Current, A, of memories of states g, S, in series with r ohm, at v, V; g and v broadcast.

    The memory's share of v is found by bisection: its current rises with its voltage, whatever the
    model. Raises InputError beyond the fitted range of the memory.
    """
    states, volts = np.broadcast_arrays(np.asarray(g, float), np.asarray(v, float))
    if rram.is_ohmic:
        return np.asarray(volts * states / (1 + states * r))
    if r == 0:
        return rram.current(volts, states)
    low, high = np.minimum(volts, 0.0), np.maximum(volts, 0.0)
    for _ in range(64):
        middle = (low + high) / 2
        above = middle + r * rram.current(middle, states) > volts
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return rram.current((low + high) / 2, states)


def _with_gates_cut(
    cell: Cell, v_drive: FloatArray, v_sense: FloatArray, g: FloatArray
) -> tuple[FloatArray, str]:
    """As `measure_currents`, of cells whose gates no driver reaches."""
    n = len(g)
    cut = Defects(rows=1, cols=n, open_gate=np.ones((1, n), dtype=bool))
    return measure_currents(cell, v_drive, v_sense, g, defects=cut)


def off_surface(
    cell: Cell, v_low: float, v_high: float, *, margin: float = MARGIN
) -> PolynomialSurface:
    """What a cell with its gate at ground conducts, both lines within [v_low, v_high], V.

    A transistor that lets nothing through gives a surface of zeros. The errors that it carries are
    relative to the current of the cell when it is on, which is what they are added to.

    Raises InputError where the transistor goes from off to on within the range, as it does when a
    line is a threshold below ground: no polynomial follows that.
    """
    return _off_surface(cell, v_low, v_high, margin)


@functools.lru_cache(maxsize=32)
def _off_surface(cell: Cell, v_low: float, v_high: float, margin: float) -> PolynomialSurface:
    v_low, v_high = min(v_low, 0.0), max(v_high, 0.0)
    low, high = cell.reach(margin)
    full_scale = cell.rram.g_lrs * cell.n_rram * (v_high - v_low)
    scale = 2.0 / (v_high - v_low)

    v = v_low + (v_high - v_low) * (1 - np.cos(np.pi * np.arange(SAMPLES) / (SAMPLES - 1))) / 2
    states = np.geomspace(low, high, STATES)
    sense, g = (a.ravel() for a in np.meshgrid(v, states, indexing="ij"))
    i, source = _with_gates_cut(cell, v, sense, g)
    drop = v[:, None] - sense
    lower = np.minimum(v[:, None], sense)
    apart = np.abs(drop) > 1e-6 / scale
    conducted = float(np.max(np.abs(i[apart] / drop[apart])))
    blank = PolynomialSurface(
        cell=repr(cell),
        cell_id=cell.calibrated_as,
        netlist_sha256="",
        v_gate=0.0,
        v_low=v_low,
        v_high=v_high,
        g_low=low,
        g_high=high,
        r_series=1.0 / max(conducted, NOTHING * cell.rram.g_hrs),
        degree=DEGREE,
        coefficients=np.zeros((2, STATE_DEGREE + 1, len(term_powers(DEGREE)))),
        full_scale=full_scale,
        source=source,
        options=NONLINEAR_OPTIONS,
    )
    if np.abs(i).max() <= NOTHING * full_scale:
        return blank

    share = g * blank.r_series / (1 + g * blank.r_series)
    a, b = term_powers(DEGREE).T
    branches = []
    for sign in (1, -1):
        some = np.nonzero(apart & (sign * drop > 0))
        d, t = drop[some], lower[some]
        in_volts = chebyshev.chebvander(scale * np.abs(d) - 1, DEGREE)[:, a]
        in_volts *= chebyshev.chebvander(scale * (t - v_low) - 1, DEGREE)[:, b]
        in_state = chebyshev.chebvander(2 * share[some[1]] - 1, STATE_DEGREE)
        basis = (in_state[:, :, None] * in_volts[:, None, :]).reshape(len(d), -1)
        weight = d * share[some[1]] / blank.r_series
        found = np.linalg.lstsq(basis * weight[:, None] / full_scale, i[some] / full_scale)[0]
        branches.append(found.reshape(-1, len(a)))
    surface = replace(blank, coefficients=np.stack(branches))

    rng = np.random.default_rng(0)
    drive, sense = rng.uniform(v_low, v_high, (2, HELD_OUT))
    g = np.exp(rng.uniform(np.log(low), np.log(high), HELD_OUT))
    truth, _ = _with_gates_cut(cell, drive, sense, g)
    error = np.abs(surface(drive[:, None], sense, g) - truth) / full_scale
    if not error.max() <= GOOD_ENOUGH:
        raise InputError(
            f"between {v_low:.6g} V and {v_high:.6g} V a transistor of {cell!r} with its gate cut "
            "off goes from off to on, which no off-state surface follows; narrow the inputs."
        )
    told = StateError(
        name="gate cut off",
        g_low=low,
        g_high=high,
        samples=error.size,
        max=float(error.max()),
        p99=float(np.quantile(error, 0.99)),
    )
    return replace(surface, errors=(told,))


def _raised(polynomials: FloatArray, degree: int, to: int) -> FloatArray:
    """The same polynomials [..., terms] written with the terms of a higher degree."""
    every = [tuple(power) for power in term_powers(to).tolist()]
    where = [every.index(tuple(power)) for power in term_powers(degree).tolist()]
    wide = np.zeros((*polynomials.shape[:-1], len(every)))
    wide[..., where] = polynomials
    return wide


def _shorted_polynomials(
    rram: Rram, g: FloatArray, r: float, *, v_span: float, least: int
) -> tuple[FloatArray, int]:
    """(polynomials [n, 2, terms], degree) of memories of states g [n] in series with r ohm.

    Of u alone, as `CellSurface` scales it, for drops up to v_span, V, of the least degree, from
    `least` on, that follows the bend; an ohmic memory is a constant.
    """
    degree = least
    while True:
        nodes = chebyshev.chebpts1(degree + 1)
        drops = v_span * (nodes + 1) / 2
        ratios = np.stack(
            [shorted_current(rram, g[:, None], r, s * drops) / (s * drops) for s in (1, -1)], axis=1
        )
        fitted = np.linalg.solve(chebyshev.chebvander(nodes, degree), ratios[..., None])[..., 0]
        left = np.abs(fitted[..., -2:]).max() / max(np.abs(fitted).max(), np.finfo(float).tiny)
        if left <= SHORTED_TAIL or degree >= MOST_DEGREE:
            break
        degree += 1
    to_plain = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        to_plain[k, : k + 1] = chebyshev.cheb2poly(np.eye(k + 1)[k])
    powers = term_powers(degree)
    polynomials = np.zeros((*fitted.shape[:2], len(powers)))
    alone = powers[:, 1] == 0
    polynomials[..., alone] = (fitted @ to_plain)[..., powers[alone, 0]]
    return polynomials, degree


def with_defective_cells(
    polynomials: FloatArray,
    degree: int,
    surface: CellSurface,
    *,
    cell: Cell,
    g: FloatArray,
    access: NDArray[np.int8],
    r_short: float,
) -> tuple[FloatArray, int]:
    """Polynomials of a tile [rows, cols, 2, terms] with those of defective cells, and their degree.

    polynomials: of this degree on the range of `surface`, at the states g [rows, cols]; what stands
    at defective cells is replaced.  access: `Access` values [rows, cols].  r_short: of shorted
    transistors, ohm.
    """
    found: list[tuple[NDArray[np.bool_], FloatArray, int]] = []
    off, shorted = access == Access.OFF, access == Access.SHORTED
    if off.any():
        margin = margin_for(cell, g[off], slack=SLACK)
        other = off_surface(cell, surface.v_low, surface.v_high, margin=margin)
        found.append((off, other.polynomials(g[off]), other.degree))
    if shorted.any():
        states, where = np.unique(g[shorted], return_inverse=True)
        fitted, raised = _shorted_polynomials(
            cell.rram,
            states,
            r_short + cell.r_fixed,
            v_span=surface.v_high - surface.v_low,
            least=degree,
        )
        found.append((shorted, fitted[where], raised))
    most = max([degree, *(each for _, _, each in found)])
    result = _raised(polynomials, degree, most)
    result[access == Access.OPEN] = 0.0
    for place, theirs, each in found:
        result[place] = _raised(theirs, each, most)
    return result, most
