import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from netlists.errors import InputError
from validation.statistics import (
    bootstrap_interval,
    chip_yield,
    hall_bounds,
    holm,
    paired_difference,
    recovered_fraction,
    t_interval,
)

RNG = np.random.default_rng(5)
SAMPLE = RNG.gamma(2, 0.1, 23)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_t_interval_is_scipys(confidence):
    found = t_interval(SAMPLE, confidence=confidence)
    expected = stats.ttest_1samp(SAMPLE, 0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.n == 23 and found.confidence == confidence and found.method == "t"
    assert found.half_width == pytest.approx((found.high - found.low) / 2)


def test_bootstrap_intervals_repeat_by_seed_and_lean_towards_the_tail():
    found = bootstrap_interval(SAMPLE, seed=1)
    assert found == bootstrap_interval(SAMPLE, seed=1) != bootstrap_interval(SAMPLE, seed=2)
    assert found.high - found.mean > found.mean - found.low > 0
    assert found.half_width == pytest.approx(t_interval(SAMPLE).half_width, rel=0.25)
    flat = bootstrap_interval([0.5, 0.5, 0.5], seed=0)
    assert (flat.low, flat.mean, flat.high) == (0.5, 0.5, 0.5)


def test_hall_bounds_without_skewness_are_the_t_interval():
    symmetric = np.array([1.0, 2.0, 4.0, 6.0, 7.0])
    low, high = hall_bounds(symmetric)
    expected = t_interval(symmetric)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-5)
    wide = hall_bounds(symmetric, widening=1.5)
    assert 4 - wide[0] == pytest.approx(1.5 * (4 - low))


def test_hall_bounds_lean_towards_the_tail_and_take_any_axes():
    samples = np.stack([SAMPLE, -SAMPLE, np.full(23, 0.5)])
    low, high = hall_bounds(samples)
    assert high[0] - SAMPLE.mean() > SAMPLE.mean() - low[0]
    assert (low[1], high[1]) == pytest.approx((-high[0], -low[0]))
    assert low[2] == high[2] == 0.5
    scaled = hall_bounds(10 + 3 * SAMPLE)
    assert scaled == pytest.approx((10 + 3 * low[0], 10 + 3 * high[0]))


def test_hall_bounds_cover_skewed_means_better_than_t():
    draws = RNG.exponential(1.0, (4000, 30))
    low, high = hall_bounds(draws)
    half = stats.t.ppf(0.975, 29) * draws.std(1, ddof=1) / np.sqrt(30)
    plain = (np.abs(draws.mean(1) - 1) <= half).mean()
    assert plain < 0.935 < ((low <= 1) & (high >= 1)).mean() < 0.97


def test_paired_differences_are_scipys_and_beat_unpaired_ones():
    repaired = SAMPLE + 0.02 + RNG.normal(0, 0.005, 23)
    found = paired_difference(repaired, SAMPLE)
    expected = stats.ttest_rel(repaired, SAMPLE)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    between = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(between))
    assert found.interval.half_width < t_interval(SAMPLE).half_width / 5
    assert paired_difference(SAMPLE, SAMPLE).p == 1.0
    assert paired_difference(np.arange(4) + 1.0, np.arange(4.0)).p == 0.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_order_and_rejects_what_stepping_down_rejects(p):
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True)) and max(adjusted) <= 1
    order = sorted(range(len(p)), key=p.__getitem__)
    rejected = set()
    for rank, k in enumerate(order):
        if p[k] * (len(p) - rank) > 0.05:
            break
        rejected.add(k)
    assert rejected == {k for k in range(len(p)) if adjusted[k] <= 0.05}


def test_yield_is_exact():
    found = chip_yield([0.9, 0.95, 0.89, 0.97], floor=0.9)
    assert (found.mean, found.n, found.method) == (0.75, 4, "Clopper-Pearson")
    assert found.low == pytest.approx(stats.beta.ppf(0.025, 3, 2))
    assert found.high == pytest.approx(stats.beta.ppf(0.975, 4, 1))
    whole = chip_yield([1.0] * 20, floor=0.5)
    assert whole.high == 1.0 and whole.low == pytest.approx(0.025 ** (1 / 20))


def test_recovered_fraction_is_a_ratio_of_means():
    faulty = 0.9 - SAMPLE
    repaired = faulty + 0.6 * (0.95 - faulty)
    found = recovered_fraction(repaired, faulty, healthy=0.95, seed=3)
    assert (found.low, found.mean, found.high) == pytest.approx((0.6, 0.6, 0.6))
    noisy = recovered_fraction(repaired + RNG.normal(0, 0.05, 23), faulty, healthy=0.95, seed=3)
    assert noisy.low < 0.6 < noisy.high and 0 < noisy.half_width < 0.3
    with pytest.raises(InputError, match="no loss to recover is shown"):
        recovered_fraction(repaired, faulty, healthy=float(faulty.mean()), seed=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: t_interval([1.0]), "values of 2 or more chips"),
        (lambda: t_interval([1.0, np.nan]), "1 of 2 values are not finite"),
        (lambda: t_interval([1.0, 2.0], confidence=95), "between 0 and 1, got 95"),
        (lambda: bootstrap_interval([], seed=0), "values of 2 or more chips"),
        (lambda: chip_yield([], floor=0.5), "values of 1 or more chips"),
        (lambda: paired_difference([1.0, 2.0], [1.0, 2.0, 3.0]), "2 and 3"),
        (lambda: recovered_fraction([1.0, 2.0], [1.0] * 3, healthy=1, seed=0), "2 and 3"),
        (lambda: holm([0.5, 1.5]), "lie in"),
    ],
)  # fmt: skip
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
