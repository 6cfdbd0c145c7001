"""Layers whose weight is computed from a stored one, as torch's parametrizations do."""

from torch import Tensor, nn
from torch.nn.utils import parametrize

from nnmap.mapping.kinds import Mappable


def weight_form(layer: nn.Module) -> nn.Module | None:
    """What computes the layer's weight, or None where the weight is stored as it is."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    form = layer.parametrizations["weight"][0]  # type: ignore[index]
    return form if isinstance(form, nn.Module) else None


def original_weight(layer: nn.Module) -> Tensor:
    """The stored weight of a layer that has a form."""
    original: Tensor = layer.parametrizations["weight"].original  # type: ignore[index,union-attr]
    return original


def store_weight(layer: Mappable, weight: Tensor) -> None:
    """Make it an ordinary layer with this weight, in place.

    torch's own `remove_parametrizations` deletes the weight from a class that a deep copy shares
    with its original, and the original could no longer be used.
    """
    if weight_form(layer) is not None:
        layer.__class__ = type(layer).__bases__[0]
        del layer.parametrizations
    layer.weight = nn.Parameter(weight.detach().clone())
