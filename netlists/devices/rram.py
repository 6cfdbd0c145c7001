"""What every resistive memory is: two states, a current with its slope, and a SPICE card."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.errors import InputError

SMALLEST, LARGEST = 1e-6, 1e18  # ohm of a memory; beyond, a double resolves no tile


def require_positive(owner: str, **values: float) -> None:
    """Raise `InputError` naming the first value that is not a positive finite number."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise InputError(f"{owner}: {name}={value!r} must be a positive finite number.")


@dataclass(frozen=True, kw_only=True)
class DeviceCard:
    """A device as a SPICE subcircuit, as data; `netlists.spice` writes it.

    ports: node names.  arguments: what an instance may set, with defaults.  constants: the model's
    numbers.  elements: lines that take both in braces, because braces keep full doubles and
    literals in B sources do not. What stands in braces is pasted without brackets of its own.
    """

    name: str
    ports: tuple[str, ...]
    arguments: dict[str, float]
    elements: tuple[str, ...]
    constants: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Rram(ABC):
    """A resistive memory between a drive-side and a sense-side terminal.

    Its state is g, the conductance at small positive voltage, S. `current` and `slope` are the
    Python twin of `read_card`; a contract test holds them together.

    r_lrs: resistance of the low-resistance (on) state, ohm.
    r_hrs: resistance of the high-resistance (off) state, ohm.
    """

    r_lrs: float = 10e3
    r_hrs: float = 1e6

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_positive(owner, r_lrs=self.r_lrs, r_hrs=self.r_hrs)
        for name in ("r_lrs", "r_hrs"):
            if not SMALLEST <= getattr(self, name) <= LARGEST:
                raise InputError(
                    f"{owner}: {name}={getattr(self, name)!r} ohm is no memory's; give a value "
                    f"from {SMALLEST:g} to {LARGEST:g}."
                )
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

    @property
    @abstractmethod
    def v_max(self) -> float:
        """Largest |v| at which the state can be read, V; beyond it the twin refuses to answer."""

    @property
    def is_ohmic(self) -> bool:
        """Whether its current is g times its voltage: netlists then write a resistor."""
        return False

    @property
    def bend(self) -> tuple[float, float] | None:
        """(b, backward) where I = g sinh(b v) / b forward and `backward` times that backward, 1/V.

        b is 0 for Ohm's law. None for a current of another form, which a calibration by parts
        cannot take.
        """
        return None

    def checked(self, v: ArrayLike) -> FloatArray:
        """The voltages, V; raises InputError beyond v_max."""
        volts = np.asarray(v, dtype=np.float64)
        # A rounding error beyond the limit is the limit.
        if not (np.abs(volts) <= self.v_max * (1 + 1e-12)).all():
            worst = float(volts.flat[np.argmax(np.abs(volts))])
            raise InputError(
                f"{type(self).__name__}: {worst:.6g} V across the memory exceeds the fitted range "
                f"of +-{self.v_max!r} V; lower the input or give a model fitted further."
            )
        return volts

    @abstractmethod
    def current(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """Current, A, at voltages v, V, in states g, S, broadcast together.

        Raises InputError beyond v_max.
        """

    @abstractmethod
    def slope(self, v: ArrayLike, g: ArrayLike) -> FloatArray:
        """dI/dv, S; raises InputError beyond v_max."""

    def secant_factor(self, v: float) -> float:
        """Conductance I/v at a voltage over the state's g; raises InputError beyond v_max."""
        return float(self.current(v, 1.0)) / v if v else 1.0

    @abstractmethod
    def read_card(self) -> DeviceCard:
        """The device with its state frozen: ports a and b, argument g in S."""
