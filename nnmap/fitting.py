"""LINEAR fitted to a chip: layer after layer, at what reaches each on that very chip."""

from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from nnmap.extraction import Extraction
from nnmap.layers import MappedLayer
from nnmap.linear_fit import spread
from nnmap.readers import MatrixReader, fit_reader


def fit_linear(network: nn.Module, extraction: Extraction | None = None) -> nn.Module:
    """The network itself, its layers at LINEAR fitted in place where that is still to be done.

    The sample that the network was mapped with runs through it once. Each layer is fitted before
    it reads, so that the next one sees what it will see. Noise is left out, nothing is counted.
    Raises InputError where an input finds no balance at NONLINEAR.
    """
    layers = [m for m in network.modules() if isinstance(m, MappedLayer)]
    waiting = [m for m in layers if isinstance(m.reader, MatrixReader) and m.reader.to_fit]
    sample = next((m.sample for m in waiting), None)
    if sample is None:
        return network

    def fit(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, MappedLayer) and isinstance(layer.reader, MatrixReader)
        if layer.reader.to_fit:  # a layer in several places is fitted in the first
            volts = layer.all_voltages(args[0]).to("cpu", torch.float64).numpy()
            few = np.stack([spread(v, len(sample)) for v in volts])
            fit_reader(layer.reader, layer.matrix, few, extraction or Extraction())

    with ExitStack() as stack, torch.no_grad():
        for layer in layers:
            stack.enter_context(layer.unrecorded())
        for layer in waiting:
            stack.callback(layer.register_forward_pre_hook(fit).remove)
        network(_as_network(sample, network, layers[0]))
    return network


def _as_network(sample: Tensor, network: nn.Module, mapped: MappedLayer) -> Tensor:
    """The sample where the network is, and in the precision of its digital layers."""
    numbers = (
        p
        for m in network.modules()
        if not isinstance(m, MappedLayer)
        for p in m.parameters(recurse=False)
        if p.is_floating_point()
    )
    digital = next(numbers, None)
    dtype = sample.dtype if digital is None or not sample.is_floating_point() else digital.dtype
    return sample.to(mapped.device, dtype)
