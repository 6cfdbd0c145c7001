"""DAC and ADC: uniform converters that count what they clip."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from netlists.errors import InputError

MAX_BITS = 24


def _require_bits(owner: str, bits: int | None) -> None:
    if bits is not None and not 1 <= bits <= MAX_BITS:
        raise InputError(
            f"{owner}: bits={bits} must lie in 1..{MAX_BITS}, or be left out for no converter."
        )


@dataclass(frozen=True, kw_only=True)
class Dac:
    """Digital input x in [0, x_max] -> voltage in [0, v_read].

    bits=None is no converter: any voltage, in proportion to x, without saturation.

    serial: inputs enter one bit at a time, as 0 V or v_read, and the converted currents of the
    bits are shifted and added. With bits=1 inputs are 0 or x_max, and signed ones -x_max or x_max.
    """

    bits: int | None
    x_max: float
    v_read: float
    serial: bool = False

    def __post_init__(self) -> None:
        _require_bits("Dac", self.bits)
        if self.serial and self.bits is None:
            raise InputError("Dac: bit-serial inputs need a number of bits; set bits.")
        if not 0 < self.x_max < float("inf"):
            raise InputError(f"Dac: x_max={self.x_max!r} must be positive and finite.")

    def __call__(self, x: Tensor) -> Tensor:
        """Voltages of non-negative inputs, same shape; inputs above x_max saturate."""
        if self.bits is None:
            return x * (self.v_read / self.x_max)
        levels = 2**self.bits - 1
        fraction = x.clamp(0.0, self.x_max) / self.x_max
        volts: Tensor = torch.round(fraction * levels) / levels * self.v_read
        return volts

    def reads(self, x: Tensor) -> Iterator[tuple[float, Tensor]]:
        """(weight, voltages) of every read of x >= 0; their weighted sum is `self(x)`."""
        if not self.serial or self.bits is None:
            yield 1.0, self(x)
            return
        levels = 2**self.bits - 1
        codes = torch.round(x.clamp(0.0, self.x_max) * (levels / self.x_max)).to(torch.int32)
        for k in range(self.bits):
            yield 2**k / levels, ((codes >> k) & 1).to(x.dtype) * self.v_read

    def clipped(self, x: Tensor) -> int:
        """How many inputs lie above x_max."""
        return 0 if self.bits is None else int((x.detach() > self.x_max * (1 + 1e-9)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Adc:
    """Column current in [0, i_max] -> the current its code stands for; bits=None is continuous.

    i_max: A; one range for all, or a tensor [reads, columns] with a range for every column.
    """

    bits: int | None
    i_max: float | Tensor

    def __post_init__(self) -> None:
        _require_bits("Adc", self.bits)
        smallest, largest = self._ends()
        if not (smallest > 0 and largest < float("inf")):
            raise InputError(
                f"Adc: i_max={smallest if smallest <= 0 else largest!r} A must be positive "
                "and finite."
            )

    def _ends(self) -> tuple[float, float]:
        if isinstance(self.i_max, Tensor):
            return float(self.i_max.min()), float(self.i_max.max())
        return self.i_max, self.i_max

    @property
    def full_scale(self) -> float:
        """The range, A, the largest where ranges differ."""
        return self._ends()[1]

    @property
    def step(self) -> float:
        """One code, A, the largest where ranges differ; NaN without a converter."""
        return float("nan") if self.bits is None else self.full_scale / (2**self.bits - 1)

    def of_read(self, read: int) -> "Adc":
        """The converters of one set of tiles."""
        return replace(self, i_max=self.i_max[read]) if isinstance(self.i_max, Tensor) else self

    def __call__(self, i: Tensor) -> Tensor:
        """Quantised currents, same shape; currents above i_max saturate."""
        return self.convert(i.clone())[0]

    def convert(self, i: Tensor) -> tuple[Tensor, int]:
        """(quantised currents, how many saturated); i [..., columns] is overwritten."""
        if self.bits is None:
            return i, 0
        top = 2**self.bits - 1
        i_max = self.i_max
        step = (i_max.to(i) if isinstance(i_max, Tensor) else i_max) / top
        code = i.div_(step).round_()
        highest = float(code.detach().max()) if code.numel() else 0.0
        clipped = int((code > top).sum()) if highest > top else 0
        return code.clamp_(0.0, top).mul_(step), clipped

    def clipped(self, i: Tensor) -> int:
        """How many currents saturate."""
        return self.convert(i.clone())[1]
