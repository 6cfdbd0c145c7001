"""Reference networks: ordinary torch modules, mapped like a user's own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from netlists.errors import InputError


def _sign(x: Tensor) -> Tensor:
    sign = torch.where(x >= 0, 1.0, -1.0).to(x.dtype)
    return x.clamp(-1.0, 1.0) + (sign - x.clamp(-1.0, 1.0)).detach()


class Binarise(nn.Module):
    """weight -> sign(weight), with the gradient passed straight through inside [-1, 1]."""

    def forward(self, weight: Tensor) -> Tensor:
        """+1 where the weight is at least 0, else -1."""
        return _sign(weight)


class Sign(nn.Module):
    """Binary activation, +1 or -1, with the gradient passed straight through inside [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """+1 where x is at least 0, else -1; same shape."""
        # Adding and taking away the clamped value leaves rounding errors, which a converter with
        # one bit would not mind but `== 1` would.
        return _sign(x) if torch.is_grad_enabled() else torch.where(x >= 0, 1.0, -1.0).to(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "sign": Sign,
}


def binary_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias whose weights are +1 or -1 wherever they are read."""
    layer = nn.Linear(inputs, outputs, bias=False)
    parametrize.register_parametrization(layer, "weight", Binarise())
    return layer


def widened(sizes: Sequence[int], width: float) -> list[int]:
    """The sizes with all between the first (inputs) and the last (classes) times `width`.

    Raises InputError for fewer than two sizes.
    """
    if len(sizes) < 2:
        raise InputError(f"sizes={list(sizes)} must name at least inputs and classes.")
    return [sizes[0], *(max(1, round(n * width)) for n in sizes[1:-1]), sizes[-1]]


def bnn_mlp(sizes: Sequence[int], activation: str = "relu", *, width: float = 1.0) -> nn.Sequential:
    """Binary-weight perceptron: linear, batch norm, activation; the last layer ends in batch norm.

    sizes: features from input to classes, e.g. (784, 512, 10) for two layers of weights.
    width: multiplies the hidden features.
    Raises InputError for an unknown activation or fewer than two sizes.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation={activation!r} is not one of {', '.join(ACTIVATIONS)}.")
    sizes = widened(sizes, width)
    layers: list[nn.Module] = []
    for k in range(len(sizes) - 1):
        layers += [binary_linear(sizes[k], sizes[k + 1]), nn.BatchNorm1d(sizes[k + 1])]
        if k < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def mlp(sizes: Sequence[int], activation: str = "relu", *, width: float = 1.0) -> nn.Sequential:
    """Perceptron with real weights and biases; three layers are the MLP of rramedy (Table 1).

    width: multiplies the hidden features. Raises InputError as `bnn_mlp` does.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"activation={activation!r} is not one of {', '.join(ACTIVATIONS)}.")
    sizes = widened(sizes, width)
    layers: list[nn.Module] = []
    for k in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[k], sizes[k + 1]))
        if k < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def lenet(
    *, image: tuple[int, int, int] = (1, 28, 28), classes: int = 10, width: float = 1.0
) -> nn.Sequential:
    """LeNet with two convolutions and three dense layers, as remeco uses it (Table 3).

    Takes flat images [n, pixels] of the given (channels, height, width). Width 1 is LeNet-5 (LeCun
    et al. 1998) with ReLU and maximum pooling: 6 and 16 channels, 120 and 84 features, 61.7 K
    weights on MNIST. `lenet_remeco` has the 866 K parameters that remeco names.
    """
    channels, height, side = image
    a, b, c, d = (max(1, round(n * width)) for n in (6, 16, 120, 84))
    pixels = ((height // 2 - 4) // 2) * ((side // 2 - 4) // 2)
    if pixels < 1:
        raise InputError(f"image={image} is too small for LeNet; use at least 12x12 pixels.")
    return nn.Sequential(
        nn.Unflatten(1, image),
        nn.Conv2d(channels, a, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(b * pixels, c),
        nn.ReLU(),
        nn.Linear(c, d),
        nn.ReLU(),
        nn.Linear(d, classes),
    )
