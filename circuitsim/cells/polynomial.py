"""A surface by polynomials: what a transistor that is well on needs, and the fastest to solve."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from circuitsim.cells.surface import CellSurface
from netlists.arrays import FloatArray


def term_powers(degree: int) -> NDArray[np.int64]:
    """Powers (a, b) with a + b <= degree, in the order in which Horner's rule meets them."""
    return np.array([(a, b) for a in range(degree, -1, -1) for b in range(degree - a, -1, -1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class PolynomialSurface(CellSurface):
    """I(v_drive, v_sense; g) of one cell as the ratio to an ideal series circuit.

        I = d g_ideal H(u, t, w)       d = v_drive - v_sense,  g_ideal = g / (1 + g r_series)

    The ideal series circuit carries the orders of magnitude and the sign; H, a polynomial close to
    1, carries the rest. u is |d|, t the lower of the two voltages, both scaled to [-1, 1], and
    w = g r_series / (1 + g r_series) the transistor's share of the voltage, so that every state
    lies in (0, 1). Forward and backward current have one H each, because transistor models have a
    kink where drain and source swap. With the state fixed H is a polynomial of u and t alone,
    which is what a tile evaluates for each cell.

    r_series: ohm.  degree: of the polynomial in u and t together.
    coefficients: [2 (forward, backward), w, terms], Chebyshev in all three; terms by `term_powers`.
    """

    r_series: float
    degree: int
    coefficients: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", np.array(self.coefficients, dtype=np.float64))

    @cached_property
    def _monomials(self) -> FloatArray:
        """Coefficients [2, w, terms] of plain powers of u and t, still Chebyshev in w."""
        powers = term_powers(self.degree)
        plain = np.zeros((self.degree + 1, self.degree + 1))
        for k in range(self.degree + 1):
            plain[k, : k + 1] = chebyshev.cheb2poly(np.eye(k + 1)[k])
        a, b = powers[:, 0], powers[:, 1]
        to_plain = plain[a[:, None], a[None]] * plain[b[:, None], b[None]]
        return np.asarray(self.coefficients @ to_plain)

    def polynomials(self, g: ArrayLike) -> FloatArray:
        """Coefficients [..., 2, terms] with I = d * sum(coefficient u^a t^b), for states g [...].

        A state of 0 S gives 0. Raises InputError outside the calibrated range of states.
        """
        states = self.checked_states(g)
        # Most tiles hold few different states: contract each once.
        distinct, where = np.unique(states, return_inverse=True)
        share = distinct * self.r_series / (1 + distinct * self.r_series)
        basis = chebyshev.chebvander(2 * share - 1, self.coefficients.shape[1] - 1)
        fitted = np.tensordot(basis, self._monomials, axes=(1, 1))
        fitted *= (distinct / (1 + distinct * self.r_series))[:, None, None]
        return np.asarray(fitted[where.reshape(states.shape)])

    def _coordinates(
        self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(d, u, t, polynomial [..., terms] of the branch that d is on)."""
        drive, sense = self._checked_voltages(v_drive, v_sense)
        d = drive - sense
        both = self.polynomials(g)
        chosen = np.where((d >= 0)[..., None], both[..., 0, :], both[..., 1, :])
        u = self.scale * np.abs(d) - 1
        t = self.scale * (np.minimum(drive, sense) - self.v_low) - 1
        return d, u, t, chosen

    def __call__(self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike) -> FloatArray:
        """See CellSurface."""
        d, u, t, chosen = self._coordinates(v_drive, v_sense, g)
        a, b = term_powers(self.degree).T
        return np.asarray(d * (chosen * u[..., None] ** a * t[..., None] ** b).sum(axis=-1))

    def slopes(
        self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """See CellSurface."""
        d, u, t, chosen = self._coordinates(v_drive, v_sense, g)
        a, b = term_powers(self.degree).T
        power_u, power_t = u[..., None] ** a, t[..., None] ** b
        value = (chosen * power_u * power_t).sum(axis=-1)
        by_u = (chosen * a * u[..., None] ** np.maximum(a - 1, 0) * power_t).sum(axis=-1)
        by_t = (chosen * b * power_u * t[..., None] ** np.maximum(b - 1, 0)).sum(axis=-1)
        with_d, with_low = value + self.scale * np.abs(d) * by_u, self.scale * d * by_t
        forward = d >= 0
        return np.where(forward, with_d, with_d + with_low), np.where(
            forward, with_d - with_low, with_d
        )


def fit_polynomials(
    blank: PolynomialSurface,
    v_drive: FloatArray,
    v_sense: FloatArray,
    g: FloatArray,
    i: FloatArray,
) -> FloatArray:
    """Least-squares coefficients [2, w, terms] from currents i [points, states].

    v_drive, v_sense: V [points].  g: S [states].  Every state is sampled at the same voltages, so
    that the fit over voltages and states is one over the voltages after one over the states.
    """
    a, b = term_powers(blank.degree).T
    d = v_drive - v_sense
    share = g * blank.r_series / (1 + g * blank.r_series)
    u = blank.scale * np.abs(d) - 1
    t = blank.scale * (np.minimum(v_drive, v_sense) - blank.v_low) - 1
    in_state = chebyshev.chebvander(2 * share - 1, blank.coefficients.shape[1] - 1)
    branches = []
    for sign in (1, -1):
        # Errors count as currents: a ratio of two tiny numbers near 0 V has few digits.
        weight = (np.abs(d) * blank.scale)[:, None]
        some = sign * d > 1e-6 / blank.scale
        in_volts = chebyshev.chebvander(u[some], blank.degree)[:, a]
        in_volts *= chebyshev.chebvander(t[some], blank.degree)[:, b]
        ratio = i[some] / (d[some, None] * (g / (1 + g * blank.r_series)))
        found = np.linalg.lstsq(in_volts * weight[some], ratio * weight[some], rcond=None)[0]
        branches.append(np.linalg.lstsq(in_state, found.T, rcond=None)[0])
    return np.stack(branches)
