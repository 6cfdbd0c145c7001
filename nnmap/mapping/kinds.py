"""Kinds of torch layers that tiles can hold.

A new kind is one entry here: which torch class it is, whose methods must be torch's own, and its
window where it has one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nnmap.mapping.window import Window

Mappable = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """One kind of layer.

    torch: its class.  own: methods that say what it computes, and that must be those of `torch`.
    window: of a layer of this kind; None where one input vector gives one output vector.
    """

    torch: type[Mappable]
    own: tuple[str, ...]
    window: Callable[[Mappable], Window | None]

    def altered(self, layer: nn.Module) -> str | None:
        """What makes a layer compute something else than its class says, or None."""
        for name in self.own:
            if name in vars(layer):
                return f"{name} of its own"
            if getattr(type(layer), name) is not getattr(self.torch, name):
                return f"another {name}"
        return None


def _window(layer: Mappable) -> Window:
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    return Window.of(layer)


_CALLS = ("__call__", "forward")
KINDS = (
    LayerKind(torch=nn.Linear, own=_CALLS, window=lambda _: None),
    LayerKind(torch=nn.Conv1d, own=(*_CALLS, "_conv_forward"), window=_window),
    LayerKind(torch=nn.Conv2d, own=(*_CALLS, "_conv_forward"), window=_window),
)
MAPPABLE = tuple(kind.torch for kind in KINDS)
NAMED = ", ".join(f"nn.{kind.torch.__name__}" for kind in KINDS)


def kind_of(layer: nn.Module) -> LayerKind | None:
    """The kind of a layer by its class, or None where tiles hold no such layer."""
    return next((kind for kind in KINDS if isinstance(layer, kind.torch)), None)


def groups_of(layer: Mappable) -> int:
    """How many groups of inputs and outputs a layer has."""
    return getattr(layer, "groups", 1)
