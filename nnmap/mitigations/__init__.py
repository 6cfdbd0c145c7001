"""Methods against faults, one per file; `MITIGATIONS` lists them by the names that files use."""

from nnmap.mitigations.base import ChipAgnostic, ChipSpecific, Mitigation
from nnmap.mitigations.batch_norm import BatchNormReestimation
from nnmap.mitigations.batch_norm_training import BatchNormTraining, BatchNormTrainingThroughCircuit
from nnmap.mitigations.bench import Bench, Run, truth_of
from nnmap.mitigations.bias_training import BiasTraining, BiasTrainingThroughCircuit
from nnmap.mitigations.committee import Committee
from nnmap.mitigations.distillation import Distillation, DistillationThroughCircuit
from nnmap.mitigations.drop_connect import DropConnect
from nnmap.mitigations.fine_tuning import FineTuning
from nnmap.mitigations.known import Knowledge, Known, Needs
from nnmap.mitigations.layer_averaging import LayerAveraging
from nnmap.mitigations.low_rank_correction import LowRankCorrection, WeightedLowRankCorrection
from nnmap.mitigations.masked_retraining import MaskedRetraining
from nnmap.mitigations.meter import Meter
from nnmap.mitigations.output_compensation import OutputCompensation
from nnmap.mitigations.row_assignment import RowAssignment

MITIGATIONS: dict[str, type[Mitigation]] = {
    kind.name(): kind
    for kind in (
        BatchNormTraining,
        BatchNormTrainingThroughCircuit,
        BiasTraining,
        BiasTrainingThroughCircuit,
        Distillation,
        DistillationThroughCircuit,
        DropConnect,
        FineTuning,
        BatchNormReestimation,
        Committee,
        LayerAveraging,
        LowRankCorrection,
        MaskedRetraining,
        OutputCompensation,
        RowAssignment,
        WeightedLowRankCorrection,
    )
}

__all__ = [
    "MITIGATIONS",
    "BatchNormReestimation",
    "BatchNormTraining",
    "BatchNormTrainingThroughCircuit",
    "Bench",
    "BiasTraining",
    "BiasTrainingThroughCircuit",
    "ChipAgnostic",
    "ChipSpecific",
    "Committee",
    "Distillation",
    "DistillationThroughCircuit",
    "DropConnect",
    "FineTuning",
    "Knowledge",
    "Known",
    "LayerAveraging",
    "LowRankCorrection",
    "MaskedRetraining",
    "Meter",
    "Mitigation",
    "Needs",
    "OutputCompensation",
    "RowAssignment",
    "Run",
    "WeightedLowRankCorrection",
    "truth_of",
]
