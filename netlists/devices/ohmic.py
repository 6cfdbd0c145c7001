"""The memory of the papers: a resistor with two values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.devices.rram import DeviceCard, Rram


@dataclass(frozen=True, kw_only=True)
class OhmicRram(Rram):
    """A resistive memory that obeys Ohm's law between its two states.

    Source: the two-state abstraction used by all five papers that the toolkit checks; 10 kohm and
    1 Mohm are the values of the toolkit's reference tile.
    """

    @property
    def v_max(self) -> float:
        """No limit, V."""
        return float("inf")

    @property
    def is_ohmic(self) -> bool:
        """It is."""
        return True

    @property
    def bend(self) -> tuple[float, float]:
        """None in either direction."""
        return 0.0, 1.0

    def current(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """See `Rram.current`."""
        return np.multiply(self.checked(v), g, dtype=np.float64)

    def slope(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """See `Rram.slope`."""
        return np.array(np.broadcast_arrays(np.asarray(g, np.float64), self.checked(v))[0])

    def read_card(self) -> DeviceCard:
        """See `Rram.read_card`; netlists of tiles write the resistor without it."""
        return DeviceCard(
            name="ohmicrram", ports=("a", "b"), arguments={"g": 1.0}, elements=("r1 a b {1/g}",)
        )
