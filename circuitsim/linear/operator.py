"""Tiles -> exact operators."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from circuitsim.cells.secant import SecantModel
from circuitsim.dissection import effective_operator, operator_bytes
from circuitsim.linear.linear_tile import linear_operator
from circuitsim.linear.resistor_tile import linearise
from circuitsim.linear.tile_arrays import crossbar_of, has_perfect_conductor
from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.tile import Tile


@overload
def effective_conductance(
    tiles: Tile, *, model: SecantModel | None = None, threads: int | None = None
) -> FloatArray: ...
@overload
def effective_conductance(
    tiles: Sequence[Tile], *, model: SecantModel | None = None, threads: int | None = None
) -> FloatArray: ...
def effective_conductance(
    tiles: Tile | Sequence[Tile], *, model: SecantModel | None = None, threads: int | None = None
) -> FloatArray:
    """The exact operator of (linearised) tiles: i_out = operator @ v.

    One tile gives S [cols, rows], a sequence of tiles of one shape S [tiles, cols, rows]. Nested
    dissection on all cores, with a low-rank correction for tiles with bridges; tiles with a perfect
    conductor go to the general sparse solver. The working memory is `operator_memory` and does not
    grow with the number of tiles.

    Raises InputError when the tiles differ in shape.
    """
    if isinstance(tiles, Tile):
        return np.asarray(_operators([tiles], model, threads)[0])
    if not tiles:
        raise InputError("effective_conductance: an empty sequence has no operator.")
    shapes = {(tile.spec.rows, tile.spec.cols) for tile in tiles}
    if len(shapes) > 1:
        raise InputError(f"effective_conductance: tiles of one batch share a shape, got {shapes}.")
    return _operators(tiles, model, threads)


def _operators(tiles: Sequence[Tile], model: SecantModel | None, threads: int | None) -> FloatArray:
    linear = [linearise(tile, model=model) for tile in tiles]
    plain = [not tile.bridges and not has_perfect_conductor(tile) for tile in linear]
    if all(plain):
        return effective_operator(crossbar_of(linear), threads=threads)
    found = np.empty((len(linear), linear[0].spec.cols, linear[0].spec.rows))
    if any(plain):
        batch = [tile for tile, structured in zip(linear, plain, strict=True) if structured]
        found[plain] = effective_operator(crossbar_of(batch), threads=threads)
    for k in np.flatnonzero(~np.array(plain)).tolist():
        found[k] = linear_operator(linear[k])
    return found


def operator_memory(rows: int, cols: int, tiles: int = 1) -> int:
    """Bytes that `effective_conductance` needs for its result and its work."""
    return operator_bytes(rows, cols, tiles)
