"""What a level between HRS and LRS means: what the memories of a cell are to hold for it.

A controller writes and verifies a cell through its transistor, so that levels lie evenly in what
the cell shows: its conductance between its two lines at the read voltage, the memory's target found
by inverting the calibrated cell ("cell"). Papers space them evenly in what the memory holds, as if
nothing stood in series with it ("memory"); a transistor then bends them. HRS and LRS are the same
states either way, and so are all levels of a bare memory, whose cell is proportional to it.

Of two memories in parallel (1T2R) both hold the same, so that the cell shows the level.
"""

import functools
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.cells.calibrate_secant import calibrate
from netlists.arrays import FloatArray
from netlists.cells import Cell
from netlists.errors import InputError
from netlists.tile import TileSpec

Levels = Literal["cell", "memory"]


class Secant(Protocol):
    """Total memory conductance, S -> conductance of the cell between its lines, S."""

    def __call__(self, g_memory: ArrayLike, /) -> FloatArray:
        """The cell's conductance."""
        ...

    def inverse(self, g_cell: ArrayLike, /) -> FloatArray:
        """The memories' conductance; raises InputError for what they cannot reach."""
        ...

    def slope(self, g_memory: ArrayLike, /) -> FloatArray:
        """Derivative of the cell's conductance."""
        ...


@dataclass(frozen=True)
class Proportional:
    """A cell that has `factor` times the conductance of its memories."""

    factor: float = 1.0

    def __call__(self, g_memory: ArrayLike) -> FloatArray:
        """See `Secant`."""
        return np.asarray(g_memory, dtype=np.float64) * self.factor

    def inverse(self, g_cell: ArrayLike) -> FloatArray:
        """See `Secant`."""
        return np.asarray(g_cell, dtype=np.float64) / self.factor

    def slope(self, g_memory: ArrayLike) -> FloatArray:
        """See `Secant`."""
        return np.full(np.shape(g_memory), self.factor)


def secant(cell: Cell, v_read: float) -> Secant:
    """A cell at its nominal read voltage, V: calibrated where more than a memory stands in it.

    Raises MissingToolError without ngspice where a calibration needs it.
    """
    if cell.is_bare:
        return Proportional(cell.rram.secant_factor(v_read))
    return calibrate(cell, v_read)


@dataclass(frozen=True, kw_only=True)
class CellLevels:
    """Levels of one kind of cell; see `cell_levels`.

    shown: total memory conductance, S, to the conductance in which levels lie evenly, S: the cell's
        for levels="cell", the memories' own for "memory". It is what cells are at IDEAL.
    """

    cell: Cell
    levels: Levels
    shown: Secant

    @property
    def on(self) -> float:
        """What a cell with all memories LRS shows, S."""
        return float(self.shown(self.cell.n_rram * self.cell.rram.g_lrs))

    @property
    def off(self) -> float:
        """What a cell with all memories HRS shows, S."""
        return float(self.shown(self.cell.n_rram * self.cell.rram.g_hrs))

    def memory(self, level: FloatArray) -> FloatArray:
        """Conductance of each memory of a cell at `level` between HRS (0) and LRS (1), S.

        Raises InputError for a level that the memories cannot make the cell show.
        """
        g_hrs, g_lrs = self.cell.rram.g_hrs, self.cell.rram.g_lrs
        if isinstance(self.shown, Proportional):
            return g_hrs + level * (g_lrs - g_hrs)
        between = (level > 0) & (level < 1)
        found = np.where(level > 0, g_lrs, g_hrs)
        shown = self.off + level[between] * (self.on - self.off)
        found[between] = self.shown.inverse(shown) / self.cell.n_rram
        return found

    def offset_memories(self) -> FloatArray:
        """Conductances of the memories of an offset cell, S [n_rram]: half-way, or LRS and HRS.

        Two memories make a mid-range cell of their two states, with nothing between to be written.
        """
        if self.cell.n_rram == 1:
            return self.memory(np.array([0.5]))
        return np.array([self.cell.rram.g_lrs, self.cell.rram.g_hrs])

    def memory_per_level(self, g: FloatArray) -> FloatArray:
        """What each memory of a cell gains per unit of level, S, at memories of g in total, S."""
        return np.asarray((self.on - self.off) / (self.cell.n_rram * self.shown.slope(g)))


@functools.lru_cache(maxsize=64)
def _cell_levels(cell: Cell, v_read: float, levels: Levels) -> CellLevels:
    shown: Secant = Proportional() if levels == "memory" else secant(cell, v_read)
    found = CellLevels(cell=cell, levels=levels, shown=shown)
    if not found.off < found.on:
        raise InputError(
            f"{type(cell).__name__} shows {found.off:.6g} S at HRS and {found.on:.6g} S at LRS, at "
            f"{v_read:g} V: no levels lie between; raise the gate voltage."
        )
    return found


def cell_levels(spec: TileSpec, levels: Levels) -> CellLevels:
    """Levels of the cells of a tile, at its read voltage.

    Raises InputError for a cell whose LRS shows no more than its HRS, MissingToolError without
    ngspice where the cell must be calibrated.
    """
    return _cell_levels(spec.cell, spec.v_read, levels)
