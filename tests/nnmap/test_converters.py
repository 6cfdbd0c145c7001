import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError
from nnmap import Adc, Dac


@given(bits=st.integers(1, 12), x=st.floats(0, 3))
def test_quantisation_errs_by_half_a_step(bits, x):
    step = 3.0 / (2**bits - 1)
    dac = Dac(bits=bits, x_max=3.0, v_read=0.2)
    assert abs(dac(torch.tensor(x, dtype=torch.float64)).item() * 15 - x) <= step / 2 + 1e-12
    adc = Adc(bits=bits, i_max=3.0)
    assert adc.step == pytest.approx(step)
    assert abs(adc(torch.tensor(x, dtype=torch.float64)).item() - x) <= step / 2 + 1e-12


def test_range_ends_are_exact_and_beyond_saturates_and_counts():
    x = torch.tensor([0.0, 1.0, 1.5], dtype=torch.float64)
    dac = Dac(bits=4, x_max=1.0, v_read=0.2)
    assert dac(x).tolist() == [0.0, 0.2, 0.2] and dac.clipped(x) == 1
    adc = Adc(bits=4, i_max=1.0)
    assert adc(x).tolist() == [0.0, 1.0, 1.0] and adc.clipped(x) == 1


def test_converters_can_be_left_out():
    x = torch.tensor([0.123456789, 5.0], dtype=torch.float64)
    dac = Dac(bits=None, x_max=10.0, v_read=1.0)
    assert dac(x).tolist() == pytest.approx([0.0123456789, 0.5])
    assert dac(10 * x).tolist() == pytest.approx([0.123456789, 5.0]) and dac.clipped(10 * x) == 0
    adc = Adc(bits=None, i_max=1.0)
    assert adc(x).tolist() == x.tolist() and adc.clipped(x) == 0 and math.isnan(adc.step)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Adc(bits=0, i_max=1.0), "bits=0"),
        (lambda: Dac(bits=99, x_max=1.0, v_read=0.2), "bits=99"),
        (lambda: Adc(bits=8, i_max=0.0), "i_max=0.0"),
        (lambda: Dac(bits=8, x_max=float("nan"), v_read=0.2), "x_max=nan"),
    ],
)
def test_impossible_converters_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
