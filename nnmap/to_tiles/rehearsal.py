"""A network run on its sample before anything lies on tiles, in the shape it will have there."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.layers.without_weights import WithoutWeights
from nnmap.mapping.kinds import Mappable
from nnmap.mapping.pattern import pattern_name
from nnmap.skeleton import with_layers
from nnmap.to_tiles.products import Product, Products
from nnmap.watch import BATCH, run


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run on the sample showed.

    largest: magnitude of the largest input of each layer, by name; only of those that were reached.
    products: matrix products beside those of the layers.
    used: names of the tensors that took part.
    """

    largest: Mapping[str, float]
    products: tuple[Product, ...]
    used: frozenset[str]


class _Rehearsed(WithoutWeights):
    """A torch layer that shows of itself what a layer on tiles will: nothing but its answers."""

    def __init__(
        self, name: str, layer: Mappable, products: Products, largest: dict[str, float]
    ) -> None:
        super().__init__(name)
        self._layer = [layer]  # no submodule: what lies on tiles has no weights to find
        self._products, self._largest = products, largest

    def forward(self, input: Tensor) -> Tensor:
        """As the layer, without its hooks, which the skeleton runs."""
        self.require_floating(input)
        seen = float(input.abs().max()) if input.numel() else 0.0
        if not seen < float("inf"):
            raise InputError(
                f"the sample brings {seen} to {pattern_name(self.name)}, of which no range can be "
                "set and nothing computed: give a sample of finite numbers that the network "
                "leaves finite."
            )
        self._largest[self.name] = max(self._largest.get(self.name, 0.0), seen)
        with self._products.ignored():
            return self._layer[0].forward(input)


def rehearse(skeleton: nn.Module, layers: Mapping[str, Mappable], sample: Tensor) -> Rehearsal:
    """Run the skeleton on the sample with these torch layers in the places that wait for them.

    Raises InputError without inputs, when the network does not run, when what reaches a layer on
    tiles is not finite, and when something in the network asks for what layers on tiles do not
    have.
    """
    if not sample.ndim or not len(sample):
        raise InputError(f"sample.shape={tuple(sample.shape)} holds no inputs; give at least one.")
    largest: dict[str, float] = {}
    products = Products()
    stand_ins = {n: _Rehearsed(n, layer, products, largest) for n, layer in layers.items()}
    network = with_layers(skeleton, stand_ins).eval()
    for part in sample.split(BATCH):
        with products.of(network, part):
            run(network, part)
    return Rehearsal(largest=largest, products=tuple(products.found), used=frozenset(products.used))
