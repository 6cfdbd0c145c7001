"""Errors of a layer's currents, over what reaches it."""

import numpy as np
import pytest
import torch
from torch import nn

from netlists import FaultRates
from nnmap import Chip, Fidelity, layer_error, network_errors
from tests.nnmap.making import WIRED, half_flipped, layer_of, mapped, placed
from tests.tolerances import assert_close

CHIP = Chip(rates=FaultRates.from_ocr(0.1, 1.0))


def layer_and_inputs(**options):
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 5).double(), torch.randn(6, 20).double()
    network = placed(mapped(layer, x, wires=WIRED, **options), half_flipped)
    return layer_of(network.on(CHIP)), layer_of(network.on(CHIP, Fidelity.LINEAR)), x


def test_the_error_is_the_largest_difference_of_any_current():
    ideal, linear, x = layer_and_inputs()
    found = layer_error(ideal, x, reference=Fidelity.LINEAR, vectors=10_000)
    differences, largest = [], 0.0
    volts = ideal.row_voltages(x)
    for k in range(ideal.programme.placement.tiles):
        v = volts[ideal.programme.placement.group_of[k]]
        v = v[(v != 0).any(1)]  # blank ones are left out
        wanted = linear.currents_of(k, v)
        largest = max(largest, float(wanted.abs().max()))
        differences.append((ideal.currents_of(k, v) - wanted).abs().numpy().ravel())
    every = np.concatenate(differences)
    assert found.currents == every.size and found.full_scale == pytest.approx(largest)
    assert_close(found.max_relative * largest, every.max(), 1e-9)
    assert_close(found.mean_relative * largest, every.mean(), 1e-9)
    assert_close(found.p99_relative * largest, np.quantile(every, 0.99), 1e-9)
    assert found.max_steps(4) == 15 * found.max_relative and found.p99_steps() < found.max_steps()
    assert layer_error(linear, x, reference=Fidelity.LINEAR).max_relative == 0.0


def test_full_scale_is_the_converters_and_few_vectors_are_compared():
    ideal, _, x = layer_and_inputs(adc_bits=8)
    found = layer_error(ideal, x, reference=Fidelity.LINEAR, vectors=3)
    assert found.full_scale == ideal.adc.full_scale
    assert found.currents == 3 * sum(len(g.columns) for g in ideal.row_groups)
    blank = layer_error(ideal, torch.zeros_like(x), reference=Fidelity.LINEAR)
    assert blank.max_relative == 0.0 < blank.currents


def test_layers_of_a_network_are_compared_at_what_reaches_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 4)).double()
    x = torch.rand(6, 20).double()
    network = mapped(model, x, wires=WIRED)
    chip = network.on(CHIP, {"2": Fidelity.LINEAR})
    found = network_errors(chip, x, vectors=100)
    assert found["0"].max_relative > 0.01 and found["2"].max_relative == 0.0
    alone = layer_error(chip[2], chip[:2](x), reference=Fidelity.IDEAL, vectors=100)
    assert network_errors(chip, x, reference=Fidelity.IDEAL, vectors=100)["2"] == alone
