import numpy as np
import pytest

from netlists import InputError
from validation import chip_interval


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = chip_interval(rng.normal(0.7, 0.1, 8).tolist())
        hits += found.low <= 0.7 <= found.high
    assert abs(hits / 2000 - 0.95) < 0.02


def test_one_chip_gives_no_interval():
    with pytest.raises(InputError, match="at least 2 chips"):
        chip_interval([0.5])
