"""The arrays of the project: double precision, 64-bit indices, masks."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def readonly(values: ArrayLike) -> FloatArray:
    """A copy of numbers that nobody can write to."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
