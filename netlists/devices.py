"""Device models: what a resistive memory and an access transistor are, electrically.

Each model states where its numbers come from and refuses values that have no physical meaning.
"""

from dataclasses import dataclass

from netlists.errors import InputError


def require_positive(owner: str, **values: float) -> None:
    """Raise `InputError` naming the first value that is not a positive finite number."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise InputError(f"{owner}: {name}={value!r} must be a positive finite number.")


@dataclass(frozen=True, kw_only=True)
class OhmicRram:
    """A resistive memory that obeys Ohm's law between its two states.

    r_lrs: resistance of the low-resistance (on) state, ohm.
    r_hrs: resistance of the high-resistance (off) state, ohm.

    Source: the two-state abstraction used by all five papers that the toolkit checks; 10 kohm and
    1 Mohm are the values of the toolkit's reference tile.
    """

    r_lrs: float = 10e3
    r_hrs: float = 1e6

    def __post_init__(self) -> None:
        require_positive("OhmicRram", r_lrs=self.r_lrs, r_hrs=self.r_hrs)
        if self.r_lrs >= self.r_hrs:
            raise InputError(
                f"OhmicRram: r_lrs={self.r_lrs!r} must be below r_hrs={self.r_hrs!r}; "
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
class Level1Nmos:
    """An n-channel access transistor, SPICE level 1 (Shichman-Hodges), without junction leakage.

    w, l: channel width and length, m.  kp: transconductance parameter, A/V^2.
    vto: threshold, V.  lambda_: channel-length modulation, 1/V.
    gamma: body effect, V^0.5.  phi: surface potential, V.

    Source: generic textbook values for a 0.13 um logic process, not a foundry's card; they give an
    on-resistance of about 0.6 kohm at a gate of 1.2 V.
    """

    w: float = 1.0e-6
    l: float = 0.13e-6  # noqa: E741  (SPICE's own name)
    kp: float = 300e-6
    vto: float = 0.4
    lambda_: float = 0.05
    gamma: float = 0.3
    phi: float = 0.8

    def __post_init__(self) -> None:
        require_positive("Level1Nmos", w=self.w, l=self.l, kp=self.kp, phi=self.phi)

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
