import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists.errors import InputError
from tests.validation.campaign.conditions import measured, tasks
from validation.campaign.backends import Serial
from validation.campaign.run import run_campaign
from validation.campaign.store import Store
from validation.precision import (
    Advice,
    Cost,
    Pilot,
    Precision,
    StopWhenPrecise,
    advice,
    images_of_chip,
)
from validation.statistics import t_interval

BETWEEN = 0.032  # between chips of the BNN at 20 % stuck devices


@given(
    seed=st.integers(0, 2**40), number=st.integers(0, 10**4), total=st.integers(1, 300),
    data=st.data(),
)  # fmt: skip
def test_images_of_a_chip_are_some_of_them_and_nested(seed, number, total, data):
    count = data.draw(st.integers(1, total))
    drawn = images_of_chip(seed, number, total, count)
    assert len(np.unique(drawn)) == count and drawn[0] >= 0 and drawn[-1] < total
    assert np.array_equal(drawn, np.sort(drawn))
    assert np.array_equal(drawn, images_of_chip(seed, number, total, count))
    assert set(drawn) <= set(images_of_chip(seed, number, total, total))
    fewer = data.draw(st.integers(1, count))
    assert set(images_of_chip(seed, number, total, fewer)) <= set(drawn)


def test_chips_draw_images_of_their_own():
    counts = np.zeros(1000)
    for number in range(400):
        counts[images_of_chip(7, number, 1000, 100)] += 1
    assert abs(counts.mean() - 40) < 1e-9 and 4.5 < counts.std() < 7.5  # binomial: 6.0
    assert list(images_of_chip(7, 0, 1000, 9)) != list(images_of_chip(8, 0, 1000, 9))
    with pytest.raises(InputError, match="1 to 10 images, got 11"):
        images_of_chip(0, 0, 10, 11)


def normal(rng, shape):
    return rng.normal(0, BETWEEN, shape)


def skewed(rng, shape):  # losses with skewness 1, -1 in accuracy
    return -(rng.gamma(4, BETWEEN / 2, shape) - 2 * BETWEEN)


def exponential(rng, shape):  # skewness 2: worse than any campaign so far
    return -(rng.exponential(BETWEEN, shape) - BETWEEN)


def simulate(chips_of, precision, *, campaigns, images, seed, spread=1.0, centre=0.85):
    """Whether the intervals of campaigns that the rule ends hold the mean; and their chips."""
    rng = np.random.default_rng(seed)
    true = np.clip(centre + spread * chips_of(rng, (campaigns, precision.max_chips)), 0, 1)
    values = rng.binomial(images, true) / images
    middle = np.clip(centre + spread * chips_of(rng, 10**6), 0, 1).mean()
    covered, chips = np.zeros(campaigns, bool), np.zeros(campaigns, int)
    running = np.arange(campaigns)
    for n in precision.looks():
        sample = values[running, :n]
        ends = precision.reached(sample) | (n == precision.max_chips)
        low, high = precision.bounds(sample[ends])
        covered[running[ends]] = (low <= middle) & (middle <= high)
        chips[running[ends]] = n
        running = running[~ends]
        if not len(running):
            break
    assert precision.chips(values[0]) == chips[0]
    return covered.mean(), chips


@pytest.mark.parametrize("chips_of", [normal, skewed, exponential])
@pytest.mark.parametrize(("half_width", "spread"), [(0.01, 1.0), (0.01, 0.6), (0.007, 1.0)])
def test_stopping_early_keeps_the_promise(chips_of, half_width, spread):
    precision = Precision(half_width=half_width, max_chips=400)
    covered, chips = simulate(
        chips_of, precision, campaigns=2000, images=1000, seed=11, spread=spread
    )
    assert 0.93 <= covered <= 0.97
    assert chips.max() < 400 and chips.min() >= 30
    known = (1.96 / half_width) ** 2 * ((spread * BETWEEN) ** 2 + 0.85 * 0.15 / 1000)
    assert chips.mean() < max(1.6 * known, 40)


def test_students_interval_at_every_look_would_not_keep_it():
    rng = np.random.default_rng(3)
    values, covered = exponential(rng, (1000, 400)), 0
    for campaign in values:
        for n in range(10, 400):
            found = t_interval(campaign[:n])
            if found.half_width <= 0.01:
                covered += found.low <= 0 <= found.high
                break
    assert covered / 1000 < 0.91


def test_the_rule_ends_at_its_first_satisfied_look():
    precision = Precision(half_width=0.01, min_chips=10, step=5, max_chips=24)
    assert list(precision.looks()) == [10, 15, 20, 24]
    even = np.tile([0.89, 0.91], 12)
    assert precision.chips(even[:9]) is None and precision.chips(even) == 10
    assert precision.interval(even[:10]).half_width <= 0.01
    wild = np.tile([0.5, 0.9], 12)
    assert precision.chips(wild[:23]) is None and precision.chips(wild) == 24
    assert precision.interval(wild).half_width > 0.01
    assert precision.chips([0.9] * 10) == 10
    assert precision.interval(even).method == "Hall, sequential"


def test_a_campaign_ends_its_conditions_by_the_rule(tmp_path):
    todo = tasks(rates=(0.1, 0.2), chips=80)
    precision = Precision(half_width=0.012, min_chips=12, step=4, max_chips=80)
    stop = StopWhenPrecise(precision=precision, quantity="accuracy")
    with Store(tmp_path / "s") as store:
        summary = run_campaign(todo, measured, store, backend=Serial(), stop=stop)
        for start in (0, 80):
            last = summary.last[todo[start].condition_id]
            values = [measured(task)["accuracy"] for task in todo[start : start + last + 1]]
            assert precision.chips(values) == last + 1 < 80
            assert precision.interval(values).half_width <= 0.012
        wrong = StopWhenPrecise(precision=precision, quantity="yield")
        with pytest.raises(InputError, match=r"'yield'.* there are accuracy, images"):
            run_campaign(todo, measured, store, backend=Serial(), stop=wrong)


# Advice


def test_a_pilot_tells_chips_from_images():
    rng = np.random.default_rng(0)
    true = rng.normal(0.85, BETWEEN, 4000)
    answers = rng.random((4000, 2000)) < true[:, None]
    pilot = Pilot.of(answers[:, :200].mean(1), images=200, total=2000)
    whole = answers.mean(1)
    assert math.sqrt(pilot.between) == pytest.approx(whole.std(ddof=1), rel=0.03)
    assert pilot.within == pytest.approx(0.85 * 0.15 - BETWEEN**2, rel=0.02)
    assert pilot.variance(500) == pytest.approx(answers[:, :500].mean(1).var(ddof=1), rel=0.08)
    assert pilot.variance(2000) == pilot.between
    assert Pilot.of([0.9, 0.9], images=100, total=100).between == 0


def test_1000_images_cost_9_percent_more_chips_than_10000():
    pilot = Pilot(between=BETWEEN**2, within=0.125, total=10**6)
    assert pilot.variance(1000) / pilot.variance(10000) == pytest.approx(1.11, abs=0.02)


@pytest.mark.parametrize("per_chip", [0.02, 0.3, 5.0])
def test_advice_is_the_cheapest_there_is(per_chip):
    pilot = Pilot(between=BETWEEN**2, within=0.125, total=10000)
    precision, cost = (
        Precision(half_width=0.004, step=1, max_chips=5000),
        Cost(per_chip=per_chip, per_image=1e-3),
    )
    found = advice(pilot, precision=precision, cost=cost)
    assert found.enough and found.half_width <= 0.004
    assert found.seconds == pytest.approx(cost.seconds(found.chips, found.images))
    for images in np.unique(np.geomspace(20, 10000, 40).astype(int)).tolist():
        fixed = Precision(half_width=0.004, step=1, max_chips=5000, images=images)
        other = advice(pilot, precision=fixed, cost=cost)
        assert other.images == images and other.seconds >= 0.99 * found.seconds


def test_advice_is_what_campaigns_take():
    pilot = Pilot(between=BETWEEN**2, within=0.85 * 0.15, total=10**6)
    precision = Precision(half_width=0.01, images=1000, max_chips=400)
    told = advice(pilot, precision=precision, cost=Cost(per_chip=1, per_image=0.001))
    _, chips = simulate(normal, precision, campaigns=500, images=1000, seed=2)
    assert told.chips == pytest.approx(chips.mean(), rel=0.12)
    assert str(told) == (
        "54 chips of 1000 images each, about 108 s per condition, give a half width of 0.0096."
    )


def test_advice_takes_more_images_where_the_chips_are_limited():
    pilot, cost = (
        Pilot(between=BETWEEN**2, within=0.125, total=10000),
        Cost(per_chip=0, per_image=1),
    )
    free = advice(pilot, precision=Precision(half_width=0.01), cost=cost)
    few = advice(pilot, precision=Precision(half_width=0.01, max_chips=50), cost=cost)
    assert free.images == 6 and free.chips > 500
    assert few.images > 100 and few.chips <= 50 and few.enough


def test_advice_at_its_ends():
    precision, cost = Precision(half_width=0.01), Cost(per_chip=1, per_image=0)
    pilot = Pilot(between=0.0, within=0.1, total=500)
    assert advice(pilot, precision=precision, cost=cost).images == 500
    few = Precision(half_width=1e-4, max_chips=40)
    wide = Pilot(between=0.01, within=0.1, total=500)
    found = advice(wide, precision=few, cost=Cost(per_chip=0, per_image=1))
    assert isinstance(found, Advice) and (found.images, found.chips, found.enough) == (
        500,
        40,
        False,
    )
    assert "allow more chips" in str(found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Precision(half_width=0), "must be positive, got 0"),
        (lambda: Precision(half_width=1, confidence=1), "between 0 and 1"),
        (lambda: Precision(half_width=1, min_chips=9, max_chips=8), "min_chips = 9, max_chips = 8"),
        (lambda: Precision(half_width=1, images=0), "at least 1 image, got 0"),
        (lambda: Precision(half_width=1).interval([1.0, 2.0]), "3 or more chips"),
        (lambda: Pilot.of([0.5, 1.5], images=10, total=10), r"shares in \[0, 1\]"),
        (lambda: Pilot.of([0.5, 0.5], images=11, total=10), "2 to 10 images per chip, got 11"),
        (lambda: Cost(per_chip=-1, per_image=0), "cannot be negative, got -1"),
        (
            lambda: advice(
                Pilot(between=1, within=1, total=5),
                precision=Precision(half_width=1, images=6), cost=Cost(per_chip=1, per_image=1),
            ),
            "6 images per chip are wanted and there are 5",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
