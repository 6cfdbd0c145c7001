"""The generic law of a bare memory against the compiled one, and against its definition."""

import numpy as np
import pytest

from circuitsim.laws.by_equation import EquationLaw, SinhLaw
from circuitsim.laws.law import Iterate
from netlists import SinhRram, VteamRram, YakopcicRram
from tests.tolerances import EXACT, assert_close

SHAPE = 3, 4, 8


def iterate(v_max, seed=0):
    rng = np.random.default_rng(seed)
    v_row, v_col = rng.uniform(-0.7 * v_max, 0.7 * v_max, (2, *SHAPE))  # drops beyond the range too
    return Iterate(
        v_row=v_row,
        v_col=v_col,
        g0=rng.uniform(1e-6, 1e-4, SHAPE[:2]),
        excess=1e-6 * rng.standard_normal(SHAPE),
        i_out=np.full(SHAPE[1:], np.nan),
        change=np.full(SHAPE[1:], np.nan),
    )


@pytest.mark.parametrize("rram", [SinhRram(), YakopcicRram.hp_tio2()], ids=["sinh", "two-way"])
def test_both_ways_do_the_same(rram):
    g = np.random.default_rng(1).uniform(1e-6, 1e-4, SHAPE[:2])
    compiled, generic = (kind(rram=rram, g=g) for kind in (SinhLaw, EquationLaw))
    one, other = iterate(rram.v_max), iterate(rram.v_max)
    compiled.step(one)
    generic.step(other)
    for name in ("excess", "i_out", "change"):
        assert_close(getattr(other, name), getattr(one, name), EXACT)
    v = one.v_row[..., 0], one.v_col[..., 0]
    np.testing.assert_array_equal(generic.slopes(*v), compiled.slopes(*v))


def test_a_step_is_what_the_law_says():
    rram, before = VteamRram(), iterate(VteamRram().v_max)
    now = iterate(rram.v_max)
    g = np.full(SHAPE[:2], 1e-4)
    EquationLaw(rram=rram, g=g).step(now)
    drop = np.clip(now.v_row - now.v_col, -rram.v_max, rram.v_max)
    current = rram.current(drop, g[..., None])
    assert_close(now.excess + now.g0[..., None] * drop, current, EXACT)
    assert_close(now.i_out, current.sum(axis=0), EXACT)
    assert_close(now.change, np.abs(now.excess - before.excess).sum(axis=0), EXACT)
