"""A mapped network that trains: through its levels, converters and wires, on one chip."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from nnmap.chip import AnyChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.readers import MatrixReader
from nnmap.layers.held_operators import HeldOperators
from nnmap.layers.layer import MappedLayer
from nnmap.layers.trainable import TrainableConvolution, TrainableLinear
from nnmap.skeleton import OnTiles, replace_modules, with_layers
from nnmap.watch import mapped_layers

if TYPE_CHECKING:
    from nnmap.network import MappedNetwork

TrainableLayer = TrainableLinear | TrainableConvolution


class TrainableNetwork(nn.Module):
    """The network on a chip with its weights, biases and digital layers as parameters.

    In training mode gradients run through the circuit: rounding of levels, inputs and converters
    passes them straight through, stuck memories get none, and what they hold depends on no
    parameter, so that neither weight decay nor an optimiser's momentum moves it. In eval mode it
    is `self.programmed().on(chip, fidelity)`, made anew when a parameter has changed.

    Converter ranges and the decoder stay those of the network; weights beyond its scale saturate.
    """

    def __init__(
        self, network: "MappedNetwork", chip: AnyChip, fidelity: Fidelity, *, every: int = 1
    ) -> None:
        super().__init__()
        self._network, self._chip, self._fidelity = network, chip, fidelity
        # Not a submodule: its buffers are no state of the network that trains.
        self._evaluated: tuple[tuple[int, ...], list[nn.Module]] = ((), [])
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
        return {
            n: x for n, x in found.items() if isinstance(x, TrainableLinear | TrainableConvolution)
        }

    def programmed(self) -> "MappedNetwork":
        """The mapped network with the weights, biases and digital layers as they are now."""
        layers = self.layers()
        programmes = {name: layer.programme_now() for name, layer in layers.items()}
        peripheries = {}
        for name, layer in layers.items():
            bias = None if layer.bias is None else layer.bias.detach().clone()
            peripheries[name] = replace(self._network.peripheries[name], bias=bias)
        kinds = (TrainableLinear, TrainableConvolution)
        skeleton = replace_modules(self.model, kinds, lambda _, layer: OnTiles(layer.name))
        return replace(
            self._network,
            skeleton=skeleton.requires_grad_(False).eval(),
            programmes=programmes,
            peripheries=peripheries,
        )

    def _deployed(self) -> nn.Module:
        state = [*self.model.parameters(), *self.model.buffers()]
        key = tuple(tensor._version for tensor in state)
        if self._evaluated[0] != key:
            deployed = self.programmed().on(self._chip, self._fidelity)
            some = next(iter(self.layers().values())).weight
            self._evaluated = (key, [deployed.to(some.device, some.dtype)])
        return self._evaluated[1][0]


def _trainable(layer: MappedLayer, every: int) -> TrainableLayer:
    """The layer of a chip with its weights as parameters."""
    reader = layer.reader
    curve = reader.curve if isinstance(reader, MatrixReader) else None
    fitted = reader if isinstance(reader, MatrixReader) and curve is not None else None
    held = HeldOperators(layer.on_chip, layer.fidelity, every=every, fitted=fitted)
    kind = TrainableLinear if layer.periphery.window is None else TrainableConvolution
    return kind(
        layer.on_chip, layer.periphery, layer.fidelity, held, copy.deepcopy(curve), layer.noise
    )
