"""Output compensation: what stuck memories add to the sums is subtracted digitally."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError
from nnmap.chip import LayerOnChip
from nnmap.mapping.correction import Correction, Sparse
from nnmap.mapping.decode import decoded_matrix, operators_of
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.mitigations.operators import ordered_matrix
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class OutputCompensation(ChipSpecific):
    """The products (G_ideal - G_stuck) x of stuck memories, added digitally after conversion.

    Computed from the map on the ideal matrix, as published: exact at IDEAL up to the converters,
    and blind to what wires make of the tiles.

    keep: share of the entries that are compensated, those of the largest error first; below 1 it is
        the importance-limited form.

    Source: fpt, Table II (correction, its references 10 and 11).
    Raises InputError for a share outside (0, 1].
    """

    needs: ClassVar[Needs] = Needs.MAP
    source: ClassVar[str] = "fpt, references 10 and 11"
    overhead: ClassVar[tuple[str, ...]] = ("operations_per_inference",)

    keep: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise InputError(f"{self.name()}: keep={self.keep!r} must lie in (0, 1].")

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """See `Mitigation.tune`: after the last change of places."""
        chip = known.map()
        found = {}
        for name, programme in network.programmes.items():
            held = LayerOnChip(name=name, programme=programme, chip=chip).shown()
            cells = operators_of(programme.placement, held)
            read = decoded_matrix(programme, cells, programme.cell_levels.shown)
            branch = Sparse.of(self._kept((ordered_matrix(programme) - read).T))
            before = network.peripheries[name].correction
            if before is None:
                before = Correction(shape=programme.placement.shape)
            found[name] = before.plus(branch)
        return network.corrected(found)

    def _kept(self, error: FloatArray) -> FloatArray:
        size = np.abs(error)
        count = round(self.keep * np.count_nonzero(size))
        if not count:
            return np.zeros_like(error)
        least = np.partition(size, -count, axis=None)[-count]
        return np.where((size >= least) & (size > 0), error, 0.0)
