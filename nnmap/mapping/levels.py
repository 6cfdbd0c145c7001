"""Which level each cell is to hold, as an index into a table made of the weights."""

from dataclasses import dataclass

import numpy as np

from netlists.arrays import FloatArray
from netlists.cells import Cell
from nnmap.mapping.encode import Encoding, offset_states, state
from nnmap.mapping.placement import IntArray, Placement


@dataclass(frozen=True, kw_only=True, eq=False)
class CellLevels:
    """The levels of the cells of some tiles, in the numbers of a table.

    The table lists the levels of the weights from `inputs`, input by input, output by output, slot
    by slot; then, where cells hold negatives, those of the negative weights; then those of no
    weight, [slots]; then 0, at which rows and columns out of use are left.

    inputs: of all groups, rising.  index: number of each cell's level, [tiles, rows, cols].
    """

    placement: Placement
    inputs: IntArray
    index: IntArray
    negatives: bool

    @classmethod
    def of(cls, placement: Placement, tiles: slice = slice(None)) -> "CellLevels":
        """Of these tiles of a placement."""
        p, shape = placement, placement.shape
        i, o = p.row_input[tiles, :, None], p.col_output[tiles, None, :]
        share, flip = p.col_share[tiles, None, :], p.row_flip[tiles, :, None]
        in_use = (i >= 0) & (o >= 0)
        same = i // shape.inputs == o // shape.outputs
        inputs = np.unique(i[i >= 0])
        # Where a row is not driven, the place is that of any other and not used.
        place = np.minimum(np.searchsorted(inputs, i), max(0, len(inputs) - 1))
        weights = len(inputs) * shape.outputs * p.slots
        slot = p.col_slot[tiles, None, :]
        held = (place * shape.outputs + o % shape.outputs) * p.slots + slot
        negative = (flip ^ (share < 0)) & in_use & same
        negatives = bool(negative.any())
        held += weights * negative
        nothing = weights * (1 + negatives)
        index = np.where(in_use, np.where(same, held, nothing + slot), nothing + p.slots)
        return cls(placement=p, inputs=inputs, index=index, negatives=negatives)

    def table(self, weights: FloatArray, encoding: Encoding) -> FloatArray:
        """The table, for normalised weights [groups, inputs, outputs] of the whole layer."""
        w = weights.reshape(-1, weights.shape[2])
        if len(self.inputs) < len(w):
            w = w[self.inputs]
        parts = [encoding.levels(w)]
        if self.negatives:
            parts.append(encoding.levels(-w))
        parts += [encoding.levels(np.array(np.nan)), np.zeros(1)]
        return np.concatenate([part.ravel() for part in parts])

    def sources(self) -> tuple[IntArray, IntArray, FloatArray]:
        """(weight, slot, sign) of every cell, [tiles, rows, cols] each; weight -1 where none.

        weight: counted through [groups, inputs, outputs].  sign: -1 where the negative is held.
        """
        p = self.placement
        outputs = p.shape.outputs
        weights = len(self.inputs) * outputs * p.slots
        holds = self.index < weights * (1 + self.negatives)
        entry, slot = np.divmod(self.index % max(1, weights), p.slots)
        weight = self.inputs[entry // outputs] * outputs + entry % outputs if weights else entry
        sign = np.where(self.index < weights, 1.0, -1.0)
        return np.where(holds, weight, -1), np.where(holds, slot, 0), sign

    def memories(self, levels: FloatArray, cell: Cell, tiles: slice = slice(None)) -> FloatArray:
        """Conductances of the memories at these levels [tiles, rows, cols], S [tiles, *g_shape].

        Offset columns are at mid-range in every row, whatever the levels say.
        """
        n = cell.n_rram
        g = state(levels, cell)
        offset = self.placement.col_slot[tiles] == self.placement.slots
        if n > 1:
            g = np.repeat(g[..., None], n, axis=3)
        if offset.any():
            middle = offset_states(cell)
            tile, col = np.nonzero(offset)
            g[tile, :, col] = middle[0] if n == 1 else middle
        return g
