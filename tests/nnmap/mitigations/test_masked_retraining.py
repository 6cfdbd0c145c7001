"""Retraining with stuck memories in place: what it gains, what stays, what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import FaultMap, InputError
from nnmap import Fidelity, MeasuredChip
from nnmap.mitigations import Bench, Knowledge, MaskedRetraining, Meter
from nnmap.mitigations.known import known_by
from tests.nnmap.mitigations.problem import (
    FAULTY,
    binary_network,
    deployed,
    knowledge,
    map_on,
    plan,
    score,
)
from tests.nnmap.small import convolutional, dense, inputs, mapped

QUICK = MaskedRetraining(epochs=4, batch=32, lr=0.1)


def retrained(network, method, known, fidelity=Fidelity.IDEAL):
    """(network after the method, the meter)."""
    bench = Bench(FAULTY, fidelity)
    bench.write(network)
    one = known_by(method.name(), method.needs, known, bench.meter)
    after = method.tune(network, one, bench)
    bench.write(after)
    return after, bench.meter


def labelled(model, count, classes=4):
    x = inputs(model, count, dtype=next(model.parameters()).dtype)
    return x, (x.flatten(1)[:, 0] * 2).long().clamp(0, classes - 1)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_a_binary_network_gains_and_stays_binary(encoding):
    chosen = plan(encoding=encoding)
    before = map_on(chosen, binary_network())
    found, bench = deployed([QUICK], FAULTY, Fidelity.IDEAL, chosen, binary_network())
    after = found.network
    assert score(after.on(FAULTY))[1] > score(before.on(FAULTY))[1] + 0.05
    for name, programme in after.programmes.items():
        assert programme.binary and set(np.unique(programme.weights)) == {-1.0, 1.0}
        assert np.array_equal(programme.scale, before.programmes[name].scale)
        levels = set(np.unique(programme.target))
        assert levels == set(np.unique(before.programmes[name].target))
    changed = sum(
        np.count_nonzero(after.programmes[n].target != p.target)
        for n, p in before.programmes.items()
    )
    assert bench.meter.writes == changed > 0
    norms = [m for m in after.skeleton if isinstance(m, nn.BatchNorm1d)]
    assert all(not torch.equal(n.running_mean, torch.zeros(1)) for n in norms)


def stuck_pairs(programme, seed=0):
    """Maps on which some weights have both memories stuck, and which weights those are."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, programme.target.shape).astype(np.int8)
    p, dead = programme.placement, np.ones(programme.weights.shape[1:], dtype=bool)
    for k, r, c in np.argwhere(kinds == 0):
        if p.row_input[k, r] >= 0 and p.col_output[k, c] >= 0:
            dead[p.row_input[k, r], p.col_output[k, c]] = False
    return [FaultMap(kind=kind) for kind in kinds], dead


def test_weights_whose_memories_are_stuck_are_of_no_effect():
    network = mapped(dense(torch.float32), adc_bits=None)
    programme = network.programmes["0"]
    maps, dead = stuck_pairs(programme)
    assert 5 < dead.sum() < 0.7 * dead.size
    chip = MeasuredChip(faults={"0": maps})
    w = programme.weights.copy()
    w[0][dead] = np.random.default_rng(1).uniform(-1, 1, dead.sum())
    other = replace(network, programmes={**network.programmes, "0": programme.with_weights(w)})
    x, y = labelled(dense(torch.float32), 40)
    method = MaskedRetraining(epochs=3, batch=16, lr=0.02)
    known = Knowledge(map=chip, inputs=x, labels=y)
    (one, _), (two, _) = (retrained(n, method, known) for n in (network, other))
    with torch.no_grad():
        assert torch.equal(one.on(chip)(x), two.on(chip)(x))
        assert not torch.equal(one.on(chip)(x), network.on(chip)(x))
    moved = one.programmes["0"].weights[0] != programme.weights[0]
    assert moved[~dead].mean() > 0.9
    assert np.abs(one.programmes["0"].weights[0] - programme.weights[0])[dead].max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_meter_is_what_a_hand_counts(dtype):
    network = mapped(dense(dtype))
    x, y = labelled(dense(dtype), 20)
    known = Knowledge(map=MeasuredChip(faults={}), inputs=x, labels=y)
    method = MaskedRetraining(epochs=2, batch=8, images=17, lr=0.01)
    after, meter = retrained(network, method, known)
    # Two batches of 8; the image that is left over is skipped. 9 x 8 and 8 x 4 weights.
    operations = 2 * 16 * 6 * (9 * 8 + 8 * 4)
    # Pairs of memories; the largest weights stayed where they saturate.
    writes = 2 * sum(
        np.count_nonzero(np.abs(after.programmes[name].weights - programme.weights) > 1e-5)
        for name, programme in network.programmes.items()
    )
    assert 200 <= writes <= 2 * (9 * 8 + 8 * 4)
    expected = Meter(writes=writes, images=17, labels=17, epochs=2, digital_operations=operations)
    assert meter == expected


def test_convolutions_count_every_position():
    network = mapped(convolutional(torch.float32))
    x, y = labelled(convolutional(torch.float32), 4, classes=3)
    known = Knowledge(map=MeasuredChip(faults={}), inputs=x, labels=y)
    _, meter = retrained(network, MaskedRetraining(batch=4), known)
    # 3 x 5 positions of a 3 x 2 kernel, two groups of 2 to 3 channels; 2 x 4 positions of a 2 x 2
    # kernel, six of one channel each; one dense layer.
    per_image = 3 * 5 * (2 * 2 * 3 * 6) + 2 * 4 * (6 * 4) + 48 * 3
    assert meter.digital_operations == 4 * 6 * per_image


def test_a_step_of_nothing_writes_nothing():
    """Weights that were only rounded to single precision are no other orders."""
    network = mapped(dense())
    x, y = labelled(dense(), 8)
    known = Knowledge(map=MeasuredChip(faults={}), inputs=x, labels=y)
    after, meter = retrained(network, MaskedRetraining(batch=8, lr=1e-30), known)
    different = after.programmes["0"].target != network.programmes["0"].target
    assert different.any() and meter.writes == 0


def test_it_trains_on_the_map_that_it_is_given():
    """A diagnosis that finds nothing gives a network that knows of no fault."""
    chosen = plan()
    told = knowledge(FAULTY)
    found = [
        deployed([QUICK_STEP], FAULTY, Fidelity.IDEAL, chosen, known=known)[0].network
        for known in (told, replace(told, map=MeasuredChip(faults={})))
    ]
    losses = [score(network.on(FAULTY))[0] for network in found]
    assert losses[0] < losses[1]


QUICK_STEP = MaskedRetraining(epochs=3, batch=32, lr=0.003)


def test_the_order_of_images_is_seeded():
    network = mapped(dense(torch.float32))
    x, y = labelled(dense(torch.float32), 32)
    known = Knowledge(map=MeasuredChip(faults={}), inputs=x, labels=y)
    method = MaskedRetraining(batch=8, lr=0.02)
    found = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        after, _ = retrained(network, replace(method, seed=seed), known)
        found.append(after.programmes["0"].weights)
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"batch": 1}, {"images": -1}, {"lr": 0.0}, {"lr": float("nan")}],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=f"masked_retraining: .*{next(iter(bad))}"):
        MaskedRetraining(**bad)
