"""The digital part of a mapped network: modules with gaps where layers went to tiles."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.layers.without_weights import WithoutWeights


class OnTiles(WithoutWeights):
    """Where a layer that went to tiles stood; the chip's layer takes its place."""

    def forward(self, input: Tensor) -> Tensor:
        """Raises InputError: there is no chip here."""
        raise InputError(f"{self.shown} lies on tiles of no chip; run network.on(chip, fidelity).")


HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


def hooked(layer: nn.Module) -> bool:
    """Whether something runs before or after a layer whenever it is called."""
    return any(getattr(layer, name) for name in HOOKS)


def with_hooks_of(module: nn.Module, layer: nn.Module) -> nn.Module:
    """The module, in place, with whatever runs before and after the layer."""
    for name in HOOKS:
        setattr(module, name, copy.copy(getattr(layer, name)))
    return module


class Hooked(WithoutWeights):
    """A layer on tiles with the hooks of the torch layer, which get this module in its place.

    on_tiles: the layer.  The torch layer's own modules, of which hooks make use, are here too.
    """

    takes_state = True

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__(name)
        self.on_tiles: nn.Module = OnTiles(name)
        for part, module in layer.named_children():
            if part != "parametrizations":
                self.add_module(part, module)
        with_hooks_of(self, layer)

    def forward(self, input: Tensor) -> Tensor:
        """As the layer."""
        result: Tensor = self.on_tiles(input)
        return result


def gap(name: str, layer: nn.Module) -> nn.Module:
    """What waits in a skeleton for a layer on tiles."""
    return Hooked(name, layer) if hooked(layer) else OnTiles(name)


def replace_modules(
    model: nn.Module,
    kind: type[nn.Module] | tuple[type[nn.Module], ...],
    change: Callable[[str, Any], nn.Module],
) -> nn.Module:
    """A copy of the network with every module of a kind changed; the original is untouched.

    A module used in several places stays one. `change` gets the modules of `model` itself and must
    not alter them; one that it gives back unchanged is copied.
    """
    # Modules about to be replaced are not copied: they may be most of the memory in use.
    kept = {id(module): module for module in model.modules() if isinstance(module, kind)}
    # A weight that a hook computes hangs on a graph, which a deep copy refuses: its value will do.
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    result = copy.deepcopy(model, {**kept, **computed})
    changed: dict[int, nn.Module] = {}
    for name, module in list(result.named_modules(remove_duplicate=False)):
        if not isinstance(module, kind):
            continue
        if id(module) not in changed:
            new = change(name, module)
            changed[id(module)] = copy.deepcopy(module) if new is module else new
        if not name:
            return changed[id(module)]
        parent = result.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], changed[id(module)])
    return result


def with_layers(skeleton: nn.Module, layers: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of a skeleton with these layers in the places that wait for them."""
    return replace_modules(skeleton, OnTiles, lambda _, place: layers[place.name])
