"""A surface by parts: the memory's own equation in series with a table of the transistor."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.cells.series_kernels import series_points
from circuitsim.cells.surface import CellSurface
from netlists.arrays import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesSurface(CellSurface):
    """I(v_drive, v_sense; g) of one cell, solved for the node between memory and transistor.

    Near threshold a transistor saturates or cuts off within the read voltage. Its current then
    bends too sharply for a polynomial over the whole range and all states, but it depends on two
    voltages alone: a fine bicubic spline of the transistor holds it, the memory's equation is
    exact, and Newton's method balances the two. Slower than polynomials by the steps that takes.

    table: [n + 2, n + 2] coefficients of the spline on n even knots, `spline_coefficients`: the
    transistor's current, A, over its lower voltage (v_low to v_high) and its drop (0 to their
    difference).  bend: of the memory, 1/V; 0 for Ohm's law, else I = g sinh(bend d) / bend.
    backward: what that is multiplied by when the current flows from the sense to the drive line.
    memory_on_drive: whether the memory is next to the drive line.
    """

    bend: float
    backward: float
    memory_on_drive: bool
    table: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", np.array(self.table, dtype=np.float64, order="C"))

    @property
    def knots(self) -> float:
        """Knots of the table per volt."""
        return float((self.table.shape[0] - 3) / (self.v_high - self.v_low))

    def _points(self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike) -> list[FloatArray]:
        """Current, A, and both slopes, S, of the broadcast arguments."""
        drive, sense = self._checked_voltages(v_drive, v_sense)
        arrays = np.broadcast_arrays(drive, sense, self.checked_states(g))
        flat = [np.array(a, dtype=np.float64).ravel() for a in arrays]
        found = [np.empty(flat[0].size) for _ in range(3)]
        series_points(
            *flat,
            self.table,
            self.v_low,
            self.knots,
            self.memory_on_drive,
            self.bend,
            self.backward,
            *found,
        )
        return [values.reshape(arrays[0].shape) for values in found]

    def __call__(self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike) -> FloatArray:
        """See CellSurface."""
        return self._points(v_drive, v_sense, g)[0]

    def slopes(
        self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """See CellSurface."""
        _, by_drive, by_sense = self._points(v_drive, v_sense, g)
        return by_drive, by_sense


def spline_coefficients(values: FloatArray) -> FloatArray:
    """Coefficients [n + 2, n + 2] of the bicubic B-spline through values [n, n] on even knots.

    Its third derivatives are continuous at the last knot but one of either end (not-a-knot).
    """
    n = len(values)
    through = np.zeros((n + 2, n + 2))
    for k in range(n):
        through[k + 1, k : k + 3] = np.array([1, 4, 1]) / 6
    through[0, :5] = through[-1, -5:] = [1, -4, 6, -4, 1]
    padded = np.zeros((n + 2, n + 2))
    padded[1:-1, 1:-1] = values
    return np.asarray(np.linalg.solve(through, np.linalg.solve(through, padded).T).T)
