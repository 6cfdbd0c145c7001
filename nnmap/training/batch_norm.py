"""Batch norm folded into the layer before it."""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from netlists.errors import InputError
from nnmap.attention import Attention
from nnmap.mapping.kinds import Mappable, kind_of
from nnmap.skeleton import hooked
from nnmap.training.parametrised import store_weight
from nnmap.watch import run

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
FEW = 2  # inputs that show the shapes


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Attention) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norms(model: nn.Module, sample: Tensor) -> nn.Module:
    """The network in eval mode with every batch norm that directly follows a Linear, Conv1d or
    Conv2d layer folded into its weight and bias, and replaced by the identity.

    What follows what is read from a symbolic trace of the network (torch.fx), so the rule holds
    for any module that can be traced. A layer that is used twice, whose output goes elsewhere
    too or to a hook, or whose features are not the norm's channels, as in [batch, time, features],
    keeps its batch norm.

    sample: inputs [batch, ...] that show on which axis each norm works.

    Raises InputError when the network cannot be traced.
    """
    result = copy.deepcopy(model).eval()
    try:
        graph = _Tracer().trace(result)
    except Exception as problem:  # whatever the user's forward raises on a symbolic input
        raise InputError(
            f"batch norms cannot be folded, torch.fx cannot trace this network "
            f"({type(problem).__name__}: {problem}); set fold_batch_norm to false."
        ) from None
    calls = [node for node in graph.nodes if node.op == "call_module"]
    uses = [node.target for node in calls]
    modules = dict(result.named_modules())
    shapes = _shapes(result, sample[:FEW])
    for node in calls:
        norm = modules[str(node.target)]
        source = node.args[0] if node.args else node.kwargs.get("input")
        if type(norm) not in NORMS or not isinstance(source, fx.Node):
            continue
        if source.op != "call_module" or len(source.users) != 1:
            continue
        layer = modules[str(source.target)]
        alone = uses.count(source.target) == 1 and uses.count(node.target) == 1
        if alone and _foldable(layer) and not hooked(norm):
            assert isinstance(layer, Mappable)
            if shapes.get(norm) == _channel_axes(layer):
                _fold(layer, norm)
                parent, _, name = str(node.target).rpartition(".")
                setattr(result.get_submodule(parent), name, nn.Identity())
    return result


def _foldable(layer: nn.Module) -> bool:
    kind = kind_of(layer)
    return kind is not None and kind.altered(layer) is None and not hooked(layer)


def _channel_axes(layer: Mappable) -> int:
    """Axes of a layer's output in which the outputs are what a batch norm takes for channels."""
    return 2 + len(getattr(layer, "kernel_size", ()))


def _shapes(model: nn.Module, few: Tensor) -> dict[nn.Module, int]:
    """Axes of what enters each batch norm that the inputs reach."""
    found: dict[nn.Module, int] = {}

    def see(norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found[norm] = (args[0] if args else kwargs["input"]).ndim

    norms = [module for module in model.modules() if type(module) in NORMS]
    hooks = [norm.register_forward_pre_hook(see, with_kwargs=True) for norm in norms]
    try:
        run(model, few)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fold(layer: Mappable, norm: nn.Module) -> None:
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
