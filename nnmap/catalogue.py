"""The papers' networks: how each is built, trained and put on tiles, as data.

`shipped` is the setting whose weights come with the package; where the full one does not fit two
cores and a few minutes it is a reduced one, and the manifest says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from netlists.cells import OneR, OneTransistorOneR
from netlists.devices import OhmicRram
from netlists.errors import InputError
from netlists.tile import TileSpec, Wires
from nnmap.cnns import (
    alexnet,
    bnn_vgg,
    convnet_quick,
    lenet_caffe,
    lenet_remeco,
    mobilenet_v2,
    vgg13,
)
from nnmap.data import Inputs
from nnmap.models import bnn_mlp, lenet, mlp
from nnmap.plan import MappingPlan
from nnmap.resnet import resnet20
from nnmap.training import Recipe


@dataclass(frozen=True, kw_only=True)
class Setting:
    """arguments: of the function that builds the network.  recipe: how it is trained."""

    recipe: Recipe
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reference:
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


# fpt, Section IV-A: LRS 1 kohm, HRS 1 Mohm, 64x64; Fig. 6: 0.1 ohm is its lower wire resistance.
# Passive crossbars (its reference 20). Table I: balanced pairs.
FPT = MappingPlan(
    spec=TileSpec(
        rows=64,
        cols=64,
        wires=Wires(r_row_segment=0.1, r_col_segment=0.1),
        cell=OneR(rram=OhmicRram(r_lrs=1e3, r_hrs=1e6)),
    ),
    encoding="pair",
)
# bnn-1t2r: one 1T1R cell a weight (Fig. 2), hence an offset column. It names no sizes, resistances
# or wires; those of the toolkit's examples stand in.
BNN_1T1R = MappingPlan(
    spec=TileSpec(
        rows=64,
        cols=64,
        wires=Wires(r_row_segment=1.0, r_col_segment=1.0),
        cell=OneTransistorOneR(),
    ),
    encoding="offset",
    offset_faults=False,
)
# remeco, Fig. 1 (1T1R) and Table 2: 8 bits on two 4-bit devices, 2 ohm a segment. Its tile size and
# resistances are not given.
REMECO = MappingPlan(
    spec=TileSpec(
        rows=64,
        cols=64,
        wires=Wires(r_row_segment=2.0, r_col_segment=2.0),
        cell=OneTransistorOneR(),
    ),
    encoding="pair",
    weight_bits=8,
    device_bits=4,
)
# rramedy, Section V: 16-bit fixed point on eight 2-bit MLC devices, 128x128 crossbars of bare
# memories (Section II). Resistances, wires and converters are not given. Each column's converter
# has a range of its own: high digits of weights are mostly 0, low ones are not, and the offset
# column carries more than either.
RRAMEDY_MLC = MappingPlan(
    spec=TileSpec(
        rows=128,
        cols=128,
        wires=Wires(r_row_segment=1.0, r_col_segment=1.0),
        cell=OneR(),
    ),
    encoding="offset",
    weight_bits=16,
    device_bits=2,
    adc_range="column",
)
# drop-connect, Section III: one 8-bit device a weight, 1x1 convolutions digital (Section II-C),
# costs of ISAAC, whose crossbars are 128x128. A cell stuck at HRS reads as a weight of 0 (Section
# I), as it does in pairs but not beside an offset column: the column is the sign, the device the 7
# other bits. As above, resistances, wires and converters are not given, and columns have ranges of
# their own.
DROP_CONNECT = MappingPlan(
    spec=TileSpec(
        rows=128,
        cols=128,
        wires=Wires(r_row_segment=1.0, r_col_segment=1.0),
        cell=OneR(),
    ),
    encoding="pair",
    weight_bits=8,
    device_bits=7,
    adc_range="column",
    digital_1x1=True,
)


def _full(
    epochs: int, *, lr: float, batch: int = 128, augment: bool = False, **arguments: Any
) -> Setting:
    return Setting(
        recipe=Recipe(epochs=epochs, batch=batch, lr=lr, augment=augment), arguments=arguments
    )


def _mnist(
    make: Callable[..., nn.Module],
    plan: MappingPlan,
    setting: Setting,
    *,
    inputs: Inputs,
    **more: Any,
) -> Reference:
    """A network that MNIST trains in minutes: what ships is the full setting."""
    return Reference(
        make=make, dataset="mnist", inputs=inputs, full=setting, shipped=setting, plan=plan, **more
    )


def _cifar10(
    make: Callable[..., nn.Module], plan: MappingPlan, full: Setting, shipped: Setting, **more: Any
) -> Reference:
    return Reference(
        make=make,
        dataset="cifar10",
        inputs="normalised",
        full=full,
        shipped=shipped,
        plan=plan,
        **more,
    )


NETWORKS: dict[str, Reference] = {
    # bnn-1t2r, Fig. 4: two layers, binary weights, ReLU. Its width is not given.
    "bnn-mlp2-mnist": _mnist(
        bnn_mlp, BNN_1T1R, _full(12, lr=0.01, sizes=(784, 512, 10)), inputs="flat"
    ),
    # fpt, Section IV-A: the MLP of Courbariaux et al. 2016, binary weights and activations. Three
    # layers of weights and 512 features reach fpt's accuracy (98.00 %); the original has 4096.
    "bnn-mlp3-mnist": _mnist(
        bnn_mlp,
        FPT,
        _full(16, lr=0.01, sizes=(784, 512, 512, 10), activation="sign"),
        inputs="flat",
    ),
    "lenet-mnist": _mnist(lenet, REMECO, _full(6, lr=0.002, batch=64), inputs="flat"),
    "lenet-remeco-mnist": _mnist(
        lenet_remeco, REMECO, _full(4, lr=0.001, batch=64), inputs="images", weight_bits=8
    ),
    # rramedy, Table I. Sizes of the MLP are not given.
    "mlp-mnist": _mnist(
        mlp,
        RRAMEDY_MLC,
        _full(12, lr=0.001, batch=64, sizes=(784, 256, 128, 10)),
        inputs="flat",
        weight_bits=16,
    ),
    "lenet-caffe-mnist": _mnist(
        lenet_caffe,
        RRAMEDY_MLC,
        _full(6, lr=0.001, batch=64),
        inputs="images",
        weight_bits=16,
    ),
    "convnet-quick-cifar10": _cifar10(
        convnet_quick,
        RRAMEDY_MLC,
        _full(100, lr=0.001, augment=True),
        _full(5, lr=0.001, augment=True),
        weight_bits=16,
    ),
    "bnn-vgg-cifar10": _cifar10(
        bnn_vgg,
        FPT,
        _full(150, lr=0.005, augment=True, inflation=3.0),
        _full(3, lr=0.005, augment=True, width=3 / 16),
    ),
    "alexnet-cifar10": _cifar10(
        alexnet,
        REMECO,
        _full(60, lr=0.0003, augment=True),
        _full(3, lr=0.001, augment=True, width=1 / 16),
        weight_bits=8,
    ),
    "vgg13-cifar10": _cifar10(
        vgg13,
        DROP_CONNECT,
        _full(150, lr=0.001, augment=True),
        _full(8, lr=0.002, augment=True, width=1 / 8),
        weight_bits=8,
    ),
    "mobilenet-v2-cifar10": _cifar10(
        mobilenet_v2,
        DROP_CONNECT,
        _full(150, lr=0.001, augment=True),
        _full(2, lr=0.003, augment=True, width=0.25),
        weight_bits=8,
    ),
    "resnet20-cifar10": _cifar10(
        resnet20,
        DROP_CONNECT,
        _full(150, lr=0.003, augment=True),
        _full(6, lr=0.003, augment=True, width=0.5),
        weight_bits=8,
    ),
}


def reference(name: str) -> Reference:
    """The network of that name; raises InputError for an unknown one."""
    if name not in NETWORKS:
        raise InputError(f"network={name!r} is not one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]
