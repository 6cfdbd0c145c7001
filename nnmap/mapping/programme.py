"""One layer as its controller knows it: where its weights lie, and what is ordered there."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.identity import ByContent
from netlists.tile import TileSpec
from nnmap.mapping.encode import Encoding
from nnmap.mapping.levels import CellLevels
from nnmap.mapping.placement import Placement

TOGETHER = 64  # tiles filled at a time; bounds memory

ROUNDING = 1e-9  # by which a normalised weight may exceed 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Programme(ByContent):
    """What a layer orders of its tiles; nothing here says what became of it on a chip.

    weights: normalised to [-1, 1], [groups, inputs, outputs].
    target: memory conductances ordered, S [tiles, *g_shape].
    scale: weight that a normalised 1 stands for, per output [outputs of all groups].
    shift: what is added digitally to each output's sum, in units of weight times input, [outputs].
    binary: whether weights are +1 or -1 and nothing between, in training too.
    offset_faults: whether memories of offset columns can be stuck like any other; else they are
        screened when the chip is tested.

    Raises InputError where an array does not fit or a weight exceeds 1.
    """

    spec: TileSpec
    encoding: Encoding
    placement: Placement
    weights: FloatArray
    target: FloatArray
    scale: FloatArray
    shift: FloatArray
    binary: bool = False
    offset_faults: bool = True

    def __post_init__(self) -> None:
        shape = self.placement.shape
        for name, expected in (
            ("weights", (shape.groups, shape.inputs, shape.outputs)),
            ("target", (self.placement.tiles, *self.spec.g_shape)),
            ("scale", (shape.all_outputs,)),
            ("shift", (shape.all_outputs,)),
        ):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != expected:
                raise InputError(f"Programme: {name}.shape={array.shape} != {expected}.")
            if not np.isfinite(array).all():
                raise InputError(f"Programme: {name} holds NaN or infinite values.")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        largest = float(np.abs(self.weights).max(initial=0.0))
        if largest > 1 + ROUNDING:
            raise InputError(
                f"Programme: weights must lie in [-1, 1], and {largest:.6g} is beyond what devices "
                "hold; put what exceeds it into scale."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Programme":
        return self  # nothing in it changes

    @classmethod
    def of(
        cls,
        weights: FloatArray,
        scale: float | FloatArray,
        *,
        spec: TileSpec,
        encoding: Encoding,
        placement: Placement,
        binary: bool = False,
        offset_faults: bool = True,
    ) -> "Programme":
        """The programme of normalised weights [groups, inputs, outputs] at these places."""
        outputs = placement.shape.all_outputs
        return cls(
            spec=spec,
            encoding=encoding,
            placement=placement,
            weights=weights,
            target=conductances(np.asarray(weights), placement, spec, encoding),
            scale=np.array(np.broadcast_to(scale, outputs)),
            shift=np.zeros(outputs),
            binary=binary,
            offset_faults=offset_faults,
        )

    def placed(self, placement: Placement) -> "Programme":
        """The same weights at other places; what was ordered device by device is ordered anew.

        Raises InputError for a placement that leaves a weight out or counts it twice.
        """
        if (placement.shape, placement.slots) != (self.placement.shape, self.placement.slots):
            raise InputError("placed: the placement is of another layer or another encoding.")
        if not placement.rearranges(self.placement):
            placement.require_complete()
        target = conductances(self.weights, placement, self.spec, self.encoding)
        return replace(self, placement=placement, target=target)

    def with_weights(self, weights: FloatArray) -> "Programme":
        """Other normalised weights at the same places."""
        target = conductances(weights, self.placement, self.spec, self.encoding)
        return replace(self, weights=weights, target=target)

    @cached_property
    def offset_cells(self) -> np.ndarray:
        """Memories of offset columns, bool [tiles, *g_shape]."""
        columns = self.placement.col_slot == self.placement.slots
        shape = self.target.shape
        return np.broadcast_to(columns.reshape(len(columns), 1, -1, *[1] * (len(shape) - 3)), shape)


def conductances(
    weights: FloatArray, placement: Placement, spec: TileSpec, encoding: Encoding
) -> FloatArray:
    """Memory conductances of every tile, S [tiles, *g_shape].

    weights: normalised, [groups, inputs, outputs]. Rows that are not driven and columns that are
    not read are at HRS; an offset column is at mid-range in every row.
    """
    if (placement.rows, placement.cols) != (spec.rows, spec.cols):
        raise InputError(
            f"a placement on {placement.rows}x{placement.cols} tiles does not fit tiles of "
            f"{spec.rows}x{spec.cols}."
        )
    g = np.empty((placement.tiles, *spec.g_shape))
    for first in range(0, placement.tiles, TOGETHER):
        tiles = slice(first, first + TOGETHER)
        cells = CellLevels.of(placement, tiles)
        levels = cells.table(weights, encoding)[cells.index]
        g[tiles] = cells.memories(levels, spec.cell, tiles)
    return g
