"""DAC and ADC: uniform converters that count what they clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from netlists.errors import InputError


def _require_bits(owner: str, bits: int | None) -> None:
    if bits is not None and not 1 <= bits <= 24:
        raise InputError(
            f"{owner}: bits={bits} must lie in 1..24, or be left out for no converter."
        )


@dataclass(frozen=True, kw_only=True)
class Dac:
    """Digital input x in [0, x_max] -> voltage in [0, v_read]; bits=None is continuous."""

    bits: int | None
    x_max: float
    v_read: float

    def __post_init__(self) -> None:
        _require_bits("Dac", self.bits)
        if not 0 < self.x_max < float("inf"):
            raise InputError(f"Dac: x_max={self.x_max!r} must be positive and finite.")

    def __call__(self, x: Tensor) -> Tensor:
        """Voltages of non-negative inputs, same shape; inputs above x_max saturate."""
        fraction = x.clamp(0.0, self.x_max) / self.x_max
        if self.bits is not None:
            levels = 2**self.bits - 1
            fraction = torch.round(fraction * levels) / levels
        return fraction * self.v_read

    def clipped(self, x: Tensor) -> int:
        """How many inputs lie above x_max."""
        return int((x.detach() > self.x_max * (1 + 1e-9)).sum())


@dataclass(frozen=True, kw_only=True)
class Adc:
    """Column current in [0, i_max] -> the current its code stands for; bits=None is continuous."""

    bits: int | None
    i_max: float

    def __post_init__(self) -> None:
        _require_bits("Adc", self.bits)
        if not 0 < self.i_max < float("inf"):
            raise InputError(f"Adc: i_max={self.i_max!r} A must be positive and finite.")

    @property
    def step(self) -> float:
        """One code, A; NaN without a converter."""
        return float("nan") if self.bits is None else self.i_max / (2**self.bits - 1)

    def __call__(self, i: Tensor) -> Tensor:
        """Quantised currents, same shape; currents above i_max saturate."""
        if self.bits is None:
            return i
        code = i.clamp(0.0, self.i_max).mul_(1.0 / self.step).round_()
        return code.mul_(self.step)

    def clipped(self, i: Tensor) -> int:
        """How many currents saturate."""
        limit = self.i_max + 0.5 * self.step
        if self.bits is None or not i.numel() or float(i.detach().max()) <= limit:
            return 0
        return int((i > limit).sum())
