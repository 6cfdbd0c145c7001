"""Statistics over chips. Images on one faulty chip are correlated, so the chip is the sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from netlists import InputError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean over `n` chips with a two-sided confidence interval [low, high]."""

    mean: float
    low: float
    high: float
    n: int


def chip_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean; raises InputError below two chips.

    >>> found = chip_interval([0.90, 0.92, 0.94])
    >>> print(f"{found.mean:.3f} in [{found.low:.3f}, {found.high:.3f}] over {found.n} chips")
    0.920 in [0.870, 0.970] over 3 chips
    """
    n = len(values)
    if n < 2:
        raise InputError(f"an interval needs at least 2 chips, got {n}.")
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n)
