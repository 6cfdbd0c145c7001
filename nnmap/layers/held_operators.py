"""Operators of a layer on a chip, as a differentiable function of its weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from circuitsim import cell_conductance, effective_conductance
from circuitsim.linear.differentiable import differentiable_conductance
from circuitsim.linear.resistor_tile import as_resistors
from circuitsim.linear.tile_arrays import has_perfect_conductor
from netlists.arrays import FloatArray
from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import Tile
from netlists.wires import Wires
from nnmap.chip import LayerOnChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.layers.held_cells import HeldCells
from nnmap.mapping.placement import IntArray, Placement
from nnmap.mapping.straight import recorded, straight

PROBE = 1e-6  # relative change of a memory by which the slope of a bending cell is measured


class HeldOperators:
    """Normalised weights [groups, inputs, outputs] -> the operator of every row group.

    At IDEAL the operator is the cells' conductances. At LINEAR it is the exact solution with all
    wires, and the gradient runs through it by the adjoint; with `every` above 1 the circuit is
    solved every so many calls only, of tiles that changed since, and in between, and in all
    gradients, each cell keeps the share of its conductance that reached the operator then.

    gains: what the columns of each row group are scaled by at LINEAR, where cells bend; the fit at
        the first weights, kept.

    Raises InputError for a fidelity that has no operators, and at LINEAR for tiles with bridges
    and, unless `every` is above 1, for wires of which some are perfect and some are not.
    """

    def __init__(
        self,
        layer: LayerOnChip,
        fidelity: Fidelity,
        *,
        every: int = 1,
        gains: Sequence[Tensor] | None = None,
    ) -> None:
        require_trainable(layer.name, fidelity)
        if every < 1:
            raise InputError(f"every={every} must be at least 1: solve the circuit each step.")
        self.layer, self.fidelity, self.every = layer, fidelity, every
        p = layer.programme.placement
        self._shapes = [(len(g.rows), len(g.columns)) for g in p.row_groups]
        if fidelity is Fidelity.IDEAL:
            self.cells = HeldCells(layer, _entries(p, turned=False))
            return
        self.cells = HeldCells(layer)
        self._order = torch.from_numpy(_entries(p, turned=True))
        self._bends = not is_linear(layer.programme.spec.cell)
        self._gains = gains
        self._resistors = [as_resistors(t, np.zeros((p.rows, p.cols))) for t in self.cells.tiles]
        self._require_solvable()
        self._calls = 0
        self._cells_then: FloatArray | None = None
        self._operators_then = np.zeros((p.tiles, p.cols, p.rows))
        self._reach = torch.empty(0)

    def _require_solvable(self) -> None:
        name = self.layer.name
        for k, tile in enumerate(self._resistors):
            if tile.bridges:
                raise InputError(
                    f"{name}: tile {k} has bridges between lines, through which gradients do not "
                    "run; train on a chip without them."
                )
            if self.every == 1 and has_perfect_conductor(tile) and not _perfect(tile.wires):
                raise InputError(
                    f"{name}: some wires of tile {k} have 0 ohm and some have not; gradients run "
                    "through all or through none. Give each a resistance, or solve the circuit "
                    "every=2 steps or more."
                )

    def __call__(self, w: Tensor) -> list[Tensor]:
        """Operators, S [driven, read columns] per row group, float64."""
        cells = self.cells(w)
        if self.fidelity is Fidelity.IDEAL:
            return self._by_group(cells)
        p = self.layer.programme.placement
        g = cells.view(p.tiles, p.rows, p.cols)
        if self._bends:
            g = _cell_conductances(g, self.cells.tiles_of(w.detach().double().cpu().numpy()))
        operators = self._solved(g) if self.every == 1 else self._kept(g)
        found = self._by_group(operators.reshape(-1)[self._order])
        if self._gains is None:
            return found
        return [o * gain for o, gain in zip(found, self._gains, strict=True)]

    def _by_group(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([rows * cols for rows, cols in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _solved(self, g: Tensor) -> Tensor:
        """Operators of all tiles, S [tiles, cols, rows], by the adjoint where gradients pass."""
        if not recorded(g):
            return torch.from_numpy(self._operators(g.numpy(), range(len(g))))
        alike: dict[Wires, list[int]] = {}
        for k, tile in enumerate(self._resistors):
            alike.setdefault(tile.wires, []).append(k)
        parts, order = [], []
        for wires, numbers in alike.items():
            chosen = g if len(numbers) == len(g) else g[numbers]
            perfect = _perfect(wires)
            parts.append(chosen.mT if perfect else differentiable_conductance(chosen, wires))
            order += numbers
        return parts[0] if len(parts) == 1 else torch.cat(parts)[np.argsort(order)]

    def _operators(self, g: FloatArray, numbers: Sequence[int]) -> FloatArray:
        """Operators of some tiles, S [numbers, cols, rows], for the cells of all."""
        return effective_conductance([replace(self._resistors[k], g=g[k]) for k in numbers])

    def _kept(self, g: Tensor) -> Tensor:
        """The same with the circuit solved only now and then."""
        if self._calls % self.every == 0:
            self._solve_changed(g.detach().numpy())
        self._calls += 1
        return g.mT * self._reach

    def _solve_changed(self, now: FloatArray) -> None:
        """Solve the tiles that changed; keep which share of each cell reaches the operator."""
        then = self._cells_then
        changed = np.arange(len(now))
        if then is not None:
            changed = np.flatnonzero((now != then).any(axis=(1, 2)))
        if len(changed):
            self._operators_then[changed] = self._operators(now, changed.tolist())
            cells = now.transpose(0, 2, 1)
            reach = np.divide(
                self._operators_then, cells, out=np.zeros_like(cells), where=cells > 0
            )
            self._reach = torch.from_numpy(reach)
        self._cells_then = now.copy()


def require_trainable(name: str, fidelity: Fidelity) -> None:
    """Raise InputError for a fidelity through which no gradients run."""
    if fidelity not in (Fidelity.IDEAL, Fidelity.LINEAR):
        shown = fidelity.name if isinstance(fidelity, Fidelity) else repr(fidelity)
        raise InputError(
            f"{name}: gradients run through IDEAL and LINEAR, not {shown}; train at LINEAR and "
            "evaluate at the other."
        )


def _perfect(wires: Wires) -> bool:
    """Whether no wire has any resistance."""
    every = (wires.r_row_segment, wires.r_col_segment, wires.r_driver, wires.r_sense)
    return not any(np.any(part) for part in every)


def _entries(placement: Placement, *, turned: bool) -> IntArray:
    """Where the entries of all operators stand, row group by row group, driven row by driven row.

    Counted through [tiles, rows, cols], or [tiles, cols, rows] where turned.
    """
    p, found = placement, []
    for group in p.row_groups:
        tile, col = group.tiles[group.columns // p.cols], group.columns % p.cols
        row = group.rows[:, None]
        number = (tile * p.cols + col) * p.rows + row if turned else (tile * p.rows + row) * p.cols
        found.append((number if turned else number + col).ravel())
    return np.concatenate(found)


def _cell_conductances(total: Tensor, tiles: Sequence[Tile]) -> Tensor:
    """Conductance of each bending cell between its lines, S [tiles, rows, cols], memories given."""
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
