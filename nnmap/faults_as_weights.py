"""The papers' behavioural abstraction: the network in plain torch, with faulty weights.

A stuck or varied device changes the weight it belongs to, and nothing else of the circuit exists:
no wires, no transistors, no converters. The chip's own maps are used, so that behavioural and
circuit results of one chip stand side by side.
"""

import torch
from torch import Tensor, nn

from nnmap.convert import replace_layers
from nnmap.convolution import MappedConv2d, Window
from nnmap.layers import MappedLayer


class WindowConv2d(nn.Module):
    """A plain convolution with the window of a mapped layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.window, self.groups = window, groups

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, h, w] -> [batch, outputs, h', w'], in the dtype of x."""
        return nn.functional.conv2d(
            self.window.pad(x),
            self.weight.to(x.dtype),
            None if self.bias is None else self.bias.to(x.dtype),
            stride=self.window.stride,
            dilation=self.window.dilation,
            groups=self.groups,
        )


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


def faults_as_weights(chip: nn.Module) -> nn.Module:
    """The chip's network in plain torch, each layer with the weights its devices decode to.

    Equals the chip at IDEAL fidelity with converters off, save for faults between the blocks of
    groups that share a tile, which belong to no weight.
    """

    def digital(_: str, layer: MappedLayer) -> nn.Module:
        weights = torch.from_numpy(layer.matrix.weights()).mT  # [groups, outputs, inputs]
        groups, _outputs, inputs = weights.shape
        flat = weights.reshape(-1, inputs).contiguous()
        if isinstance(layer, MappedConv2d):
            kernel = flat.unflatten(1, (-1, *layer.window.kernel))
            return WindowConv2d(kernel, layer.bias, layer.window, groups)
        return WeightLinear(flat, layer.bias)

    return replace_layers(chip, MappedLayer, digital)
