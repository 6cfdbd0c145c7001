"""Residual networks for CIFAR-10 (He et al. 2016, Section 4.2).

Names follow the public implementation by Y. Idelbayev (akamaster/pytorch_resnet_cifar10), so that
its checkpoints load as they are. Its option-A shortcuts hold no weights: every second pixel, and
zeros for the channels that are new. drop-connect (Section II-C) has convolutions there instead,
1x1 or 3x3.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from netlists.errors import InputError

ShortcutKind = Literal["pad", "1x1", "3x3"]


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

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: ShortcutKind) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 and shortcut == "pad":
            self.shortcut = Shortcut((outputs - inputs) // 2)
        elif stride > 1:
            size = int(shortcut[0])
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _stage(
    inputs: int, outputs: int, stride: int, blocks: int, shortcut: ShortcutKind
) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, shortcut)
    more = (BasicBlock(outputs, outputs, 1, shortcut) for _ in range(blocks - 1))
    return nn.Sequential(first, *more)


class ResNetCifar(nn.Module):
    """A convolution, three stages of blocks and a linear layer, on images [n, 3, 32, 32].

    width: multiplies the 16, 32 and 64 channels of the stages.
    shortcut: how two shortcuts change size: "pad" (no weights), or a "1x1" or "3x3" convolution.
    Raises InputError for another shortcut.
    """

    def __init__(
        self,
        blocks: int = 3,
        *,
        width: float = 1.0,
        classes: int = 10,
        shortcut: ShortcutKind = "pad",
    ) -> None:
        super().__init__()
        if shortcut not in get_args(ShortcutKind):
            raise InputError(
                f"shortcut={shortcut!r} is not one of {', '.join(get_args(ShortcutKind))}."
            )
        a, b, c = (max(2, 2 * round(n * width / 2)) for n in (16, 32, 64))
        self.conv1 = nn.Conv2d(3, a, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(a)
        self.layer1 = _stage(a, a, 1, blocks, shortcut)
        self.layer2 = _stage(a, b, 2, blocks, shortcut)
        self.layer3 = _stage(b, c, 2, blocks, shortcut)
        self.linear = nn.Linear(c, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        logits: Tensor = self.linear(y.mean((2, 3)))
        return logits


def resnet20(
    *, width: float = 1.0, classes: int = 10, shortcut: ShortcutKind = "pad"
) -> ResNetCifar:
    """ResNet20: 0.27 M weights at width 1."""
    return ResNetCifar(3, width=width, classes=classes, shortcut=shortcut)
