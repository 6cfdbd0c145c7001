"""Batch norm folded into the layer before it."""

import copy

import torch
from torch import fx, nn

from netlists.errors import InputError
from nnmap.training.parametrised import store_weight

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """The network in eval mode with every batch norm that directly follows a Linear or Conv2d
    folded into its weight and bias, and replaced by the identity.

    What follows what is read from a symbolic trace of the network (torch.fx), so the rule holds
    for any module that can be traced. A layer that is used twice, or whose output goes elsewhere
    too, keeps its batch norm.

    Raises InputError when the network cannot be traced.
    """
    result = copy.deepcopy(model).eval()
    try:
        graph = fx.Tracer().trace(result)
    except Exception as problem:  # whatever the user's forward raises on a symbolic input
        raise InputError(
            f"batch norms cannot be folded, torch.fx cannot trace this network "
            f"({type(problem).__name__}: {problem}); set fold_batch_norm to false."
        ) from None
    calls = [node for node in graph.nodes if node.op == "call_module"]
    uses = [node.target for node in calls]
    modules = dict(result.named_modules())
    for node in calls:
        norm = modules[str(node.target)]
        source = node.args[0]
        if not isinstance(norm, NORMS) or not isinstance(source, fx.Node):
            continue
        if source.op != "call_module" or len(source.users) != 1:
            continue
        layer = modules[str(source.target)]
        alone = uses.count(source.target) == 1 and uses.count(node.target) == 1
        if alone and isinstance(layer, nn.Linear | nn.Conv2d):
            _fold(layer, norm)
            parent, _, name = str(node.target).rpartition(".")
            setattr(result.get_submodule(parent), name, nn.Identity())
    return result


def _fold(layer: nn.Linear | nn.Conv2d, norm: nn.Module) -> None:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("a batch norm without running statistics cannot be folded.")
    with torch.no_grad():
        gain = torch.rsqrt(norm.running_var + norm.eps)
        shift = -norm.running_mean * gain
        if norm.affine:
            gain, shift = gain * norm.weight, shift * norm.weight + norm.bias
        weight = layer.weight * gain.view(-1, *[1] * (layer.weight.ndim - 1))
        bias = shift if layer.bias is None else layer.bias * gain + shift
    store_weight(layer, weight)
    layer.bias = nn.Parameter(bias)
