"""Which part of a layer's matrix lies on which tile."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netlists.tile import FloatArray, TileSpec
from nnmap.encode import Encoding


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A matrix [inputs, outputs] cut into row tiles x column tiles, in row-major order."""

    inputs: int
    outputs: int
    rows: int
    outputs_per_tile: int

    @property
    def row_tiles(self) -> int:
        """Tiles along the inputs."""
        return -(-self.inputs // self.rows)

    @property
    def col_tiles(self) -> int:
        """Tiles along the outputs."""
        return -(-self.outputs // self.outputs_per_tile)

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return self.row_tiles * self.col_tiles

    def blocks(self, w: FloatArray) -> list[FloatArray]:
        """The part of w [inputs, outputs] that each tile holds, tile by tile."""
        return [
            w[r : r + self.rows, c : c + self.outputs_per_tile]
            for r in range(0, self.inputs, self.rows)
            for c in range(0, self.outputs, self.outputs_per_tile)
        ]

    def split_inputs(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [row_tiles, batch, rows], unused rows at 0."""
        padded = torch.nn.functional.pad(x, (0, self.row_tiles * self.rows - self.inputs))
        return padded.view(len(x), self.row_tiles, self.rows).transpose(0, 1)


def place(shape: tuple[int, int], spec: TileSpec, encoding: Encoding) -> Placement:
    """Placement of a matrix [inputs, outputs] on tiles of this spec."""
    return Placement(
        inputs=shape[0],
        outputs=shape[1],
        rows=spec.rows,
        outputs_per_tile=encoding.outputs_per_tile(spec.cols),
    )


def program(w: FloatArray, placement: Placement, spec: TileSpec, encoding: Encoding) -> FloatArray:
    """Memory conductances of every tile, S [tiles, *g_shape]; w [inputs, outputs] in [-1, 1]."""
    return np.stack(
        [
            encoding.program(block, spec.cell, rows=spec.rows, cols=spec.cols)
            for block in placement.blocks(w)
        ]
    )
