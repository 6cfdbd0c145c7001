"""Networks of the catalogue: sizes, plans, shipped weights, and how a user trains them again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netlists import InputError
from nnmap import (
    Fidelity,
    MappingPlan,
    Recipe,
    accuracy,
    bnn_mlp,
    fit,
    lenet,
    map_network,
    measure_mapping,
    mlp,
    quantise_aware,
)
from nnmap.mapping.encode import slots
from nnmap.networks import pretrained as shipped
from nnmap.networks.catalogue import Setting
from nnmap.networks.cnns import lenet_remeco
from nnmap.networks.paper_plans import PLANS
from nnmap.networks.pretrained import NETWORKS, manifest, plan, pretrained, reference, weights_hash
from nnmap.training.data import load
from tests.tolerances import assert_close

MNIST = [name for name, network in NETWORKS.items() if network.dataset == "mnist"]
LIMIT = 0.002  # 0.2 points


@pytest.mark.parametrize("name", NETWORKS)
def test_shipped_weights_are_those_of_their_manifest(name):
    model, facts = pretrained(name), manifest(name)
    assert weights_hash(model) == facts["weights_sha256"] and not model.training
    assert facts["setting"] == ("reduced" if reference(name).reduced else "full")
    assert facts["full_command"].startswith(f"xbarverify train {name} ")
    assert len(facts["data"]["sha256"]) == 64 and facts["torch"]


@pytest.mark.parametrize("name", NETWORKS)
def test_manifests_state_accuracies_that_agree(name):
    found = manifest(name)["test_accuracy"]
    three = [found[form] for form in ("unmapped", "quantised", "ideal")]
    assert max(three) - min(three) <= LIMIT + 1e-9
    assert abs(found["converted"] - found["unmapped"]) <= 5 * LIMIT  # 8-bit converters


def test_all_weights_together_stay_small():
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 4.5e6


@pytest.mark.data
@pytest.mark.parametrize("name", MNIST)
def test_mnist_networks_keep_their_accuracy_when_quantised_and_mapped(name):
    """On 200 images; `python -m benchmarks.accuracy` measures all 10,000."""
    data = load("mnist")
    few = replace(
        data,
        train_x=data.train_x[:512],
        train_y=data.train_y[:512],
        test_x=data.test_x[:200],
        test_y=data.test_y[:200],
    ).prepared(reference(name).inputs)
    found = measure_mapping(pretrained(name), plan(name), few)
    assert found.unmapped > 0.96
    assert found.spread <= 1 / 200 and abs(found.converted - found.unmapped) <= 2 / 200
    assert found.adc_clipped < 1e-3


@pytest.fixture(scope="module")
def on_digits():
    """A network trained with 8-bit weights, and few test images."""
    data = load("digits")
    model = fit(lambda: quantise_aware(mlp((64, 32, 10)), 8), Recipe(epochs=15), data)
    few = {"train_x": data.train_x[:128], "test_x": data.test_x[:200], "test_y": data.test_y[:200]}
    return model, replace(data, **few)


@pytest.mark.parametrize("paper", [name for name, p in PLANS.items() if p.weight_bits])
def test_digits_keep_their_accuracy_on_every_papers_plan(on_digits, paper):
    found = measure_mapping(on_digits[0], PLANS[paper], on_digits[1])
    assert found.unmapped > 0.9 and found.quantised == found.ideal
    assert found.spread <= 1 / 200 and abs(found.converted - found.unmapped) <= 3 / 200


@pytest.mark.parametrize("paper", [name for name, p in PLANS.items() if not p.weight_bits])
def test_binary_digits_keep_their_accuracy_on_every_papers_plan(on_digits, paper):
    recipe = Recipe(epochs=15)
    model = fit(lambda: bnn_mlp((64, 64, 10)), recipe, load("digits"))
    found = measure_mapping(model, PLANS[paper], on_digits[1])
    assert found.unmapped > 0.9 and found.spread == 0.0
    assert abs(found.converted - found.unmapped) <= 3 / 200


# Bits of a weight and of a device, devices a weight, size of a tile.
STATED = {
    "fpt-balanced": (None, None, 2, 64),
    "fpt-unbalanced": (None, None, 1, 64),
    "bnn-1t2r": (None, None, 2, 64),
    "remeco": (8, 4, 4, 64),
    "rramedy-slc": (16, 1, 16, 128),
    "rramedy-mlc": (16, 2, 8, 128),
    "drop-connect": (8, 7, 2, 128),
}


@pytest.mark.parametrize("paper", STATED)
def test_plans_say_what_the_papers_say(paper):
    p = PLANS[paper]
    devices = slots(p.encoder()) * p.spec.cell.n_rram
    assert (p.weight_bits, p.device_bits, devices, p.spec.rows) == STATED[paper]
    assert plan("vgg13-cifar10").digital_1x1 and plan("alexnet-cifar10") is PLANS["remeco"]


@pytest.mark.ngspice
def test_quantised_in_torch_or_on_tiles_gives_the_same_logits():
    model, x = pretrained("lenet-mnist").double(), torch.rand(4, 784).double()
    bare = replace(plan("lenet-mnist"), dac_bits=None, adc_bits=None)
    network = map_network(model, bare, rng=np.random.default_rng(0), sample=x)
    with torch.no_grad():
        for layer in model:
            if hasattr(layer, "weight"):
                step = layer.weight.abs().max() / 127
                layer.weight.copy_(torch.round(layer.weight / step) * step)
        assert_close(network.on()(x).numpy(), model(x).numpy(), 1e-9)
        wired = network.on(fidelity=Fidelity.LINEAR)(x)
    assert 1e-4 < (wired - model(x)).abs().max() / model(x).abs().max() < 1


def test_networks_have_the_sizes_they_state():
    assert sum(p.numel() for p in lenet().parameters()) == 61_706
    assert sum(p.numel() for p in lenet_remeco().parameters()) == 866_068
    assert lenet(image=(3, 32, 32), width=0.5)(torch.rand(2, 3072)).shape == (2, 10)
    assert lenet_remeco(width=0.1)(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert mlp((784, 32, 16, 10))(torch.rand(2, 784)).shape == (2, 10)
    assert mlp((784, 32, 16, 10), width=0.5)[2].weight.shape == (8, 16)
    with pytest.raises(InputError, match="too small"):
        lenet(image=(1, 8, 8))
    with pytest.raises(InputError, match="gelu"):
        mlp((4, 2), "gelu")
    with pytest.raises(InputError, match="sizes"):
        mlp((4,))


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.endswith("digits")])
def test_full_settings_build_the_published_networks(name):
    full = reference(name).full
    with torch.device("meta"):
        network = reference(name).make(**full.arguments)
    assert full.arguments.get("width", 1.0) == 1.0
    assert sum(p.numel() for p in network.parameters()) > 60_000


@pytest.fixture
def digits_network(monkeypatch):
    """A network of the catalogue that trains in a second."""
    setting = Setting(recipe=Recipe(epochs=4), arguments={"sizes": (64, 32, 10)})
    full = replace(setting, arguments={"sizes": (64, 64, 10)})
    network = replace(
        reference("mlp-mnist"), dataset="digits", full=full, shipped=setting, weight_bits=8
    )
    monkeypatch.setitem(NETWORKS, "digits", network)
    return network


@pytest.mark.parametrize("full", [False, True])
def test_training_writes_weights_and_a_manifest(digits_network, full, tmp_path):
    data, heard = shipped.images("digits"), []
    options = {"data": data, "full": full, "on_batch": heard.append}
    found = shipped.train_network("digits", tmp_path / "a", **options)
    assert sum(heard) == shipped.batches("digits", data, full=full)
    assert found == manifest("digits", tmp_path / "a")
    assert found["setting"] == ("full" if full else "reduced")
    assert ("--full" in found["command"]) is full
    model = pretrained("digits", tmp_path / "a")
    assert model[0].out_features == (64 if full else 32)
    assert accuracy(model, data.test_x, data.test_y) == found["test_accuracy"]["quantised"]
    again = shipped.train_network("digits", tmp_path / "b", data=data, full=full)
    assert again["weights_sha256"] == found["weights_sha256"]


def test_what_is_not_there_is_told(digits_network, tmp_path):
    with pytest.raises(InputError, match="network='vgg'"):
        pretrained("vgg")
    with pytest.raises(InputError, match=r"xbarverify train digits -o"):
        pretrained("digits", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        shipped.train_network("digits", Path(tmp_path / "file"), data=load("digits"))
    assert isinstance(plan("digits"), MappingPlan)
