"""The generalised memristor model of Yakopcic et al."""

from dataclasses import dataclass, field

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
from netlists.devices.rram import DeviceCard, require_positive
from netlists.devices.sinh import SinhConduction
from netlists.errors import InputError


@dataclass(frozen=True, kw_only=True)
class YakopcicRram(SinhConduction, DynamicRram):
    """I = a1 x sinh(b v) forward, a2 x sinh(b v) backward; x moves beyond the thresholds v_p, -v_n.

        dx/dt = a_p (e^v - e^v_p) f_p(x)         above v_p
        dx/dt = -a_n (e^-v - e^v_n) f_n(x)       below -v_n
        f_p = exp(-alpha_p (x - x_p)) (1 - x) / (1 - x_p)  above x_p, else 1; f_n likewise below
        1 - x_n

    so that the state is g = a1 b x. Lengths of time are s, a1 and a2 in A, b in 1/V, v_p and v_n in
    V, a_p and a_n in 1/s. r_lrs and r_hrs choose the two states and must lie within 0 < x <= 1.

    Fitted range: reading below either threshold, where x does not move.

    Source: Yakopcic, Taha, Subramanyam, Pino, "Generalized memristive device SPICE model and its
    application in circuit design", IEEE Trans. CAD 32 (2013) 1201. The defaults are the device that
    remeco names in Table 2 (Yakopcic et al., "Efficacy of memristive crossbars for neuromorphic
    processors", IJCNN 2014): v_p = 4 V and a_p = 8.16e5 are printed in remeco, Section 2.2, and the
    rest is the set commonly quoted with them. Its off state is the model's initial x = 0.001.
    """

    r_lrs: float = field(default=125e3)
    r_hrs: float = field(default=125e6)
    a1: float = 1.6e-4
    a2: float = 1.6e-4
    b: float = 0.05
    v_p: float = 4.0
    v_n: float = 4.0
    a_p: float = 8.16e5
    a_n: float = 8.16e5
    x_p: float = 0.9897
    x_n: float = 0.9897
    alpha_p: float = 0.2
    alpha_n: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("a1", "a2", "b", "v_p", "v_n", "a_p", "a_n", "alpha_p", "alpha_n")
        require_positive("YakopcicRram", **{name: getattr(self, name) for name in names})
        for name in ("x_p", "x_n"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(
                    f"YakopcicRram: {name}={getattr(self, name)!r} must lie between 0 and 1."
                )
        if self.r_lrs * self.a1 * self.b < 1 - 1e-9:
            raise InputError(
                f"YakopcicRram: r_lrs={self.r_lrs!r} ohm is below the {1 / (self.a1 * self.b):.6g} "
                "ohm that the device has when fully on, 1 / (a1 b); raise r_lrs."
            )

    @classmethod
    def hp_tio2(cls) -> "YakopcicRram":
        """A titanium oxide device whose two directions differ (a1 != a2).

        The set commonly quoted for the model's fit to a device of HP Labs; off state: its initial
        x = 0.02.
        """
        return cls(
            r_lrs=1 / 2.3e-4,
            r_hrs=50 / 2.3e-4,
            a1=2.3e-4,
            a2=3.8e-4,
            b=1.0,
            v_p=1.2,
            v_n=0.6,
            a_p=5.0,
            a_n=30.0,
            x_p=0.7,
            x_n=0.8,
            alpha_p=4.0,
            alpha_n=24.0,
        )

    @property
    def v0(self) -> float:
        """1 / b, V."""
        return 1.0 / self.b

    @property
    def backward(self) -> float:
        """a2 / a1."""
        return self.a2 / self.a1

    @property
    def v_max(self) -> float:
        """The lower threshold, V."""
        return min(self.v_p, self.v_n)

    def conductance(self, x: ArrayLike) -> FloatArray:
        """See `DynamicRram.conductance`."""
        return np.asarray(self.a1 * self.b * np.asarray(x, dtype=np.float64))

    def state(self, g: ArrayLike) -> FloatArray:
        """See `DynamicRram.state`."""
        x = np.asarray(g, dtype=np.float64) / (self.a1 * self.b)
        return checked_state("YakopcicRram", x, g)

    def strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """See `DynamicRram.strength`."""
        volts = np.asarray(v, dtype=np.float64)
        v_p = self.v_p * np.asarray(deviation.threshold_set)
        v_n = self.v_n * np.asarray(deviation.threshold_reset)
        up = np.exp(np.maximum(volts, v_p)) - np.exp(v_p)
        down = np.exp(np.maximum(-volts, v_n)) - np.exp(v_n)
        a_p = self.a_p * np.asarray(deviation.modulation_set)
        a_n = self.a_n * np.asarray(deviation.modulation_reset)
        return np.asarray(a_p * up - a_n * down)

    def mean_strength(self, v: ArrayLike, deviation: Deviation = NOMINAL) -> FloatArray:
        """See `DynamicRram.mean_strength`."""
        volts = np.asarray(v, dtype=np.float64)
        v_p = self.v_p * np.asarray(deviation.threshold_set)
        v_n = self.v_n * np.asarray(deviation.threshold_reset)
        over_p, over_n = np.maximum(volts - v_p, 0.0), np.maximum(-volts - v_n, 0.0)
        up = np.exp(v_p) * (np.expm1(over_p) - over_p)
        down = np.exp(v_n) * (np.expm1(over_n) - over_n)
        a_p = self.a_p * np.asarray(deviation.modulation_set)
        a_n = self.a_n * np.asarray(deviation.modulation_reset)
        length = np.where(volts == 0, 1.0, np.abs(volts))
        return np.asarray((a_p * up - a_n * down) / length)

    def window(self, x: ArrayLike, *, rising: bool) -> FloatArray:
        """See `DynamicRram.window`; equations 5 to 8 of the source."""
        x = np.asarray(x, dtype=np.float64)
        knee, alpha = (self.x_p, self.alpha_p) if rising else (self.x_n, self.alpha_n)
        way = x if rising else 1 - x  # how far x has come
        beyond = np.maximum(way - knee, 0.0)
        return np.asarray(np.exp(-alpha * beyond) * (1 - beyond / (1 - knee)))

    def write_card(self) -> DeviceCard:
        """See `DynamicRram.write_card`."""
        names = ("a1", "a2", "v_p", "v_n", "a_p", "a_n", "x_p", "x_n", "alpha_p", "alpha_n")
        up = "{a_p*modulation_set}*(exp(v(a,b))-{exp(v_p*threshold_set)})"
        up += "*(v(x) > {x_p} ? exp(-{alpha_p}*(v(x)-{x_p}))*(1-v(x))/({1-x_p}) : 1)"
        down = "{a_n*modulation_reset}*(exp(-v(a,b))-{exp(v_n*threshold_reset)})"
        down += "*(v(x) < ({1-x_n}) ? exp({alpha_n}*(v(x)-({1-x_n})))*v(x)/({1-x_n}) : 1)"
        return DeviceCard(
            name="yakopcicwrite",
            ports=("a", "b", "x"),
            arguments=WRITE_ARGUMENTS,
            constants={name: getattr(self, name) for name in names}
            | {"bend": self.b, "c_state": STATE_CAPACITANCE},
            elements=(
                "b1 a b i=v(x)*(v(a,b) >= 0 ? {a1} : {a2})*sinh({bend}*v(a,b))",
                "c1 x 0 {c_state}",
                f"b2 0 x i={{c_state}}*(v(a,b) > {{v_p*threshold_set}} ? {up} : "
                f"(v(a,b) < {{-v_n*threshold_reset}} ? -{down} : 0))",
            ),
        )
