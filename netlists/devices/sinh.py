"""Memories whose current bends upwards as a hyperbolic sine."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.devices.rram import DeviceCard, Rram, require_positive
from netlists.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SinhConduction(Rram):
    """I = g v0 sinh(v / v0) forward, and `backward` times that where v < 0."""

    @property
    @abstractmethod
    def v0(self) -> float:
        """Scale of the bend, V."""

    @property
    def backward(self) -> float:
        """Current at -v over that at v, without the sign."""
        return 1.0

    @property
    def bend(self) -> tuple[float, float]:
        """(1 / v0, backward)."""
        return 1 / self.v0, self.backward

    def _direction(self, v: FloatArray) -> FloatArray:
        return np.where(v >= 0, 1.0, self.backward)

    def current(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """See `Rram.current`."""
        volts = self.checked(v)
        bent = self._direction(volts) * self.v0 * np.sinh(volts / self.v0)
        return np.asarray(np.asarray(g) * bent)

    def slope(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """See `Rram.slope`; at 0 V the forward one."""
        volts = self.checked(v)
        return np.asarray(np.asarray(g) * self._direction(volts) * np.cosh(volts / self.v0))

    def drop(self, i: ArrayLike, g: ArrayLike) -> FloatArray:
        """Voltage, V, at which a current i, A, flows in state g, S, at any voltage."""
        amperes = np.asarray(i, dtype=np.float64)
        bent = amperes / (self.v0 * np.asarray(g) * self._direction(amperes))
        return np.asarray(self.v0 * np.arcsinh(bent))

    def read_card(self) -> DeviceCard:
        """See `Rram.read_card`."""
        return DeviceCard(
            name="sinhrram",
            ports=("a", "b"),
            arguments={"g": 1.0},
            constants={"v0": self.v0, "backward": self.backward},
            elements=("b1 a b i={g*v0}*(v(a,b) >= 0 ? 1 : {backward})*sinh(v(a,b)/{v0})",),
        )


@dataclass(frozen=True, kw_only=True)
class SinhRram(SinhConduction):
    """A resistive memory whose current bends upwards: I = g v0 sinh(v / v0).

    v0: scale of the bend, V.  v_max: largest |v| at which the model was fitted, V: reading, below
    any switching.

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
