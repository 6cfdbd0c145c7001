"""A calibrated cell: the secant conductance at the read voltage, with its error known."""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from circuitsim.cells.sealed_file import read_sealed, write_sealed
from netlists.arrays import FloatArray
from netlists.errors import InputError

FORMAT = "xbarverify-secant-3"
SLACK = 1e-12  # how far a state may lie beyond the range, relative
PIECES = 8192  # of the table in which an inversion starts
STEPS = 3  # of Newton's method from there; the error squares with each


@dataclass(frozen=True, kw_only=True)
class SecantModel:
    """Cell conductance I/V at one read voltage, as a function of the memory's conductance.

    The memory is taken out exactly and what is left, the series resistance of the transistor under
    this load, is interpolated: smooth, monotone pieces over the logarithm of the conductance.

    cell: the calibrated cell, as text.  cell_id: its `Cell.calibrated_as`.  v_read: V.
    g_memory: sample conductances, S [n], rising (the sum over parallel memories).
    r_series: series resistance at each sample, ohm [n].
    held_out_max, held_out_p99: error of the cell current on random held-out conductances, relative
    to the current of the largest sample.  source: the simulator that produced the samples.
    memory_factor: the bare memory's secant at v_read over its state's conductance.
    """

    cell: str
    cell_id: str
    v_read: float
    g_memory: tuple[float, ...]
    r_series: tuple[float, ...]
    held_out: int
    held_out_max: float
    held_out_p99: float
    source: str
    memory_factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "g_memory", tuple(self.g_memory))
        object.__setattr__(self, "r_series", tuple(self.r_series))

    @cached_property
    def _interpolator(self) -> PchipInterpolator:
        return PchipInterpolator(np.log(self.g_memory), self.r_series)

    def __call__(self, g_memory: ArrayLike) -> FloatArray:
        """Cell conductance, S, for memory conductances of any shape, S; 0 stays 0.

        Raises InputError outside the calibrated range.
        """
        g = np.asarray(g_memory, dtype=np.float64)
        low, high = self.g_memory[0], self.g_memory[-1]
        outside = (g != 0) & ((g < low * (1 - SLACK)) | (g > high * (1 + SLACK)))
        if outside.any():
            raise InputError(
                f"memory conductance {g[outside].flat[0]:.6g} S lies outside the calibrated range "
                f"[{low:.6g}, {high:.6g}] S; calibrate the cell over a wider range."
            )
        with np.errstate(divide="ignore"):
            r = 1.0 / (self.memory_factor * g) + self._interpolator(np.log(np.clip(g, low, high)))
        return np.asarray(1.0 / r)

    def slope(self, g_memory: ArrayLike) -> FloatArray:
        """What the cell's conductance gains per siemens of its memory's; 0 at 0 S."""
        g = np.asarray(g_memory, dtype=np.float64)
        cell = self(g)
        x = np.log(np.clip(g, self.g_memory[0], self.g_memory[-1]))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = cell**2 * (1.0 / (self.memory_factor * g) - self._series_slope(x)) / g
        return np.where(g > 0, found, 0.0)

    @cached_property
    def _series_slope(self) -> PchipInterpolator:
        return self._interpolator.derivative()

    @cached_property
    def _rising(self) -> tuple[FloatArray, FloatArray]:
        """(log of memory conductance, log of cell conductance) from the lowest state on, as far as
        the cell's conductance rises with its memory's; a transistor in saturation ends that.
        """
        x = np.linspace(np.log(self.g_memory[0]), np.log(self.g_memory[-1]), PIECES + 1)
        # The ends to the last bit, which exp(log()) is not.
        cell = np.log(self(np.clip(np.exp(x), self.g_memory[0], self.g_memory[-1])))
        flat = np.flatnonzero(np.diff(cell) <= 0)
        last = flat[0] + 1 if len(flat) else len(x)
        return x[:last], cell[:last]

    def inverse(self, g_cell: ArrayLike) -> FloatArray:
        """Memory conductance, S, at which the cell has these conductances, S; 0 stays 0.

        The lowest one where there are several. Raises InputError for what no state of the memory
        in the calibrated range reaches.
        """
        g = np.asarray(g_cell, dtype=np.float64)
        x, table = self._rising
        low, high = np.exp(table[[0, -1]])
        outside = (g != 0) & ~((g >= low * (1 - 1e-12)) & (g <= high * (1 + 1e-12)))
        if outside.any():
            raise InputError(
                f"cell conductance {g[outside].flat[0]:.6g} S is out of reach: with memories of "
                f"{np.exp(x[0]):.6g} to {np.exp(x[-1]):.6g} S the cell has {low:.6g} to "
                f"{high:.6g} S at {self.v_read:g} V; raise the gate voltage, or narrow the states."
            )
        resistance = 1.0 / np.clip(np.where(g == 0, low, g), low, high)
        place = np.clip(np.searchsorted(table, -np.log(resistance)) - 1, 0, len(x) - 2)
        left, right = x[place], x[place + 1]
        found = np.interp(-np.log(resistance), table, x)
        for _ in range(STEPS):
            memory = np.exp(-found) / self.memory_factor
            off = memory + self._interpolator(found) - resistance
            found = np.clip(found - off / (self._series_slope(found) - memory), left, right)
        return np.where(g == 0, 0.0, np.exp(found))

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        write_sealed(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> "SecantModel":
        """Read what `save` wrote; raises InputError on another or a damaged file."""
        content = read_sealed(path, "cell model", FORMAT)
        try:
            return cls(**{one.name: content[one.name] for one in fields(cls)})
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"{path} is damaged ({problem!r}); recalibrate.") from None
