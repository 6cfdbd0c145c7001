"""What a study varies: one condition, under which any number of chips is measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from nnmap import Chip, Fidelity, MappingPlan
from nnmap.measures.measure import Measure
from nnmap.mitigations import Mitigation
from validation.files.sweep import Scalar
from validation.sources import NetworkIdentity

SAMPLE_IMAGES = 512  # training images that set converter ranges


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Everything but the chip's number and the programs that determines a result.

    network: by content.  plan: how it becomes tiles.  mitigations: in their order.
    chip: the recipe; its number is the task's.  fidelity: how tiles are read.
    measure: what is found.  images: test images per chip, 0 for all; each chip draws its own, the
    same in every condition.
    axes: labels for tables; no part of what a condition is.
    """

    network: NetworkIdentity
    plan: MappingPlan
    mitigations: tuple[Mitigation, ...] = ()
    chip: Chip = field(default_factory=Chip)
    fidelity: Fidelity = Fidelity.LINEAR
    measure: Measure
    images: int = 0
    axes: Mapping[str, Scalar] = field(default_factory=dict, compare=False)

    def chip_of(self, number: int) -> Chip:
        """The chip of that number."""
        return replace(self.chip, number=number)


def require_unchanged_cells(conditions: Iterable[Condition]) -> None:
    """Raise InputError where a file of a cell is not what it was when the conditions were read."""
    for cell in {condition.plan.spec.cell for condition in conditions}:
        cell.require_unchanged()
