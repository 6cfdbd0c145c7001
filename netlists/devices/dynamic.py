"""Memories that can be written: a state x between 0 (off) and 1 (on) that voltage moves."""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.arrays import FloatArray
from netlists.devices.rram import DeviceCard, Rram
from netlists.errors import InputError

# Capacitance of a write card's state node, F: x is its voltage, and currents stay near 1 A.
STATE_CAPACITANCE = 1e-9
# Smallest factor that a draw may leave of a threshold or modulation.
FLOOR = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Deviation:
    """How devices differ from their model: factors on its parameters, scalars or arrays [...].

    threshold_set, threshold_reset: on the voltages above which the state moves up and down.
    modulation_set, modulation_reset: on how fast it then moves.
    """

    threshold_set: ArrayLike = 1.0
    threshold_reset: ArrayLike = 1.0
    modulation_set: ArrayLike = 1.0
    modulation_reset: ArrayLike = 1.0

    def at(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Deviation":
        """The deviations of the chosen devices alone: a mask [...], or indices where flat [n]."""
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        return Deviation(**{k: v[chosen] if v.ndim else v for k, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class DeviceSpread:
    """Device-to-device spread of thresholds and modulations, each normal about its nominal value.

    threshold, modulation: standard deviations relative to the mean. Set and reset are drawn
    independently; draws are floored at a thousandth of nominal.

    Source: remeco, Section 2.2: V_p from N(4, 0.08) V, so 0.02, and A_p with deviation 0.1 or 0.2
    of its mean 8.16e5.
    """

    threshold: float = 0.02
    modulation: float = 0.1

    def __post_init__(self) -> None:
        for name in ("threshold", "modulation"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InputError(f"DeviceSpread: {name}={value!r} must be finite and at least 0.")

    def draw(self, shape: tuple[int, ...], *, rng: np.random.Generator) -> Deviation:
        """Deviations of an array of devices, each factor of this shape."""

        def factor(sigma: float) -> FloatArray:
            return np.maximum(1 + sigma * rng.standard_normal(shape), FLOOR)

        return Deviation(
            threshold_set=factor(self.threshold),
            threshold_reset=factor(self.threshold),
            modulation_set=factor(self.modulation),
            modulation_reset=factor(self.modulation),
        )


NOMINAL = Deviation()


@dataclass(frozen=True, kw_only=True)
class DynamicRram(Rram):
    """A memory with dynamics: dx/dt = strength(v) window(x), where 0 <= x <= 1.

    set_sign: sign of the voltage, drive side against sense side, that raises x.
    """

    set_sign: ClassVar[int] = 1

    @abstractmethod
    def conductance(self, x: ArrayLike) -> FloatArray:
        """State g, S, at x."""

    @abstractmethod
    def state(self, g: ArrayLike) -> FloatArray:
        """State x for g, S; raises InputError where no x between 0 and 1 has it."""

    @abstractmethod
    def drop(self, i: ArrayLike, g: ArrayLike) -> FloatArray:
        """Voltage, V, at which a current i, A, flows in state g, S; writing included."""

    @abstractmethod
    def strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """dx/dt, 1/s, far from the ends of x; 0 between the thresholds."""

    @abstractmethod
    def mean_strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """Strength, 1/s, averaged over a ramp from 0 to v, V: what a pulse's edge does."""

    @abstractmethod
    def window(self, x: ArrayLike, *, rising: bool) -> FloatArray:
        """Factor from 1 down to 0 by which the ends slow x that rises (set) or falls (reset)."""

    def rate(self, v: ArrayLike, x: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """dx/dt, 1/s, at voltages v and states x."""
        strength = self.strength(v, deviation)
        up, down = self.window(x, rising=True), self.window(x, rising=False)
        return np.asarray(strength * np.where(strength > 0, up, down))

    @abstractmethod
    def write_card(self) -> DeviceCard:
        """The device with its dynamics: ports a, b and x (the state as a voltage).

        Arguments: the four factors of `Deviation`. Where x starts is an initial condition.
        """


WRITE_ARGUMENTS = {f.name: 1.0 for f in fields(Deviation)}


def checked_state(owner: str, x: FloatArray, g: ArrayLike) -> FloatArray:
    """The state x, clipped of rounding errors; raises InputError where it leaves [0, 1]."""
    outside = ~((x >= -1e-9) & (x <= 1 + 1e-9))
    if outside.any():
        worst = np.broadcast_to(np.asarray(g), x.shape)[outside].flat[0]
        raise InputError(f"{owner}: no state between off and on has {worst:.6g} S.")
    return np.asarray(np.clip(x, 0.0, 1.0))
