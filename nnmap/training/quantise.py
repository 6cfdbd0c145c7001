"""Quantisation-aware training: the forward pass sees what tiles will hold, gradients do not.

Weights are rounded as `slicing` rounds them: by layer, to whole multiples of the largest magnitude
over 2^(b-1) - 1. Inputs are rounded as `converters.Dac` rounds them, both signs alike, with the
range tracked in training. Gradients pass the rounding unchanged (straight-through estimator,
Bengio et al. 2013, arXiv:1308.3432).
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from netlists.errors import InputError
from nnmap.attention import separated
from nnmap.mapping.kinds import Mappable
from nnmap.mapping.slicing import Slicing
from nnmap.mapping.straight import straight
from nnmap.training.parametrised import original_weight, store_weight, weight_form


class FixedPoint(nn.Module):
    """weight -> the nearest b-bit weight that devices can hold; a parametrization."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.slicing = Slicing(weight_bits=bits, device_bits=1)

    def integers(self, weight: Tensor) -> tuple[Tensor, float]:
        """(whole numbers as float64, step): their product is the quantised weight."""
        w = weight.detach().double()
        scale = float(w.abs().max()) or 1.0
        largest = self.slicing.largest
        return torch.round(w / scale * largest), scale / largest

    def forward(self, weight: Tensor) -> Tensor:
        """Quantised weight, same shape and dtype."""
        whole, step = self.integers(weight)
        return straight(weight, (whole * step).to(weight.dtype))


class InputQuantiser(nn.Module):
    """Inputs rounded as by a DAC of so many bits, signs kept.

    x_max: the range, the largest magnitude seen in training; inputs beyond it saturate in eval.
    """

    x_max: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        if not 1 <= bits <= 24:
            raise InputError(f"input_bits={bits} must lie in 1..24.")
        self.levels = 2**bits - 1
        self.register_buffer("x_max", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and dtype."""
        if self.training:
            self.x_max.copy_(torch.maximum(self.x_max, x.detach().abs().max()))
        if self.x_max == 0:
            return x
        limit = self.x_max.to(x.dtype)
        kept = torch.maximum(torch.minimum(x, limit), -limit)
        rounded = torch.round(kept.detach() / limit * self.levels) / self.levels * limit
        return straight(kept, rounded)


def _quantise_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    quantiser = layer.get_submodule("input_quantiser")
    return (quantiser(inputs[0]), *inputs[1:])


def _layers(model: nn.Module) -> Iterator[Mappable]:
    for layer in model.modules():
        if isinstance(layer, Mappable):
            yield layer


def quantise_aware(
    model: nn.Module, weight_bits: int = 8, input_bits: int | None = None
) -> nn.Module:
    """A copy whose layers, of all kinds that tiles hold, compute with quantised weights, and with
    quantised inputs if asked. Attention has its projections as layers, as `map_network` maps it.

    Layers whose weights have a form of their own (binary ones) keep it. At IDEAL and without
    converters the mapped network equals this one when the plan has as many `weight_bits`.

    Raises InputError for bits out of range or a network that is quantisation-aware already.
    """
    model = separated(model)
    for layer in list(_layers(model)):
        if hasattr(layer, "input_quantiser") or fixed_point(layer):
            raise InputError("the network is quantisation-aware already; take plain(model) first.")
        if weight_form(layer) is None:
            parametrize.register_parametrization(layer, "weight", FixedPoint(weight_bits))
        if input_bits is not None:
            layer.add_module("input_quantiser", InputQuantiser(input_bits))
            layer.register_forward_pre_hook(_quantise_input)
    return model


def fixed_point(layer: nn.Module) -> FixedPoint | None:
    """What quantises the layer's weights, if anything does."""
    form = weight_form(layer)
    return form if isinstance(form, FixedPoint) else None


def plain(model: nn.Module) -> nn.Module:
    """A copy of ordinary layers that hold the quantised weights; inputs are no longer rounded."""
    return _ordinary(model, lambda layer: layer.weight)


def unquantised(model: nn.Module) -> nn.Module:
    """A copy of ordinary layers that hold the weights as trained, before rounding."""
    return _ordinary(model, original_weight)


def _ordinary(model: nn.Module, weight: Callable[[Mappable], Tensor]) -> nn.Module:
    model = copy.deepcopy(model)
    for layer in list(_layers(model)):
        if fixed_point(layer):
            store_weight(layer, weight(layer))
        if hasattr(layer, "input_quantiser"):
            del layer.input_quantiser
            for key, hook in list(layer._forward_pre_hooks.items()):
                if hook is _quantise_input:
                    del layer._forward_pre_hooks[key]
    return model
