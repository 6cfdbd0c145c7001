"""Distillation: the network on a faulty chip learns to answer as the ideal one does."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mitigations.known import Known, Needs
from nnmap.mitigations.retraining import Retraining, ThroughCircuit
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class Distillation(Retraining):
    """All weights retrained towards the answers of the same network without faults and wires.

    The teacher's softened outputs take the place of labels: images alone are needed. Stuck memories
    are held as masked retraining holds them, on the ideal matrix.

    epochs, batch, lr, images, seed: see `MaskedRetraining`.
    temperature: by which the logits of both are divided.

    Source: fpt, Section II (its reference 6, Charan et al. 2020).
    Raises InputError for values out of range.
    """

    needs: ClassVar[Needs] = Needs.MAP | Needs.INPUTS
    source: ClassVar[str] = "fpt, reference 6"
    overhead: ClassVar[tuple[str, ...]] = ("writes", "images", "epochs", "digital_operations")

    temperature: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise InputError(
                f"{self.name()}: temperature={self.temperature!r} must be positive and finite."
            )

    def _shown(self, network: MappedNetwork, known: Known) -> tuple[Tensor, Tensor]:
        images = known.inputs(self.images)
        teacher = network.on().to(images.device)
        with torch.no_grad():
            return images, torch.cat([teacher(part) for part in images.split(1024)])

    def _loss(self, logits: Tensor, aim: Tensor) -> Tensor:
        t = self.temperature
        student = (logits / t).log_softmax(1)
        loss = nn.functional.kl_div(student, (aim / t).softmax(1), reduction="batchmean")
        return loss * t**2  # so that the step size does not depend on the temperature


@dataclass(frozen=True, kw_only=True)
class DistillationThroughCircuit(Distillation, ThroughCircuit):
    """Distillation through the exact circuit of the very chip, from unlabelled images.

    every: see `ThroughCircuit`.

    Source: fpt, Section II (its reference 6), through the circuit.
    Raises InputError for values out of range.
    """

    needs: ClassVar[Needs] = Needs.CIRCUIT | Needs.INPUTS
    overhead: ClassVar[tuple[str, ...]] = ("reads", *Distillation.overhead)
