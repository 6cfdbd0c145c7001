from dataclasses import replace

import numpy as np
import pytest

from circuitsim import compare, solve
from netlists import InputError
from tests.strategies import random_drive, random_tile
from tests.tolerances import assert_close


def test_equal_solutions_differ_by_nothing_and_a_changed_one_by_the_change():
    tile = random_tile(4, 4, 1)
    a = solve(tile, random_drive(tile, 2))
    assert compare(a, a).max_abs == 0.0
    i_out = a.i_out.copy()
    i_out[1, 2] += 1e-3 * np.abs(a.i_out).max()
    found = compare(replace(a, i_out=i_out), a)
    assert found.max_relative == pytest.approx(1e-3)
    assert found.adc_steps(8) == pytest.approx(0.255)


def test_different_shapes_are_refused():
    a, b = (solve(t, random_drive(t, 2)) for t in (random_tile(4, 4, 1), random_tile(4, 5, 1)))
    with pytest.raises(InputError, match=r"i_out.shape"):
        compare(a, b)


def test_the_comparison_helper_can_fail():
    assert_close([1.0, 2.0], [1.0, 2.0 + 1e-13], 1e-12)
    with pytest.raises(AssertionError, match="off by"):
        assert_close([1.0, 2.0], [1.0, 2.1], 1e-2)
    with pytest.raises(AssertionError, match="not finite"):
        assert_close([np.nan], [1.0], 1.0)
    with pytest.raises(AssertionError, match="!="):
        assert_close([1.0], [1.0, 2.0], 1.0)
