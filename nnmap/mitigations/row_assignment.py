"""Rows of a tile assigned to the physical rows where their weights suffer least."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap
from nnmap.chip import LayerOnChip
from nnmap.mapping.encode import Readout
from nnmap.mapping.programme import Programme
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class RowAssignment(ChipSpecific):
    """Row permutation and row flipping in one assignment per tile.

    The cost of row r on physical row k is the sum over the tile's outputs of the squared error of
    the weight that the stuck memories of row k would make of it; of the two signs that a row can be
    held with, the cheaper one counts.

    permute, flip: either alone, or both. A flipped row is driven with the negative of its input,
    which takes a second read or a drive of both signs (`MappingPlan.negative`).

    Source: permutation, Chen et al., DATE 2017 (fpt, its reference 8); flipping, Zhang et al.,
    ASP-DAC 2019 (fpt, its reference 13).
    Raises InputError where neither is asked for.
    """

    needs: ClassVar[Needs] = Needs.MAP
    source: ClassVar[str] = "fpt, references 8 and 13"

    permute: bool = True
    flip: bool = True

    def __post_init__(self) -> None:
        if not (self.permute or self.flip):
            raise InputError(f"{self.name()}: neither permute nor flip leaves nothing to do.")

    def place(self, network: MappedNetwork, known: Known) -> MappedNetwork:
        """See `Mitigation.place`."""
        chip = known.map()
        changed = {
            name: self._assigned(LayerOnChip(name=name, programme=programme, chip=chip))
            for name, programme in network.programmes.items()
        }
        return network.with_programmes(changed)

    def _assigned(self, layer: LayerOnChip) -> Programme:
        programme = layer.programme
        p = programme.placement
        maps = [layer.tile(k).faults for k in range(p.tiles)]
        if not any(_has_stuck(faults) for faults in maps):
            return programme
        if p.flips:
            raise InputError(f"{self.name()}: rows of the layer are flipped already.")
        order = np.tile(np.arange(p.rows), (p.tiles, 1))
        flip = np.zeros((p.tiles, p.rows), dtype=np.bool_)
        flipped = programme.placed(p.flipped(p.row_input >= 0)).target
        for k, faults in enumerate(maps):
            if faults is not None and _has_stuck(faults):
                order[k], flip[k] = self._tile(programme, k, flipped[k], faults)
        if not flip.any() and (order == np.arange(p.rows)).all():
            return programme
        return programme.placed(p.flipped(flip).with_rows(order))

    def _tile(
        self, programme: Programme, tile: int, flipped: FloatArray, faults: FaultMap
    ) -> tuple[np.ndarray, np.ndarray]:
        """(physical row of each row, which rows are flipped)."""
        plain = row_errors(programme, tile, programme.target[tile], faults)
        cost = np.stack([plain, plain if not self.flip else np.full_like(plain, np.inf)])
        if self.flip:
            cost[1] = row_errors(programme, tile, flipped, faults)
        best = cost.min(axis=0)
        order = np.arange(len(best))
        if self.permute:
            order = linear_sum_assignment(best)[1]
        rows = np.arange(len(best))
        return order, cost[1, rows, order] < cost[0, rows, order]


def _has_stuck(faults: FaultMap | None) -> bool:
    return faults is not None and bool((faults.kind != FaultKind.NONE).any())


def row_errors(programme: Programme, tile: int, target: FloatArray, faults: FaultMap) -> FloatArray:
    """Squared error of the weights of row r if it lay on physical row k, [r, k], in their units.

    target: conductances ordered of the tile, S `g_shape`, row r as it would be held.
    Of what cells show: what stuck memories add to or take from each output's weight, stuck
    memories of the offset column included, over all outputs of the tile. A row that is not driven
    costs nothing anywhere.
    """
    spec, shown = programme.spec, programme.cell_levels.shown
    rram = spec.cell.rram
    stuck = faults.kind != FaultKind.NONE
    at = faults.applied_to(np.zeros(spec.g_shape), g_lrs=rram.g_lrs, g_hrs=rram.g_hrs)
    stuck, at, held = (a.reshape(spec.rows, spec.cols, -1) for a in (stuck, at, target))
    healthy, worth = shown(held.sum(axis=2)), _worth(programme, tile)
    found = np.zeros((spec.rows, spec.rows))
    for k in range(spec.rows):
        cols = np.flatnonzero(stuck[k].any(axis=1))
        faulty = shown(np.where(stuck[k, cols], at[k, cols], held[:, cols]).sum(axis=2))
        found[:, k] = (((faulty - healthy[:, cols]) @ worth[cols]) ** 2).sum(axis=1)
    found[programme.placement.row_input[tile] < 0] = 0.0
    return found


def _worth(programme: Programme, tile: int) -> FloatArray:
    """What a siemens more in each column of a tile adds to the weights of its outputs, [cols, n].

    An offset column is subtracted from all of them.
    """
    p, levels = programme.placement, programme.cell_levels
    readout = Readout.of(levels, levels.shown)
    slot, share, output = p.col_slot[tile], p.col_share[tile], p.col_output[tile]
    outputs = np.unique(output[output >= 0])
    serves = (output[:, None] == outputs) * programme.scale[outputs]
    own = np.minimum(np.maximum(slot, 0), p.slots - 1)
    worth = serves * (share * readout.per_ampere(programme.encoding)[own])[:, None]
    if p.offset:
        against = share * readout.per_offset_ampere(programme.encoding)[own]
        offset = slot == p.slots
        worth[offset] = share[offset, None] * (against @ serves)
    return np.asarray(worth)
