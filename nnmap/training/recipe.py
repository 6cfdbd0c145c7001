"""Training and evaluation, seeded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.training.answers import classes_of, require_labels
from nnmap.training.augment import crop_and_flip
from nnmap.training.data import Dataset
from nnmap.training.device import torch_device

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; equal recipes give equal networks on one machine and torch version.

    lr: Adam's first step size, annealed to 0 by cosine.
    augment: shift and mirror training images at random.
    """

    epochs: int = 10
    batch: int = 128
    lr: float = 0.01
    seed: int = 0
    augment: bool = False


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    make: Callable[[], Network],
    recipe: Recipe,
    data: Dataset,
    *,
    device: str = "cpu",
    on_epoch: Callable[[int], None] = lambda epoch: None,
    on_batch: Callable[[int], None] = lambda more: None,
) -> Network:
    """The network that `make` builds, trained on `data`, in eval mode on the CPU.

    Seeded, and on one thread: the order of sums, and with it every weight, would depend on the
    number.

    device: where torch computes; only "cpu" gives the same weights every time.
    on_batch: hears how many more batches are done; an epoch has `batches_an_epoch`.

    Raises InputError for a data set without training images or a device that torch lacks.
    """
    if not len(data.train_x):
        raise InputError(f"the data set {data.name!r} holds no training images here.")
    place = torch_device(device)
    with torch.random.fork_rng(), _one_thread():
        torch.manual_seed(recipe.seed)
        model = make().to(place)
        if data.train_x.ndim == 4:  # images: 1.2 to 1.8 times faster, measured
            _lay_out(model, torch.channels_last)
        optimiser = torch.optim.Adam(model.parameters(), lr=recipe.lr)
        steps = recipe.epochs * batches_an_epoch(recipe, data)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for epoch in range(recipe.epochs):
            for chosen in torch.randperm(len(data.train_x)).split(recipe.batch):
                on_batch(1)
                if len(chosen) < 2:
                    continue  # batch norm needs two samples
                x = data.train_x[chosen]
                x = crop_and_flip(x) if recipe.augment else x
                if x.ndim == 4:
                    x = x.contiguous(memory_format=torch.channels_last)
                optimiser.zero_grad()
                logits = model(x.to(place))
                nn.functional.cross_entropy(logits, data.train_y[chosen].to(place)).backward()
                optimiser.step()
                schedule.step()
            on_epoch(epoch + 1)
    _lay_out(model.cpu(), torch.contiguous_format)
    return model.eval()


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Order the model's weights in memory, in place; torch's stubs lack this overload of `to`."""
    model.to(memory_format=memory_format)  # type: ignore[call-overload]


def batches_an_epoch(recipe: Recipe, data: Dataset) -> int:
    """How many batches one pass over the training images takes."""
    return -(-len(data.train_x) // recipe.batch)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch: int = 1000) -> float:
    """Fraction of inputs whose largest logit is the label.

    Raises InputError without inputs, for labels that the network has no output for, for outputs
    that are not [n, classes], and where any of them is NaN, of which none is the largest.
    """
    if not len(x) or len(x) != len(y):
        raise InputError(f"{len(x)} images and {len(y)} labels give no accuracy; one label each.")
    hits = lost = 0
    for part, label in zip(x.split(batch), y.split(batch), strict=True):
        answers = model(part)
        require_labels(label, classes_of(answers, len(part)))
        lost += int(answers.isnan().any(1).sum())
        hits += int((answers.argmax(1) == label).sum())
    if lost:
        raise InputError(f"the network answers NaN on {lost} of {len(x)} images; it has no class.")
    return hits / len(x)
