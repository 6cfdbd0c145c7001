"""Drop-connect: training with weights dropped at random, so that no chip need be known."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mapping.kinds import MAPPABLE, Mappable
from nnmap.mitigations.base import ChipAgnostic
from nnmap.mitigations.known import Known, Needs
from nnmap.mitigations.retraining import require_descent
from nnmap.training.answers import classes_of, require_labels

PER_PRODUCT = 6  # operations per weight and input vector, forward and backward


@dataclass(frozen=True, kw_only=True)
class DropConnect(ChipAgnostic):
    """Every weight is dropped with some probability in each training step; the rest is scaled up.

    W o M / (1 - rate) with M Bernoulli(1 - rate), drawn anew for each step, takes the place of W;
    evaluation uses all of W. (Eq. 1 of the paper gives M the probability `rate` itself, with which
    its text and a rate of 0 do not agree.) One more epoch aligns the batch norms to the rate of
    faults expected: forward only, weights at rest, dropped at that rate and not scaled up, as a
    chip reads them.

    rate: of drops in training.  align: of drops in the alignment epoch; None leaves it out.
    epochs: of training.  batch, lr: of Adam, its step annealed by cosine.
    images: training images with labels, 0 for all given.  seed: of masks and the order of images.

    Source: drop-connect, Eq. 1 and Algorithm 1.
    Raises InputError for values out of range: a drop rate of 1 leaves nothing to train.
    """

    needs: ClassVar[Needs] = Needs.LABELS
    source: ClassVar[str] = "drop-connect, Eq. 1, Algorithm 1"
    overhead: ClassVar[tuple[str, ...]] = ("images", "labels", "epochs", "digital_operations")

    rate: float = 0.2
    align: float | None = None
    epochs: int = 1
    batch: int = 128
    lr: float = 0.001
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, rate in (("rate", self.rate), ("align", self.align)):
            if rate is not None and not 0 <= rate < 1:
                raise InputError(
                    f"{self.name()}: {name}={rate!r} must lie in [0, 1): a drop rate of 1 leaves "
                    "no weight to train."
                )
        require_descent(
            self.name(), epochs=self.epochs, batch=self.batch, images=self.images, lr=self.lr
        )

    def train(self, model: nn.Module, known: Known) -> nn.Module:
        """See `Mitigation.train`."""
        x, y = known.labelled(self.images)
        model = copy.deepcopy(model)
        modes = [(module, module.training) for module in model.modules()]
        stream = torch.Generator().manual_seed(self.seed)

        def count(products: int) -> None:
            known.meter.digital_operations += PER_PRODUCT * products

        model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # of dropout, where the network has it
            with dropping(model, self.rate, 1 / (1 - self.rate), stream, count):
                self._descend(model, x, y, stream)
            if self.align is not None:
                with dropping(model, self.align, 1.0, stream, count):
                    self._align(model, x)
        known.meter.epochs += self.epochs + (self.align is not None)
        for module, mode in modes:
            module.training = mode
        return model

    @torch.no_grad()
    def _align(self, model: nn.Module, x: Tensor) -> None:
        """The batch norms' statistics follow; nothing else moves."""
        for part in x.split(self.batch):
            if len(part) > 1:
                model(part)

    def _descend(self, model: nn.Module, x: Tensor, y: Tensor, stream: torch.Generator) -> None:
        optimiser = torch.optim.Adam(model.parameters(), lr=self.lr)
        steps = self.epochs * -(-len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(self.epochs):
            for chosen in torch.randperm(len(x), generator=stream).split(self.batch):
                if len(chosen) > 1:  # batch norm needs two
                    optimiser.zero_grad()
                    logits = model(x[chosen])
                    require_labels(y[chosen], classes_of(logits, len(chosen)))
                    loss = nn.functional.cross_entropy(logits, y[chosen])
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                schedule.step()


@contextmanager
def dropping(
    model: nn.Module,
    rate: float,
    scale: float,
    stream: torch.Generator,
    count: Callable[[int], None] = lambda products: None,
) -> Iterator[None]:
    """In this context each read of a matrix layer drops weights at a rate and scales the rest.

    count: hears of the products of each read.
    """

    def forward_of(layer: Mappable) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            weight = layer.weight
            draw = torch.rand(weight.shape, generator=stream).to(weight)
            dropped = weight * (draw >= rate) * scale
            y: Tensor
            if isinstance(layer, nn.Linear):
                y = nn.functional.linear(x, dropped, layer.bias)
            else:
                y = layer._conv_forward(x, dropped, layer.bias)
            count(weight[0].numel() * y.numel())
            return y

        return forward

    layers = [m for m in model.modules() if isinstance(m, MAPPABLE)]
    try:
        for layer in layers:
            layer.__dict__["forward"] = forward_of(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)
