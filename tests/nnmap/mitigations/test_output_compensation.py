"""Output compensation: exact at IDEAL before the converter, from the map alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netlists import FaultRates, InputError
from nnmap import Chip, Fidelity
from nnmap.mitigations import Bench, Knowledge, OutputCompensation
from nnmap.mitigations.known import known_by
from tests.nnmap.making import ENCODED, mapped
from tests.nnmap.mitigations.problem import FAULTY, deployed, map_on, plan, score
from tests.nnmap.small import convolutional, dense, inputs
from tests.tolerances import assert_close


def compensated(network, chip, method=OutputCompensation()):  # noqa: B008, a value
    bench = Bench(chip, Fidelity.IDEAL)
    known = known_by(method.name(), method.needs, Knowledge(map=chip), bench.meter)
    return method.tune(network, known, bench)


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("options", ENCODED)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.floats(0.05, 0.6))
def test_exact_at_ideal_before_the_converter(make, options, seed, rate):
    """Cells between groups, offset columns and sliced devices included."""
    model = make()
    x = inputs(model, 5) - 0.2
    network = mapped(model, x, **options)
    chip = Chip(rates=FaultRates.from_ocr(rate, ocr=0.4), seed=seed)
    healthy, found = network.on()(x), compensated(network, chip).on(chip)(x)
    assert_close(found, healthy, 1e-9)
    assert float((network.on(chip)(x) - healthy).abs().max()) > 1e-4


def test_wires_are_out_of_its_sight():
    """At LINEAR the wires' part stays, and the published correction is not exact."""
    network = map_on(plan(dac_bits=None, adc_bits=None))
    x = torch.rand(8, 64)
    found = deployed([OutputCompensation()], FAULTY, Fidelity.LINEAR)[0].network
    healthy = network.on()(x)
    error = (found.on(FAULTY, Fidelity.LINEAR)(x) - healthy).abs().max()
    assert error > 0.01 * healthy.abs().max()
    before = score(map_on(plan()).on(FAULTY, Fidelity.LINEAR))[0]
    assert score(found.on(FAULTY, Fidelity.LINEAR))[0] < before


def test_it_costs_two_operations_for_each_weight_that_is_wrong():
    model = dense()
    network = mapped(model, inputs(model, 5))
    chip = Chip(rates=FaultRates(stuck_hrs=0.2), seed=1)
    found = compensated(network, chip)
    for periphery in found.peripheries.values():
        wrong = np.count_nonzero(periphery.correction.matrix)
        assert periphery.correction.operations == 2 * wrong > 0


def test_the_largest_errors_come_first():
    model = dense()
    network = mapped(model, inputs(model, 5))
    full = compensated(network, FAULTY).peripheries["0"].correction.matrix
    half = compensated(network, FAULTY, OutputCompensation(keep=0.5)).peripheries["0"].correction
    kept = half.matrix != 0
    assert np.array_equal(half.matrix[kept], full[kept])
    assert np.count_nonzero(kept) == round(0.5 * np.count_nonzero(full))
    assert np.abs(full[kept]).min() >= np.abs(full[~kept]).max()


def test_it_adds_to_what_is_there():
    model = dense()
    network = mapped(model, inputs(model, 5))
    once = compensated(network, FAULTY)
    twice = compensated(once, FAULTY)
    for name, periphery in twice.peripheries.items():
        assert_close(
            periphery.correction.matrix, 2 * once.peripheries[name].correction.matrix, 1e-12
        )


@pytest.mark.parametrize("keep", [0.0, 1.1, float("nan")])
def test_shares_out_of_range_are_refused(keep):
    with pytest.raises(InputError, match="output_compensation: keep="):
        replace(OutputCompensation(), keep=keep)
