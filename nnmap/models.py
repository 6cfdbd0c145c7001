"""Reference networks: ordinary torch modules, mapped like a user's own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from netlists.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Binarise(nn.Module):
    """weight -> sign(weight), with the gradient passed straight through inside [-1, 1]."""

    def forward(self, weight: Tensor) -> Tensor:
        """+1 where the weight is at least 0, else -1."""
        sign = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
        return weight.clamp(-1.0, 1.0) + (sign - weight.clamp(-1.0, 1.0)).detach()


def binary_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias whose weights are +1 or -1 wherever they are read."""
    layer = nn.Linear(inputs, outputs, bias=False)
    parametrize.register_parametrization(layer, "weight", Binarise())
    return layer


def bnn_mlp(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Binary-weight perceptron: linear, batch norm, activation; the last layer ends in batch norm.

    sizes: features from input to classes, e.g. (784, 512, 10) for two layers of weights.
    Raises InputError for an unknown activation or fewer than two sizes.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation={activation!r} is not one of {', '.join(ACTIVATIONS)}.")
    if len(sizes) < 2:
        raise InputError(f"sizes={list(sizes)} must name at least inputs and classes.")
    layers: list[nn.Module] = []
    for k in range(len(sizes) - 1):
        layers += [binary_linear(sizes[k], sizes[k + 1]), nn.BatchNorm1d(sizes[k + 1])]
        if k < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)
