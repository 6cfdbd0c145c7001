"""The VTEAM memristor model of Kvatinsky et al."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.devices.dynamic import (
    NOMINAL,
    STATE_CAPACITANCE,
    WRITE_ARGUMENTS,
    Deviation,
    DynamicRram,
    checked_state,
)
from netlists.devices.ohmic import OhmicRram
from netlists.devices.rram import DeviceCard, require_positive
from netlists.errors import InputError


@dataclass(frozen=True, kw_only=True)
class VteamRram(OhmicRram, DynamicRram):
    """Reads by Ohm's law; a wall at depth w of 0 (on) to d (off) moves beyond the thresholds.

        R = r_lrs + (r_hrs - r_lrs) w / d
        dw/dt = k_off (v / v_off - 1)^alpha_off f(w)      above v_off > 0
        dw/dt = k_on (v / v_on - 1)^alpha_on f(w)         below v_on < 0

    The state is x = 1 - w / d; positive voltage switches off. v_on, v_off in V, k_on and k_off in
    m/s, d in m. The window is Biolek's, f = 1 - (distance gone / d)^(2 p), which slows the wall at
    the end that it moves towards and nowhere else.

    Fitted range: reading below either threshold, where the wall does not move.

    Source: Kvatinsky, Ramadan, Friedman, Kolodny, "VTEAM: a general model for voltage-controlled
    memristors", IEEE Trans. Circuits and Systems II 62 (2015) 786, equations 1 to 3; window: Z., D.
    and V. Biolek, Radioengineering 18 (2009) 210. Parameters: the set commonly quoted for VTEAM
    from Talati, Gupta, Mane, Kvatinsky (MAGIC), IEEE Trans. Nanotechnology 15 (2016) 635.
    """

    set_sign: ClassVar[int] = -1
    r_lrs: float = 1e3
    r_hrs: float = 300e3
    v_on: float = -1.5
    v_off: float = 0.3
    k_on: float = -216.2
    k_off: float = 0.091
    alpha_on: float = 4.0
    alpha_off: float = 4.0
    d: float = 3e-9
    p: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("v_off", "k_off", "alpha_on", "alpha_off", "d")
        require_positive("VteamRram", **{name: getattr(self, name) for name in names})
        for name in ("v_on", "k_on"):
            if not -float("inf") < getattr(self, name) < 0:
                raise InputError(f"VteamRram: {name}={getattr(self, name)!r} must be negative.")
        if self.p < 1 or self.p != int(self.p):
            raise InputError(f"VteamRram: p={self.p!r} must be a whole number of at least 1.")

    @property
    def v_max(self) -> float:
        """The lower threshold, V."""
        return min(self.v_off, -self.v_on)

    def drop(self, i: ArrayLike, g: ArrayLike) -> FloatArray:
        """See `DynamicRram.drop`."""
        return np.asarray(np.asarray(i, dtype=np.float64) / np.asarray(g))

    def conductance(self, x: ArrayLike) -> FloatArray:
        """See `DynamicRram.conductance`."""
        w = 1 - np.asarray(x, dtype=np.float64)
        return np.asarray(1.0 / (self.r_lrs + (self.r_hrs - self.r_lrs) * w))

    def state(self, g: ArrayLike) -> FloatArray:
        """See `DynamicRram.state`."""
        with np.errstate(divide="ignore"):
            r = 1.0 / np.asarray(g, dtype=np.float64)
        x = 1 - (r - self.r_lrs) / (self.r_hrs - self.r_lrs)
        return checked_state("VteamRram", x, g)

    def strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """See `DynamicRram.strength`."""
        volts = np.asarray(v, dtype=np.float64)
        v_on = self.v_on * np.asarray(deviation.threshold_set)
        v_off = self.v_off * np.asarray(deviation.threshold_reset)
        up = np.maximum(volts / v_on - 1, 0.0) ** self.alpha_on
        down = np.maximum(volts / v_off - 1, 0.0) ** self.alpha_off
        on = -self.k_on / self.d * np.asarray(deviation.modulation_set)
        off = self.k_off / self.d * np.asarray(deviation.modulation_reset)
        return np.asarray(on * up - off * down)

    def mean_strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """See `DynamicRram.mean_strength`: of (r - 1)^a from 0 to r it is (r - 1)^(a + 1) / (a + 1)
        / r.
        """
        volts = np.asarray(v, dtype=np.float64)
        on = np.maximum(volts / (self.v_on * np.asarray(deviation.threshold_set)), 1.0)
        off = np.maximum(volts / (self.v_off * np.asarray(deviation.threshold_reset)), 1.0)
        up = (on - 1) ** (self.alpha_on + 1) / (self.alpha_on + 1) / on
        down = (off - 1) ** (self.alpha_off + 1) / (self.alpha_off + 1) / off
        k_on = -self.k_on / self.d * np.asarray(deviation.modulation_set)
        k_off = self.k_off / self.d * np.asarray(deviation.modulation_reset)
        return np.asarray(k_on * up - k_off * down)

    def window(self, x: ArrayLike, *, rising: bool) -> FloatArray:
        """See `DynamicRram.window`."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(1 - (x if rising else 1 - x) ** (2 * self.p))

    def write_card(self) -> DeviceCard:
        """See `DynamicRram.write_card`."""
        names = ("v_on", "v_off", "alpha_on", "alpha_off")
        up = "{on*modulation_set}*((v(a,b)/({v_on*threshold_set})-1)**{alpha_on})"
        down = "{off*modulation_reset}*((v(a,b)/({v_off*threshold_reset})-1)**{alpha_off})"
        up += f"*(1-{'*'.join(['v(x)'] * (2 * self.p))})"
        down += f"*(1-{'*'.join(['(1-v(x))'] * (2 * self.p))})"
        return DeviceCard(
            name="vteamwrite",
            ports=("a", "b", "x"),
            arguments=WRITE_ARGUMENTS,
            constants={name: getattr(self, name) for name in names}
            | {
                "r_on": self.r_lrs,
                "r_span": self.r_hrs - self.r_lrs,
                "on": -self.k_on / self.d,
                "off": self.k_off / self.d,
                "c_state": STATE_CAPACITANCE,
            },
            elements=(
                "b1 a b i=v(a,b)/({r_on}+{r_span}*(1-v(x)))",
                "c1 x 0 {c_state}",
                f"b2 0 x i={{c_state}}*(v(a,b) < {{v_on*threshold_set}} ? {up} : "
                f"(v(a,b) > {{v_off*threshold_reset}} ? -{down} : 0))",
            ),
        )
