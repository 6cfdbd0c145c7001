"""Retraining on a chip whose stuck memories are known and kept."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.fidelity.fidelity import Fidelity
from nnmap.layers.layer import MappedLayer
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork
from nnmap.watch import layer_input

# Operations on the host per weight and input vector: forward and backward are three products, of a
# multiplication and an addition each. Layers on tiles alone are counted.
PER_WEIGHT = 6


@dataclass(frozen=True, kw_only=True)
class MaskedRetraining(ChipSpecific):
    """The network retrained for one chip, on the ideal matrix with its stuck memories in it.

    The forward pass holds stuck memories at their states; gradients, weight decay and momentum
    move only healthy ones. Batch norms learn along, in training mode.

    epochs, batch, lr: of Adam, its step annealed by cosine.
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
        model = network.trainable(known.map(), Fidelity.IDEAL)

        def count(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            assert isinstance(layer, MappedLayer)
            vectors = layer.vectors_of(layer_input(args, kwargs))
            weights = layer.programme.weights.size
            known.meter.digital_operations += PER_WEIGHT * weights * vectors

        for layer in model.layers().values():  # digital layers keep their precision
            layer.float().register_forward_pre_hook(count, with_kwargs=True)
        known.meter.epochs += self.epochs
        train(model, x, y, epochs=self.epochs, batch=self.batch, lr=self.lr, seed=self.seed)
        return model.programmed()


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
