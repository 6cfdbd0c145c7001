"""Access transistors: SPICE cards, with a Python twin where the equations fit on a page."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.devices import require_positive


@dataclass(frozen=True, kw_only=True)
class Level1Nmos:
    """An n-channel access transistor, SPICE level 1 (Shichman-Hodges), without junction leakage.

    w, l: channel width and length, m.  kp: transconductance parameter, A/V^2.
    vto: threshold, V.  lambda_: channel-length modulation, 1/V.
    gamma: body effect, V^0.5.  phi: surface potential, V.

    Source: generic textbook values for a 0.13 um logic process, not a foundry's card; they give an
    on-resistance of about 0.6 kohm at a gate of 1.2 V.
    """

    level: ClassVar[int] = 1
    blocks: ClassVar[bool] = True  # nothing at all flows below the threshold
    w: float = 1.0e-6
    l: float = 0.13e-6  # noqa: E741  (SPICE's own name)
    kp: float = 300e-6
    vto: float = 0.4
    lambda_: float = 0.05
    gamma: float = 0.3
    phi: float = 0.8

    def __post_init__(self) -> None:
        require_positive("Level1Nmos", w=self.w, l=self.l, kp=self.kp, phi=self.phi)

    @property
    def threshold(self) -> float:
        """Gate voltage, V, below which a grounded-source transistor does not conduct."""
        return self.vto

    def parameters(self) -> dict[str, float]:
        """The card's parameters, by the names SPICE gives them."""
        return {
            "vto": self.vto,
            "kp": self.kp,
            "lambda": self.lambda_,
            "gamma": self.gamma,
            "phi": self.phi,
            "is": 0.0,
        }

    def current(self, v_drain: ArrayLike, v_gate: ArrayLike, v_source: ArrayLike) -> FloatArray:
        """Drain current, A, for voltages against the grounded bulk, V; drain and source may swap.

        The equations of ngspice's mos1load: the lower of the two ends acts as the source.
        """
        drain, gate, source = np.broadcast_arrays(*map(np.asarray, (v_drain, v_gate, v_source)))
        low = np.minimum(drain, source)
        vds = np.abs(drain - source)
        root = np.sqrt(self.phi)
        with np.errstate(invalid="ignore"):
            body = np.where(low >= 0, np.sqrt(self.phi + low), root + low / (2 * root))
        vgst = gate - low - (self.vto + self.gamma * (np.maximum(body, 0.0) - root))
        beta = self.kp * self.w / self.l * (1 + self.lambda_ * vds)
        channel = np.minimum(np.maximum(vgst, 0.0), vds)  # pinched off beyond saturation
        found = beta * channel * (np.maximum(vgst, 0.0) - channel / 2)
        return np.asarray(np.where(drain >= source, found, -found))


@dataclass(frozen=True, kw_only=True)
class Bsim4Nmos:
    """An n-channel access transistor, BSIM4 (SPICE level 54, version 4.8), junctions not leaking.

    w, l: channel width and length, m.  toxe: electrical gate oxide thickness, m.
    vth0: long-channel threshold, V.  u0: low-field mobility, m^2/(V s).
    vsat: saturation velocity, m/s.  rdsw: source and drain resistance of 1 um width, ohm.
    All other parameters are the model's own defaults. What is evaluated is ngspice's BSIM4; there
    is no Python twin of it, the calibrated surface takes that place.

    Source: round values for a 0.13 um logic process in the range of the Predictive Technology Model
    (Zhao and Cao, IEEE Trans. Electron Devices 53 (2006) 2816), not a foundry's card; defaults by
    the BSIM4.8 manual (UC Berkeley).
    """

    level: ClassVar[int] = 54
    blocks: ClassVar[bool] = False
    w: float = 1.0e-6
    l: float = 0.13e-6  # noqa: E741  (SPICE's own name)
    toxe: float = 2.3e-9
    vth0: float = 0.35
    u0: float = 0.045
    vsat: float = 1.1e5
    rdsw: float = 200.0

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in ("w", "l", "toxe", "u0", "vsat")}
        require_positive("Bsim4Nmos", **values)

    @property
    def threshold(self) -> float:
        """Long-channel threshold, V."""
        return self.vth0

    def parameters(self) -> dict[str, float]:
        """The card's parameters, by the names SPICE gives them."""
        return {
            "version": 4.8,
            "toxe": self.toxe,
            "vth0": self.vth0,
            "u0": self.u0,
            "vsat": self.vsat,
            "rdsw": self.rdsw,
            "jss": 0.0,
            "jsws": 0.0,
            "jswgs": 0.0,
        }


Nmos = Level1Nmos | Bsim4Nmos
