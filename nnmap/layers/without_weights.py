"""What stands where a torch layer stood: it computes as the layer did, and holds no weights."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mapping.pattern import pattern_name


class OnTilesError(InputError, AttributeError):
    """Something of a torch layer that its place on tiles has not; `hasattr` is False."""


class WithoutWeights(nn.Module):
    """A layer that went to tiles; what only the torch layer has is refused by name.

    takes_state: whether `load_state_dict` fills it.
    """

    takes_state: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @property
    def name(self) -> str:
        """The layer's name in its network."""
        return self._name

    @property
    def shown(self) -> str:
        """The layer's name as patterns take it."""
        return pattern_name(self._name)

    def __getattr__(self, attribute: str) -> Any:
        """Raises OnTilesError for what the torch layer had and the tiles have not."""
        try:
            return super().__getattr__(attribute)
        except AttributeError:
            if attribute.startswith("_"):
                raise
            raise OnTilesError(
                f"{self.shown} lies on tiles and has no {attribute} there, for which the network, "
                f"a hook or a module around it asks; call {self.shown} instead, or leave it "
                f"digital with digital=({self.shown!r},)."
            ) from None

    def require_floating(self, x: Tensor) -> None:
        """Raise InputError for whole numbers, of which torch's layers have no product either."""
        if not x.is_floating_point():
            raise InputError(
                f"{self.shown}: x.dtype={x.dtype} is no floating-point input; convert it first, as "
                "in x.float(), or x.float() / 255 for pixels."
            )

    def held(self) -> str | None:
        """A digest of what the layer holds that no state dict carries; None for nothing."""
        return None

    def _load_from_state_dict(self, *state: Any) -> None:
        refuse_state(self, *state)
        super()._load_from_state_dict(*state)


def refuse_state(
    network: nn.Module, state: Mapping[str, Any], prefix: str = "", *_: object
) -> None:
    """Refuse a state dict before any of it is loaded, unless it is one of this network itself.

    Layers on tiles take back the state of the same network on the same chip at the same fidelity.
    """
    for name, layer in network.named_modules():
        if not isinstance(layer, WithoutWeights) or layer.takes_state:
            continue
        given = state.get(f"{prefix}{name}{'.' * bool(name)}_extra_state")
        if layer.held() is None or given != layer.held():
            raise InputError(
                f"load_state_dict does not reach the weights of {layer.shown}, which lie on tiles; "
                "load the state into the torch model and map it again with map_network."
            )
