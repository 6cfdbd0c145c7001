"""What the cells of a layer hold, as a differentiable function of its weights.

Values are those of the chip to the last bit; gradients pass straight through the rounding to
levels and end at memories that are stuck or out of reach.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netlists.arrays import FloatArray
from netlists.faults import FaultKind
from netlists.tile import Access, Tile
from nnmap.chip import LayerOnChip
from nnmap.mapping.encode import Encoding
from nnmap.mapping.placement import BoolArray, IntArray, Placement
from nnmap.mapping.straight import recorded, straight


def level_slopes(encoding: Encoding) -> FloatArray:
    """dl_k/dw with the rounding passed through: the least change of levels that changes w, [slots].

    For levels that are not rounded it is the derivative.
    """
    s = np.array(encoding.significances)
    return np.asarray(s / (s @ s))


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSources:
    """Which weight each cell follows.

    cell: numbers of the cells that hold a weight, counted through [tiles, rows, cols].
    weight: its number, counted through [groups, inputs, outputs].  slope: d level / d weight.
    """

    cell: IntArray
    weight: IntArray
    slope: FloatArray

    @classmethod
    def of(cls, placement: Placement, encoding: Encoding) -> "CellSources":
        """Of all cells of a placement."""
        p, shape = placement, placement.shape
        i, o = p.row_input[:, :, None], p.col_output[:, None, :]
        holds = (i >= 0) & (o >= 0) & (i // shape.inputs == o // shape.outputs)
        tile, row, col = np.nonzero(holds)
        source, served = p.row_input[tile, row], p.col_output[tile, col]
        sign = np.where(p.row_flip[tile, row], -1.0, 1.0) * np.sign(p.col_share[tile, col])
        return cls(
            cell=np.ravel_multi_index((tile, row, col), holds.shape),
            weight=source * shape.outputs + served % shape.outputs,
            slope=sign * level_slopes(encoding)[p.col_slot[tile, col]],
        )


class HeldCells:
    """The memories of a layer on a chip: normalised weights -> conductances, S [tiles, *g_shape].

    Stuck memories hold what they are stuck at, memories out of reach 0 S, whatever the weights.
    """

    def __init__(self, layer: LayerOnChip) -> None:
        self.layer = layer
        programme = layer.programme
        tiles = [layer.tile(k) for k in range(programme.placement.tiles)]
        self._healthy = np.stack([_healthy(tile) for tile in tiles])
        self._fixed = np.stack([tile.g_reachable for tile in tiles])
        self._as_ordered = np.array_equal(np.stack([t.g for t in tiles]), programme.target)
        sources = CellSources.of(programme.placement, programme.encoding)
        self._cell = torch.from_numpy(sources.cell)
        self._weight = torch.from_numpy(sources.weight)
        self._slope = sources.slope

    def programmed(self, w: Tensor) -> LayerOnChip:
        """The layer with these normalised weights [groups, inputs, outputs] on the same chip."""
        programme = self.layer.programme.with_weights(w.detach().double().cpu().numpy())
        return LayerOnChip(name=self.layer.name, programme=programme, chip=self.layer.chip)

    def __call__(self, w: Tensor, layer: LayerOnChip) -> Tensor:
        """Conductances of all memories; layer: what `programmed` gives for w."""
        held = torch.from_numpy(self._values(layer))
        if not recorded(w):
            return held
        programme = layer.programme
        n = programme.spec.cell.n_rram
        cells = held.numel() // n
        ordered = programme.target.reshape(cells, n).sum(axis=1)[self._cell.numpy()]
        slope = self._slope * programme.cell_levels.memory_per_level(ordered)
        along = w.double().ravel()[self._weight] * torch.from_numpy(slope)
        change = along.new_zeros(cells).index_add(0, self._cell, along)
        per_memory = change[:, None].expand(cells, n).reshape(held.shape)
        return straight(per_memory * torch.from_numpy(self._healthy), held)

    def _values(self, layer: LayerOnChip) -> FloatArray:
        if self._as_ordered:
            return np.where(self._healthy, layer.programme.target, self._fixed)
        return np.stack([layer.tile(k).g_reachable for k in range(len(self._fixed))])


def _healthy(tile: Tile) -> BoolArray:
    """Memories that follow what is ordered and that their row reaches, `g_shape`."""
    found = np.ones(tile.spec.g_shape, dtype=np.bool_)
    if tile.faults is not None:
        found = tile.faults.kind == FaultKind.NONE
    if tile.defects is not None:
        cut = np.isin(tile.access, (Access.OPEN, Access.OFF))
        found = found & ~(cut if found.ndim == 2 else cut[..., None])
    return np.asarray(found)
