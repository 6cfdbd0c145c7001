"""Retraining on a chip whose stuck memories are known and kept."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from netlists.errors import InputError
from nnmap.fidelity.fidelity import Fidelity
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class MaskedRetraining(ChipSpecific):
    """The network retrained for one chip, on the ideal matrix with its stuck memories in it.

    The forward pass holds stuck memories at their states; gradients, weight decay and momentum
    move only healthy ones. Batch norms learn along, in training mode.

    epochs, batch, lr, momentum of Adam's default kind: the recipe, its step annealed by cosine.
    images: training images with labels, 0 for all given.  seed: of the order of images.

    Source: bnn-1t2r, Section III (gradient mask); rramedy, Section IV, masks bits in this way.
    Raises InputError for values out of range.
    """

    needs: ClassVar[Needs] = Needs.MAP | Needs.LABELS
    source: ClassVar[str] = "bnn-1t2r, Section III"

    epochs: int = 1
    batch: int = 128
    lr: float = 0.001
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.images < 0:
            raise InputError(
                f"{self.name()}: epochs={self.epochs}, batch={self.batch}, images={self.images} "
                "must be at least 1, 2 and 0."
            )
        if not 0 < self.lr < float("inf"):
            raise InputError(f"{self.name()}: lr={self.lr!r} must be positive and finite.")

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """See `Mitigation.tune`."""
        x, y = known.labelled(self.images)
        model = network.trainable(known.map(), Fidelity.IDEAL).float()
        known.meter.epochs += self.epochs
        known.meter.digital_operations += self.epochs * training_operations(network, len(x))
        train(model, x, y, epochs=self.epochs, batch=self.batch, lr=self.lr, seed=self.seed)
        return model.programmed()


def training_operations(network: MappedNetwork, images: int) -> int:
    """Multiplications and additions of one epoch on the host, the layers on tiles counted.

    Forward and backward are three products per layer, of two operations per weight. Positions of a
    convolution are not counted, so that this is a lower bound there.
    """
    weights = sum(p.weights.size for p in network.programmes.values())
    return 6 * weights * images


def train(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
) -> None:
    """Adam with cosine annealing on labelled images, seeded; the model is trained in place."""
    model.train()
    stream = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x), generator=stream).split(batch):
            if len(chosen) > 1:  # batch norm needs two
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
                optimiser.step()
            schedule.step()
