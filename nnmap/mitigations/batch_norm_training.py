"""Batch-norm training: only the scales and shifts of the batch norms move."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from netlists.errors import InputError
from nnmap.mitigations.batch_norm import NORMS
from nnmap.mitigations.retraining import Retraining, ThroughCircuit
from nnmap.network import NetworkInTraining


class _Norms:
    """What is trained: gamma and beta of every batch norm."""

    def _parameters(self, model: NetworkInTraining) -> Iterable[nn.Parameter]:
        norms = [m for m in model.modules() if isinstance(m, NORMS) and m.affine]
        if not norms:
            raise InputError("the network has no batch norms with a scale and a shift to train.")
        return [p for norm in norms for p in norm.parameters()]


@dataclass(frozen=True, kw_only=True)
class BatchNormTraining(_Norms, Retraining):
    """Gamma and beta of the batch norms trained on labelled images, on the ideal matrix.

    The weights stay as they are; means and variances are estimated along the way.

    epochs, batch, lr, images, seed: see `MaskedRetraining`.

    Source: fpt, Table III (BN training).
    Raises InputError for values out of range and a network without such batch norms.
    """

    source: ClassVar[str] = "fpt, Table III"
    overhead: ClassVar[tuple[str, ...]] = ("images", "labels", "epochs", "digital_operations")

    lr: float = 0.01


@dataclass(frozen=True, kw_only=True)
class BatchNormTrainingThroughCircuit(_Norms, ThroughCircuit):
    """Batch-norm training on what the circuit of the very chip makes of the images.

    The weights rest, so that the circuit is solved once.

    Source: fpt, Table III (BN training), through the circuit.
    Raises InputError for values out of range and a network without such batch norms.
    """

    source: ClassVar[str] = "fpt, Table III"
    overhead: ClassVar[tuple[str, ...]] = ("reads", *BatchNormTraining.overhead)

    lr: float = 0.01
    every: int = 1_000_000
