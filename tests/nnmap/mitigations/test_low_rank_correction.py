"""The data-free correction: exact at full rank, the best of its rank, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netlists import FaultRates, InputError, Wires
from nnmap import Chip, Fidelity, mapped_layers
from nnmap.mitigations import Bench, Knowledge, LowRankCorrection, WeightedLowRankCorrection
from nnmap.mitigations.known import known_by
from nnmap.mitigations.low_rank_correction import closest, closest_factors
from nnmap.mitigations.operators import second_moments
from tests.nnmap.making import ENCODED, half_flipped, mapped, placed
from tests.nnmap.mitigations.problem import FAULTY, PERFECT, deployed, map_on, plan, score
from tests.nnmap.small import convolutional, dense, inputs
from tests.tolerances import assert_close

WIRED = Wires(r_row_segment=5.0, r_col_segment=3.0, r_driver=9.0, r_sense=2.0)
FULL = LowRankCorrection(rank=99)


def corrected(network, chip, method, images=None, fidelity=Fidelity.LINEAR):
    bench = Bench(chip, fidelity, dtype=torch.float64)
    bench.write(network)
    knowledge = Knowledge(inputs=images)
    known = known_by(method.name(), method.needs, knowledge, bench.meter)
    return method.tune(network, known, bench), bench.meter


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("options", ENCODED)
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scope=st.sampled_from(["layer", "rows", "tile"]),
    gain=st.booleans(),
)
def test_exact_at_full_rank_on_wires_with_faults(make, options, seed, scope, gain):
    model = make()
    x = inputs(model, 5) - 0.2
    network = placed(mapped(model, x, wires=WIRED, **options), half_flipped)
    chip = Chip(rates=FaultRates.from_ocr(0.2, ocr=0.4), seed=seed)
    healthy = network.on()(x)
    assert float((network.on(chip, Fidelity.LINEAR)(x) - healthy).abs().max()) > 1e-3
    method = replace(FULL, scope=scope, gain=gain)
    found = corrected(network, chip, method)[0].on(chip, Fidelity.LINEAR)(x)
    assert_close(found, healthy, 1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_factor_comes_closer_in_absolute_deviation(seed):
    random = np.random.default_rng(seed)
    ordered, chip, strength = random.gamma(1.0, size=(3, 12))
    chip[random.random(12) < 0.2] = 0.0
    columns = np.stack([chip, np.zeros(12)], axis=1)
    factor, idle = closest_factors(np.stack([ordered, ordered], axis=1), columns, strength)
    least = (strength * np.abs(ordered - factor * chip)).sum()
    others = np.append(np.linspace(0.0, 20.0, 200), ordered[chip > 0] / chip[chip > 0])
    assert all(least <= (strength * np.abs(ordered - f * chip)).sum() + 1e-12 for f in others)
    assert idle == 1.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rank=st.integers(1, 5))
def test_no_branch_of_that_rank_comes_closer(seed, rank):
    """By Eckart and Young what is left are the other singular values; weighted: on the inputs."""
    random = np.random.default_rng(seed)
    error, x = random.normal(size=(6, 9)), random.gamma(1.0, size=(9, 40))
    up, down = closest(error, rank)
    left = np.linalg.svd(error, compute_uv=False)[rank:]
    assert np.isclose(((error - up @ down) ** 2).sum(), (left**2).sum())
    up, down = closest(error, rank, x @ x.T / 40)
    left = np.linalg.svd(error @ x, compute_uv=False)[rank:]
    assert np.isclose((((error - up @ down) @ x) ** 2).sum(), (left**2).sum())


def test_moments_are_those_of_what_enters_the_layer():
    model = convolutional()
    x = inputs(model, 3)
    network = mapped(model, x)
    found = second_moments(network, x)
    running = network.on()
    for name, layer in mapped_layers(running).items():
        seen = []
        layer.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        running(x)
        vectors = torch.cat(list(layer.entering(seen[0])), dim=1)
        assert_close(found[name], vectors @ vectors.T / vectors.shape[1], 1e-12)


def test_images_make_the_same_rank_better_on_images():
    chosen = plan(wires=Wires(r_row_segment=20.0, r_col_segment=20.0))
    losses = {}
    for method in (
        LowRankCorrection(rank=1, scope="layer"),
        WeightedLowRankCorrection(rank=1, scope="layer", images=256),
    ):
        found = deployed([method], FAULTY, Fidelity.LINEAR, chosen)[0].network
        losses[method.name()] = score(found.on(FAULTY, Fidelity.LINEAR))[0]
    losses["none"] = score(map_on(chosen).on(FAULTY, Fidelity.LINEAR))[0]
    assert losses["weighted_low_rank_correction"] < losses["low_rank_correction"]
    assert losses["weighted_low_rank_correction"] < losses["none"]


def test_gains_bring_every_column_as_close_as_a_factor_can():
    network = map_on(plan(dac_bits=None, adc_bits=None))
    found, meter = corrected(network, Chip(), LowRankCorrection(rank=0, gain=True))
    for name, periphery in found.peripheries.items():
        p = network.programmes[name].placement
        gain = periphery.correction.gain
        # The chip's wires lose current: factors above 1 where a column is read, 1 elsewhere.
        read = p.col_slot >= 0
        assert (gain[read] > 1).all() and (gain[~read] == 1).all()
        assert periphery.correction.operations == np.count_nonzero(read)
    x = torch.rand(16, 64)
    with torch.no_grad():
        healthy = network.on()(x)
        before, after = (
            float((n.on(Chip(), Fidelity.LINEAR)(x) - healthy).square().mean())
            for n in (network, found)
        )
    assert after < 0.2 * before
    driven = sum(np.count_nonzero(p.placement.row_input >= 0) for p in network.programmes.values())
    assert meter.reads == driven


def test_stuck_memories_hardly_pull_gains():
    """Where wires are perfect factors are 1, but for columns that are stuck by half."""
    network = map_on(plan(wires=PERFECT))
    found = corrected(network, FAULTY, LowRankCorrection(rank=0, gain=True))[0]
    gains = np.concatenate([p.correction.gain.ravel() for p in found.peripheries.values()])
    assert (np.abs(gains - 1) < 1e-9).mean() > 0.95
    assert found.peripheries["0"].correction.operations == 0


def test_a_second_correction_sees_the_first():
    model = dense()
    x = inputs(model, 5)
    network = mapped(model, x, wires=WIRED)
    first = corrected(network, FAULTY, LowRankCorrection(rank=1, gain=True))[0]
    both = corrected(first, FAULTY, FULL)[0]
    assert_close(both.on(FAULTY, Fidelity.LINEAR)(x), network.on()(x), 1e-8)
    with pytest.raises(InputError, match="the columns of 0 have gains already"):
        corrected(first, FAULTY, LowRankCorrection(rank=0, gain=True))


def test_operations_follow_from_rank_and_scope():
    model = dense()
    network = mapped(model, inputs(model, 5), wires=WIRED)
    for scope, expected in (("layer", 2 * (9 + 8)), ("tile", 2 * (9 + 6) + 2 * (9 + 2))):
        method = LowRankCorrection(rank=1, scope=scope)
        found = corrected(network, Chip(), method)[0].peripheries["0"].correction
        assert found.operations == expected


def test_at_ideal_a_bench_shows_the_ideal_matrix():
    model = dense()
    x = inputs(model, 5)
    network = mapped(model, x, wires=WIRED)
    found = corrected(network, FAULTY, FULL, fidelity=Fidelity.IDEAL)[0]
    assert_close(found.on(FAULTY)(x), network.on()(x), 1e-9)
    assert float((found.on(FAULTY, Fidelity.LINEAR)(x) - network.on()(x)).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "bad", [{"rank": -1}, {"rank": 0}, {"scope": "network"}, {"rank": 0, "gain": False}]
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=r"low_rank_correction: (rank|scope)="):
        LowRankCorrection(**bad)
    with pytest.raises(InputError, match="weighted_low_rank_correction: images=-1"):
        WeightedLowRankCorrection(images=-1)
