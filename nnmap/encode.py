"""Weights -> memory conductances of one tile, and column currents -> weighted sums.

Both encodings follow Table I of the paper `fpt`. A normalised weight w lies in [-1, 1]; a cell
whose memories are all LRS reads G_on, all HRS reads G_off, and dG = G_on - G_off.

balanced (pair):   column 2k holds +w, column 2k+1 holds -w:     w = (G+ - G-) / dG
unbalanced (offset): one column a weight, and one offset column at mid-range for the whole tile:
                   w = 2 (G - G_mid) / dG

With two memories a cell (1T2R) both are programmed alike. The full range is then {-2, +2} single
memories wide, and one stuck memory of an offset-encoded binary weight leaves it at 0 instead of
flipping it (bnn-1t2r, Fig. 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netlists.cells import Cell
from netlists.errors import InputError

FloatArray = NDArray[np.float64]
# Total memory conductance of a cell, S -> conductance of the cell between its lines, S.
CellFunction = Callable[[FloatArray], FloatArray]


class Encoding(Protocol):
    """How signed weights become non-negative conductances, and back."""

    @property
    def name(self) -> str:
        """What plans call it."""
        ...

    def outputs_per_tile(self, cols: int) -> int:
        """How many outputs fit in a tile of `cols` columns."""
        ...

    def columns(self, outputs: int, cols: int) -> list[int]:
        """The columns that are read for the first `outputs` outputs of a tile of `cols` columns."""
        ...

    def program(self, w: FloatArray, cell: Cell, *, rows: int, cols: int) -> FloatArray:
        """Memory conductances of one tile, S `g_shape`, for weights w [inputs, outputs] in [-1, 1].

        NaN marks a place without a weight. Such places, and those beyond w, are programmed to
        HRS, or to a weight of 0 where an offset is subtracted from their column.
        """
        ...

    def decode(self, i: Tensor, cell: Cell, g_cell: CellFunction) -> Tensor:
        """Currents of the read columns [..., columns] -> sum of w v, in volts [..., outputs]."""
        ...


def state(level: FloatArray, cell: Cell) -> FloatArray:
    """Conductance of a memory at `level` between HRS (0) and LRS (1), S."""
    g_hrs, g_lrs = cell.rram.g_hrs, cell.rram.g_lrs
    return g_hrs + level * (g_lrs - g_hrs)


def span(cell: Cell, g_cell: CellFunction) -> tuple[float, float]:
    """Cell conductance with all memories LRS and all HRS, S."""
    n = cell.n_rram
    on, off = g_cell(np.array([n * cell.rram.g_lrs, n * cell.rram.g_hrs])).tolist()
    return on, off


def all_memories(g: FloatArray, cell: Cell) -> FloatArray:
    """Every memory of a cell programmed alike; [rows, cols] -> `g_shape`."""
    return g if cell.n_rram == 1 else np.repeat(g[..., None], cell.n_rram, axis=2)


def offset_column(g: FloatArray, cell: Cell) -> FloatArray:
    """The tile with its last column programmed to mid-range: half-way, or one LRS and one HRS."""
    if cell.n_rram == 1:
        g[:, -1] = state(np.array(0.5), cell)
    else:
        g[:, -1, 0], g[:, -1, 1] = cell.rram.g_lrs, cell.rram.g_hrs
    return g


def offset_conductance(cell: Cell, g_cell: CellFunction) -> float:
    """Conductance of a cell of the offset column, S."""
    total = (cell.rram.g_lrs + cell.rram.g_hrs) * cell.n_rram / 2
    return float(g_cell(np.array([total]))[0])


def leading_and_last(n: int, cols: int) -> list[int]:
    """The first n columns and the offset column."""
    return [*range(n), cols - 1]


@dataclass(frozen=True)
class Balanced:
    """A pair of neighbouring columns holds a weight and its negative."""

    name: str = "pair"

    def outputs_per_tile(self, cols: int) -> int:
        """Two columns an output."""
        return cols // 2

    def columns(self, outputs: int, cols: int) -> list[int]:
        """See `Encoding.columns`."""
        return list(range(2 * outputs))

    def program(self, w: FloatArray, cell: Cell, *, rows: int, cols: int) -> FloatArray:
        """See `Encoding.program`."""
        level = np.zeros((rows, cols))
        inputs, outputs = w.shape
        level[:inputs, 0 : 2 * outputs : 2] = np.nan_to_num((1 + w) / 2)
        level[:inputs, 1 : 2 * outputs : 2] = np.nan_to_num((1 - w) / 2)
        return all_memories(state(level, cell), cell)

    def decode(self, i: Tensor, cell: Cell, g_cell: CellFunction) -> Tensor:
        """See `Encoding.decode`."""
        on, off = span(cell, g_cell)
        even = i.shape[-1] // 2 * 2
        return (i[..., 0:even:2] - i[..., 1:even:2]) / (on - off)


@dataclass(frozen=True)
class Unbalanced:
    """One column a weight; the tile's last column, at mid-range, is subtracted from all others.

    With one memory a cell the offset memory is programmed half-way between HRS and LRS; with two,
    one to each. The transistor shifts that cell a little off the middle of its neighbours' range;
    the subtraction weighs it by the nominal ratio, a constant of the design.
    """

    name: str = "offset"

    def outputs_per_tile(self, cols: int) -> int:
        """One column an output, less the offset column."""
        return cols - 1

    def columns(self, outputs: int, cols: int) -> list[int]:
        """See `Encoding.columns`."""
        return leading_and_last(outputs, cols)

    def program(self, w: FloatArray, cell: Cell, *, rows: int, cols: int) -> FloatArray:
        """See `Encoding.program`."""
        level = np.zeros((rows, cols))
        inputs, outputs = w.shape
        level[:inputs, :outputs] = (1 + np.nan_to_num(w)) / 2
        return offset_column(all_memories(state(level, cell), cell), cell)

    def decode(self, i: Tensor, cell: Cell, g_cell: CellFunction) -> Tensor:
        """See `Encoding.decode`."""
        on, off = span(cell, g_cell)
        weight = (on + off) / 2 / offset_conductance(cell, g_cell)
        return 2 * (i[..., :-1] - weight * i[..., -1:]) / (on - off)


ENCODINGS: dict[str, Encoding] = {"pair": Balanced(), "offset": Unbalanced()}


def encoding(name: str) -> Encoding:
    """The encoding of that name; raises InputError for an unknown one."""
    if name not in ENCODINGS:
        raise InputError(f"encoding={name!r} is not one of {', '.join(ENCODINGS)}.")
    return ENCODINGS[name]


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
