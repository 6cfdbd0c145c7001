"""What methods that train a mapped network share."""

from collections.abc import Iterable
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
from nnmap.network import MappedNetwork, NetworkInTraining
from nnmap.training.answers import require_labels
from nnmap.watch import layer_input

# Operations on the host per weight and input vector: forward and backward are three products, of a
# multiplication and an addition each. Layers on tiles alone are counted.
PER_WEIGHT = 6


@dataclass(frozen=True, kw_only=True)
class Retraining(ChipSpecific):
    """A mapped network trained on labelled images, on the ideal matrix with its stuck memories.

    The forward pass holds stuck memories at their states; gradients, weight decay and momentum
    move only healthy ones. Batch norms learn their statistics along, in training mode.

    epochs, batch, lr: of Adam, its step annealed by cosine.
    images: training images, 0 for all given.  seed: of the order of images.

    Raises InputError for values out of range, and for labels beyond the network's outputs.
    """

    needs: ClassVar[Needs] = Needs.MAP | Needs.LABELS

    epochs: int = 1
    batch: int = 128
    lr: float = 0.001
    images: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require_descent(
            self.name(), epochs=self.epochs, batch=self.batch, images=self.images, lr=self.lr
        )

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """See `Mitigation.tune`."""
        x, y = self._shown(network, known)
        model = self._mounted(self._prepared(network), known, bench)
        count_operations(model, known)
        known.meter.epochs += self.epochs
        chosen = list(self._parameters(model))
        model.requires_grad_(False)
        for parameter in chosen:
            parameter.requires_grad_(True)
        model.train()
        stream = torch.Generator().manual_seed(self.seed)
        optimiser = torch.optim.Adam(chosen, lr=self.lr)
        steps = self.epochs * -(-len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(self.epochs):
            for part in torch.randperm(len(x), generator=stream).split(self.batch):
                if len(part) > 1:  # batch norm needs two
                    optimiser.zero_grad()
                    self._loss(model(x[part]), y[part]).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                schedule.step()
        return model.programmed()

    def _shown(self, network: MappedNetwork, known: Known) -> tuple[Tensor, Tensor]:
        """(images, what the network is to say of them)."""
        return known.labelled(self.images)

    def _loss(self, logits: Tensor, aim: Tensor) -> Tensor:
        require_labels(aim, logits.shape[1])
        return nn.functional.cross_entropy(logits, aim)

    def _prepared(self, network: MappedNetwork) -> MappedNetwork:
        """The network with what is to be trained in it."""
        return network

    def _mounted(self, network: MappedNetwork, known: Known, bench: Bench) -> NetworkInTraining:
        return network.trainable(known.map(), Fidelity.IDEAL)

    def _parameters(self, model: NetworkInTraining) -> Iterable[nn.Parameter]:
        """What is trained; everything here."""
        return model.parameters()


@dataclass(frozen=True, kw_only=True)
class ThroughCircuit(Retraining):
    """The same training through the exact circuit of the very chip: wires, converters and all.

    every: steps after which the circuit is solved again, see `HeldOperators`; 1 for each step.
    """

    needs: ClassVar[Needs] = Needs.CIRCUIT | Needs.LABELS

    every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 1:
            raise InputError(f"{self.name()}: every={self.every} must be at least 1.")

    def _mounted(self, network: MappedNetwork, known: Known, bench: Bench) -> NetworkInTraining:
        return bench.train(network, every=self.every)


def require_descent(owner: str, *, epochs: int, batch: int, images: int, lr: float) -> None:
    """Raise InputError for values of a training that are out of range."""
    if epochs < 1 or batch < 2 or images < 0:
        raise InputError(
            f"{owner}: epochs={epochs}, batch={batch}, images={images} must be at least 1, 2 and 0."
        )
    if not 0 < lr < float("inf"):
        raise InputError(f"{owner}: lr={lr!r} must be positive and finite.")


def count_operations(model: NetworkInTraining, known: Known) -> None:
    """Let layers on tiles compute in single precision and count what training them takes."""

    def count(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        assert isinstance(layer, MappedLayer)
        vectors = layer.vectors_of(layer_input(args, kwargs))
        known.meter.digital_operations += PER_WEIGHT * layer.programme.weights.size * vectors

    for layer in model.layers().values():  # digital layers keep their precision
        layer.float().register_forward_pre_hook(count, with_kwargs=True)
