"""The digital part of a mapped network: modules with gaps where layers went to tiles."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from netlists.errors import InputError


class OnTiles(nn.Module):
    """Where a layer that went to tiles stood; the chip's layer takes its place."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """Raises InputError: there is no chip here."""
        raise InputError(
            f"{self.name or '(root)'} lies on tiles of no chip; run network.on(chip, fidelity)."
        )


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
    result = copy.deepcopy(model, dict(kept))
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
