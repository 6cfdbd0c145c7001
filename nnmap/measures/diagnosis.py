"""How well stuck memories are found by reading the tiles through their own circuit."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from circuitsim import effective_conductance
from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind
from netlists.tile import Tile
from nnmap.chip import LayerOnChip, shown
from nnmap.fidelity.fidelity import Fidelity, cell_function
from nnmap.mapping.encode import Readout
from nnmap.mapping.programme import Programme
from nnmap.measures.measure import Numbers, Setup


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A test of two states: all cells at HRS and read, all at LRS and read, row by row.

    A cell that reads above the threshold when it was written HRS is taken for stuck at LRS, one
    that reads below when it was written LRS for stuck at HRS. With wires, a cell far from the
    drivers reads less than it holds, and the rows that are not read, at 0 V, are sneak paths.

    threshold: where between the HRS and the LRS current of a cell, in [0, 1] of their distance.

    missed: share of stuck cells that were not found, or found as the other state.
    false: share of healthy cells taken for stuck.

    Source: rramedy, Section II (march tests on the array). Cells with several memories are told
    stuck where any of them is, and reads of the cell as a whole.
    Raises InputError for a threshold outside (0, 1), and at fidelities without operators.
    """

    main: ClassVar[str] = "missed"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"Diagnosis: threshold={self.threshold!r} must lie in (0, 1).")

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        if setup.fidelity not in (Fidelity.IDEAL, Fidelity.LINEAR):
            raise InputError(f"Diagnosis reads at IDEAL or LINEAR, not {setup.fidelity.name}.")
        stuck = missed = healthy = false = 0
        for name, programme in setup.network.programmes.items():
            layer = LayerOnChip(name=name, programme=programme, chip=setup.chip)
            for k in range(programme.placement.tiles):
                tile = layer.tile(k)
                found, truth = self.diagnosed(tile, programme, setup.fidelity), _truth(tile)
                is_stuck = truth != FaultKind.NONE
                stuck += int(is_stuck.sum())
                missed += int((is_stuck & (found != truth)).sum())
                healthy += int((~is_stuck).sum())
                false += int((~is_stuck & (found != FaultKind.NONE)).sum())
        return {
            "missed": missed / max(1, stuck),
            "false": false / max(1, healthy),
            "stuck_cells": stuck,
        }

    def diagnosed(self, tile: Tile, programme: Programme, fidelity: Fidelity) -> np.ndarray:
        """`FaultKind` that the test takes each cell of a programme's tile for, [rows, cols]."""
        rram = tile.spec.cell.rram
        low, high = (
            _read(replace(tile, g=np.full(tile.spec.g_shape, g)), programme, fidelity)
            for g in (rram.g_hrs, rram.g_lrs)
        )
        expected = Readout.of(programme.cell_levels, cell_function(programme, fidelity))
        cut = expected.off + self.threshold * (expected.on - expected.off)
        found = np.full(low.shape, FaultKind.NONE, dtype=np.int8)
        found[high < cut] = FaultKind.STUCK_HRS
        found[low > cut] = FaultKind.STUCK_LRS
        return found


def _read(tile: Tile, programme: Programme, fidelity: Fidelity) -> FloatArray:
    """Conductance that each cell reads as with its row alone driven, S [rows, cols]."""
    if fidelity is Fidelity.IDEAL:
        return shown(tile, programme.levels)
    return np.ascontiguousarray(effective_conductance(tile).T)


def _truth(tile: Tile) -> np.ndarray:
    """What each cell is stuck at, the first stuck memory of a cell counting, [rows, cols]."""
    shape = tile.spec.rows, tile.spec.cols
    if tile.faults is None:
        return np.full(shape, FaultKind.NONE, dtype=np.int8)
    kind = tile.faults.kind
    return kind if kind.ndim == 2 else kind.max(axis=2)
