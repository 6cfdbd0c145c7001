"""What the cells of a layer hold, as a differentiable function of its weights.

Values are those of the chip; gradients pass straight through the rounding to levels and end at
memories that are stuck or out of reach.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind
from netlists.tile import Access, Tile
from nnmap.chip import LayerOnChip
from nnmap.mapping.encode import Encoding
from nnmap.mapping.levels import CellLevels
from nnmap.mapping.placement import BoolArray, IntArray
from nnmap.mapping.programme import Programme

AS_ORDERED = 1e-9  # of the range of a memory; what differs by less is the order of its weight


def level_slopes(encoding: Encoding) -> FloatArray:
    """dl_k/dw with the rounding passed through: the least change of levels that changes w, [slots].

    For levels that are not rounded it is the derivative.
    """
    s = np.array(encoding.significances)
    return np.asarray(s / (s @ s))


class HeldCells:
    """The cells of a layer on a chip: normalised weights -> conductances of their memories, S.

    Stuck memories hold what they are stuck at, memories out of reach 0 S, whatever the weights.

    order: the cells to give, counted through [tiles, rows, cols]; all of them where left out.

    Raises InputError where memories were ordered apart from the weights, which the first step would
    undo, and for a chip whose memories hold the same whatever is ordered.
    """

    def __init__(self, layer: LayerOnChip, order: IntArray | None = None) -> None:
        self.layer = layer
        programme = layer.programme
        rram, n = programme.spec.cell.rram, programme.spec.cell.n_rram
        self.tiles = _tiles(layer)
        self._as_ordered = _follows(layer, self.tiles)
        levels = CellLevels.of(programme.placement)
        self._order = np.arange(levels.index.size) if order is None else order
        source, slot, sign = (part.ravel()[self._order] for part in levels.sources())
        reachable = np.stack([tile.g_reachable for tile in self.tiles])
        healthy = np.stack([_healthy(tile) for tile in self.tiles])
        follows = healthy.reshape(-1, n)[self._order] & (source >= 0)[:, None]
        rest = np.where(follows, 0.0, reachable.reshape(-1, n)[self._order]).sum(axis=1)
        memories = follows.sum(axis=1)
        # Of each cell: _base + _gain times its level.
        self._levels, self._index = levels, levels.index.ravel()[self._order]
        self._gain = memories * (rram.g_lrs - rram.g_hrs)
        self._base = memories * rram.g_hrs + rest
        # dg/dw of the weight that each cell follows, 0 where it follows none.
        slope = self._gain * sign * level_slopes(programme.encoding)[slot]
        self._slope = torch.from_numpy(slope)
        self._weight = torch.from_numpy(np.maximum(source, 0))

    def programmed(self, w: FloatArray) -> LayerOnChip:
        """The layer with these normalised weights [groups, inputs, outputs] on the same chip."""
        return replace(self.layer, programme=self.layer.programme.with_weights(w))

    def tiles_of(self, w: FloatArray) -> list[Tile]:
        """The tiles with these normalised weights."""
        layer = self.programmed(w)
        if not self._as_ordered:
            return _tiles(layer)
        target = layer.programme.target
        return [replace(tile, g=g) for tile, g in zip(self.tiles, target, strict=True)]

    def __call__(self, w: Tensor) -> Tensor:
        """Conductance of each cell, memories summed, S [cells in order], float64."""
        values = self._values(w.detach().double().cpu().numpy())
        found: Tensor = _Held.apply(w, values, self._weight, self._slope)  # type: ignore[no-untyped-call]
        return found

    def _values(self, w: FloatArray) -> FloatArray:
        programme = self.layer.programme
        if self._as_ordered:
            found = self._levels.table(w, programme.encoding)[self._index]
            found *= self._gain
            found += self._base
            return found
        reachable = np.stack([tile.g_reachable for tile in self.tiles_of(w)])
        cells = reachable.reshape(-1, programme.spec.cell.n_rram).sum(axis=1)
        return np.asarray(cells[self._order])


class _Held(torch.autograd.Function):
    """(w, values, weight and slope of each) -> values, whose gradients go to their weights."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, values: FloatArray, weight: Tensor, slope: Tensor) -> Tensor:
        ctx.weight, ctx.slope, ctx.like = weight, slope, w.detach()
        return torch.from_numpy(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        along = gradients[0] * ctx.slope
        found = along.new_zeros(ctx.like.numel()).index_add_(0, ctx.weight, along)
        return found.view(ctx.like.shape).to(ctx.like), None, None, None


def _tiles(layer: LayerOnChip) -> list[Tile]:
    return [layer.tile(k) for k in range(layer.programme.placement.tiles)]


def _follows(layer: LayerOnChip, tiles: Sequence[Tile]) -> bool:
    """Whether healthy memories hold what is ordered, to the last bit, whatever that is."""
    programme, cell = layer.programme, layer.programme.spec.cell
    again = programme.with_weights(programme.weights)
    apart = np.abs(again.target - programme.target) > AS_ORDERED * cell.rram.g_lrs
    if apart.any():
        raise InputError(
            f"{layer.name}: {np.count_nonzero(apart)} memories were ordered apart from the weights "
            "that they hold, and training would undo it; train first."
        )
    other = programme.with_weights(_other_weights(programme))
    before = np.stack([np.asarray(tile.g) for tile in tiles])
    after = np.stack([np.asarray(tile.g) for tile in _tiles(replace(layer, programme=other))])
    if np.array_equal(before, after) and not np.array_equal(programme.target, other.target):
        raise InputError(
            f"{layer.name}: the memories of this chip hold the same whatever is ordered of them; "
            "training would move nothing."
        )
    return np.array_equal(before, programme.target) and np.array_equal(after, other.target)


def _other_weights(programme: Programme) -> FloatArray:
    """Some weights that the layer could hold as well."""
    w = np.random.default_rng(0).uniform(-1.0, 1.0, programme.weights.shape)
    return np.where(w >= 0, 1.0, -1.0) if programme.binary else w


def _healthy(tile: Tile) -> BoolArray:
    """Memories that follow what is ordered and that their row reaches, `g_shape`."""
    found = np.ones(tile.spec.g_shape, dtype=np.bool_)
    if tile.faults is not None:
        found = tile.faults.kind == FaultKind.NONE
    if tile.defects is not None:
        cut = np.isin(tile.access, (Access.OPEN, Access.OFF))
        found = found & ~(cut if found.ndim == 2 else cut[..., None])
    return np.asarray(found)
