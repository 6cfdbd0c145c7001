"""Rows of a tile assigned to the physical rows where their weights suffer least."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap
from nnmap.chip import LayerOnChip
from nnmap.mapping.encode import Readout, offset_states
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
    Of the ideal matrix: what stuck memories add to or take from each output's weight, stuck
    memories of the offset column included, over all outputs of the tile. A row that is not driven
    costs nothing anywhere.
    """
    spec, p = programme.spec, programme.placement
    rram = spec.cell.rram
    stuck = faults.kind != FaultKind.NONE
    at = faults.applied_to(np.zeros(spec.g_shape), g_lrs=rram.g_lrs, g_hrs=rram.g_hrs)
    constant, terms = _terms(programme, tile, list(_planes(target, stuck, at)))
    # e = a[k, o] - sum_j m_j[k, o] t_j[r, o]; its square, summed over the outputs o.
    found = np.tile((constant**2).sum(axis=1), (spec.rows, 1))
    for i, (mask, held) in enumerate(terms):
        found -= 2 * held @ (constant * mask).T
        for j, (other_mask, other) in enumerate(terms[: i + 1]):
            found += (1 + (j < i)) * (held * other) @ (mask * other_mask).T
    found[p.row_input[tile] < 0] = 0.0
    return np.asarray(np.maximum(found, 0.0))


Plane = tuple[FloatArray, np.ndarray, FloatArray]


def _planes(target: FloatArray, stuck: np.ndarray, at: FloatArray) -> Iterator[Plane]:
    """(target, stuck, stuck at) of every memory of a cell, [rows, cols] each."""
    if target.ndim == 2:
        yield target, stuck, at
        return
    for k in range(target.shape[2]):
        yield target[..., k], stuck[..., k], at[..., k]


def _terms(
    programme: Programme, tile: int, planes: list[Plane]
) -> tuple[FloatArray, list[tuple[FloatArray, FloatArray]]]:
    """(a [rows, outputs], [(m_j, t_j), ...]): the error of each weight as a linear form.

    In the conductances ordered, with one term per memory and device of a weight.
    """
    p, spec = programme.placement, programme.spec
    readout = Readout.of(spec.cell, np.asarray)
    per_ampere = readout.per_ampere(programme.encoding)
    scale = programme.scale
    outputs = np.unique(p.col_output[tile][p.col_output[tile] >= 0])
    place = {int(o): k for k, o in enumerate(outputs)}
    constant = np.zeros((spec.rows, len(outputs)))
    slots: dict[tuple[int, int, int], tuple[FloatArray, FloatArray]] = {}
    copies: dict[tuple[int, int], int] = {}
    for col in np.flatnonzero(p.col_output[tile] >= 0).tolist():
        output, slot = place[int(p.col_output[tile, col])], int(p.col_slot[tile, col])
        copy = copies.get((output, slot), 0)
        copies[output, slot] = copy + 1
        worth = per_ampere[slot] * p.col_share[tile, col] * scale[outputs[output]]
        for memory, (target, stuck, at) in enumerate(planes):
            constant[:, output] += worth * stuck[:, col] * at[:, col]
            key = slot, copy, memory
            if key not in slots:
                slots[key] = np.zeros_like(constant), np.zeros_like(constant)
            mask, held = slots[key]
            mask[:, output] = worth * stuck[:, col]
            held[:, output] = target[:, col]
    if p.offset:
        _add_offset(programme, tile, planes, constant, outputs)
    return constant, list(slots.values())


def _add_offset(
    programme: Programme,
    tile: int,
    planes: list[Plane],
    constant: FloatArray,
    outputs: np.ndarray,
) -> None:
    """What stuck memories of the offset columns add to every weight of their row, in place."""
    p, spec = programme.placement, programme.spec
    against = Readout.of(spec.cell, np.asarray).per_offset_ampere(programme.encoding)
    weighing = p.col_output[tile] >= 0
    total = (
        np.array(
            [
                (p.col_share[tile] * against[np.minimum(p.col_slot[tile], p.slots - 1)])[
                    weighing & (p.col_output[tile] == o)
                ].sum()
                for o in outputs
            ]
        )
        * programme.scale[outputs]
    )
    middle = offset_states(spec.cell)
    for col in np.flatnonzero(p.col_slot[tile] == p.slots).tolist():
        for memory, (_, stuck, at) in enumerate(planes):
            off = p.col_share[tile, col] * stuck[:, col] * (at[:, col] - middle[memory])
            constant += off[:, None] * total
