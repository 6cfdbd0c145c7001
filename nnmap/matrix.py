"""A layer's matrix as the conductances of one chip."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from netlists.arrays import FloatArray
from netlists.defects import Defects
from netlists.errors import InputError
from netlists.faults import FaultMap
from netlists.tile import Tile, TileSpec
from nnmap.encode import Encoding
from nnmap.placement import Placement


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix:
    """A layer's matrix programmed on tiles of one chip.

    g: memory conductances as programmed, S [tiles, *g_shape].
    faults, defects: one map a tile of each, or None on a perfect chip.
    scale: weight that a normalised 1 stands for.
    """

    spec: TileSpec
    encoding: Encoding
    placement: Placement
    g: FloatArray
    scale: float
    faults: tuple[FaultMap, ...] | None = None
    defects: tuple[Defects, ...] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Matrix":
        return self  # nothing in it changes

    def tile(self, index: int) -> Tile:
        """One tile as a circuit sees it."""
        faults = None if self.faults is None else self.faults[index]
        defects = None if self.defects is None else self.defects[index]
        return Tile(spec=self.spec, g=self.g[index], faults=faults, defects=defects)

    def with_faults(self, faults: Sequence[FaultMap]) -> "Matrix":
        """The same matrix on a chip with these faults, one map a tile."""
        if len(faults) != self.placement.tiles:
            raise InputError(f"{len(faults)} fault maps for {self.placement.tiles} tiles.")
        return replace(self, faults=tuple(faults))

    def with_defects(self, defects: Sequence[Defects]) -> "Matrix":
        """The same matrix on a chip with these defects, one map a tile."""
        if len(defects) != self.placement.tiles:
            raise InputError(f"{len(defects)} maps of defects for {self.placement.tiles} tiles.")
        return replace(self, defects=tuple(defects))

    def ideal(self) -> FloatArray:
        """Memory conductances alone, faulty as they are, as operators, S [tiles, cols, rows]."""
        g = self.g
        if self.faults is not None or self.defects is not None:
            g = np.empty_like(self.g)
            for k in range(len(g)):
                g[k] = self.tile(k).g_reachable
        return (g if g.ndim == 3 else g.sum(axis=3)).transpose(0, 2, 1)

    def columns(self) -> list[int]:
        """Columns of a bundle's row of tiles that are read, out of col_tiles * cols."""
        cols = self.spec.cols
        return [
            k * cols + column
            for k, outputs in enumerate(self.placement.tile_outputs)
            for column in self.encoding.columns(outputs, cols)
        ]

    def weights(self) -> FloatArray:
        """The weights that the devices decode to, faults included, [groups, inputs, outputs].

        This is the faulty weight of the behavioural abstraction: what a row driven alone reads at
        IDEAL fidelity, before any converter. An offset column that fails shifts every weight of
        its row, which overwriting weights one by one would miss. Failures outside the blocks of
        groups that share a tile belong to no weight and do not appear here.
        """
        g = torch.from_numpy(self.ideal().transpose(0, 2, 1))
        decoded = self.encoding.decode(g, self.spec.cell, np.asarray).numpy()
        return np.asarray(self.placement.join(decoded) * self.scale)
