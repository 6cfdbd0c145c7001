import numpy as np
import pytest
import torch

from netlists import InputError, TileSpec, Wires
from nnmap import (
    Fidelity,
    MappingPlan,
    Recipe,
    accuracy,
    at_fidelity,
    fit,
    lenet,
    map_network,
    mapped_layers,
    mlp,
)
from nnmap.data import load
from nnmap.pretrained import NETWORKS, manifest, pretrained, weights_hash
from tests.tolerances import assert_close

# remeco, Table 2: 8-bit weights on two 4-bit devices.
SPEC = TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=2.0, r_col_segment=2.0))


def remeco(**options):
    return MappingPlan(spec=SPEC, weight_bits=8, device_bits=4, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_those_of_their_manifest(name):
    assert weights_hash(pretrained(name)) == manifest(name)["weights_sha256"]
    with pytest.raises(InputError, match="network='vgg'"):
        pretrained("vgg")


@pytest.mark.data
@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_networks_keep_their_accuracy_when_quantised_and_mapped(name):
    """On 1000 images; `python -m benchmarks.networks` measures all 10,000."""
    data = load("mnist")
    model, x, y = pretrained(name), data.test_x[:1000], data.test_y[:1000]
    mapped = map_network(model, remeco(), rng=np.random.default_rng(0), sample=data.train_x[:128])
    assert accuracy(model, x, y) > 0.97
    assert abs(accuracy(mapped, x, y) - accuracy(model, x, y)) <= 0.003
    assert sum(layer.clips.adc for _, layer in mapped_layers(mapped)) < 1000


def test_quantised_in_torch_or_on_tiles_gives_the_same_logits():
    model, x = pretrained("lenet-mnist").double(), torch.rand(4, 784).double()
    plan = remeco(dac_bits=None, adc_bits=None)
    mapped = map_network(model, plan, rng=np.random.default_rng(0), sample=x)
    with torch.no_grad():
        for layer in model:
            if hasattr(layer, "weight"):
                step = layer.weight.abs().max() / 127
                layer.weight.copy_(torch.round(layer.weight / step) * step)
        assert_close(mapped(x).numpy(), model(x).numpy(), 1e-9)
        wired = at_fidelity(mapped, Fidelity.LINEAR)(x)
    assert 1e-4 < (wired - model(x)).abs().max() / model(x).abs().max() < 1


def test_networks_have_the_sizes_they_state():
    assert sum(p.numel() for p in lenet().parameters()) == 61_706
    assert lenet(image=(3, 32, 32), width=0.5)(torch.rand(2, 3072)).shape == (2, 10)
    assert mlp((784, 32, 16, 10))(torch.rand(2, 784)).shape == (2, 10)
    with pytest.raises(InputError, match="too small"):
        lenet(image=(1, 8, 8))
    with pytest.raises(InputError, match="gelu"):
        mlp((4, 2), "gelu")
    with pytest.raises(InputError, match="sizes"):
        mlp((4,))


def test_any_network_can_be_fitted():
    data = load("digits")
    model = fit(lambda: mlp((64, 32, 10)), Recipe(epochs=15), data)
    assert accuracy(model, data.test_x, data.test_y) > 0.9
