"""A torch network and a plan -> a mapped network."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mapping.converters import Adc, Dac
from nnmap.mapping.encode import normalise
from nnmap.mapping.periphery import Periphery
from nnmap.mapping.placement import Shape, place
from nnmap.mapping.plan import MappingPlan
from nnmap.mapping.programme import Programme
from nnmap.mapping.window import Window
from nnmap.network import MappedNetwork, Ranges
from nnmap.skeleton import OnTiles, replace_modules
from nnmap.training.batch_norm import fold_batch_norms
from nnmap.training.parametrised import weight_form
from nnmap.watch import largest_inputs

SAMPLE_SIZE = 256  # inputs drawn where the caller has none
MAPPABLE = (nn.Linear, nn.Conv2d)


def map_network(
    model: nn.Module, plan: MappingPlan, *, rng: np.random.Generator, sample: Tensor | None = None
) -> MappedNetwork:
    """The network with its Linear and Conv2d layers programmed for tiles.

    The model itself is not changed. Layers that the plan leaves out stay digital.

    sample: inputs [batch, ...] from which converter ranges are set (no labels needed), and at a few
        of which LINEAR is fitted. Where None, uniform inputs in [0, 1] drawn from `rng` stand in
        for a network that starts with a linear layer.

    Raises InputError when the plan leaves no layer to map, when a chosen layer has a matrix but
    no mapping, when a pattern matches nothing, and when weights are not finite.
    """
    source = copy.deepcopy(model).eval()
    if plan.fold_batch_norm:
        source = fold_batch_norms(source)
    chosen = _chosen_layers(source, plan)
    if sample is None:
        sample = _drawn_sample(next(iter(chosen.values())), rng)
    largest = largest_inputs(source, chosen, sample)
    programmes, peripheries = {}, {}
    for name, layer in chosen.items():
        try:
            programmes[name] = _programmed(layer, plan)
        except InputError as problem:
            raise InputError(f"{name or '(root)'}: {problem}") from None
        peripheries[name] = _periphery(layer, plan, largest[name] or 1.0)
    names = {id(layer): name for name, layer in chosen.items()}
    skeleton = replace_modules(
        source,
        MAPPABLE,
        lambda _, layer: layer if id(layer) not in names else OnTiles(names[id(layer)]),
    )
    network = MappedNetwork(
        skeleton=skeleton.eval(),
        programmes=programmes,
        peripheries=peripheries,
        ranges=Ranges(bits=plan.adc_bits, kind=plan.adc_range, headroom=plan.adc_headroom),
        sample=sample,
        fit_inputs=plan.fit_inputs,
    )
    return network.ranged()


def _chosen_layers(model: nn.Module, plan: MappingPlan) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers to map, by name; raises InputError for those with matrices but no mapping."""
    chosen: dict[str, nn.Linear | nn.Conv2d] = {}
    unmapped = []
    candidates = []
    for name, layer in model.named_modules():
        if "parametrizations" in name.split("."):
            continue  # the stored form of a weight, not a layer
        own = [p for p in layer.parameters(recurse=False) if p.ndim >= 2]
        hidden = "parametrizations" in layer._modules
        if not own and not (hidden and isinstance(layer, MAPPABLE)):
            continue
        candidates.append(name)
        if not plan.chooses(name, layer):
            continue
        mappable = next((k for k in MAPPABLE if isinstance(layer, k)), None)
        plain = mappable is not None and type(layer).forward is mappable.forward
        if plain and isinstance(layer, MAPPABLE):
            chosen[name] = layer
        else:
            unmapped.append(f"{name or '(root)'}: {type(layer).__name__}")
    if unmapped:
        raise InputError(
            f"these layers have matrices but no mapping: {', '.join(unmapped)}; "
            "name them in digital to leave them digital."
        )
    plan.require_matches(candidates)
    if not chosen:
        raise InputError(
            "the network has no nn.Linear or nn.Conv2d layer to map"
            + (f" among {', '.join(candidates)}." if candidates else ".")
        )
    return chosen


def _drawn_sample(first: nn.Module, rng: np.random.Generator) -> Tensor:
    if not isinstance(first, nn.Linear):
        raise InputError("the network starts with a convolution; give sample=inputs of its size.")
    return torch.as_tensor(rng.random((SAMPLE_SIZE, first.in_features))).to(first.weight.dtype)


def _programmed(layer: nn.Linear | nn.Conv2d, plan: MappingPlan) -> Programme:
    """The layer's weights as orders to its tiles."""
    # What a parametrisation makes of a NaN may be finite: a sign.
    if not all(bool(p.isfinite().all()) for p in layer.parameters()):
        raise InputError("the layer holds NaN or infinite weights; it cannot be programmed.")
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    outputs = layer.weight.shape[0] // groups
    w, scale = normalise(layer.weight.reshape(groups, outputs, -1))
    encoding = plan.encoder()
    shape = Shape(inputs=w.shape[1], outputs=outputs, groups=groups)
    return Programme.of(
        w,
        scale,
        spec=plan.spec,
        encoding=encoding,
        placement=place(shape, plan.spec, encoding),
        binary=weight_form(layer) is not None and bool((np.abs(w) == 1).all()),
        offset_faults=plan.offset_faults,
        levels=plan.levels,
    )


def _periphery(layer: nn.Linear | nn.Conv2d, plan: MappingPlan, x_max: float) -> Periphery:
    """Converters and shape of a layer, its ADC still without a range."""
    dac = Dac(
        bits=plan.dac_bits,
        x_max=x_max,
        v_read=plan.spec.v_read,
        serial=plan.inputs == "serial",
        negative=plan.negative,
    )
    return Periphery(
        dac=dac,
        adc=Adc(bits=None, i_max=1.0, signed=plan.negative == "negative drive"),
        bias=None if layer.bias is None else layer.bias.detach().clone(),
        window=Window.of(layer) if isinstance(layer, nn.Conv2d) else None,
    )
