"""DAC and ADC: uniform converters that count what they clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.identity import ByContent
from nnmap.mapping.straight import recorded, rounded, straight

MAX_BITS = 24
Negative = Literal["second read", "negative drive"]


def _require_bits(owner: str, bits: int | None, least: int = 1) -> None:
    if bits is not None and not least <= bits <= MAX_BITS:
        raise InputError(
            f"{owner}: bits={bits} must lie in {least}..{MAX_BITS}, or be left out for no "
            "converter."
        )


@dataclass(frozen=True, kw_only=True)
class Dac:
    """Digital input x -> voltage, x_max at v_read.

    bits=None is no converter: any voltage, in proportion to x, without saturation.

    serial: inputs enter one bit at a time, as 0 V or v_read, and the converted currents of the
    bits are shifted and added. With bits=1 inputs are 0 or x_max, and signed ones -x_max or x_max.

    negative: how a row is driven whose input is negative, or positive on a flipped row. "second
    read": the tile is read once with the positive and once with the negative parts, and the second
    is subtracted after conversion. "negative drive": one read, at voltages of both signs.
    """

    bits: int | None
    x_max: float
    v_read: float
    serial: bool = False
    negative: Negative = "second read"

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
        volts: Tensor = rounded(fraction * levels) / levels * self.v_read
        return volts

    def planes(self, x: Tensor) -> Iterator[tuple[float, Tensor]]:
        """(weight, voltages) of every read of x >= 0; their weighted sum is `self(x)`."""
        if not self.serial or self.bits is None:
            yield 1.0, self(x)
            return
        levels = 2**self.bits - 1
        kept = x.clamp(0.0, self.x_max)
        codes = torch.round(kept.detach() * (levels / self.x_max)).to(torch.int32)
        squares = sum(4**k for k in range(self.bits)) / levels
        for k in range(self.bits):
            bit = ((codes >> k) & 1).to(x.dtype) * self.v_read
            if recorded(x):  # each bit gets its share of the gradient, by its weight
                bit = straight(kept * (self.v_read / self.x_max * 2**k / squares), bit)
            yield 2**k / levels, bit

    @property
    def planes_per_input(self) -> int:
        """Reads that an input of one sign takes."""
        return self.bits if self.serial and self.bits else 1

    def clipped(self, x: Tensor) -> int:
        """How many inputs have a magnitude above x_max."""
        limit = self.x_max * (1 + 1e-9)
        return 0 if self.bits is None else int((x.detach().abs() > limit).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Adc(ByContent):
    """Column current in [0, i_max] -> the current its code stands for; bits=None is continuous.

    i_max: A; one range for all columns, or one per tile and column, [tiles, cols].
    signed: takes currents in [-i_max, i_max], with one of its bits for the sign.
    """

    bits: int | None
    i_max: float | FloatArray
    signed: bool = False

    def __post_init__(self) -> None:
        _require_bits("Adc", self.bits, 2 if self.signed else 1)
        if not isinstance(self.i_max, float | int):
            array = np.array(self.i_max, dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, "i_max", array)
        smallest, largest = float(np.min(self.i_max)), float(np.max(self.i_max))
        if not (smallest > 0 and largest < float("inf")):
            raise InputError(
                f"Adc: i_max={smallest if not smallest > 0 else largest!r} A must be positive "
                "and finite."
            )

    @property
    def full_scale(self) -> float:
        """The range, A, the largest where ranges differ."""
        return float(np.max(self.i_max))

    @property
    def top(self) -> int:
        """The largest code; 0 without a converter."""
        return 0 if self.bits is None else 2 ** (self.bits - self.signed) - 1

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return -self.top if self.signed else 0

    @property
    def step(self) -> float:
        """One code, A, the largest where ranges differ; NaN without a converter."""
        return float("nan") if self.bits is None else self.full_scale / self.top

    def steps(self, tiles: int, cols: int) -> FloatArray:
        """One code of every column, A [tiles, cols]."""
        return np.broadcast_to(np.asarray(self.i_max) / max(self.top, 1), (tiles, cols))

    def convert(self, i: Tensor, step: Tensor) -> tuple[Tensor, int]:
        """(quantised currents, how many saturated); i is overwritten unless gradients pass.

        step: one code of each column, A, broadcast against i.
        """
        if self.bits is None:
            return i, 0
        if recorded(i):
            clips: list[int] = []
            found: Tensor = _Converted.apply(i, step, self, clips)  # type: ignore[no-untyped-call]
            return found, clips[0]
        code = i.div_(step).round_()
        outside = self._outside(code)
        clipped = 0 if outside is None else int(outside.sum())
        return code.clamp_(self.lowest, self.top).mul_(step), clipped

    def _outside(self, code: Tensor) -> Tensor | None:
        """Which codes saturate; None where none does, which takes one pass to see."""
        if not code.numel():
            return None
        ends = code.aminmax()
        if float(ends.max) <= self.top and float(ends.min) >= self.lowest:
            return None
        return (code > self.top) | (code < self.lowest)


class _Converted(torch.autograd.Function):
    """Currents -> what their codes stand for; gradients end at those that saturate."""

    @staticmethod
    def forward(ctx: Any, i: Tensor, step: Tensor, adc: Adc, clips: list[int]) -> Tensor:
        code = (i / step).round_()
        ctx.outside = adc._outside(code)
        clips.append(0 if ctx.outside is None else int(ctx.outside.sum()))
        return code.clamp_(adc.lowest, adc.top).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        if ctx.outside is not None:
            gradient = gradient.masked_fill(ctx.outside, 0.0)
        return gradient, None, None, None
