"""A calibrated cell as a surface: current over both its voltages and its state, error known."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from netlists.errors import InputError

FORMAT = "xbarverify-surface-1"
FloatArray = NDArray[np.float64]


def term_powers(degree: int) -> NDArray[np.int64]:
    """Powers (a, b) with a + b <= degree, in the order in which Horner's rule meets them."""
    return np.array([(a, b) for a in range(degree, -1, -1) for b in range(degree - a, -1, -1)])


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSurface:
    """I(v_drive, v_sense; g) of one cell at its own gate voltage.

        I = d g_ideal H(u, t, w)       d = v_drive - v_sense,  g_ideal = g / (1 + g r_series)

    The ideal series circuit carries the orders of magnitude and the sign; H, a polynomial close to
    1, carries the rest. u is |d|, t the lower of the two voltages, both scaled to [-1, 1], and
    w = g r_series / (1 + g r_series) the transistor's share of the voltage, so that every state
    lies in (0, 1). Forward and backward current have one H each, because transistor models have a
    kink where drain and source swap. With the state fixed H is a polynomial of u and t alone,
    which is what a tile evaluates for each cell.

    cell: the calibrated cell, as text.  v_low, v_high: range of both voltages, V.
    g_low, g_high: range of the state, S (the sum over parallel memories).  r_series: ohm.
    coefficients: [2 (forward, backward), w, terms], Chebyshev in all three; terms by `term_powers`.
    full_scale: current of the cell with all memories LRS from v_high to v_low, A.
    held_out, held_out_max, held_out_p99: number of random samples that the fit has not seen, and
    its error on them relative to full_scale.  source: the simulator.  options: its tolerances.
    """

    cell: str
    v_low: float
    v_high: float
    g_low: float
    g_high: float
    r_series: float
    degree: int
    coefficients: FloatArray
    full_scale: float
    held_out: int
    held_out_max: float
    held_out_p99: float
    source: str
    options: str
    format: str = field(default=FORMAT)

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise InputError(f"cell surface format {self.format!r} is not {FORMAT!r}; recalibrate.")
        object.__setattr__(self, "coefficients", np.array(self.coefficients, dtype=np.float64))

    @property
    def scale(self) -> float:
        """Du / d|d| = dt / d(lower voltage), 1/V."""
        return 2.0 / (self.v_high - self.v_low)

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
        states = np.asarray(g, dtype=np.float64)
        low, high = self.g_low * (1 - 1e-12), self.g_high * (1 + 1e-12)
        outside = (states != 0) & ~((states >= low) & (states <= high))
        if outside.any():
            raise InputError(
                f"memory conductance {states[outside].flat[0]:.6g} S lies outside the calibrated "
                f"range [{self.g_low:.6g}, {self.g_high:.6g}] S; calibrate a wider range."
            )
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
        drive, sense = np.broadcast_arrays(
            *(np.asarray(a, dtype=np.float64) for a in (v_drive, v_sense))
        )
        slack = 1e-9 * (self.v_high - self.v_low)
        for name, volts in (("v_drive", drive), ("v_sense", sense)):
            inside = (volts >= self.v_low - slack) & (volts <= self.v_high + slack)
            if not inside.all():
                raise InputError(
                    f"{name}={volts[~inside].flat[0]:.6g} V lies outside the calibrated range "
                    f"[{self.v_low:.6g}, {self.v_high:.6g}] V; calibrate a wider range."
                )
        d = drive - sense
        both = self.polynomials(g)
        chosen = np.where((d >= 0)[..., None], both[..., 0, :], both[..., 1, :])
        u = self.scale * np.abs(d) - 1
        t = self.scale * (np.minimum(drive, sense) - self.v_low) - 1
        return d, u, t, chosen

    def __call__(self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike) -> FloatArray:
        """Current from the drive to the sense line, A; the arguments broadcast.

        Raises InputError outside the calibrated range of voltages or states.
        """
        d, u, t, chosen = self._coordinates(v_drive, v_sense, g)
        a, b = term_powers(self.degree).T
        return np.asarray(d * (chosen * u[..., None] ** a * t[..., None] ** b).sum(axis=-1))

    def slopes(
        self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """(dI/dv_drive, -dI/dv_sense), S; both positive where the fit is monotone.

        Raises InputError outside the calibrated range of voltages or states.
        """
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

    def save(self, path: str | Path) -> None:
        """Write the surface as JSON."""
        content = asdict(self) | {"coefficients": self.coefficients.tolist()}
        Path(path).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "CellSurface":
        """Read a surface written by `save`; raises InputError on another format."""
        content = json.loads(Path(path).read_text())
        if content.get("format") != FORMAT:
            raise InputError(
                f"{path}: format {content.get('format')!r} is not {FORMAT!r}; recalibrate."
            )
        return cls(**content)
