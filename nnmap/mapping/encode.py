"""Weights -> levels of the devices that hold them, and what a unit of each level is worth.

A normalised weight w lies in [-1, 1] and takes one device, or *slot*, or several. Slot k holds a
level l_k from 0 (HRS) to 1 (LRS), and

    w = sum_k s_k (l_k - m_k)

with s_k the significance of the slot and s_k m_k its share of the weight that all devices at HRS
would read as. Where the s_k are of both signs the m_k are 0; else a column of mid-range cells, the
offset column, is read along and subtracted. Both encodings follow Table I of the paper `fpt`:

balanced (pair):     slot 0 holds +w, slot 1 holds -w:           w = l_0 - l_1
unbalanced (offset): one slot, against the offset column:        w = 2 (l_0 - 1/2)

With two memories per cell (1T2R) both are programmed alike. The full range is then {-2, +2} single
memories wide, and one stuck memory of an offset-encoded binary weight leaves it at 0 instead of
flipping it (bnn-1t2r, Fig. 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from netlists.arrays import FloatArray
from netlists.errors import InputError
from nnmap.mapping.levels import CellLevels

# Total memory conductance of a cell, S -> conductance of the cell between its lines, S.
CellFunction = Callable[[FloatArray], FloatArray]


class Encoding(Protocol):
    """How a signed weight becomes levels of non-negative conductances."""

    name: ClassVar[str]

    @property
    def significances(self) -> tuple[float, ...]:
        """Weight that a level of 1 in each slot adds, s_k."""
        ...

    @property
    def middles(self) -> tuple[float, ...]:
        """s_k m_k: what is subtracted for each slot; all 0 without an offset column."""
        ...

    def levels(self, w: FloatArray) -> FloatArray:
        """Levels in [0, 1], [..., slots], of normalised weights w.

        NaN marks a place without a weight: it is left at HRS, or holds a weight of 0 where an
        offset is subtracted from its column.
        """
        ...


def slots(encoding: Encoding) -> int:
    """Devices per weight."""
    return len(encoding.significances)


def has_offset(encoding: Encoding) -> bool:
    """Whether an offset column is subtracted from all others of a tile."""
    return any(encoding.middles)


def outputs_per_tile(encoding: Encoding, cols: int) -> int:
    """How many outputs fit in a tile of `cols` columns."""
    return (cols - has_offset(encoding)) // slots(encoding)


@dataclass(frozen=True)
class Balanced:
    """A pair of neighbouring columns holds a weight and its negative."""

    name: ClassVar[str] = "pair"
    significances: ClassVar[tuple[float, ...]] = (1.0, -1.0)
    middles: ClassVar[tuple[float, ...]] = (0.0, 0.0)

    def levels(self, w: FloatArray) -> FloatArray:
        """See `Encoding.levels`."""
        return np.nan_to_num(np.stack([(1 + w) / 2, (1 - w) / 2], axis=-1))


@dataclass(frozen=True)
class Unbalanced:
    """One column per weight; the tile's offset column is subtracted from all others.

    With one memory per cell the offset cell is programmed to a level of a half; with two, one
    memory to each state, which a transistor shifts a little off the middle of the neighbours'
    range. The subtraction weighs the cell by its nominal conductance, a constant of the design.
    """

    name: ClassVar[str] = "offset"
    significances: ClassVar[tuple[float, ...]] = (2.0,)
    middles: ClassVar[tuple[float, ...]] = (1.0,)

    def levels(self, w: FloatArray) -> FloatArray:
        """See `Encoding.levels`."""
        return np.asarray(((1 + np.nan_to_num(w)) / 2)[..., None])


ENCODINGS: dict[str, Encoding] = {"pair": Balanced(), "offset": Unbalanced()}


def encoding(name: str) -> Encoding:
    """The encoding of that name; raises InputError for an unknown one."""
    if name not in ENCODINGS:
        raise InputError(f"encoding={name!r} is not one of {', '.join(ENCODINGS)}.")
    return ENCODINGS[name]


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What a volt on a cell adds to a column's current, nominally, A: the decoder's constants.

    on, off: conductance of a cell with all memories LRS and all HRS, S.  offset: of an offset cell.
    """

    on: float
    off: float
    offset: float

    @classmethod
    def of(cls, levels: CellLevels, g_cell: CellFunction) -> "Readout":
        """The constants of a cell; g_cell: its conductance over that of its memories."""
        cell = levels.cell
        total = [cell.n_rram * cell.rram.g_lrs, cell.n_rram * cell.rram.g_hrs]
        offset_cell = float(levels.offset_memories().sum())
        on, off, offset = g_cell(np.array([*total, offset_cell])).tolist()
        return cls(on=on, off=off, offset=offset)

    def per_ampere(self, encoding: Encoding) -> FloatArray:
        """Weight times volt that one ampere in a column of each slot stands for, [slots]."""
        return np.array(encoding.significances) / (self.on - self.off)

    def per_offset_ampere(self, encoding: Encoding) -> FloatArray:
        """The same of the offset column, for each slot that it is subtracted from, [slots]."""
        at_hrs = np.array(encoding.significances) * self.off / (self.on - self.off)
        return np.asarray(-(at_hrs + np.array(encoding.middles)) / self.offset)


def normalise(weight: Tensor) -> tuple[FloatArray, float]:
    """(weight / scale as float64, scale), the scale being the largest magnitude.

    weight: [outputs, inputs], given back as [inputs, outputs]; further leading axes stay.

    Raises InputError on a weight that is not finite.
    """
    w = weight.detach().to(torch.float64).cpu()
    if not torch.isfinite(w).all():
        raise InputError("the layer holds NaN or infinite weights; it cannot be programmed.")
    scale = float(w.abs().max()) or 1.0
    return (w.mT / scale).numpy(), scale
