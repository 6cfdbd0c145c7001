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
s = 4 the two 4-bit devices of remeco (Table 2). With pair encoding, s = b - 1 is one device per
sign; stuck at HRS it leaves a weight of 0, as drop-connect's faults do. Devices of more bits than
that hold the same 2^(b-1) levels, from HRS to LRS, so that a device stuck at LRS reads as the
largest weight and not as twice that. Offset binary is two's
complement with the sign bit inverted, so the same device failures give the same weight errors, of
either sign for that bit.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError
from nnmap.mapping.encode import Encoding

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

    def significances(self, count: int) -> list[float]:
        """Weight that each of `count` digits adds from HRS to LRS."""
        return [2 ** (self.device_bits * k) * self.top / self.largest for k in range(count)]


@dataclass(frozen=True, kw_only=True)
class SlicedPair:
    """Sign and magnitude: plus columns, then minus columns, of every weight."""

    name: ClassVar[str] = "pair"
    slicing: Slicing

    @property
    def slices(self) -> int:
        """Devices per sign."""
        return self.slicing.count(self.slicing.weight_bits - 1)

    @property
    def significances(self) -> tuple[float, ...]:
        """See `Encoding.significances`."""
        plus = self.slicing.significances(self.slices)
        return (*plus, *(-s for s in plus))

    @property
    def middles(self) -> tuple[float, ...]:
        """See `Encoding.middles`."""
        return (0.0,) * (2 * self.slices)

    def levels(self, w: FloatArray) -> FloatArray:
        """See `Encoding.levels`."""
        q = np.nan_to_num(self.slicing.integers(w))
        signs = np.stack([np.maximum(q, 0), np.maximum(-q, 0)], axis=-1)
        digits = self.slicing.digits(signs, self.slices)
        return np.asarray(digits.reshape(*q.shape, -1) / self.slicing.top)


@dataclass(frozen=True, kw_only=True)
class SlicedOffset:
    """Offset binary: the digits of q + 2^(b-1), and one mid-range column per tile."""

    name: ClassVar[str] = "offset"
    slicing: Slicing

    @property
    def slices(self) -> int:
        """Devices per weight."""
        return self.slicing.count(self.slicing.weight_bits)

    @property
    def significances(self) -> tuple[float, ...]:
        """See `Encoding.significances`."""
        return tuple(self.slicing.significances(self.slices))

    @property
    def middles(self) -> tuple[float, ...]:
        """See `Encoding.middles`: the digit of 2^(b-1) lies in one slot."""
        at = (self.slicing.weight_bits - 1) // self.slicing.device_bits
        middle = 2 ** (self.slicing.weight_bits - 1) / self.slicing.largest
        return tuple(middle if k == at else 0.0 for k in range(self.slices))

    def levels(self, w: FloatArray) -> FloatArray:
        """See `Encoding.levels`."""
        u = np.nan_to_num(self.slicing.integers(w)) + 2 ** (self.slicing.weight_bits - 1)
        return self.slicing.digits(u, self.slices) / self.slicing.top


def sliced(name: str, slicing: Slicing) -> Encoding:
    """The encoding of that name ("pair" or "offset") with these slices."""
    if name == "pair":
        bits = min(slicing.device_bits, slicing.weight_bits - 1)
        return SlicedPair(slicing=replace(slicing, device_bits=bits))
    if name == "offset":
        return SlicedOffset(slicing=slicing)
    raise InputError(f"encoding={name!r} is not one of pair, offset.")
