"""A mapped network that trains: through its levels, converters and wires, on one chip."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from nnmap.chip import AnyChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.readers import MatrixReader
from nnmap.layers.held_operators import HeldOperators, require_trainable
from nnmap.layers.layer import MappedLayer
from nnmap.layers.trainable import TrainableConv2d, TrainableLinear
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.programme import Programme
from nnmap.skeleton import OnTiles, replace_modules, with_layers
from nnmap.watch import mapped_layers


class Mapped(Protocol):
    """What trains of a mapped network; `network.MappedNetwork` is one."""

    @property
    def skeleton(self) -> nn.Module:
        """The digital part."""
        ...

    @property
    def programmes(self) -> Mapping[str, Programme]:
        """By layer name."""
        ...

    @property
    def peripheries(self) -> Mapping[str, Periphery]:
        """By layer name."""
        ...

    def on(self, chip: AnyChip, fidelity: Fidelity) -> nn.Module:
        """The network as it runs on a chip."""
        ...

    def with_parts(
        self,
        *,
        skeleton: nn.Module,
        programmes: Mapping[str, Programme],
        peripheries: Mapping[str, Periphery],
    ) -> Self:
        """The same with these parts, its converter ranges as they are."""
        ...


M = TypeVar("M", bound=Mapped)
TrainableLayer = TrainableLinear | TrainableConv2d


class TrainableNetwork(nn.Module, Generic[M]):
    """The network on a chip with its weights, biases and digital layers as parameters.

    In training mode gradients run through the circuit: rounding of levels, inputs and converters
    passes them straight through, stuck memories get none, and what they hold depends on no
    parameter, so that neither weight decay nor an optimiser's momentum moves it. In eval mode it
    is `self.programmed().on(chip, fidelity)`, made anew when a parameter has changed.

    Converter ranges and the decoder stay those of the network; weights beyond its scale saturate.
    """

    def __init__(self, network: M, chip: AnyChip, fidelity: Fidelity, *, every: int = 1) -> None:
        super().__init__()
        self._network, self._chip, self._fidelity = network, chip, fidelity
        # Not a submodule: its buffers are no state of the network that trains.
        self._evaluated: tuple[list[Tensor], list[nn.Module]] = ([], [])
        require_trainable(next(iter(network.programmes)), fidelity)
        on_chip = mapped_layers(network.on(chip, fidelity))
        layers = {name: _trainable(on_chip[name], every) for name in network.programmes}
        self.model = with_layers(network.skeleton, layers)
        self.model.requires_grad_(True)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """As the network; in eval mode as it runs on the chip."""
        result: Tensor = self.model(x) if self.training else self._deployed()(x)
        return result

    def layers(self) -> dict[str, TrainableLayer]:
        """The layers on tiles, by name."""
        found = mapped_layers(self.model)
        return {n: x for n, x in found.items() if isinstance(x, TrainableLinear | TrainableConv2d)}

    def programmed(self) -> M:
        """The mapped network with the weights, biases and digital layers as they are now."""
        layers = self.layers()
        programmes = {name: layer.programme_now() for name, layer in layers.items()}
        peripheries = {}
        for name, layer in layers.items():
            bias = None if layer.bias is None else layer.bias.detach().cpu().clone()
            peripheries[name] = replace(self._network.peripheries[name], bias=bias)
        kinds = (TrainableLinear, TrainableConv2d)
        skeleton = replace_modules(self.model, kinds, lambda _, layer: OnTiles(layer.name))
        return self._network.with_parts(
            skeleton=skeleton.requires_grad_(False).cpu().eval(),
            programmes=programmes,
            peripheries=peripheries,
        )

    def _deployed(self) -> nn.Module:
        # Compared by content: what is written through `.data` leaves no other trace.
        state = [*self.model.parameters(), *self.model.buffers()]
        before, deployed = self._evaluated
        if not deployed or not all(map(_same, state, before)):
            weight = next(iter(self.layers().values())).weight
            new = self.programmed().on(self._chip, self._fidelity).to(weight.device)
            for layer in mapped_layers(new).values():  # the digital layers keep their precision
                layer.to(weight.dtype)
            before, deployed = [tensor.detach().clone() for tensor in state], [new]
            self._evaluated = before, deployed
        return deployed[0]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same in the same form."""
    alike = one.dtype == other.dtype and one.device == other.device
    return alike and torch.equal(one, other)


def _trainable(layer: MappedLayer, every: int) -> TrainableLayer:
    """The layer of a chip with its weights as parameters."""
    reader = layer.reader
    assert isinstance(reader, MatrixReader)
    curve, gains = reader.curve, reader.gains
    held = HeldOperators(layer.on_chip, layer.fidelity, every=every, gains=gains)
    kind = TrainableLinear if layer.periphery.window is None else TrainableConv2d
    return kind(
        layer.on_chip, layer.periphery, layer.fidelity, held, copy.deepcopy(curve), layer.noise
    )
