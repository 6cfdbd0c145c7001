"""Torch modules by name: the toolkit's networks, or a function of one's own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from netlists import InputError
from nnmap import (
    alexnet,
    bnn_mlp,
    bnn_vgg,
    convnet_quick,
    lenet,
    lenet_caffe,
    lenet_remeco,
    mlp,
    mobilenet_v2,
    resnet20,
    vgg13,
)
from validation.files.own_code import call_own

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": alexnet,
    "bnn_mlp": bnn_mlp,
    "bnn_vgg": bnn_vgg,
    "convnet_quick": convnet_quick,
    "lenet": lenet,
    "lenet_caffe": lenet_caffe,
    "lenet_remeco": lenet_remeco,
    "mlp": mlp,
    "mobilenet_v2": mobilenet_v2,
    "resnet20": resnet20,
    "vgg13": vgg13,
}


def make_network(make: str, arguments: Mapping[str, Any], *, beside: Path) -> nn.Module:
    """The module that `make` and `arguments` of a [network] describe, with fresh weights.

    beside: folder from which one's own functions are imported.
    Raises InputError for an unknown name or arguments that it does not take.
    """
    if ":" in make:
        model = call_own(make, arguments, folder=beside, key="network.make")
    elif make in NETWORKS:
        try:
            model = NETWORKS[make](**arguments)
        except TypeError as problem:
            raise InputError(f"network.arguments do not fit {make}: {problem}.") from None
    else:
        raise InputError(
            f"network.make={make!r} is not one of {', '.join(NETWORKS)}, "
            "nor package.module:function."
        )
    if not isinstance(model, nn.Module):
        raise InputError(f"network.make={make!r} gave no torch module.")
    return model
