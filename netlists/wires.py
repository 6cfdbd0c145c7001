"""Line resistances of a tile."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray, readonly
from netlists.errors import InputError

SMALLEST, LARGEST = 1e-12, 1e18  # ohm; what is not 0 or an open


def _resistance(name: str, values: ArrayLike, *, may_be_open: bool) -> float | FloatArray:
    array = readonly(values)
    bad = np.isnan(array) | (array < 0) | (np.isinf(array) & (not may_be_open))
    if bad.any():
        where = "" if array.ndim == 0 else f" at {tuple(int(k) for k in np.argwhere(bad)[0])}"
        limit = "at least 0 ohm, inf for an open" if may_be_open else "finite and at least 0 ohm"
        raise InputError(f"Wires: {name}={array[bad].flat[0]!r}{where} must be {limit}.")
    odd = (array > 0) & (array < SMALLEST) | (array > LARGEST) & np.isfinite(array)
    if odd.any():
        raise InputError(
            f"Wires: {name}={float(array[odd].flat[0])!r} ohm is beyond what a double resolves "
            f"beside a cell; write 0 for a perfect conductor{', inf for an open' * may_be_open} or "
            f"a value from {SMALLEST:g} to {LARGEST:g}."
        )
    return array if array.ndim else float(array)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wires:
    """Line resistances, ohm; 0 is a perfect conductor and inf an open.

    r_row_segment: scalar or [rows, cols]; entry (i, j) is the segment that arrives at x(i, j) from
        the input side.
    r_col_segment: scalar or [rows, cols]; entry (i, j) is the segment that leaves y(i, j) towards
        the sense side.
    r_driver: scalar or [rows], in series with each input.  r_sense: scalar or [cols], in series
        with each virtual ground.

    A value: scalars stay scalars, and wires are equal where all they were given is.
    Raises InputError on a negative or NaN resistance, on one other than 0 and inf that no double
    resolves beside a cell, and on an infinite r_driver or r_sense.
    """

    r_row_segment: ArrayLike
    r_col_segment: ArrayLike
    r_driver: ArrayLike = 0.0
    r_sense: ArrayLike = 0.0

    def __post_init__(self) -> None:
        for name in NAMES:
            checked = _resistance(name, getattr(self, name), may_be_open=name.endswith("segment"))
            object.__setattr__(self, name, checked)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Wires):
            return NotImplemented
        return all(np.array_equal(getattr(self, k), getattr(other, k)) for k in NAMES)

    def __hash__(self) -> int:
        values = (np.asarray(getattr(self, name)) for name in NAMES)
        return hash(tuple((value.shape, value.tobytes()) for value in values))

    def require_shape(self, rows: int, cols: int) -> None:
        """Raise InputError where a field is neither a scalar nor of the shape that it has there."""
        shapes = ((rows, cols), (rows, cols), (rows,), (cols,))
        for name, shape in zip(NAMES, shapes, strict=True):
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and value.shape != shape:
                raise InputError(
                    f"Wires: {name}.shape={value.shape} != {shape} of a {rows}x{cols} tile; "
                    "give a scalar or the full shape."
                )

    def in_series(self, rows: int, cols: int) -> tuple[FloatArray, FloatArray]:
        """Resistance of each row and each column segment, ohm [rows, cols] each.

        The driver is part of the first segment of its row and the sense resistance of the last
        segment of its column. Raises InputError where a field does not fit the shape.
        """
        self.require_shape(rows, cols)
        along, down = np.empty((rows, cols)), np.empty((rows, cols))
        along[:], down[:] = self.r_row_segment, self.r_col_segment
        along[:, 0] += np.asarray(self.r_driver)
        down[-1] += np.asarray(self.r_sense)
        return along, down


NAMES = tuple(one.name for one in fields(Wires))
