"""What a network takes for good: memories, and digital operations per inference."""

from torch import Tensor, nn

from nnmap.layers.layer import MappedLayer
from nnmap.network import MappedNetwork
from nnmap.watch import mapped_layers, watch


def lasting(network: MappedNetwork) -> dict[str, int]:
    """Counts by name, read off the network itself.

    memories: on all tiles, in use or not.  operations_per_inference: multiplications and additions
    of digital corrections for one input of the sample.
    """
    memories = sum(programme.target.size for programme in network.programmes.values())
    operations = 0
    if any(periphery.correction is not None for periphery in network.peripheries.values()):
        running = network.on()
        one = network.sample[:1]

        def see(_: str, layer: nn.Module, x: Tensor) -> None:
            nonlocal operations
            assert isinstance(layer, MappedLayer)
            correction = layer.periphery.correction
            if correction is not None:
                operations += correction.operations * layer.vectors_of(x)

        watch(running, mapped_layers(running), see, one)
    return {"memories": memories, "operations_per_inference": operations}
