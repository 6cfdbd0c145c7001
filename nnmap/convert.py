"""Networks -> networks on tiles: one walker, each step a new module."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from netlists.faults import FaultRates, sample_faults
from netlists.tile import TileSpec
from nnmap.converters import Adc, Dac
from nnmap.encode import encoding as encoding_named
from nnmap.encode import normalise
from nnmap.layers import MappedLinear, Matrix
from nnmap.operator import Fidelity
from nnmap.placement import place, program

Layer = TypeVar("Layer", bound=nn.Module)
SAMPLE_SIZE = 256  # inputs drawn where the caller has none


@dataclass(frozen=True, kw_only=True)
class MappingPlan:
    """How linear layers become tiles.

    spec: the tile.  encoding: "pair" or "offset".
    dac_bits, adc_bits: converter resolution; None leaves a converter out.
    adc_headroom: converter full scale over the largest fault-free column current seen on the
        sample; faults raise currents, and what exceeds the range saturates and is counted.
    offset_faults: whether the offset column's memories can be stuck like any other.
    """

    spec: TileSpec
    encoding: str = "pair"
    dac_bits: int | None = 8
    adc_bits: int | None = 8
    adc_headroom: float = 1.25
    offset_faults: bool = True

    def __post_init__(self) -> None:
        chosen = encoding_named(self.encoding)
        if chosen.outputs_per_tile(self.spec.cols) < 1:
            raise InputError(
                f"a tile of {self.spec.cols} column holds no weight in {self.encoding!r} encoding; "
                "use at least 2 columns."
            )
        if not 0 < self.adc_headroom < float("inf"):
            raise InputError(f"adc_headroom={self.adc_headroom!r} must be positive and finite.")


def _replace_layers(
    model: nn.Module, kind: type[Layer], change: Callable[[str, Layer], nn.Module]
) -> nn.Module:
    """A copy of the network with every layer of one kind changed; the original is untouched."""
    result = copy.deepcopy(model)
    for name, layer in list(result.named_modules()):
        if isinstance(layer, kind):
            if not name:
                return change(name, layer)
            parent = result.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], change(name, layer))
    return result


def mapped_layers(model: nn.Module) -> Iterator[tuple[str, MappedLinear]]:
    """The layers on tiles, with their names, in order."""
    for name, layer in model.named_modules():
        if isinstance(layer, MappedLinear):
            yield name, layer


def _largest_inputs(model: nn.Module, sample: Tensor) -> dict[str, float]:
    """Largest input magnitude that each linear layer sees on the sample."""
    largest: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            largest[name] = max(largest.get(name, 0.0), float(args[0].abs().max()))

        return hook

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers]
    try:
        with torch.no_grad():
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _largest_currents(model: nn.Module, sample: Tensor) -> dict[str, float]:
    """Largest fault-free column current of each mapped layer on the sample, A."""
    largest: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert isinstance(layer, MappedLinear)
            for sign in (1, -1):
                i = layer.currents(layer.voltages((sign * args[0]).clamp(min=0.0)))
                largest[name] = max(largest.get(name, 0.0), float(i.max()))

        return hook

    hooks = [layer.register_forward_pre_hook(watch(n)) for n, layer in mapped_layers(model)]
    try:
        with torch.no_grad():
            model(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def map_network(
    model: nn.Module, plan: MappingPlan, *, rng: np.random.Generator, sample: Tensor | None = None
) -> nn.Module:
    """The network with every `nn.Linear` on fault-free tiles, at IDEAL fidelity, in eval mode.

    sample: inputs [batch, features] from which converter ranges are set (no labels needed); where
        None, uniform inputs in [0, 1] drawn from `rng` stand in.

    Raises InputError when the network has no linear layer, or layers it cannot map.
    """
    source = copy.deepcopy(model).eval()
    unmapped = [
        f"{name or '(root)'}: {type(layer).__name__}"
        for name, layer in source.named_modules()
        if isinstance(layer, nn.modules.conv._ConvNd | nn.RNNBase | nn.MultiheadAttention)
    ]
    if unmapped:
        raise InputError(f"these layers have matrices but no mapping yet: {', '.join(unmapped)}.")
    first = next((m for m in source.modules() if isinstance(m, nn.Linear)), None)
    if first is None:
        raise InputError("the network has no nn.Linear layer to map.")
    if sample is None:
        drawn = torch.as_tensor(rng.random((SAMPLE_SIZE, first.in_features)))
        sample = drawn.to(first.weight.dtype)
    largest = _largest_inputs(source, sample)
    chosen = encoding_named(plan.encoding)
    unconverted = Adc(bits=None, i_max=1.0)

    def to_tiles(name: str, layer: nn.Linear) -> nn.Module:
        w, scale = normalise(layer.weight)
        placement = place((layer.in_features, layer.out_features), plan.spec, chosen)
        matrix = Matrix(
            spec=plan.spec,
            encoding=chosen,
            placement=placement,
            g=program(w, placement, plan.spec, chosen),
            scale=scale,
        )
        dac = Dac(bits=plan.dac_bits, x_max=largest[name] or 1.0, v_read=plan.spec.v_read)
        return MappedLinear(matrix, Fidelity.IDEAL, dac=dac, adc=unconverted, bias=layer.bias)

    mapped = _replace_layers(source, nn.Linear, to_tiles).eval()
    if plan.adc_bits is None:
        return mapped
    currents = _largest_currents(mapped, sample)
    for name, layer in mapped_layers(mapped):
        layer.adc = Adc(bits=plan.adc_bits, i_max=(currents[name] or 1e-6) * plan.adc_headroom)
    return mapped


def inject_faults(
    mapped: nn.Module, rates: FaultRates, *, rng: np.random.Generator, offset_faults: bool = True
) -> nn.Module:
    """The same network on a faulty chip: every tile gets its own map, drawn from its own stream.

    Streams depend on `rng`'s seed and on the tile's place alone, so that two networks of one shape
    get the same faults whatever their cells, and maps at rising rates are nested. The layers keep
    their fidelity; operators are extracted anew.
    """
    streams = iter(rng.spawn(sum(m.matrix.placement.tiles for _, m in mapped_layers(mapped))))

    def damage(_: str, layer: MappedLinear) -> nn.Module:
        spec = layer.matrix.spec
        maps = []
        for _tile in range(layer.matrix.placement.tiles):
            faults = sample_faults(spec, rates, rng=next(streams))
            if layer.matrix.encoding.name == "offset" and not offset_faults:
                kind = faults.kind.copy()
                kind[:, -1] = 0
                faults = replace(faults, kind=kind)
            maps.append(faults)
        return layer.with_matrix(layer.matrix.with_faults(maps), layer.fidelity)

    return _replace_layers(mapped, MappedLinear, damage)


def at_fidelity(mapped: nn.Module, fidelity: Fidelity) -> nn.Module:
    """The same chip at another fidelity; nothing is mapped or drawn again."""

    def switch(_: str, layer: MappedLinear) -> nn.Module:
        return layer if layer.fidelity is fidelity else layer.with_matrix(layer.matrix, fidelity)

    return _replace_layers(mapped, MappedLinear, switch)
