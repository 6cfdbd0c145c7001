"""Accuracy from plain torch to quantised weights to ideal tiles."""

from dataclasses import replace

import pytest

from nnmap import Recipe, fit, measure_mapping, mlp, quantise_aware
from nnmap.training.data import load
from tests.nnmap.making import plan


@pytest.fixture(scope="module")
def on_digits():
    data = load("digits")
    model = fit(lambda: quantise_aware(mlp((64, 32, 10)), 4), Recipe(epochs=20), data)
    few = {"train_x": data.train_x[:128], "test_x": data.test_x[:200], "test_y": data.test_y[:200]}
    return model, replace(data, **few)


def test_the_four_forms_agree_where_the_network_was_trained_for_the_plan(on_digits):
    chosen = plan(rows=64, cols=64, weight_bits=4, dac_bits=8, adc_bits=8)
    found = measure_mapping(on_digits[0], chosen, on_digits[1])
    assert found.unmapped > 0.9 and found.quantised == found.ideal
    assert found.spread == max(found.unmapped, found.ideal) - min(found.unmapped, found.ideal)
    assert abs(found.converted - found.ideal) <= 3 / 200 and found.adc_clipped < 1e-3


def test_a_plan_that_is_too_coarse_shows(on_digits):
    coarse = plan(rows=64, cols=64, weight_bits=4, dac_bits=8, adc_bits=2)
    found = measure_mapping(on_digits[0], coarse, on_digits[1])
    assert found.converted < found.ideal - 0.1
    tight = replace(coarse, adc_bits=8, adc_headroom=0.2)
    assert measure_mapping(on_digits[0], tight, on_digits[1]).adc_clipped > 0.01
