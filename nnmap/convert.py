"""Networks -> networks on tiles: one walker, each step a new module."""

import copy
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.batchnorm import fold_batch_norms
from nnmap.converters import Adc, Dac
from nnmap.convolution import MappedConv2d, Window
from nnmap.encode import normalise
from nnmap.extraction import Extraction
from nnmap.fitting import fit_linear
from nnmap.layers import MappedLayer, MappedLinear
from nnmap.matrix import Matrix
from nnmap.operator import Fidelity
from nnmap.placement import place, program
from nnmap.plan import MappingPlan
from nnmap.ranges import full_scale, largest_inputs, peak_currents
from nnmap.readers import MAX_SOLVES, make_reader

__all__ = ["MappingPlan", "at_fidelity", "map_network", "mapped_layers"]

Layer = TypeVar("Layer", bound=nn.Module)
SAMPLE_SIZE = 256  # inputs drawn where the caller has none
MAPPABLE = (nn.Linear, nn.Conv2d)


def replace_layers(
    model: nn.Module,
    kind: type[Layer] | tuple[type[Layer], ...],
    change: Callable[[str, Layer], nn.Module],
) -> nn.Module:
    """A copy of the network with every layer of a kind changed; the original is untouched.

    A layer used in several places stays one layer. `change` gets the layers of `model` itself and
    must not alter them; one that it gives back unchanged is copied.
    """
    # Layers about to be replaced are not copied: they may be most of the memory in use.
    kept = {id(layer): layer for layer in model.modules() if isinstance(layer, kind)}
    result = copy.deepcopy(model, dict(kept))
    changed: dict[int, nn.Module] = {}
    for name, layer in list(result.named_modules(remove_duplicate=False)):
        if not isinstance(layer, kind):
            continue
        if id(layer) not in changed:
            new = change(name, layer)
            changed[id(layer)] = copy.deepcopy(layer) if new is layer else new
        if not name:
            return changed[id(layer)]
        parent = result.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], changed[id(layer)])
    return result


def mapped_layers(model: nn.Module) -> Iterator[tuple[str, MappedLayer]]:
    """The layers on tiles, with their names, in order."""
    for name, layer in model.named_modules():
        if isinstance(layer, MappedLayer):
            yield name, layer


def _chosen_layers(model: nn.Module, plan: MappingPlan) -> dict[str, nn.Module]:
    """The layers to map, by name; raises InputError for those with matrices but no mapping."""
    chosen: dict[str, nn.Module] = {}
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
        if mappable is not None and type(layer).forward is mappable.forward:
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


def _evenly(sample: Tensor, count: int) -> Tensor | None:
    """Some of the inputs, evenly spread, or None of them."""
    if not count:
        return None
    return sample[torch.linspace(0, len(sample) - 1, min(count, len(sample))).long()]


def _programmed(layer: nn.Linear | nn.Conv2d, plan: MappingPlan) -> Matrix:
    """The layer's weights on fault-free tiles."""
    # What a parametrisation makes of a NaN may be finite: a sign.
    if not all(bool(p.isfinite().all()) for p in layer.parameters()):
        raise InputError("the layer holds NaN or infinite weights; it cannot be programmed.")
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    outputs = layer.weight.shape[0] // groups
    w, scale = normalise(layer.weight.reshape(groups, outputs, -1))
    encoder = plan.encoder()
    placement = place((w.shape[1], outputs), plan.spec, encoder, groups=groups)
    g = program(w, placement, plan.spec, encoder)
    return Matrix(spec=plan.spec, encoding=encoder, placement=placement, g=g, scale=scale)


def map_network(
    model: nn.Module, plan: MappingPlan, *, rng: np.random.Generator, sample: Tensor | None = None
) -> nn.Module:
    """The network with its Linear and Conv2d layers on fault-free tiles, at IDEAL, in eval mode.

    The model itself is not changed. Layers that the plan leaves out stay as they are.

    sample: inputs [batch, ...] from which converter ranges are set (no labels needed); a few of
        them are kept to fit LINEAR at. Where None, uniform inputs in [0, 1] drawn from `rng` stand
        in for a network that starts with a linear layer.

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
    unconverted = Adc(bits=None, i_max=1.0)

    def to_tiles(name: str, layer: nn.Module) -> nn.Module:
        if name not in chosen or not isinstance(layer, nn.Linear | nn.Conv2d):
            return layer
        try:
            matrix = _programmed(layer, plan)
        except InputError as problem:
            raise InputError(f"{name or '(root)'}: {problem}") from None
        dac = Dac(
            bits=plan.dac_bits,
            x_max=largest[name] or 1.0,
            v_read=plan.spec.v_read,
            serial=plan.inputs == "serial",
        )
        if isinstance(layer, nn.Linear):
            return MappedLinear(matrix, Fidelity.IDEAL, dac=dac, adc=unconverted, bias=layer.bias)
        return MappedConv2d(
            matrix,
            Fidelity.IDEAL,
            window=Window.of(layer),
            dac=dac,
            adc=unconverted,
            bias=layer.bias,
        )

    mapped = replace_layers(source, MAPPABLE, to_tiles).eval()
    few = _evenly(sample, plan.fit_inputs)
    for _, layer in mapped_layers(mapped):
        layer.sample = few
    if plan.adc_bits is None:
        return mapped
    peaks = {} if plan.adc_range == "full" else peak_currents(mapped, sample)
    for name, layer in mapped_layers(mapped):
        if plan.adc_range == "full":
            i_max: float | Tensor = full_scale(plan.spec)
        else:
            shared = float(peaks[name].max()) or 1e-6
            # A column that saw no current has the layer's range.
            columns = torch.where(peaks[name] > 0, peaks[name], shared)
            i_max = (shared if plan.adc_range == "shared" else columns) * plan.adc_headroom
        layer.adc = Adc(bits=plan.adc_bits, i_max=i_max)
    return mapped


def at_fidelity(
    mapped: nn.Module,
    fidelity: Fidelity,
    *,
    layers: str = "*",
    extraction: Extraction | None = None,
    max_solves: int = MAX_SOLVES,
) -> nn.Module:
    """The same chip at another fidelity; nothing is mapped or drawn again.

    Where cells bend, LINEAR is fitted to NONLINEAR on this chip, with the few inputs kept from the
    sample that the network was mapped with; see `linear_fit`.

    layers: pattern of the names of the layers that change; those already at it stay as they are.
    extraction: memory, store and progress of LINEAR operators.
    max_solves: tile solutions that one call of a layer may ask of ngspice at SPICE.

    Raises InputError when a tile exceeds the memory budget.
    """

    def switch(name: str, layer: MappedLayer) -> nn.Module:
        if layer.fidelity is fidelity or not fnmatchcase(name, layers):
            return layer
        reader = make_reader(
            layer.matrix,
            fidelity,
            fitted=layer.sample is not None,
            extraction=extraction,
            max_solves=max_solves,
        )
        return layer.with_matrix(layer.matrix, fidelity, reader=reader)

    return fit_linear(replace_layers(mapped, MappedLayer, switch), extraction)
