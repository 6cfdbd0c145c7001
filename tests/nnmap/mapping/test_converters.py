import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netlists import InputError
from nnmap import Adc, Dac, Periphery
from nnmap.mapping.window import Window
from tests.tolerances import assert_close


@given(bits=st.integers(1, 12), x=st.floats(0, 3))
def test_quantisation_errs_by_half_a_step(bits, x):
    step = 3.0 / (2**bits - 1)
    dac = Dac(bits=bits, x_max=3.0, v_read=0.2)
    assert abs(dac(torch.tensor(x, dtype=torch.float64)).item() * 15 - x) <= step / 2 + 1e-12
    adc = Adc(bits=bits, i_max=3.0)
    assert adc.step == pytest.approx(step)
    assert abs(converted(adc, [x])[0][0] - x) <= step / 2 + 1e-12


def converted(adc, currents):
    """(currents after conversion, how many saturated)."""
    i = torch.tensor(currents, dtype=torch.float64)
    found, clipped = adc.convert(i, torch.tensor(adc.step, dtype=torch.float64))
    return found.tolist(), clipped


def test_range_ends_are_exact_and_beyond_saturates_and_counts():
    x = torch.tensor([0.0, 1.0, 1.5], dtype=torch.float64)
    dac = Dac(bits=4, x_max=1.0, v_read=0.2)
    assert dac(x).tolist() == [0.0, 0.2, 0.2] and dac.clipped(x) == 1
    adc = Adc(bits=4, i_max=1.0)
    assert converted(adc, [0.0, 1.0, 1.5]) == ([0.0, 1.0, 1.0], 1)


def test_converters_can_be_left_out():
    x = torch.tensor([0.123456789, 5.0], dtype=torch.float64)
    dac = Dac(bits=None, x_max=10.0, v_read=1.0)
    assert dac(x).tolist() == pytest.approx([0.0123456789, 0.5])
    assert dac(10 * x).tolist() == pytest.approx([0.123456789, 5.0]) and dac.clipped(10 * x) == 0
    adc = Adc(bits=None, i_max=1.0)
    assert converted(adc, x.tolist()) == (x.tolist(), 0) and math.isnan(adc.step)


@given(bits=st.integers(1, 12), seed=st.integers(0, 1000))
def test_bit_planes_add_up_to_the_voltage(bits, seed):
    x = torch.from_numpy(np.random.default_rng(seed).uniform(-0.1, 3.5, 20)).clamp(min=0.0)
    dac = Dac(bits=bits, x_max=3.0, v_read=0.2, serial=True)
    planes = list(dac.planes(x))
    assert len(planes) == dac.planes_per_input == bits
    assert all(set(v.unique().tolist()) <= {0.0, 0.2} for _, v in planes)
    assert_close(sum(w * v for w, v in planes).numpy(), dac(x).numpy(), 1e-12, scale=0.2)


def test_a_signed_converter_spends_a_bit_on_the_sign():
    adc = Adc(bits=4, i_max=7.0, signed=True)
    assert (adc.top, adc.lowest, adc.step) == (7, -7, 1.0)
    assert converted(adc, [-7.4, -2.4, 3.4, 9.0]) == ([-7.0, -2.0, 3.0, 7.0], 1)
    unsigned = Adc(bits=4, i_max=15.0)
    assert unsigned.lowest == 0 and converted(unsigned, [-0.4, -2.0]) == ([0.0, 0.0], 1)


def test_ranges_may_differ_from_column_to_column():
    i_max = np.array([[1.0, 2.0, 4.0], [8.0, 3.0, 5.0]])
    adc = Adc(bits=3, i_max=i_max)
    assert_close(adc.steps(2, 3), i_max / 7, 1e-15)
    assert adc.full_scale == 8.0 and adc.step == pytest.approx(8 / 7)
    assert_close(Adc(bits=3, i_max=2.0).steps(2, 3), np.full((2, 3), 2 / 7), 1e-15)
    assert adc == Adc(bits=3, i_max=i_max.copy()) != Adc(bits=3, i_max=i_max + 1)
    assert not adc.i_max.flags.writeable


def test_equal_peripheries_are_equal_by_what_they_hold():
    def periphery(**changed):
        dac = Dac(bits=8, x_max=1.0, v_read=0.2)
        adc = Adc(bits=8, i_max=np.array([[1.0, 2.0]]))
        return Periphery(**{"dac": dac, "adc": adc, "bias": torch.tensor([0.5, 1.0]), **changed})

    one = periphery()
    assert one == periphery() and hash(one) == hash(periphery())
    assert one.digest == periphery().digest
    window = Window.of(nn.Conv2d(1, 2, 3))
    others = [
        periphery(bias=torch.tensor([0.5, 1.5])),
        periphery(bias=None),
        periphery(adc=Adc(bits=8, i_max=np.array([[1.0, 3.0]]))),
        periphery(dac=Dac(bits=8, x_max=1.0, v_read=0.2, negative="negative drive")),
        periphery(window=window),
    ]
    assert len({one, *others}) == 6


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Adc(bits=0, i_max=1.0), "bits=0"),
        (lambda: Dac(bits=99, x_max=1.0, v_read=0.2), "bits=99"),
        (lambda: Adc(bits=8, i_max=0.0), "i_max=0.0"),
        (lambda: Adc(bits=1, i_max=1.0, signed=True), r"bits=1 must lie in 2\.\.24"),
        (lambda: Adc(bits=8, i_max=np.array([[1.0, -2.0]])), r"i_max=-2\.0"),
        (lambda: Adc(bits=8, i_max=float("inf")), "i_max=inf"),
        (lambda: Dac(bits=8, x_max=float("nan"), v_read=0.2), "x_max=nan"),
        (lambda: Dac(bits=None, x_max=1.0, v_read=0.2, serial=True), "set bits"),
    ],
)
def test_impossible_converters_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
