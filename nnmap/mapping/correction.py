"""A digital correction beside the tiles of a layer: gains of columns, and branches."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.identity import ByContent
from nnmap.mapping.placement import IntArray, Shape

NO_GAIN = 1e-12  # a gain this close to 1 takes no multiplication


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRank(ByContent):
    """Adds up @ down @ x[inputs] to the sums of `outputs`, in units of weight times input.

    inputs, outputs: of the layer, each once.  down: [rank, inputs].  up: [outputs, rank].
    """

    inputs: IntArray
    outputs: IntArray
    down: FloatArray
    up: FloatArray

    def __post_init__(self) -> None:
        rank = np.shape(self.down)[0]
        for name, expected in (
            ("down", (rank, len(self.inputs))),
            ("up", (len(self.outputs), rank)),
        ):
            if np.shape(getattr(self, name)) != expected:
                raise InputError(
                    f"LowRank: {name}.shape={np.shape(getattr(self, name))} != {expected}."
                )

    def add_to(self, matrix: FloatArray) -> None:
        """Add the branch to a matrix [outputs, inputs] of the layer, in place."""
        matrix[np.ix_(self.outputs, self.inputs)] += self.up @ self.down

    @property
    def operations(self) -> int:
        """Multiplications and additions per input vector."""
        return 2 * (np.size(self.down) + np.size(self.up))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse(ByContent):
    """Adds value[n] * x[input[n]] to the sum of output[n], in units of weight times input.

    inputs, outputs, values: [entries].
    """

    inputs: IntArray
    outputs: IntArray
    values: FloatArray

    def __post_init__(self) -> None:
        shapes = {np.shape(self.inputs), np.shape(self.outputs), np.shape(self.values)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise InputError(f"Sparse: entries of different numbers: {sorted(shapes)}.")

    @classmethod
    def of(cls, matrix: FloatArray) -> "Sparse":
        """The entries of a matrix [outputs, inputs] that are not 0."""
        outputs, inputs = np.nonzero(matrix)
        return cls(inputs=inputs, outputs=outputs, values=matrix[outputs, inputs])

    def add_to(self, matrix: FloatArray) -> None:
        """Add the branch to a matrix [outputs, inputs] of the layer, in place."""
        np.add.at(matrix, (self.outputs, self.inputs), self.values)

    @property
    def operations(self) -> int:
        """Multiplications and additions per input vector."""
        return 2 * np.size(self.values)


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction(ByContent):
    """What the digital side of a layer does beyond decoding and its bias.

    Branches see the inputs as the converters round them, and are added to the sums of the tiles.

    shape: of the layer.  branches: added one by one.
    gain: by which the converted reading of each column is multiplied, [tiles, cols]; None for 1.

    Raises InputError for an input or output that the layer lacks, and values that are not finite.
    """

    shape: Shape
    branches: tuple[LowRank | Sparse, ...] = ()
    gain: FloatArray | None = None

    def __post_init__(self) -> None:
        for branch in self.branches:
            for name, limit in (
                ("inputs", self.shape.all_inputs),
                ("outputs", self.shape.all_outputs),
            ):
                index = getattr(branch, name)
                if np.size(index) and not 0 <= np.min(index) <= np.max(index) < limit:
                    raise InputError(f"Correction: {name} must lie in 0..{limit - 1}.")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.gain_or_one).all()):
            raise InputError("Correction: values and gains must be finite.")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Correction":
        return self  # nothing in it changes

    @cached_property
    def matrix(self) -> FloatArray:
        """All branches as one matrix, [outputs, inputs] of all groups."""
        found = np.zeros((self.shape.all_outputs, self.shape.all_inputs))
        for branch in self.branches:
            branch.add_to(found)
        return found

    @property
    def gain_or_one(self) -> FloatArray:
        """The gain of every column, 1 without gains."""
        return np.ones(1) if self.gain is None else self.gain

    @property
    def operations(self) -> int:
        """Multiplications and additions per input vector."""
        gains = 0 if self.gain is None else int(np.count_nonzero(np.abs(self.gain - 1) > NO_GAIN))
        return gains + sum(branch.operations for branch in self.branches)

    def plus(self, *branches: LowRank | Sparse) -> "Correction":
        """The same with more branches."""
        return replace(self, branches=(*self.branches, *branches))
