"""Operators of a layer on a chip, as a differentiable function of its weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from circuitsim import cell_conductance, effective_conductance
from circuitsim.linear.differentiable import differentiable_conductance
from netlists.arrays import FloatArray
from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import Tile
from nnmap.chip import LayerOnChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.readers import MatrixReader, columns_of
from nnmap.layers.held_cells import HeldCells
from nnmap.mapping.placement import Placement
from nnmap.mapping.straight import recorded, straight

PROBE = 1e-6  # relative change of a memory by which the slope of a bending cell is measured


class HeldOperators:
    """Normalised weights [groups, inputs, outputs] -> the operator of every row group.

    At IDEAL the operator is what the cells show. At LINEAR it is the exact solution with all
    wires, and the gradient runs through it by the adjoint; with `every` above 1 the circuit is
    solved every so many calls only, of tiles that changed since, and in between, and in all
    gradients, each cell keeps the share of its conductance that reached the operator then.

    fitted: the reader at LINEAR whose columns were scaled for cells that bend, or None.

    Raises InputError for a fidelity that has no operators, and for tiles with bridges at LINEAR.
    """

    def __init__(
        self,
        layer: LayerOnChip,
        fidelity: Fidelity,
        *,
        every: int = 1,
        fitted: MatrixReader | None = None,
    ) -> None:
        if fidelity not in (Fidelity.IDEAL, Fidelity.LINEAR):
            raise InputError(
                f"{layer.name}: gradients run through IDEAL and LINEAR, not {fidelity.name}; train "
                "at LINEAR and evaluate at the other."
            )
        if every < 1:
            raise InputError(f"every={every} must be at least 1: solve the circuit each step.")
        self.layer, self.fidelity, self.every = layer, fidelity, every
        self.cells = HeldCells(layer)
        self._calls = 0
        self._cells_then = np.zeros(0)
        self._operators_then = np.zeros(0)
        self._gains: Tensor | None = None
        self._fitted = fitted
        if fidelity is Fidelity.LINEAR:
            self._require_no_bridges()

    def _require_no_bridges(self) -> None:
        for k in range(self.layer.programme.placement.tiles):
            if self.layer.tile(k).bridges:
                raise InputError(
                    f"{self.layer.name}: tile {k} has bridges between lines, through which "
                    "gradients do not run; train on a chip without them."
                )

    def __call__(self, w: Tensor) -> list[Tensor]:
        """Operators, S [driven, read columns] per row group, float64."""
        layer = self.cells.programmed(w)
        memories = self.cells(w, layer)
        n = layer.programme.spec.cell.n_rram
        total = memories if n == 1 else memories.sum(dim=3)
        ideal = self.fidelity is Fidelity.IDEAL
        if ideal and layer.programme.levels == "memory":
            return _by_group(total, layer.programme.placement)
        tiles = [layer.tile(k) for k in range(len(total))]
        g = _cell_conductances(total, tiles)
        if ideal:
            return _by_group(g, layer.programme.placement)
        operators = self._solved(g, tiles) if self.every == 1 else self._kept(g, tiles)
        found = _by_group(operators.mT, layer.programme.placement)
        return found if self._fitted is None else self._scaled(found, self._fitted)

    def _solved(self, g: Tensor, tiles: Sequence[Tile]) -> Tensor:
        """Operators of all tiles, S [tiles, cols, rows], by the adjoint where gradients pass."""
        if not recorded(g):
            return torch.from_numpy(effective_conductance(tiles))
        nominal = tiles[0].spec.wires
        alike = [k for k, tile in enumerate(tiles) if tile.wires is nominal]
        parts = {k: differentiable_conductance(g[k : k + 1], tiles[k].wires)[0]
                 for k in range(len(tiles)) if k not in set(alike)}  # fmt: skip
        if alike:
            together = differentiable_conductance(g[alike], nominal)
            parts |= dict(zip(alike, together, strict=True))
        return torch.stack([parts[k] for k in range(len(tiles))])

    def _kept(self, g: Tensor, tiles: Sequence[Tile]) -> Tensor:
        """The same with the circuit solved only now and then."""
        now = g.detach().numpy()
        if self._calls % self.every == 0:
            self._solve_changed(now, tiles)
        self._calls += 1
        then = self._cells_then
        reach = np.divide(
            self._operators_then.transpose(0, 2, 1), then, out=np.zeros_like(then), where=then > 0
        )
        return (g * torch.from_numpy(reach)).mT

    def _solve_changed(self, now: FloatArray, tiles: Sequence[Tile]) -> None:
        if not self._calls:
            self._cells_then = np.full_like(now, np.nan)
            self._operators_then = np.empty((len(now), now.shape[2], now.shape[1]))
        changed = np.flatnonzero((now != self._cells_then).any(axis=(1, 2)))
        if len(changed):
            self._operators_then[changed] = effective_conductance(
                [tiles[k] for k in changed.tolist()]
            )
        self._cells_then = now.copy()

    def _scaled(self, operators: list[Tensor], fitted: MatrixReader) -> list[Tensor]:
        """Columns scaled as the fit scaled them at the first weights."""
        if self._gains is None:
            first = [fitted.operator(k).double().cpu() for k in range(len(operators))]
            sums = [(f.sum(0), o.detach().sum(0)) for f, o in zip(first, operators, strict=True)]
            self._gains = torch.cat([torch.where(o > 0, f / o, 1.0) for f, o in sums])
        gains = self._gains.split([o.shape[1] for o in operators])
        return [o * gain for o, gain in zip(operators, gains, strict=True)]


def _cell_conductances(total: Tensor, tiles: Sequence[Tile]) -> Tensor:
    """Conductance of each cell between its lines, S [tiles, rows, cols], memories given."""
    if is_linear(tiles[0].spec.cell):
        return total
    value = np.stack([cell_conductance(tile) for tile in tiles])
    if not recorded(total):
        return torch.from_numpy(value)
    raised = np.stack([cell_conductance(_raised(tile)) for tile in tiles])
    memory = total.detach().numpy()
    slope = np.divide(raised - value, PROBE * memory, out=np.zeros_like(value), where=memory > 0)
    return straight(total * torch.from_numpy(slope), torch.from_numpy(value))


def _raised(tile: Tile) -> Tile:
    """The tile with every memory a little more conductive, stuck ones too."""
    return replace(tile, g=tile.g_device * (1 + PROBE), faults=None)


def _by_group(tiles: Tensor, placement: Placement) -> list[Tensor]:
    """Conductances or operators [tiles, rows, cols] as [driven, read columns] per row group."""
    found = []
    for group in placement.row_groups:
        rows = torch.from_numpy(group.rows)
        parts = [
            tiles[k][rows][:, torch.from_numpy(columns_of(placement, k)[1])]
            for k in group.tiles.tolist()
        ]
        found.append(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))
    return found
