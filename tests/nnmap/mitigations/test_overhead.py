"""What a network takes for good is read off the network."""

import numpy as np

from nnmap import mapped_layers
from nnmap.mapping.correction import Correction, LowRank
from nnmap.mitigations.overhead import lasting
from tests.nnmap.making import mapped
from tests.nnmap.small import convolutional, inputs


def test_memories_and_operations_of_one_inference():
    model = convolutional()
    x = inputs(model, 3)
    network = mapped(model, x)
    memories = sum(p.placement.tiles * 16 * 12 for p in network.programmes.values())
    assert lasting(network) == {"memories": memories, "operations_per_inference": 0}
    corrections = {}
    for name, programme in network.programmes.items():
        branch = LowRank(
            inputs=np.arange(2), outputs=np.arange(3), down=np.ones((1, 2)), up=np.ones((3, 1))
        )
        corrections[name] = Correction(shape=programme.placement.shape, branches=(branch,))
    running = network.on()
    for layer in mapped_layers(running).values():
        layer.register_forward_pre_hook(lambda layer, args: seen.append(layer.vectors_of(args[0])))
    seen = []
    running(x[:1])
    vectors = sum(seen)
    assert vectors > 3
    found = lasting(network.corrected(corrections))
    assert found == {"memories": memories, "operations_per_inference": 2 * 5 * vectors}
