"""Methods against faults, one per file; `MITIGATIONS` lists them by the names that files use."""

from nnmap.mitigations.base import ChipAgnostic, ChipSpecific, Mitigation
from nnmap.mitigations.batch_norm import BatchNormReestimation
from nnmap.mitigations.bench import Bench, Run, truth_of
from nnmap.mitigations.known import Knowledge, Known, Needs
from nnmap.mitigations.masked_retraining import MaskedRetraining
from nnmap.mitigations.meter import Meter
from nnmap.mitigations.row_assignment import RowAssignment

MITIGATIONS: dict[str, type[Mitigation]] = {
    kind.name(): kind for kind in (BatchNormReestimation, MaskedRetraining, RowAssignment)
}

__all__ = [
    "MITIGATIONS",
    "BatchNormReestimation",
    "Bench",
    "ChipAgnostic",
    "ChipSpecific",
    "Knowledge",
    "Known",
    "MaskedRetraining",
    "Meter",
    "Mitigation",
    "Needs",
    "RowAssignment",
    "Run",
    "truth_of",
]
