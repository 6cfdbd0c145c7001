"""Which weight lies on which cell: index arrays over the rows and columns of every tile."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.identity import ByContent
from netlists.tile import TileSpec
from nnmap.mapping.encode import Encoding, has_offset, outputs_per_tile, slots

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
NOTHING = -1  # a row that is not driven, a column that serves no output or is not read


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Matrices of a layer: `groups` of [inputs, outputs]; a grouped convolution has several.

    Inputs and outputs of the layer are counted group by group.
    """

    inputs: int
    outputs: int
    groups: int = 1

    @property
    def all_inputs(self) -> int:
        """Inputs of the layer."""
        return self.groups * self.inputs

    @property
    def all_outputs(self) -> int:
        """Outputs of the layer."""
        return self.groups * self.outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroup:
    """Tiles that are driven by the same row voltages.

    tiles: their numbers.  inputs, flip: of the rows that are driven, [driven].
    rows: which rows those are, [driven].
    columns: read columns of the tiles side by side, counted tile * cols + column, [read].
    """

    tiles: IntArray
    rows: IntArray
    inputs: IntArray
    flip: BoolArray
    columns: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement(ByContent):
    """Where the weights of a layer lie, tile by tile; physical rows and columns keep their places.

    shape: of the layer's matrices.
    row_input: input that drives each row, [tiles, rows]; -1 where none does (a spare, or padding).
    row_flip: rows that hold the negative of their weights and are driven with the negative of
        their input, [tiles, rows].
    col_output: output that each column serves, [tiles, cols]; -1 for offset columns and columns
        that are not read.
    col_slot: device of the weight (sign and slice, see `encode`) that the column holds; the
        number of slots stands for an offset column, -1 for a column that is not read.
    col_share: what a column's reading counts for, [tiles, cols]: 1/k for each of k copies; of
        negative sign where the column holds the negative of its weights.
    places: (copy, row tile, column tile) of every tile, [tiles, 3]: the key of its fault stream.

    Cells at which the row's input and the column's output belong to different groups hold no
    weight. Raises InputError where an array does not fit, where an input drives two rows of a
    tile, where two tiles have one place, and where a tile reads columns of an offset encoding
    without an offset column.
    """

    shape: Shape
    slots: int
    row_input: IntArray
    row_flip: BoolArray
    col_output: IntArray
    col_slot: IntArray
    col_share: FloatArray
    places: IntArray
    offset: bool = field(default=False)

    def __post_init__(self) -> None:
        tiles, rows = np.shape(self.row_input)
        cols = np.shape(self.col_output)[-1]
        for name, shape, kind in (
            ("row_input", (tiles, rows), np.int64),
            ("row_flip", (tiles, rows), np.bool_),
            ("col_output", (tiles, cols), np.int64),
            ("col_slot", (tiles, cols), np.int64),
            ("col_share", (tiles, cols), np.float64),
            ("places", (tiles, 3), np.int64),
        ):
            array = np.array(getattr(self, name), dtype=kind)
            if array.shape != shape:
                raise InputError(f"Placement: {name}.shape={array.shape} != {shape}.")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check_range("row_input", self.row_input, self.shape.all_inputs)
        self._check_range("col_output", self.col_output, self.shape.all_outputs)
        self._check_range("col_slot", self.col_slot, self.slots + self.offset)
        if ((self.col_output >= 0) != self._weighing).any():
            raise InputError("Placement: columns with an output and columns with a slot differ.")
        if not np.isfinite(self.col_share).all():
            raise InputError("Placement: col_share must be finite.")
        self._check_rows()
        self._check_places()
        if self.offset:
            self._check_offsets()

    @staticmethod
    def _check_range(name: str, array: IntArray, limit: int) -> None:
        bad = (array < NOTHING) | (array >= limit)
        if bad.any():
            where = tuple(int(k) for k in np.argwhere(bad)[0])
            raise InputError(
                f"Placement: {name}{list(where)}={array[where]} must lie in -1..{limit - 1}."
            )

    def _check_rows(self) -> None:
        ordered = np.sort(self.row_input, axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if twice.any():
            tile, k = np.argwhere(twice)[0]
            raise InputError(
                f"Placement: input {ordered[tile, k]} drives two rows of tile {tile}; its weight "
                "would count twice."
            )

    def _check_places(self) -> None:
        found, count = np.unique(self.places, axis=0, return_counts=True)
        if (count > 1).any():
            place = found[count > 1][0]
            tiles = np.flatnonzero((self.places == place).all(axis=1))
            raise InputError(
                f"Placement: tiles {tiles[0]} and {tiles[1]} have one place, "
                f"{tuple(place.tolist())}; they would share their faults."
            )
        if (self.places < 0).any():
            raise InputError(
                f"Placement: places holds {self.places.min()}; its numbers start at 0."
            )

    def _check_offsets(self) -> None:
        shares = np.where(self.col_slot == self.slots, self.col_share, 0.0).sum(axis=1)
        wrong = self._weighing.any(axis=1) & (np.abs(shares - 1) > 1e-9)
        if wrong.any():
            tile = int(np.argmax(wrong))
            raise InputError(
                f"Placement: shares of the offset columns of tile {tile} add up to "
                f"{shares[tile]:g}, not 1."
            )

    @property
    def _weighing(self) -> BoolArray:
        return np.asarray((self.col_slot >= 0) & (self.col_slot < self.slots))

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return len(self.row_input)

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return int(self.row_input.shape[1])

    @property
    def cols(self) -> int:
        """Columns of a tile."""
        return int(self.col_output.shape[1])

    @property
    def flips(self) -> bool:
        """Whether any row is flipped."""
        return bool(self.row_flip.any())

    @cached_property
    def row_groups(self) -> tuple[RowGroup, ...]:
        """The tiles by the row voltages that they share, in the order of their first tiles."""
        found: dict[bytes, list[int]] = {}
        for k in range(self.tiles):
            key = self.row_input[k].tobytes() + self.row_flip[k].tobytes()
            found.setdefault(key, []).append(k)
        return tuple(self._row_group(np.array(tiles)) for tiles in found.values())

    def _row_group(self, tiles: IntArray) -> RowGroup:
        rows = np.flatnonzero(self.row_input[tiles[0]] >= 0)
        return RowGroup(
            tiles=tiles,
            rows=rows,
            inputs=self.row_input[tiles[0], rows],
            flip=self.row_flip[tiles[0], rows],
            columns=np.flatnonzero(self.col_slot[tiles] >= 0),
        )

    @cached_property
    def group_of(self) -> IntArray:
        """Number of the row group of every tile, [tiles]."""
        found = np.empty(self.tiles, dtype=np.int64)
        for number, group in enumerate(self.row_groups):
            found[group.tiles] = number
        return found

    def coverage(self) -> FloatArray:
        """How often each device of each weight counts, [inputs, outputs, slots] of all groups.

        1 everywhere (0 between groups) for a placement that computes the layer's product.
        """
        shape = self.shape
        found = np.zeros((shape.all_inputs, shape.all_outputs, self.slots))
        for k in range(self.tiles):
            rows = self.row_input[k][self.row_input[k] >= 0]
            cols = np.flatnonzero(self._weighing[k])
            outputs, held = self.col_output[k, cols], self.col_slot[k, cols]
            share = np.broadcast_to(np.abs(self.col_share[k, cols]), (len(rows), len(cols)))
            np.add.at(found, (rows[:, None], outputs[None], held[None]), share)
        same = np.arange(shape.all_inputs)[:, None] // shape.inputs == (
            np.arange(shape.all_outputs)[None] // shape.outputs
        )
        return np.where(same[..., None], found, 0.0)

    def rearranges(self, other: "Placement") -> bool:
        """Whether every tile holds what the same tile of another placement holds, elsewhere."""
        if self.row_input.shape != other.row_input.shape or self.cols != other.cols:
            return False
        rows = np.array_equal(np.sort(self.row_input, axis=1), np.sort(other.row_input, axis=1))
        ours, theirs = (_sorted_columns(p) for p in (self, other))
        return rows and np.array_equal(ours, theirs)

    def require_complete(self) -> None:
        """Raise InputError unless every device of every weight counts once in all."""
        shape = self.shape
        same = np.arange(shape.all_inputs)[:, None] // shape.inputs == (
            np.arange(shape.all_outputs)[None] // shape.outputs
        )
        wrong = same[..., None] & (np.abs(self.coverage() - 1) > 1e-9)
        if wrong.any():
            i, o, slot = np.argwhere(wrong)[0]
            raise InputError(
                f"Placement: device {slot} of the weight from input {i} to output {o} counts "
                f"{self.coverage()[i, o, slot]:g} times, not once."
            )

    def with_rows(self, order: IntArray) -> "Placement":
        """What row r of each tile held lies on row order[tile, r]; order [tiles, rows]."""
        _require_orders("with_rows", order, (self.tiles, self.rows))
        return replace(
            self,
            row_input=_moved(self.row_input, order),
            row_flip=_moved(self.row_flip, order),
        )

    def with_columns(self, order: IntArray) -> "Placement":
        """What column c of each tile held lies on column order[tile, c]; order [tiles, cols]."""
        _require_orders("with_columns", order, (self.tiles, self.cols))
        return replace(
            self,
            col_output=_moved(self.col_output, order),
            col_slot=_moved(self.col_slot, order),
            col_share=_moved(self.col_share, order),
        )

    def flipped(self, rows: BoolArray) -> "Placement":
        """The same with these rows flipped, [tiles, rows]; a row flipped twice is as it was."""
        return replace(self, row_flip=self.row_flip ^ rows)

    def replicated(self, copies: int) -> "Placement":
        """The same on `copies` sets of tiles whose readings are averaged.

        Copy 0 keeps its places and with them its faults. Raises InputError below 1.
        """
        if copies < 1:
            raise InputError(f"copies={copies} must be at least 1.")
        first = int(self.places[:, 0].max(initial=-1)) + 1
        step = np.array([first, 0, 0])

        def repeated(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array] * copies)

        weighing = repeated(self._weighing)
        share = repeated(self.col_share)
        return replace(
            self,
            row_input=repeated(self.row_input),
            row_flip=repeated(self.row_flip),
            col_output=repeated(self.col_output),
            col_slot=repeated(self.col_slot),
            col_share=np.where(weighing, share / copies, share),
            places=np.concatenate([self.places + k * step for k in range(copies)]),
        )


def _sorted_columns(p: Placement) -> FloatArray:
    """What the columns of each tile count for, in an order of its own, [tiles, 3, cols]."""
    keys = np.stack([p.col_output, p.col_slot, np.abs(p.col_share)], axis=1)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]), axis=-1)
    return np.take_along_axis(keys, order[:, None], axis=2)


def _require_orders(name: str, order: IntArray, shape: tuple[int, int]) -> None:
    if np.shape(order) != shape or (np.sort(order, axis=1) != np.arange(shape[1])).any():
        raise InputError(
            f"Placement.{name}: order must hold a permutation of 0..{shape[1] - 1} for each of "
            f"{shape[0]} tiles."
        )


def _moved(array: NDArray[Any], order: IntArray) -> NDArray[Any]:
    found = np.empty_like(array)
    np.put_along_axis(found, order, array, axis=1)
    return found


def place(shape: Shape, spec: TileSpec, encoding: Encoding) -> Placement:
    """The layer's matrices cut into tiles of this spec, in the order of their rows and columns.

    Groups share no inputs and no outputs. As many of them as fit share a tile, block by block along
    its diagonal; such a *bundle* is one matrix. A group larger than a tile is a bundle of its own.
    A bundle is cut into row tiles x column tiles, counted bundle by bundle in row-major order.
    """
    wide = outputs_per_tile(encoding, spec.cols)
    fitting = min(spec.rows // shape.inputs, wide // shape.outputs)
    bundle = max(1, min(fitting, shape.groups))
    n_slots, offset = slots(encoding), has_offset(encoding)
    row_input, col_output, col_slot, places = [], [], [], []
    row_tile = 0
    for first in range(0, shape.groups, bundle):
        last = min(first + bundle, shape.groups)
        inputs = np.arange(first * shape.inputs, last * shape.inputs)
        outputs = np.arange(first * shape.outputs, last * shape.outputs)
        for r in range(0, len(inputs), spec.rows):
            driven = _padded(inputs[r : r + spec.rows], spec.rows)
            for col_tile, c in enumerate(range(0, len(outputs), wide)):
                served = np.repeat(outputs[c : c + wide], n_slots)
                held = np.tile(np.arange(n_slots), len(served) // n_slots)
                row_input.append(driven)
                col_output.append(_padded(served, spec.cols))
                col_slot.append(_padded(held, spec.cols))
                if offset:
                    col_slot[-1][-1] = n_slots
                places.append((0, row_tile, col_tile))
            row_tile += 1
    tiles = len(places)
    return Placement(
        shape=shape,
        slots=n_slots,
        row_input=np.array(row_input),
        row_flip=np.zeros((tiles, spec.rows), dtype=np.bool_),
        col_output=np.array(col_output),
        col_slot=np.array(col_slot),
        col_share=np.ones((tiles, spec.cols)),
        places=np.array(places),
        offset=offset,
    )


def _padded(values: IntArray, length: int) -> IntArray:
    found = np.full(length, NOTHING)
    found[: len(values)] = values
    return found
