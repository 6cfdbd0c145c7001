"""Which part of a layer's matrix lies on which tile."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netlists.arrays import FloatArray
from netlists.tile import TileSpec
from nnmap.encode import Encoding


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A layer's matrices [inputs, outputs], one a group, cut into tiles.

    Groups (of a grouped or depthwise convolution) share no inputs and no outputs. As many of them
    as fit share a tile, block by block along its diagonal; such a *bundle* is one matrix. A group
    larger than a tile is a bundle of its own. A bundle is cut into row tiles x column tiles, and
    tiles are counted bundle by bundle in row-major order.

    inputs, outputs: of one group.  rows, outputs_per_tile: what a tile holds.
    """

    inputs: int
    outputs: int
    rows: int
    outputs_per_tile: int
    groups: int = 1

    @property
    def bundle(self) -> int:
        """Groups a bundle."""
        fitting = min(self.rows // self.inputs, self.outputs_per_tile // self.outputs)
        return max(1, min(fitting, self.groups))

    @property
    def bundles(self) -> int:
        """Independent matrices on tiles; 1 without groups."""
        return -(-self.groups // self.bundle)

    @property
    def row_tiles(self) -> int:
        """Tiles along the inputs of a bundle."""
        return -(-self.bundle * self.inputs // self.rows)

    @property
    def col_tiles(self) -> int:
        """Tiles along the outputs of a bundle."""
        return -(-self.bundle * self.outputs // self.outputs_per_tile)

    @property
    def reads(self) -> int:
        """Sets of tiles that share their input voltages: bundles x row tiles."""
        return self.bundles * self.row_tiles

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return self.reads * self.col_tiles

    @property
    def tile_outputs(self) -> list[int]:
        """Outputs that each column tile of a bundle holds."""
        total, step = self.bundle * self.outputs, self.outputs_per_tile
        return [min(step, total - c) for c in range(0, total, step)]

    def input_slices(self) -> list[slice]:
        """The layer's inputs that drive each read, in order."""
        width = self.bundle * self.inputs
        return [
            slice(start + r, min(start + r + self.rows, start + width, self.groups * self.inputs))
            for start in range(0, self.groups * self.inputs, width)
            for r in range(0, width, self.rows)
        ]

    def bundle_matrices(self, w: FloatArray) -> list[FloatArray]:
        """Matrix of each bundle, NaN where it holds no weight; w [groups, inputs, outputs]."""
        result = []
        for first in range(0, self.groups, self.bundle):
            matrix = np.full((self.bundle * self.inputs, self.bundle * self.outputs), np.nan)
            for k, group in enumerate(w[first : first + self.bundle]):
                r, c = k * self.inputs, k * self.outputs
                matrix[r : r + self.inputs, c : c + self.outputs] = group
            result.append(matrix)
        return result

    def blocks(self, w: FloatArray) -> list[FloatArray]:
        """What each tile holds of w [groups, inputs, outputs] (or [inputs, outputs]), in order."""
        step = self.outputs_per_tile
        return [
            matrix[r : r + self.rows, c : c + step]
            for matrix in self.bundle_matrices(w if w.ndim == 3 else w[None])
            for r in range(0, len(matrix), self.rows)
            for c in range(0, matrix.shape[1], step)
        ]

    def join(self, tiles: FloatArray) -> FloatArray:
        """The inverse of `blocks`: [tiles, rows, outputs_per_tile] -> [groups, inputs, outputs]."""
        grid = tiles.reshape(self.bundles, self.row_tiles, self.col_tiles, *tiles.shape[1:])
        joined = grid.transpose(0, 1, 3, 2, 4).reshape(
            self.bundles, self.row_tiles * tiles.shape[1], -1
        )
        w = np.empty((self.groups, self.inputs, self.outputs))
        for group in range(self.groups):
            bundle, k = divmod(group, self.bundle)
            r, c = k * self.inputs, k * self.outputs
            w[group] = joined[bundle, r : r + self.inputs, c : c + self.outputs]
        return w

    def split_inputs(self, x: Tensor) -> Tensor:
        """[batch, inputs of all groups] -> [reads, batch, rows], unused rows at 0."""
        parts = [x[:, rows] for rows in self.input_slices()]
        pad = torch.nn.functional.pad
        return torch.stack([pad(part, (0, self.rows - part.shape[1])) for part in parts])


def place(
    shape: tuple[int, int], spec: TileSpec, encoding: Encoding, *, groups: int = 1
) -> Placement:
    """Placement of matrices [inputs, outputs], one a group, on tiles of this spec."""
    return Placement(
        inputs=shape[0],
        outputs=shape[1],
        rows=spec.rows,
        outputs_per_tile=encoding.outputs_per_tile(spec.cols),
        groups=groups,
    )


def program(w: FloatArray, placement: Placement, spec: TileSpec, encoding: Encoding) -> FloatArray:
    """Memory conductances of every tile, S [tiles, *g_shape].

    w: [inputs, outputs] or [groups, inputs, outputs], in [-1, 1].
    """
    return np.stack(
        [
            encoding.program(block, spec.cell, rows=spec.rows, cols=spec.cols)
            for block in placement.blocks(w)
        ]
    )
