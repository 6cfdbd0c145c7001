"""The front door: a torch network and a plan -> a mapped network."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.attention import separated
from nnmap.mapping.kinds import MAPPABLE, NAMED, Mappable
from nnmap.mapping.pattern import pattern_name
from nnmap.mapping.plan import MappingPlan
from nnmap.network import MappedNetwork, Ranges
from nnmap.skeleton import gap, replace_modules
from nnmap.to_tiles.choose import (
    chosen_layers,
    pattern_targets,
    products_left_digital,
    require_use,
)
from nnmap.to_tiles.programme_layers import programmed, surrounded
from nnmap.to_tiles.rehearsal import rehearse
from nnmap.training.batch_norm import fold_batch_norms

SAMPLE_SIZE = 256  # inputs drawn where the caller has none


def map_network(
    model: nn.Module, plan: MappingPlan, *, rng: np.random.Generator, sample: Tensor | None = None
) -> MappedNetwork:
    """The network with its Linear, Conv1d and Conv2d layers programmed for tiles.

    The model itself is not changed. Layers that the plan leaves out stay digital. Attention
    (`nn.MultiheadAttention`, and so torch's transformer layers) has its four projections on tiles,
    named q_proj, k_proj, v_proj and out_proj; its products of activations stay digital. Hooks
    of a layer run where they ran, and get what stands in the layer's place.

    sample: inputs [batch, ...] from which converter ranges are set (no labels needed), and at a few
        of which LINEAR is fitted. Where None, uniform inputs in [0, 1] drawn from `rng` stand in
        for a network that starts with a linear layer.

    The network is run on the sample once before it is mapped. Raises InputError, by name, when the
    plan leaves no layer to map, when a matrix takes part that is neither mapped nor left digital,
    when the sample never reaches a layer, when something asks for weights of a layer on
    tiles, when a pattern matches nothing, and when weights are not finite.
    """
    source = separated(_python_module(model)).eval()
    chosen = chosen_layers(source, plan)
    if sample is None:
        sample = _drawn_sample(source, chosen, plan, rng)
    if plan.fold_batch_norm:
        source = fold_batch_norms(source, sample)
        chosen = chosen_layers(source, plan)
    names = {id(layer): name for name, layer in chosen.items()}
    skeleton = replace_modules(
        source,
        MAPPABLE,
        lambda _, layer: gap(names[id(layer)], layer) if id(layer) in names else layer,
    ).eval()
    seen = rehearse(skeleton, chosen, sample)
    products = products_left_digital(seen.products, skeleton, plan)
    plan.require_matches([*chosen, *pattern_targets(source, products)])
    if not chosen:
        raise _nothing_to_map(source)
    require_use(skeleton, seen.used, {name: seen.largest.get(name) for name in chosen}, plan)
    programmes, peripheries = {}, {}
    for name, layer in chosen.items():
        try:
            programmes[name] = programmed(layer, plan)
            peripheries[name] = surrounded(layer, plan, seen.largest[name] or 1.0)
        except InputError as problem:
            raise InputError(f"{pattern_name(name)}: {problem}") from None
    network = MappedNetwork(
        skeleton=skeleton,
        programmes=programmes,
        peripheries=peripheries,
        ranges=Ranges(bits=plan.adc_bits, kind=plan.adc_range, headroom=plan.adc_headroom),
        sample=sample,
        fit_inputs=plan.fit_inputs,
        products=products,
    )
    return network.ranged()


def _python_module(model: nn.Module) -> nn.Module:
    """The module that runs as Python; raises InputError for TorchScript."""
    compiled = getattr(model, "_orig_mod", None)  # of torch.compile
    model = compiled if isinstance(compiled, nn.Module) else model
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"{pattern_name(name)} is TorchScript, whose layers cannot be told apart; build "
                "the torch model it was made from and load its state_dict() into that."
            )
    return model


def _drawn_sample(
    source: nn.Module, chosen: Mapping[str, Mappable], plan: MappingPlan, rng: np.random.Generator
) -> Tensor:
    if not chosen:
        plan.require_matches(pattern_targets(source, ()))
        raise _nothing_to_map(source)
    first = next(iter(chosen.values()))
    if not isinstance(first, nn.Linear):
        raise InputError("the network starts with a convolution; give sample=inputs of its size.")
    return torch.as_tensor(rng.random((SAMPLE_SIZE, first.in_features))).to(first.weight.dtype)


def _nothing_to_map(source: nn.Module) -> InputError:
    among = ", ".join(pattern_name(name) for name in pattern_targets(source, ()))
    return InputError(
        f"the network has no {' or '.join(NAMED.rsplit(', ', 1))} layer to map"
        + (f" among {among}." if among else ".")
    )
