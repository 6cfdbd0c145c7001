"""Resistive memories: what they are electrically, in Python and in SPICE.

Each model states where its numbers come from and refuses values that have no physical meaning. Its
`current` and `slope` are the Python twin of what `netlists.spice` writes; a contract test holds
them together.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.errors import InputError

FloatArray = NDArray[np.float64]


def require_positive(owner: str, **values: float) -> None:
    """Raise `InputError` naming the first value that is not a positive finite number."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise InputError(f"{owner}: {name}={value!r} must be a positive finite number.")


@dataclass(frozen=True, kw_only=True)
class _TwoStates:
    """The two states that every memory here has."""

    r_lrs: float = 10e3
    r_hrs: float = 1e6

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_positive(owner, r_lrs=self.r_lrs, r_hrs=self.r_hrs)
        if self.r_lrs >= self.r_hrs:
            raise InputError(
                f"{owner}: r_lrs={self.r_lrs!r} must be below r_hrs={self.r_hrs!r}; "
                "swap them if they were exchanged."
            )

    @property
    def g_lrs(self) -> float:
        """Conductance of the on state, S."""
        return 1.0 / self.r_lrs

    @property
    def g_hrs(self) -> float:
        """Conductance of the off state, S."""
        return 1.0 / self.r_hrs


@dataclass(frozen=True, kw_only=True)
class OhmicRram(_TwoStates):
    """A resistive memory that obeys Ohm's law between its two states.

    r_lrs: resistance of the low-resistance (on) state, ohm.
    r_hrs: resistance of the high-resistance (off) state, ohm.

    Source: the two-state abstraction used by all five papers that the toolkit checks; 10 kohm and
    1 Mohm are the values of the toolkit's reference tile.
    """

    def current(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """Current, A, at voltages v, V, in states g, S, broadcast together."""
        return np.multiply(v, g, dtype=np.float64)

    def slope(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """dI/dv, S."""
        return np.array(np.broadcast_arrays(np.asarray(g, np.float64), v)[0])

    def secant_factor(self, v: float) -> float:
        """Conductance I/v over the state's g: 1, the state is the conductance."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class SinhRram(_TwoStates):
    """A resistive memory whose current bends upwards: I = g v0 sinh(v / v0).

    r_lrs, r_hrs: small-signal resistances of the two states, ohm; the state is g = dI/dv at 0 V.
    v0: scale of the bend, V.  v_max: largest |v| at which the model was fitted, V: reading, below
    any switching; beyond it the twin refuses to answer.

    Source: Guan, Yu, Wong, "A SPICE compact model of metal oxide resistive switching memory with
    variations", IEEE Electron Device Letters 33 (2012) 1405: I = I0 exp(-gap/gap0) sinh(V/V0) with
    V0 = 0.25 V; the prefactor I0 exp(-gap/gap0) is g v0 here. The resistances are the toolkit's
    reference tile's, as for OhmicRram.
    """

    v0: float = 0.25
    v_max: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("SinhRram", v0=self.v0, v_max=self.v_max)
        if self.v_max > 40 * self.v0:
            raise InputError(
                f"SinhRram: v_max={self.v_max!r} V is more than 40 times v0={self.v0!r} V, where "
                "sinh has no physical meaning; lower v_max."
            )

    def _checked(self, v: ArrayLike) -> FloatArray:
        volts = np.asarray(v, dtype=np.float64)
        # A rounding error beyond the limit is the limit.
        if not (np.abs(volts) <= self.v_max * (1 + 1e-12)).all():
            worst = float(volts.flat[np.argmax(np.abs(volts))])
            raise InputError(
                f"SinhRram: {worst:.6g} V across the memory exceeds the fitted range of "
                f"+-{self.v_max!r} V; lower the input or give a model fitted further."
            )
        return volts

    def current(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """Current, A, at voltages v, V, in states g, S; raises InputError beyond v_max."""
        return np.asarray(np.asarray(g) * self.v0 * np.sinh(self._checked(v) / self.v0))

    def slope(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """dI/dv, S; raises InputError beyond v_max."""
        return np.asarray(np.asarray(g) * np.cosh(self._checked(v) / self.v0))

    def secant_factor(self, v: float) -> float:
        """Conductance I/v at a voltage over the state's g."""
        u = float(self._checked(v)) / self.v0
        return math.sinh(u) / u if u else 1.0


Rram = OhmicRram | SinhRram
