"""Training and evaluation, seeded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from nnmap.data import Dataset
from nnmap.models import bnn_mlp

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is made; equal recipes give equal networks on one machine and torch version.

    hidden: features of each hidden layer.  lr: Adam's first step size, annealed to 0 by cosine.
    """

    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    epochs: int = 10
    batch: int = 128
    lr: float = 0.01
    seed: int = 0


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    recipe: Recipe, data: Dataset, *, on_epoch: Callable[[int], None] = lambda epoch: None
) -> nn.Sequential:
    """A trained binary-weight perceptron, in eval mode; `on_epoch` hears of each finished epoch.

    Runs on one thread: the order of sums, and with it every weight, would depend on the number.
    """
    sizes = (data.train_x.shape[1], *recipe.hidden, int(data.train_y.max()) + 1)
    return fit(lambda: bnn_mlp(sizes, recipe.activation), recipe, data, on_epoch=on_epoch)


def fit(
    make: Callable[[], Network],
    recipe: Recipe,
    data: Dataset,
    *,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Network:
    """The network that `make` builds, trained on `data`, in eval mode.

    Seeded and on one thread like `train`; the recipe's layer sizes and activation do not count,
    `make` decides them.
    """
    with torch.random.fork_rng(), _one_thread():
        torch.manual_seed(recipe.seed)
        model = make()
        optimiser = torch.optim.Adam(model.parameters(), lr=recipe.lr)
        steps = recipe.epochs * -(-len(data.train_x) // recipe.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for epoch in range(recipe.epochs):
            for chosen in torch.randperm(len(data.train_x)).split(recipe.batch):
                if len(chosen) < 2:
                    continue  # batch norm needs two samples
                optimiser.zero_grad()
                logits = model(data.train_x[chosen])
                nn.functional.cross_entropy(logits, data.train_y[chosen]).backward()
                optimiser.step()
                schedule.step()
            on_epoch(epoch + 1)
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch: int = 1000) -> float:
    """Fraction of inputs whose largest logit is the label."""
    hits = 0
    for part, label in zip(x.split(batch), y.split(batch), strict=True):
        hits += int((model(part).argmax(1) == label).sum())
    return hits / len(x)
