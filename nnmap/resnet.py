"""Residual networks for CIFAR-10 (He et al. 2016, Section 4.2), option-A shortcuts.

Names follow the public implementation by Y. Idelbayev (akamaster/pytorch_resnet_cifar10), so that
its checkpoints load as they are. Option-A shortcuts hold no weights: every second pixel, and
zeros for the channels that are new.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from netlists.errors import InputError


class Shortcut(nn.Module):
    """[n, c, h, w] -> [n, c + 2 pad, h / 2, w / 2]."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """Subsample, then zero channels on both sides."""
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and what goes around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else Shortcut((outputs - inputs) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class ResNetCifar(nn.Module):
    """A convolution, three stages of blocks and a linear layer, on images [n, 3, 32, 32].

    width: multiplies the 16, 32 and 64 channels of the stages.
    """

    def __init__(self, blocks: int = 3, *, width: float = 1.0, classes: int = 10) -> None:
        super().__init__()
        a, b, c = (max(2, 2 * round(n * width / 2)) for n in (16, 32, 64))
        self.conv1 = nn.Conv2d(3, a, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(a)
        self.layer1 = _stage(a, a, 1, blocks)
        self.layer2 = _stage(a, b, 2, blocks)
        self.layer3 = _stage(b, c, 2, blocks)
        self.linear = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        logits: Tensor = self.linear(y.mean((2, 3)))
        return logits


def resnet20(*, width: float = 1.0, classes: int = 10) -> ResNetCifar:
    """ResNet20: 0.27 M weights at width 1."""
    return ResNetCifar(3, width=width, classes=classes)


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the weights of a file that `torch.save` wrote, in eval mode.

    The file holds a state dict, or a dict with one under "state_dict" or "state"; keys may have
    the prefix `module.` of data-parallel training. Only tensors are read, no code is run. The
    model itself is filled and returned.

    Raises InputError when the file cannot be read, does not fit the model or holds NaN.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as problem:  # torch passes on what zipfile and pickle raise
        raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None
    for key in ("state_dict", "state"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, not a state dict.")
    state = {name.removeprefix("module."): value for name, value in content.items()}
    bad = [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise InputError(f"{path}: {bad[0]} holds NaN or infinite values; it cannot be mapped.")
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        first = next(line.strip() for line in str(problem).splitlines()[1:] if line.strip())
        raise InputError(f"{path} does not fit {type(model).__name__}: {first}") from None
    return model.eval()
