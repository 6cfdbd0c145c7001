"""Plans: which layers go on tiles, and values out of range."""

import pytest
from torch import nn

from netlists import InputError, OneR, OneTransistorOneR, SinhRram
from nnmap.mapping.pattern import matches, require_matches
from tests.nnmap.making import plan


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: plan(inputs="sideways"), "inputs='sideways'"),
        (lambda: plan(adc_range="wide"), "adc_range='wide'"),
        (lambda: plan(negative="never"), "negative='never' is not one of second read, negative"),
        (lambda: plan(encoding="gray"), "encoding='gray' is not one of pair, offset"),
        (lambda: plan(encoding="gray", weight_bits=8), "encoding='gray' is not one of"),
        (lambda: plan(inputs="serial"), "dac_bits"),
        (lambda: plan(rows=5000), "5000x12 exceeds"),
        (lambda: plan(layers="conv*"), "layers='conv.*must be a list"),
        (lambda: plan(digital="conv*"), "digital='conv.*must be a list"),
        (lambda: plan(device_bits=4), "set weight_bits"),
        (lambda: plan(weight_bits=40), r"weight_bits=40 must lie in 2\.\.24"),
        (lambda: plan(weight_bits=8, device_bits=9), r"device_bits=9 must lie in 1\.\.8"),
        (lambda: plan(weight_bits=16, device_bits=1, encoding="offset"), "at least 17 columns"),
        (lambda: plan(cols=1, encoding="offset"), "a tile of 1 column holds.*at least 2 columns"),
        (lambda: plan(adc_headroom=0.0), r"adc_headroom=0\.0"),
        (lambda: plan(adc_headroom=float("inf")), "adc_headroom=inf"),
        (lambda: plan(adc_bits=25), r"adc_bits=25 must lie in 1\.\.24"),
        (lambda: plan(dac_bits=0), r"dac_bits=0 must lie in 1\.\.24"),
        (lambda: plan(adc_bits=1, negative="negative drive"), r"adc_bits=1.* in 2\.\.24"),
        (lambda: plan(fit_inputs=-1), "fit_inputs=-1"),
        (
            lambda: plan(negative="negative drive", cell=OneR(rram=SinhRram())),
            "needs a cell that obeys Ohm's law: OneR of SinhRram",
        ),
        (
            lambda: plan(negative="negative drive", cell=OneTransistorOneR()),
            "OneTransistorOneR of OhmicRram is calibrated for forward",
        ),
    ],
)
def test_plans_out_of_range_are_refused(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    "name, pattern, found",
    [
        ("layer1.0.conv1", "layer1", True),
        ("layer1.0.conv1", "layer1.0", True),
        ("layer1.0.conv1", "*.conv1", True),
        ("layer1.0.conv1", "conv1", False),
        ("layer10.conv", "layer1", False),
        ("layer10.conv", "layer1*", True),
        ("Conv", "conv", False),
        ("3", "[0-3]", True),
        ("", "*", True),
    ],
)
def test_patterns_name_layers_or_modules_that_contain_them(name, pattern, found):
    assert matches(name, (pattern,)) is found
    assert matches(name, ("nothing", pattern)) is found and not matches(name, ())
    if not found:
        with pytest.raises(InputError, match="matches none of the layers"):
            require_matches((pattern,), [name])


def test_pointwise_convolutions_stay_digital_where_asked():
    pointwise, wide = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, (1, 3))
    chosen = plan(digital_1x1=True)
    assert not chosen.chooses("a", pointwise) and chosen.chooses("a", wide)
    assert chosen.chooses("a", nn.Linear(1, 1)) and plan().chooses("a", pointwise)


def test_equal_plans_are_equal():
    one = plan(weight_bits=8, digital=("a",))
    assert one == plan(weight_bits=8, digital=("a",)) and hash(one) == hash(
        plan(weight_bits=8, digital=("a",))
    )
    others = [
        plan(weight_bits=8, digital=("b",)),
        plan(weight_bits=7, digital=("a",)),
        plan(weight_bits=8, digital=("a",), rows=17),
        plan(weight_bits=8, digital=("a",), cell=OneTransistorOneR()),
        plan(weight_bits=8, digital=("a",), negative="negative drive"),
    ]
    assert len({one, *others}) == 6
