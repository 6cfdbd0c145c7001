"""Drop-connect: what is dropped and scaled, what the alignment moves, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import Chip, Fidelity
from nnmap.mitigations import DropConnect, Knowledge, Meter
from nnmap.mitigations.drop_connect import dropping
from nnmap.mitigations.known import known_by
from tests.nnmap.mitigations.problem import (
    FAULTY,
    binary_network,
    deployed,
    knowledge,
    network,
    score,
)
from tests.nnmap.small import convolutional, dense, inputs

METHOD = DropConnect(rate=0.3, align=0.1, epochs=2, batch=32, lr=0.003)


def trained(model, method, meter=None):
    meter = meter or Meter()
    given = knowledge(Chip())
    known = known_by(
        method.name(), method.needs, Knowledge(inputs=given.inputs, labels=given.labels), meter
    )
    return method.train(model, known)


def test_weights_are_dropped_at_the_rate_and_the_rest_is_scaled():
    layer = nn.Linear(200, 300, bias=False)
    stream, counted = torch.Generator().manual_seed(0), []
    with dropping(layer, 0.3, 1 / 0.7, stream, counted.append):
        one, other = layer(torch.eye(200)).T, layer(torch.eye(200)).T
    ratio = (one / layer.weight).detach()
    assert set(np.unique(ratio.numpy().round(5))) == {0.0, np.float32(1 / 0.7).round(5)}
    dropped = float((ratio == 0).float().mean())
    assert abs(dropped - 0.3) < 4 * (0.3 * 0.7 / ratio.numel()) ** 0.5
    assert not torch.equal(one, other)  # drawn anew
    assert counted == [200 * 300 * 200] * 2
    assert "forward" not in vars(layer)
    assert torch.equal(layer(torch.eye(200)).T, layer.weight)


@pytest.mark.parametrize(
    "layer, x",
    [
        (nn.Linear(5, 3), torch.rand(2, 5)),
        (nn.Conv1d(5, 3, 2, padding=1, padding_mode="circular"), torch.rand(2, 5, 6)),
        (nn.Conv2d(4, 6, (2, 3), groups=2), torch.rand(2, 4, 5, 6)),
    ],
)
def test_every_layer_that_tiles_hold_drops(layer, x):
    with dropping(layer, 1.0, 2.0, torch.Generator()):
        assert torch.equal(layer(x).unique(), layer.bias.unique())
    assert len(layer(x).unique()) > len(layer.bias)


@pytest.mark.parametrize("make", [dense, convolutional])
def test_a_rate_of_nothing_changes_nothing(make):
    model = make()
    x = inputs(model, 4)
    with dropping(model, 0.0, 1.0, torch.Generator()):
        found = model(x)
    assert torch.equal(found, model(x))


def test_alignment_moves_statistics_alone():
    before = trained(network(), replace(METHOD, align=None))
    after = trained(network(), METHOD)
    moved = {
        name
        for name, value in after.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert moved == {
        f"{norm}.{what}"
        for norm in (1, 4)
        for what in ("running_mean", "running_var", "num_batches_tracked")
    }
    other = trained(network(), replace(METHOD, align=0.4))
    assert not torch.equal(other[1].running_mean, after[1].running_mean)


def test_it_counts_epochs_and_products():
    meter = Meter()
    trained(network(), METHOD, meter)
    weights = 64 * 20 + 20 * 10
    assert meter.epochs == 3 and meter.labels == 256
    assert meter.digital_operations == 6 * weights * 256 * 3


def test_a_binary_network_stays_binary_and_gains():
    method = DropConnect(rate=0.2, epochs=6, batch=32, lr=0.01)
    gained = 0.0
    for number in range(2):
        chip = replace(FAULTY, number=number)
        plain, found = (
            deployed(methods, chip, Fidelity.IDEAL, model=binary_network())[0].network
            for methods in ([], [method])
        )
        gained += score(plain.on(chip))[0] - score(found.on(chip))[0]
        assert all(set(np.unique(p.weights)) == {-1.0, 1.0} for p in found.programmes.values())
    assert gained > 0


def test_masks_are_seeded():
    one, same, other = (
        trained(network(), replace(METHOD, seed=seed)).state_dict()["0.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(
    "bad",
    [{"rate": 1.0}, {"rate": -0.1}, {"align": 1.0}, {"rate": float("nan")}, {"epochs": 0}],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=f"drop_connect: .*{next(iter(bad))}="):
        DropConnect(**bad)
