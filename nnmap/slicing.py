"""Fixed-point weights over several devices of a few bits each.

A normalised weight w in [-1, 1] becomes the integer q = round(w (2^(b-1) - 1)) of b bits, sign
included, and q is written in digits of s bits, the least significant first. A device at digit d
has the conductance G_HRS + d / (2^s - 1) (G_LRS - G_HRS). Column currents are weighed by
2^(s k) and added after conversion, digitally.

pair:    |q| has b-1 bits; its digits lie in the plus columns of a positive weight, in the minus
         columns of a negative one, and the other columns of the weight are at HRS.
offset:  q + 2^(b-1) has b bits, all in one set of columns; the tile's last column, at mid-range,
         is weighed to stand for 2^(b-1) and for the conductance of all digits at 0.

With offset encoding, b = 8, s = 8 is the single 8-bit device of drop-connect (Section III), b = 16
with s = 1 or s = 2 the sixteen SLC or eight 2-bit MLC devices of rramedy (Section V), and b = 8,
s = 4 the two 4-bit devices of remeco (Table 2). With pair encoding, s = b - 1 is one device a sign;
stuck at HRS it leaves a weight of 0, as drop-connect's faults do. Offset binary is two's complement
with the sign bit inverted, so the same device failures give the same weight errors, of either sign
for that bit.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from netlists.cells import Cell
from netlists.errors import InputError
from nnmap.encode import (
    CellFunction,
    Encoding,
    FloatArray,
    all_memories,
    leading_and_last,
    offset_column,
    offset_conductance,
    span,
    state,
)

MAX_WEIGHT_BITS = 24
MAX_DEVICE_BITS = 8


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """b-bit weights on s-bit devices; raises InputError outside 2..24 and 1..8 bits."""

    weight_bits: int
    device_bits: int

    def __post_init__(self) -> None:
        for name, low, high in (
            ("weight_bits", 2, MAX_WEIGHT_BITS),
            ("device_bits", 1, MAX_DEVICE_BITS),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name}={getattr(self, name)} must lie in {low}..{high}.")

    @property
    def largest(self) -> int:
        """The integer that a normalised weight of 1 becomes."""
        return int(2 ** (self.weight_bits - 1) - 1)

    @property
    def top(self) -> int:
        """The digit of a device at LRS."""
        return int(2**self.device_bits - 1)

    def count(self, bits: int) -> int:
        """Devices that an unsigned integer of `bits` bits takes."""
        return -(-bits // self.device_bits)

    def integers(self, w: FloatArray) -> FloatArray:
        """Normalised weights as whole numbers, NaN (no weight) kept."""
        return np.asarray(np.round(w * self.largest))

    def digits(self, u: FloatArray, count: int) -> FloatArray:
        """Digits of unsigned integers, [..., count], least significant first."""
        shifts = self.device_bits * np.arange(count)
        whole = u.astype(np.int64)[..., None]
        return np.asarray((whole >> shifts) & self.top, dtype=np.float64)

    def place_values(self, count: int) -> list[int]:
        """What one unit of each digit is worth."""
        return [int(2 ** (self.device_bits * k)) for k in range(count)]

    def combine(self, digits: Tensor) -> Tensor:
        """Weighted sum over the last axis, the slices."""
        values = self.place_values(digits.shape[-1])
        total: Tensor = digits[..., 0] * values[0]
        for k, value in enumerate(values[1:], start=1):
            total = total.add_(digits[..., k], alpha=value)
        return total


@dataclass(frozen=True, kw_only=True)
class SlicedPair:
    """Sign and magnitude: plus columns, then minus columns, of every weight."""

    name: ClassVar[str] = "pair"
    slicing: Slicing

    @property
    def slices(self) -> int:
        """Devices a sign."""
        return self.slicing.count(self.slicing.weight_bits - 1)

    def outputs_per_tile(self, cols: int) -> int:
        """See `Encoding.outputs_per_tile`."""
        return cols // (2 * self.slices)

    def columns(self, outputs: int, cols: int) -> list[int]:
        """See `Encoding.columns`."""
        return list(range(2 * self.slices * outputs))

    def program(self, w: FloatArray, cell: Cell, *, rows: int, cols: int) -> FloatArray:
        """See `Encoding.program`."""
        inputs = len(w)
        q = np.nan_to_num(self.slicing.integers(w))
        signs = np.stack([np.maximum(q, 0), np.maximum(-q, 0)], axis=2)
        digits = self.slicing.digits(signs, self.slices).reshape(inputs, -1)
        level = np.zeros((rows, cols))
        level[:inputs, : digits.shape[1]] = digits / self.slicing.top
        return all_memories(state(level, cell), cell)

    def decode(self, i: Tensor, cell: Cell, g_cell: CellFunction) -> Tensor:
        """See `Encoding.decode`."""
        on, off = span(cell, g_cell)
        outputs = i.shape[-1] // (2 * self.slices)
        parts = i[..., : 2 * self.slices * outputs].unflatten(-1, (outputs, 2, self.slices))
        unit = (on - off) / self.slicing.top
        signed = self.slicing.combine(parts[..., 0, :] - parts[..., 1, :])
        return signed.div_(unit * self.slicing.largest)


@dataclass(frozen=True, kw_only=True)
class SlicedOffset:
    """Offset binary: the digits of q + 2^(b-1), and one mid-range column a tile."""

    name: ClassVar[str] = "offset"
    slicing: Slicing

    @property
    def slices(self) -> int:
        """Devices a weight."""
        return self.slicing.count(self.slicing.weight_bits)

    def outputs_per_tile(self, cols: int) -> int:
        """See `Encoding.outputs_per_tile`."""
        return (cols - 1) // self.slices

    def columns(self, outputs: int, cols: int) -> list[int]:
        """See `Encoding.columns`."""
        return leading_and_last(self.slices * outputs, cols)

    def program(self, w: FloatArray, cell: Cell, *, rows: int, cols: int) -> FloatArray:
        """See `Encoding.program`."""
        inputs = len(w)
        u = np.nan_to_num(self.slicing.integers(w)) + 2 ** (self.slicing.weight_bits - 1)
        digits = self.slicing.digits(u, self.slices).reshape(inputs, -1)
        level = np.zeros((rows, cols))
        level[:inputs, : digits.shape[1]] = digits / self.slicing.top
        return offset_column(all_memories(state(level, cell), cell), cell)

    def decode(self, i: Tensor, cell: Cell, g_cell: CellFunction) -> Tensor:
        """See `Encoding.decode`."""
        on, off = span(cell, g_cell)
        unit = (on - off) / self.slicing.top
        base = off * sum(self.slicing.place_values(self.slices))
        middle = base + unit * 2 ** (self.slicing.weight_bits - 1)
        outputs = (i.shape[-1] - 1) // self.slices
        parts = i[..., : self.slices * outputs].unflatten(-1, (outputs, self.slices))
        offset = i[..., -1:] * (middle / offset_conductance(cell, g_cell))
        return self.slicing.combine(parts).sub_(offset).div_(unit * self.slicing.largest)


def sliced(name: str, slicing: Slicing) -> Encoding:
    """The encoding of that name ("pair" or "offset") with these slices."""
    kinds: dict[str, type[SlicedPair] | type[SlicedOffset]] = {
        "pair": SlicedPair,
        "offset": SlicedOffset,
    }
    if name not in kinds:
        raise InputError(f"encoding={name!r} is not one of {', '.join(kinds)}.")
    return kinds[name](slicing=slicing)
