"""What a pulse does to many memories at once: the fast twin of `netlists.write_deck` in ngspice.

The state of a memory obeys dx/dt = strength(v) window(x). In the coordinate u with du = dx / window
the ends disappear, du/dt = strength(v), and a pulse of known voltage is one addition:

    x -> u(x) -> u + integral of strength(v(t)) -> x

exact for a bare memory, at any number of pulses at once. Behind a transistor the memory sees a
fraction of the pulse that depends on its state. It is measured in ngspice, static, at the pulse's
height; a pulse then is a few Runge-Kutta steps, which u keeps smooth. What this leaves out, charge
in the transistor and how the fraction varies along an edge, is in the error against ngspice's own
transients that `pulse_agreement` measures.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from circuitsim.cells.measure import measure_currents
from netlists.arrays import FloatArray, IntArray
from netlists.cells import Cell
from netlists.devices import Deviation, DynamicRram
from netlists.pulse_deck import Pulse, writable

END = 1e-9  # nearest approach to either end of the state
NODES = 4001
STATES = 65  # samples of the fraction of a pulse that a memory sees behind a transistor
SUBSTEPS = 2  # Runge-Kutta steps of a pulse behind a transistor


@dataclass(frozen=True, eq=False)
class Travel:
    """u(x) and x(u) for a state that moves one way; u is 0 in the middle."""

    u_of_x: CubicHermiteSpline  # over the logit of x
    x_of_u: CubicHermiteSpline  # the logit of x

    def there(self, x: FloatArray) -> FloatArray:
        """u at states x, any shape."""
        inside = np.clip(x, END, 1 - END)
        return np.asarray(self.u_of_x(np.log(inside / (1 - inside))))

    def back(self, u: FloatArray) -> FloatArray:
        """x at u; beyond the table it is the table's end."""
        low, high = self.x_of_u.x[0], self.x_of_u.x[-1]
        return np.asarray(1 / (1 + np.exp(-self.x_of_u(np.clip(u, low, high)))))


@functools.lru_cache(maxsize=32)
def travel(rram: DynamicRram, *, rising: bool) -> Travel:
    """The table of a memory, by Gauss quadrature over the logit y of x: du = x (1 - x) dy / window.

    Nodes are spaced evenly in y, which resolves both ends.
    """
    end = np.log((1 - END) / END)
    y = np.linspace(-end, end, NODES)

    def slope(at: FloatArray) -> FloatArray:
        x = 1 / (1 + np.exp(-at))
        away = 1 / (1 + np.exp(at))
        # The window near its end is as small as the distance from it and must not round to 0.
        return x * away / np.maximum(rram.window(x, rising=rising), 1e-12)

    points, weights = np.polynomial.legendre.leggauss(6)
    half = (y[1] - y[0]) / 2
    inner = slope(y[:-1, None] + half * (1 + points))
    u = np.concatenate([[0.0], np.cumsum(half * (inner @ weights))])
    u -= u[NODES // 2]
    return Travel(CubicHermiteSpline(y, u, slope(y)), CubicHermiteSpline(u, y, 1 / slope(y)))


@functools.lru_cache(maxsize=32)
def seen_fraction(cell: Cell, height: float, *, rising: bool) -> FloatArray | None:
    """Fraction of a pulse's height that the memory sees at each node of `travel`, by ngspice.

    None where the memory stands alone. Raises InputError for a cell that cannot be written,
    MissingToolError without ngspice.
    """
    rram = writable(cell)
    if cell.is_bare:
        return None
    low, high = rram.conductance([1e-4, 1.0]).tolist()
    g = np.geomspace(low, high, STATES)
    volts = np.array([height]), np.zeros(STATES)
    if (rram.set_sign > 0) != rising:
        volts = np.zeros(1), np.full(STATES, height)
    i, _ = measure_currents(cell, *volts, g)
    fraction = CubicSpline(np.log(g), np.abs(rram.drop(i[0], g)) / height)
    path = travel(rram, rising=rising)
    nodes = rram.conductance(path.back(path.x_of_u.x))
    return np.asarray(fraction(np.log(np.clip(nodes, low, high))))


@dataclass(frozen=True, kw_only=True)
class PulseTwin:
    """Pulses on cells of one kind, each memory by itself between two ideal lines.

    cell: OneR or OneTransistorOneR; its v_gate is the gate voltage while writing.
    """

    cell: Cell

    def apply(
        self,
        x: FloatArray,
        pulse: Pulse,
        count: IntArray,
        deviation: Deviation,
        *,
        rising: bool,
    ) -> FloatArray:
        """States x [n] after `count` [n] equal pulses that raise (or lower) them.

        Raises InputError for a cell that cannot be written, MissingToolError where a transistor's
        share must be measured and there is no ngspice.
        """
        rram = writable(self.cell)
        fraction = seen_fraction(self.cell, pulse.height, rising=rising)
        path = travel(rram, rising=rising)
        sign = rram.set_sign * (1 if rising else -1)
        u = path.there(x)
        nodes = path.x_of_u.x

        def gain(at: FloatArray) -> FloatArray:
            """Change of u by a pulse during which the state stays at u."""
            part = 1.0 if fraction is None else np.interp(at, nodes, fraction)
            top = np.asarray(sign * pulse.height * part)
            flat, edge = rram.strength(top, deviation), rram.mean_strength(top, deviation)
            return pulse.width * flat + 2 * pulse.edge * edge

        if fraction is None:
            return np.where(count > 0, path.back(u + count * gain(u)), x)
        h = 1 / SUBSTEPS
        for k in range(int(np.max(count, initial=0))):
            after = u
            for _ in range(SUBSTEPS):
                first = gain(after)
                second = gain(after + h / 2 * first)
                third = gain(after + h / 2 * second)
                fourth = gain(after + h * third)
                after = after + h / 6 * (first + 2 * second + 2 * third + fourth)
            u = np.where(k < count, after, u)
        return np.where(count > 0, path.back(u), x)
