"""Converted column currents -> weighted sums: the digital side of a read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netlists.arrays import FloatArray
from nnmap.mapping.encode import CellFunction, Readout
from nnmap.mapping.placement import IntArray, Placement
from nnmap.mapping.programme import Programme


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoder:
    """What the read columns of one row group add to the layer's outputs.

    Entry e adds weight[e] times the current of column[e] (which of the group's read columns) to
    output[e]. Entries are ordered by column; an offset column has one for every output it is
    subtracted from.

    weight: volt times weight per ampere.
    """

    column: IntArray
    output: IntArray
    weight: FloatArray


def decoders(programme: Programme, g_cell: CellFunction) -> tuple[Decoder, ...]:
    """The decoder of every row group; g_cell: cell conductance over that of its memories, S."""
    p = programme.placement
    readout = Readout.of(programme.cell_levels, g_cell)
    direct, against = readout.per_ampere(programme.encoding), np.zeros(p.slots)
    if p.offset:
        against = readout.per_offset_ampere(programme.encoding)
    return tuple(
        _decoder(p, group.tiles, direct, against, programme.scale) for group in p.row_groups
    )


def _decoder(
    p: Placement, tiles: IntArray, direct: FloatArray, against: FloatArray, scale: FloatArray
) -> Decoder:
    columns, outputs, weights = [], [], []
    first = 0
    for k in tiles.tolist():
        read = np.flatnonzero(p.col_slot[k] >= 0)
        slot, output, share = p.col_slot[k, read], p.col_output[k, read], p.col_share[k, read]
        plain = np.flatnonzero(slot < p.slots)
        columns.append(first + plain)
        outputs.append(output[plain])
        weights.append(share[plain] * direct[slot[plain]])
        offset = np.flatnonzero(slot == p.slots)
        if len(offset):
            served, place = np.unique(output[plain], return_inverse=True)
            total = np.bincount(place, share[plain] * against[slot[plain]])
            columns.append(np.repeat(first + offset, len(served)))
            outputs.append(np.tile(served, len(offset)))
            weights.append(np.outer(share[offset], total).ravel())
        first += len(read)
    column, output, weight = (np.concatenate(part) for part in (columns, outputs, weights))
    order = np.argsort(column, kind="stable")
    return Decoder(
        column=column[order], output=output[order], weight=(weight * scale[output])[order]
    )


def decoded_matrix(
    programme: Programme,
    operators: Sequence[FloatArray],
    g_cell: CellFunction,
    gain: FloatArray | None = None,
) -> FloatArray:
    """What tiles of these operators compute, [inputs, outputs] of all groups, weight.

    operators: S [driven, read columns] of every row group.  g_cell: see `decoders`.
    gain: of each column's reading, [tiles, cols].
    """
    p, shape = programme.placement, programme.placement.shape
    found = np.zeros((shape.all_inputs, shape.all_outputs))
    for group, decoder, read in zip(
        p.row_groups, decoders(programme, g_cell), operators, strict=True
    ):
        weight = decoder.weight
        if gain is not None:
            weight = weight * gain[group.tiles].ravel()[group.columns[decoder.column]]
        terms = read[:, decoder.column] * weight * np.where(group.flip, -1.0, 1.0)[:, None]
        np.add.at(found, (group.inputs[:, None], decoder.output[None]), terms)
    return found


def operators_of(placement: Placement, g: FloatArray) -> list[FloatArray]:
    """Cells' conductances, S [tiles, rows, cols], as operators of every row group."""
    found = []
    for group in placement.row_groups:
        side_by_side = np.concatenate(list(g[group.tiles]), axis=1)
        found.append(side_by_side[np.ix_(group.rows, group.columns)])
    return found


def decoded_weights(programme: Programme, g: FloatArray) -> FloatArray:
    """The weights that cells of these conductances read as, [groups, inputs, outputs].

    g: what each cell shows, S [tiles, rows, cols]; see `LayerOnChip.shown`.
    This is what a row driven alone reads, before any converter: a stuck cell of an offset column
    shifts every weight of its row, which overwriting weights one by one would miss. Failures at
    cells that hold no weight, between groups that share a tile, do not appear here.
    """
    shape = programme.placement.shape
    operators = operators_of(programme.placement, g)
    found = decoded_matrix(programme, operators, programme.cell_levels.shown)
    blocks = found.reshape(shape.groups, shape.inputs, shape.groups, shape.outputs)
    own = np.arange(shape.groups)
    return np.ascontiguousarray(blocks[own, :, own])
