"""The papers' behavioural abstraction: the network in plain torch, with faulty weights.

A stuck or varied device changes the weight it belongs to, and nothing else of the circuit exists:
no wires, no transistors, no converters. The chip's own maps are used, so that behavioural and
circuit results of one chip stand side by side.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from netlists.arrays import FloatArray
from nnmap.chip import HEALTHY, AnyChip, LayerOnChip
from nnmap.mapping.decode import decoded_weights
from nnmap.mapping.window import Window
from nnmap.network import MappedNetwork
from nnmap.skeleton import with_layers


class WindowConvolution(nn.Module):
    """A plain convolution with the window of a mapped layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.window, self.groups = window, groups

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, *axes] -> [batch, outputs, *axes'], in the dtype of x."""
        y = nn.functional.conv2d(
            self.window.pad(self.window.images(x)),
            self.weight.to(x.dtype),
            None if self.bias is None else self.bias.to(x.dtype),
            stride=self.window.stride,
            dilation=self.window.dilation,
            groups=self.groups,
        )
        return self.window.shaped(y)


class WeightLinear(nn.Module):
    """A plain linear layer with fixed weights [outputs, inputs]."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs], in the dtype of x."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)


def faults_as_weights(network: MappedNetwork, chip: AnyChip | None = None) -> nn.Module:
    """The chip's network in plain torch, each layer with the weights its devices decode to.

    Equals `network.on(chip)` with converters off, save for faults between the blocks of groups that
    share a tile, which belong to no weight.
    """

    def decoded(name: str) -> FloatArray:
        programme = network.programmes[name]
        held = LayerOnChip(name=name, programme=programme, chip=chip or HEALTHY)
        return decoded_weights(programme, held.shown())

    return in_torch(network, decoded)


def in_torch(network: MappedNetwork, weights: Callable[[str], FloatArray]) -> nn.Module:
    """The network in plain torch with other weights.

    weights: name of a layer on tiles -> its weights [groups, inputs, outputs].
    """

    def digital(name: str) -> nn.Module:
        programme, periphery = network.programmes[name], network.peripheries[name]
        matrix = torch.from_numpy(weights(name)).mT
        flat = matrix.reshape(-1, matrix.shape[2]).contiguous()
        bias = _bias(programme.shift, periphery.bias)
        if periphery.window is None:
            return WeightLinear(flat, bias)
        kernel = flat.unflatten(1, (-1, *periphery.window.kernel))
        return WindowConvolution(kernel, bias, periphery.window, len(matrix))

    layers = {name: digital(name) for name in network.programmes}
    return with_layers(network.skeleton, layers).eval()


def _bias(shift: FloatArray, bias: Tensor | None) -> Tensor | None:
    if bias is None and not shift.any():
        return None
    added = torch.from_numpy(shift.copy())
    return added if bias is None else added + bias.detach().to(added)
