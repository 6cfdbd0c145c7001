"""Convolutional networks of the papers, on images [n, channels, height, width].

`width` multiplies channels and hidden features; 1 is the published size.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nnmap.networks.perceptrons import Binarise, Sign, binary_linear


def _wide(n: float, width: float) -> int:
    return max(1, round(n * width))


def lenet_caffe(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """LeNet with two convolutions and two dense layers, for [n, 1, 28, 28] (rramedy, Table 1).

    Sizes are those of the Caffe example that rramedy's framework ships: 20, 50, 500.
    """
    a, b, c = (_wide(n, width) for n in (20, 50, 500))
    return nn.Sequential(
        nn.Conv2d(1, a, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * b, c),
        nn.ReLU(),
        nn.Linear(c, classes),
    )


def lenet_remeco(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """LeNet of 866 K parameters and 28 MFLOP, for [n, 1, 28, 28] (remeco, Table 3).

    The paper gives those two figures and "2 conv., 3 dense", but no sizes. These (5x5 kernels that
    keep the resolution, 40, 64, 250, 64) are one choice among several that meets both: 866,068
    parameters and 28.3 MFLOP, two a multiplication and addition.
    """
    a, b, c, d = (_wide(n, width) for n in (40, 64, 250, 64))
    return nn.Sequential(
        nn.Conv2d(1, a, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(49 * b, c),
        nn.ReLU(),
        nn.Linear(c, d),
        nn.ReLU(),
        nn.Linear(d, classes),
    )


def convnet_quick(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """ConvNet-quick for [n, 3, 32, 32]: three convolutions, two dense layers (rramedy, Table 1).

    Sizes are those of Caffe's cifar10_quick: 32, 32, 64, 64.
    """
    a, b, c, d = (_wide(n, width) for n in (32, 32, 64, 64))
    return nn.Sequential(
        nn.Conv2d(3, a, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        nn.Conv2d(a, b, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(b, c, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(16 * c, d),
        nn.Linear(d, classes),
    )


def alexnet(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """AlexNet (Krizhevsky et al. 2012) in one tower; images of any size are scaled to 227x227.

    remeco (Table 3) runs it on CIFAR-10 and gives 62 M weights, which is the count for 1000
    classes; with 10 classes it has 58.3 M.
    """
    a, b, c, d, e = (_wide(n, width) for n in (96, 256, 384, 384, 256))
    hidden = _wide(4096, width)
    return nn.Sequential(
        nn.Upsample(size=(227, 227), mode="bilinear"),
        nn.Conv2d(3, a, 11, stride=4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(36 * e, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def vgg13(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """VGG13 (Simonyan and Zisserman 2015) with batch norm, for [n, 3, 32, 32], one dense layer."""
    layers: list[nn.Module] = []
    inputs = 3
    for channels in (64, 128, 256, 512, 512):
        for _ in range(2):
            outputs = _wide(channels, width)
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, classes))


class InvertedResidual(nn.Module):
    """Widen by 1x1, convolve depthwise, narrow by 1x1 (Sandler et al. 2018, Fig. 3)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.widen = nn.Sequential()
        if expansion > 1:
            self.widen.append(nn.Conv2d(inputs, inner, 1, bias=False))
            self.widen.append(nn.BatchNorm2d(inner))
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
        )
        self.narrow = nn.Sequential(
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        y = torch.relu(self.depthwise(torch.relu(self.widen(x))))
        narrowed: Tensor = self.narrow(y)
        return narrowed + x if self.residual else narrowed


def mobilenet_v2(*, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """MobileNetV2 (Sandler et al. 2018, Table 2) for [n, 3, 32, 32].

    As usual for images this small, the first convolution and the first stage of stride 2 keep
    their resolution.
    """
    stages = (  # expansion, channels, blocks, stride
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    inputs, last = _wide(32, width), _wide(1280, width)
    layers: list[nn.Module] = [
        nn.Conv2d(3, inputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
    ]
    for expansion, channels, blocks, stride in stages:
        for k in range(blocks):
            outputs = _wide(channels, width)
            layers.append(InvertedResidual(inputs, outputs, expansion, 1 if k else stride))
            inputs = outputs
    layers += [
        nn.Conv2d(inputs, last, 1, bias=False),
        nn.BatchNorm2d(last),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, classes),
    ]
    return nn.Sequential(*layers)


def binary_conv2d(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution without bias whose weights are +1 or -1 wherever they are read."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    parametrize.register_parametrization(layer, "weight", Binarise())
    return layer


def bnn_vgg(*, classes: int = 10, width: float = 1.0, inflation: float = 1.0) -> nn.Sequential:
    """Binary VGG for [n, 3, 32, 32]: weights and hidden activations are +1 or -1.

    The CIFAR-10 network of Hubara et al. 2016, on which fpt builds: 2x128C3, 2x256C3, 2x512C3,
    2x1024, each pair of convolutions pooled. `inflation` widens all convolutions but the last, as
    the authors' code does; fpt (Section IV-A) uses 3.
    """
    a, b, c = (_wide(n * inflation, width) for n in (128, 256, 512))
    last, hidden = _wide(512, width), _wide(1024, width)
    layers: list[nn.Module] = []
    inputs = 3
    for middle, outputs in ((a, a), (b, b), (c, last)):
        layers += [binary_conv2d(inputs, middle), nn.BatchNorm2d(middle), Sign()]
        layers += [binary_conv2d(middle, outputs), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(outputs), Sign()]
        inputs = outputs
    layers.append(nn.Flatten())
    for before, after in pairwise((16 * last, hidden, hidden)):
        layers += [binary_linear(before, after), nn.BatchNorm1d(after), Sign()]
    return nn.Sequential(*layers, binary_linear(hidden, classes), nn.BatchNorm1d(classes))
