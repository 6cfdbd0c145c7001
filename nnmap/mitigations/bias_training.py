"""Bias training: only the digital biases of the layers move."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from nnmap.mapping.kinds import MAPPABLE
from nnmap.mitigations.retraining import Retraining, ThroughCircuit
from nnmap.network import MappedNetwork, NetworkInTraining


class _Biases:
    """What is trained: the bias of every layer, 0 where a layer has none yet."""

    def _prepared(self, network: MappedNetwork) -> MappedNetwork:
        changed = {}
        for name, periphery in network.peripheries.items():
            bias = periphery.bias
            if bias is None:
                bias = torch.zeros(network.programmes[name].placement.shape.all_outputs)
            changed[name] = replace(periphery, bias=bias)
        return replace(network, peripheries=changed)

    def _parameters(self, model: NetworkInTraining) -> Iterable[nn.Parameter]:
        digital = [
            m.bias for m in model.modules() if isinstance(m, MAPPABLE) and m.bias is not None
        ]
        on_tiles = [layer.bias for layer in model.layers().values()]
        return [p for p in (*on_tiles, *digital) if isinstance(p, nn.Parameter)]


@dataclass(frozen=True, kw_only=True)
class BiasTraining(_Biases, Retraining):
    """The biases of all matrix layers trained on labelled images, on the ideal matrix.

    No memory is written again; a layer without a bias gets one. Batch norms learn their statistics
    along.

    epochs, batch, lr, images, seed: see `MaskedRetraining`.

    Source: fpt, Table III (bias training).
    Raises InputError for values out of range.
    """

    source: ClassVar[str] = "fpt, Table III"
    overhead: ClassVar[tuple[str, ...]] = ("images", "labels", "epochs", "digital_operations")

    lr: float = 0.01


@dataclass(frozen=True, kw_only=True)
class BiasTrainingThroughCircuit(_Biases, ThroughCircuit):
    """Bias training on what the circuit of the very chip makes of the images.

    The weights rest, so that the circuit is solved once.

    Source: fpt, Table III (bias training), through the circuit.
    Raises InputError for values out of range.
    """

    source: ClassVar[str] = "fpt, Table III"
    overhead: ClassVar[tuple[str, ...]] = ("reads", *BiasTraining.overhead)

    lr: float = 0.01
    every: int = 1_000_000
