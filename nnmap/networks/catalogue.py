"""The papers' networks: how each is built, trained and put on tiles, as data.

`shipped` is the setting whose weights come with the package; where the full one does not fit two
cores and a few minutes it is a reduced one, and the manifest says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from netlists.errors import InputError
from nnmap.mapping.plan import MappingPlan
from nnmap.networks.cnns import (
    alexnet,
    bnn_vgg,
    convnet_quick,
    lenet_caffe,
    lenet_remeco,
    mobilenet_v2,
    vgg13,
)
from nnmap.networks.paper_plans import PLANS
from nnmap.networks.perceptrons import bnn_mlp, lenet, mlp
from nnmap.networks.resnet import resnet20
from nnmap.training.data import Inputs
from nnmap.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Setting:
    """arguments: of the function that builds the network.  recipe: how it is trained."""

    recipe: Recipe
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PaperNetwork:
    """A network of a paper.

    inputs: the form in which images enter.  weight_bits: bits that training quantises weights to;
    None trains them as they are (binary layers have a form of their own).
    plan: its paper's way onto tiles.
    """

    make: Callable[..., nn.Module]
    dataset: str
    inputs: Inputs
    full: Setting
    shipped: Setting
    plan: MappingPlan
    weight_bits: int | None = None

    @property
    def reduced(self) -> bool:
        """Whether the shipped setting is less than the full one."""
        return self.shipped != self.full


def _setting(
    epochs: int, *, lr: float, batch: int = 128, augment: bool = False, **arguments: Any
) -> Setting:
    return Setting(
        recipe=Recipe(epochs=epochs, batch=batch, lr=lr, augment=augment), arguments=arguments
    )


def _mnist(
    make: Callable[..., nn.Module],
    plan: str,
    setting: Setting,
    *,
    inputs: Inputs,
    **more: Any,
) -> PaperNetwork:
    """A network that MNIST trains in minutes: what ships is the full setting."""
    return PaperNetwork(
        make=make,
        dataset="mnist",
        inputs=inputs,
        full=setting,
        shipped=setting,
        plan=PLANS[plan],
        **more,
    )


def _cifar10(
    make: Callable[..., nn.Module], plan: str, full: Setting, shipped: Setting, **more: Any
) -> PaperNetwork:
    return PaperNetwork(
        make=make,
        dataset="cifar10",
        inputs="normalised",
        full=full,
        shipped=shipped,
        plan=PLANS[plan],
        **more,
    )


_DIGITS = _setting(30, lr=0.01, sizes=(64, 128, 10))

NETWORKS: dict[str, PaperNetwork] = {
    # The quickstart's: bnn-1t2r's two layers on scikit-learn's digits, which come with it.
    "bnn-mlp2-digits": PaperNetwork(
        make=bnn_mlp,
        dataset="digits",
        inputs="flat",
        full=_DIGITS,
        shipped=_DIGITS,
        plan=PLANS["bnn-1t1r"],
    ),
    # bnn-1t2r, Fig. 4: two layers, binary weights, ReLU. Its width is not given.
    "bnn-mlp2-mnist": _mnist(
        bnn_mlp, "bnn-1t1r", _setting(12, lr=0.01, sizes=(784, 512, 10)), inputs="flat"
    ),
    # fpt, Section IV-A: the MLP of Courbariaux et al. 2016, binary weights and activations. Three
    # layers of weights and 512 features reach fpt's accuracy (98.00 %); the original has 4096.
    "bnn-mlp3-mnist": _mnist(
        bnn_mlp,
        "fpt-balanced",
        _setting(16, lr=0.01, sizes=(784, 512, 512, 10), activation="sign"),
        inputs="flat",
    ),
    "lenet-mnist": _mnist(lenet, "remeco", _setting(6, lr=0.002, batch=64), inputs="flat"),
    "lenet-remeco-mnist": _mnist(
        lenet_remeco, "remeco", _setting(4, lr=0.001, batch=64), inputs="images", weight_bits=8
    ),
    # rramedy, Table I. Sizes of the MLP are not given.
    "mlp-mnist": _mnist(
        mlp,
        "rramedy-mlc",
        _setting(12, lr=0.001, batch=64, sizes=(784, 256, 128, 10)),
        inputs="flat",
        weight_bits=16,
    ),
    "lenet-caffe-mnist": _mnist(
        lenet_caffe,
        "rramedy-mlc",
        _setting(6, lr=0.001, batch=64),
        inputs="images",
        weight_bits=16,
    ),
    "convnet-quick-cifar10": _cifar10(
        convnet_quick,
        "rramedy-mlc",
        _setting(100, lr=0.001, augment=True),
        _setting(5, lr=0.001, augment=True),
        weight_bits=16,
    ),
    "bnn-vgg-cifar10": _cifar10(
        bnn_vgg,
        "fpt-balanced",
        _setting(150, lr=0.005, augment=True, inflation=3.0),
        _setting(3, lr=0.005, augment=True, width=3 / 16),
    ),
    "alexnet-cifar10": _cifar10(
        alexnet,
        "remeco",
        _setting(60, lr=0.0003, augment=True),
        _setting(3, lr=0.001, augment=True, width=1 / 16),
        weight_bits=8,
    ),
    "vgg13-cifar10": _cifar10(
        vgg13,
        "drop-connect",
        _setting(150, lr=0.001, augment=True),
        _setting(8, lr=0.002, augment=True, width=1 / 8),
        weight_bits=8,
    ),
    "mobilenet-v2-cifar10": _cifar10(
        mobilenet_v2,
        "drop-connect",
        _setting(150, lr=0.001, augment=True),
        _setting(2, lr=0.003, augment=True, width=0.25),
        weight_bits=8,
    ),
    "resnet20-cifar10": _cifar10(
        resnet20,
        "drop-connect",
        _setting(150, lr=0.003, augment=True),
        _setting(6, lr=0.003, augment=True, width=0.5),
        weight_bits=8,
    ),
}


def reference(name: str) -> PaperNetwork:
    """The network of that name; raises InputError for an unknown one."""
    if name not in NETWORKS:
        raise InputError(f"network={name!r} is not one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]
