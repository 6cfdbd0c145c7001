import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError
from netlists.variation import (
    GaussianSpread,
    LognormalSpread,
    ProgrammingError,
    ResistanceError,
    RetentionDrift,
    vary,
)

G = np.full((200, 200), 1e-5)


def rng(seed=0):
    return np.random.default_rng(seed)


KINDS = [
    LognormalSpread(sigma=0.1),
    GaussianSpread(sigma=0.1),
    ResistanceError(sigma=0.1),
    ProgrammingError(sigma=0.01, g_range=1e-4),
    RetentionDrift(time=1e5, nu=0.0, sigma=0.1 / np.log(1e5)),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_spread_is_what_was_asked(kind):
    g = kind.apply(G, rng=rng())
    assert g.shape == G.shape and (g > 0).all()
    # 40 000 draws: the deviation of log G is 0.1 to first order and its estimate good to 1 %.
    assert np.log(g / G).std() == pytest.approx(0.1, rel=0.04)
    assert np.median(g) == pytest.approx(1e-5, rel=0.005)


def test_each_kind_spreads_the_quantity_it_names():
    draws = rng().standard_normal(G.shape)
    assert np.allclose(np.log(KINDS[0].apply(G, rng=rng()) / G), 0.1 * draws)
    assert np.allclose(KINDS[1].apply(G, rng=rng()) / G - 1, 0.1 * draws)
    assert np.allclose(G / KINDS[2].apply(G, rng=rng()) - 1, 0.1 * draws)
    assert np.allclose((KINDS[3].apply(G, rng=rng()) - G) / 1e-4, 0.01 * draws)


def test_drift_follows_its_power_law():
    g = RetentionDrift(time=1e4, nu=0.05, reference=1.0).apply(G, rng=rng())
    assert np.allclose(g, 1e-5 * 1e4**-0.05)


@given(seed=st.integers(0, 1000), sigma=st.floats(0.0, 3.0))
def test_no_spread_makes_a_conductance_negative(seed, sigma):
    kinds = [GaussianSpread(sigma=sigma), ProgrammingError(sigma=sigma, g_range=1e-4)]
    assert (vary(G[:10], kinds, rng=rng(seed)) > 0).all()


def test_equal_seeds_give_equal_chips_and_kinds_draw_apart():
    both = [LognormalSpread(sigma=0.1), RetentionDrift(time=10.0, nu=0.1, sigma=0.02)]
    one, two = vary(G, both, rng=rng(5)), vary(G, both, rng=rng(5))
    assert np.array_equal(one, two) and not np.array_equal(one, vary(G, both, rng=rng(6)))
    wider = vary(G, [LognormalSpread(sigma=0.2), both[1]], rng=rng(5))
    first = np.log(vary(G, both[:1], rng=rng(5)) / G)
    assert np.allclose(np.log(wider / one), first)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: LognormalSpread(sigma=-0.1), "sigma=-0.1"),
        (lambda: ProgrammingError(sigma=0.1, g_range=float("inf")), "g_range=inf"),
        (lambda: RetentionDrift(time=0.5, nu=0.1), "time=0.5"),
        (lambda: RetentionDrift(time=5.0, nu=float("nan")), "nu=nan"),
    ],
)
def test_impossible_spreads_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
