"""What reaches layers when a network runs."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.layers.layer import MappedLayer
from nnmap.mapping.pattern import pattern_name

BATCH = 64  # inputs run at a time

See = Callable[[str, nn.Module, Tensor], object]


def layer_input(args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Tensor:
    """The input of a layer that was called with these arguments, by place or by name."""
    return args[0] if args else kwargs["input"]


def run(model: nn.Module, x: Tensor) -> None:
    """Run inputs x through a model, without gradients; raises InputError where it does not run."""
    try:
        with torch.no_grad():
            model(x)
    except InputError:
        raise
    except Exception as problem:  # whatever the user's forward raises
        said = str(problem).strip().partition("\n")[0]
        raise InputError(
            f"the network does not run on inputs of shape {tuple(x.shape)} and {x.dtype} "
            f"({type(problem).__name__}: {said}); give sample=inputs that it takes."
        ) from problem


def watch(model: nn.Module, layers: Mapping[str, nn.Module], see: See, x: Tensor) -> None:
    """Run inputs x through the model, without gradients, and show `see` what reaches each layer.

    see: called with the layer's name, the layer and its input, before the layer runs.
    """

    def watcher(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            see(name, layer, layer_input(args, kwargs))

        return hook

    hooks = [
        layer.register_forward_pre_hook(watcher(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            for part in x.split(BATCH):
                model(part)
    finally:
        for hook in hooks:
            hook.remove()


def first_inputs(model: nn.Module, layers: Mapping[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    """What reaches each of these layers first when the model runs on x, by name, for all of x."""
    seen: dict[str, list[Tensor]] = {}
    for part in x.split(BATCH):
        first: dict[str, Tensor] = {}

        def see(name: str, _: nn.Module, inputs: Tensor, first: dict[str, Tensor] = first) -> None:
            first.setdefault(name, inputs)

        watch(model, layers, see, part)
        for name, inputs in first.items():
            seen.setdefault(name, []).append(inputs)
    return {name: torch.cat(parts) for name, parts in seen.items()}


def input_of(model: nn.Module, layers: Mapping[str, nn.Module], name: str, x: Tensor) -> Tensor:
    """What reaches one of these layers first on x; raises InputError where nothing does."""
    found = first_inputs(model, {name: layers[name]}, x)
    if name not in found:
        shown = pattern_name(name)
        raise InputError(
            f"these inputs never reach {shown}; give inputs that do, or leave it digital with "
            f"digital=({shown!r},)."
        )
    return found[name]


def peak_currents(chip: nn.Module, sample: Tensor) -> dict[str, list[Tensor]]:
    """Largest current of each read column of each layer on tiles, by name.

    A, one tensor [read columns] per row group; 0 where nothing reached the layer.
    """
    layers = mapped_layers(chip)
    peaks = {
        name: [torch.zeros(len(g.columns), dtype=torch.float64) for g in layer.row_groups]
        for name, layer in layers.items()
    }

    def see(name: str, layer: nn.Module, x: Tensor) -> None:
        assert isinstance(layer, MappedLayer)
        seen = layer.peak_currents(x)
        peaks[name] = [torch.maximum(a, b) for a, b in zip(peaks[name], seen, strict=True)]

    watch(chip, layers, see, sample)
    return peaks


def mapped_layers(chip: nn.Module) -> dict[str, MappedLayer]:
    """The layers on tiles, by name, in order; raises InputError where there are none."""
    found = {layer.name: layer for layer in _on_tiles(chip)}
    if not found:
        raise InputError(
            f"this {type(chip).__name__} has no layers on tiles; map it with map_network and take "
            "network.on(chip, fidelity)."
        )
    return found


def _on_tiles(chip: nn.Module) -> Iterator[MappedLayer]:
    for layer in chip.modules():
        if isinstance(layer, MappedLayer):
            yield layer
