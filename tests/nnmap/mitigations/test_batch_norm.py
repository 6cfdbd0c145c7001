"""Re-estimated batch norms against statistics computed by hand."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import Fidelity, mapped_layers
from nnmap.mitigations import BatchNormReestimation, Bench, Knowledge, Meter
from nnmap.mitigations.known import known_by
from tests.nnmap.small import FAULTY, inputs, mapped
from tests.tolerances import assert_close

LINEAR = Fidelity.LINEAR
HAND = 1e-12
PLAIN = BatchNormReestimation(images=22, batch=8)


def two_norms(dropout=0.0, dtype=torch.float64):
    torch.manual_seed(0)
    layers = nn.Linear(9, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 4)
    model = nn.Sequential(*layers, nn.BatchNorm1d(4, momentum=0.3)).to(dtype)
    for layer in model:
        layer.train(not isinstance(layer, nn.Dropout))
    with torch.no_grad():
        model(torch.randn(64, 9, dtype=dtype))
    return model.eval()


def tuned(network, method, x, bench=None):
    """(network after the method, the meter)."""
    bench = bench or Bench(FAULTY, LINEAR, dtype=torch.float64)
    known = known_by(method.name(), method.needs, Knowledge(inputs=x), bench.meter)
    bench.write(network)
    return method.tune(network, known, bench), bench.meter


def by_hand(network, x, batches, average, momentum):
    """[(mean, variance) of each batch norm]; both normalise with the batch while they learn."""
    running = network.on(FAULTY, LINEAR)
    layers = list(mapped_layers(running).values())
    norms = [m for m in running.modules() if isinstance(m, nn.BatchNorm1d)]
    found = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    if average == "cumulative":
        found = [(torch.zeros_like(mean), torch.ones_like(var)) for mean, var in found]
    with torch.no_grad():
        for count, part in enumerate(x[a:b] for a, b in batches):
            weight = momentum if average == "ema" else 1 / (count + 1)
            z = part
            for k, (layer, norm) in enumerate(zip(layers, norms, strict=True)):
                z = layer(z)
                mean, var = z.mean(0), z.var(0, unbiased=False)
                before = found[k]
                unbiased = var * len(z) / (len(z) - 1)
                found[k] = (
                    (1 - weight) * before[0] + weight * mean,
                    (1 - weight) * before[1] + weight * unbiased,
                )
                z = (z - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias
                z = z.relu()
    return found


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("average", ["ema", "cumulative"])
def test_statistics_are_those_by_hand(average, passes):
    network, x = mapped(two_norms()), inputs(two_norms(), 30)
    method = replace(PLAIN, average=average, momentum=0.2, passes=passes)
    after, _ = tuned(network, method, x)
    batches = [(0, 8), (8, 16), (16, 22)] * passes  # of 30 images, the first 22
    norms = [m for m in after.skeleton.modules() if isinstance(m, nn.BatchNorm1d)]
    expected = by_hand(network, x, batches, average, 0.2)
    for norm, (mean, var) in zip(norms, expected, strict=True):
        assert_close(norm.running_mean, mean, HAND)
        assert_close(norm.running_var, var, HAND)
    before = by_hand(network, x, [], "ema", 0.2)
    assert (norms[0].running_mean - before[0][0]).abs().max() > 1e-3


def test_nothing_else_changes_and_modes_come_back():
    network, x = mapped(two_norms()), inputs(two_norms(), 30)
    state = copy.deepcopy(network.skeleton.state_dict())
    after, meter = tuned(network, PLAIN, x)
    assert after.programmes == network.programmes and after.peripheries == network.peripheries
    assert [m.momentum for m in after.skeleton.modules() if isinstance(m, nn.BatchNorm1d)] == [
        0.1,
        0.3,
    ]
    assert not any(m.training for m in after.skeleton.modules())
    assert not any(m._forward_pre_hooks for m in after.skeleton.modules())
    changed = {
        name
        for name, value in after.skeleton.state_dict().items()
        if not torch.equal(value, state[name])
    }
    kinds = {name.split(".")[1] for name in changed}
    assert kinds == {"running_mean", "running_var", "num_batches_tracked"}
    for name, value in network.skeleton.state_dict().items():
        assert torch.equal(value, state[name])
    assert meter.writes == 0


def test_dropout_stays_off():
    x = inputs(two_norms(), 24)
    found = []
    for dropout in (0.5, 0.0):
        after, _ = tuned(mapped(two_norms(dropout)), replace(PLAIN, images=0), x)
        found.append([m for m in after.skeleton.modules() if isinstance(m, nn.BatchNorm1d)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.running_mean, other.running_mean)
        assert torch.equal(one.running_var, other.running_var)


def test_an_image_left_over_is_skipped():
    network, x = mapped(two_norms()), inputs(two_norms(), 9)
    (nine, counted), (eight, meter) = (
        tuned(network, BatchNormReestimation(images=n, batch=4), x) for n in (9, 8)
    )
    for name, value in nine.skeleton.state_dict().items():
        assert torch.equal(value, eight.skeleton.state_dict()[name])
    assert (counted.reads, counted.images) == (meter.reads, 9)


@pytest.mark.parametrize("plan", [{}, {"inputs": "serial", "dac_bits": 3}])
@pytest.mark.parametrize("make", [two_norms])
def test_the_meter_is_what_a_hand_counts(make, plan):
    network, x = mapped(make(), **plan), inputs(make(), 21)
    method = BatchNormReestimation(images=20, batch=8, passes=2)
    _, meter = tuned(network, method, x)
    bits = 3 if plan else 1
    # 9 inputs and 8 x 2 columns on tiles of 7 x 10: 2 x 2; then 8 inputs and 4 x 2 columns: 2 x 1.
    # The first layer's inputs have both signs and are read twice.
    reads = 2 * 20 * (4 * 2 + 2) * bits
    operations = 2 * 20 * (8 + 4) * 3
    assert meter == Meter(reads=reads, images=20, digital_operations=operations)


def convolutional():
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 3, 2, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(36, 4), nn.Softmax(1)).double()
    return model.eval()


def test_convolutions_read_once_per_position():
    network, x = mapped(convolutional(), negative="negative drive"), inputs(convolutional(), 5)
    after, meter = tuned(network, BatchNormReestimation(images=0, batch=5), x)
    tiles = [one.placement.tiles for one in network.programmes.values()]
    assert meter.reads == 5 * (4 * 3 * tiles[0] + tiles[1])
    assert meter.digital_operations == 3 * 5 * 3 * 12
    z = mapped_layers(network.on(FAULTY, LINEAR))["0"](x)
    assert_close(after.skeleton[1].running_mean, 0.1 * z.mean((0, 2, 3)), HAND)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_digital_layers_keep_the_precision_of_the_network(dtype):
    network = mapped(two_norms(dtype=dtype))
    x = inputs(two_norms(), 16, dtype=dtype)
    for layers in (torch.float32, torch.float64):
        after, _ = tuned(network, PLAIN_16, x, Bench(FAULTY, LINEAR, dtype=layers))
        assert after.skeleton[1].running_mean.dtype == dtype
        assert after.on(FAULTY, LINEAR)(x).dtype == dtype


PLAIN_16 = BatchNormReestimation(images=16, batch=8)


def test_networks_and_images_without_statistics_are_refused():
    x = inputs(two_norms(), 4)
    plain = mapped(nn.Sequential(nn.Linear(9, 4)).double())
    untracked = nn.Sequential(nn.Linear(9, 4), nn.BatchNorm1d(4, track_running_stats=False))
    for network in (plain, mapped(untracked.double())):
        with pytest.raises(InputError, match="batch_norm_reestimation: the network has no batch"):
            tuned(network, replace(PLAIN, images=0), x)
    for average in ("ema", "cumulative"):
        one = replace(PLAIN, images=1, average=average)
        with pytest.raises(InputError, match="1 images have no variance"):
            tuned(mapped(two_norms()), one, x)
    with pytest.raises(InputError, match="asks for 22 images, of which there are 4"):
        tuned(mapped(two_norms()), PLAIN, x)


@pytest.mark.parametrize(
    "bad",
    [
        {"average": "mean"},
        {"batch": 1},
        {"images": -1},
        {"passes": 0},
        {"momentum": 0.0},
        {"momentum": 1.5},
        {"momentum": float("nan")},
    ],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        BatchNormReestimation(**bad)


def test_more_batches_come_closer_to_the_chip():
    """The running average forgets the trained statistics batch by batch."""
    network, x = mapped(two_norms()), inputs(two_norms(), 400)
    z = mapped_layers(network.on(FAULTY, LINEAR))["0"](x)
    errors = []
    for images in (40, 400):
        after, _ = tuned(network, BatchNormReestimation(images=images, batch=8), x)
        errors.append(float((after.skeleton[1].running_mean - z.mean(0)).abs().max()))
    assert np.isfinite(errors).all() and errors[1] < errors[0]
