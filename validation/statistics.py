"""Statistics over chips. Images on one faulty chip are correlated, so the chip is the sample.

Every interval is two-sided and says its method. Sources: Efron and Tibshirani, An Introduction to
the Bootstrap, 1993 (BCa); Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B
54, 1992; Holm, Scand. J. Stat. 6, 1979; Clopper and Pearson, Biometrika 26, 1934.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from netlists.errors import InputError

Floats = NDArray[np.float64]
RESAMPLES = 9999


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate over `n` chips with its interval [low, high].

    method: how it was made, as reports print it.
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95
    method: str = "t"

    @property
    def half_width(self) -> float:
        """The longer of the two arms."""
        return max(self.high - self.mean, self.mean - self.low)


def t_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of one value per chip.

    Raises InputError below two chips and for values that are not finite.

    >>> found = t_interval([0.90, 0.92, 0.94])
    >>> print(f"{found.mean:.3f} in [{found.low:.3f}, {found.high:.3f}] over {found.n} chips")
    0.920 in [0.870, 0.970] over 3 chips
    """
    sample = _sample(values, confidence)
    n, mean = len(sample), float(sample.mean())
    half = float(t_quantile(n, confidence) * sample.std(ddof=1) / np.sqrt(n))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, confidence=confidence)


def bootstrap_interval(values: ArrayLike, *, seed: int, confidence: float = 0.95) -> Interval:
    """The bias-corrected and accelerated bootstrap interval of the mean (BCa, 9,999 resamples).

    seed: of the resampling; the same seed gives the same interval.
    Equal values give an interval without width. Raises InputError as `t_interval`.
    """
    sample = _sample(values, confidence)
    mean = low = high = float(sample.mean())
    if np.ptp(sample) > 0:
        found = stats.bootstrap(
            (sample,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    return Interval(
        mean=mean, low=low, high=high, n=len(sample), confidence=confidence, method="BCa bootstrap"
    )


def hall_bounds(
    values: ArrayLike, *, confidence: float = 0.95, widening: float = 1.0
) -> tuple[Floats, Floats]:
    """Bounds of the mean that allow for skewness: Hall's monotone cubic transformation.

    values[..., n]: one value per chip on the last axis, two or more chips.
    widening: by which both arms are longer.
    Returns (low, high), each [...]. Without skewness they are the t interval's. With T = (mean -
    mu) / s and skewness g, T + g T^2 / 3 + g^2 T^3 / 27 + g / (6 n) is distributed as a mean of
    symmetric values is; it is inverted in closed form.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = sample.shape[-1]
    mean, sd = sample.mean(-1), sample.std(-1, ddof=1)
    safe = np.where(sd > 0, sd, 1.0)
    third = (((sample - mean[..., None]) / safe[..., None]) ** 3).sum(-1)
    skew = third * n / ((n - 1) * (n - 2)) if n > 2 else np.zeros_like(sd)
    skew = np.where(np.abs(skew) < 1e-6, 1e-6, skew)  # the limit, without its division by 0
    t = t_quantile(n, confidence) / np.sqrt(n)

    def inverse(z: float) -> Floats:
        return np.asarray(3 / skew * (np.cbrt(1 + skew * (z - skew / (6 * n))) - 1))

    return mean - widening * sd * inverse(t), mean - widening * sd * inverse(-t)


def t_quantile(n: int, confidence: float) -> float:
    """How many standard errors each arm of the t interval over `n` chips is long."""
    return float(stats.t.ppf((1 + confidence) / 2, n - 1))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference with its interval, and the p-value of there being none."""

    interval: Interval
    p: float


def paired_difference(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> Difference:
    """The mean of a - b over the same chips in the same order, by the paired t test.

    Equal differences on all chips give an interval without width, p = 0, or p = 1 where they are 0.
    Raises InputError for unequal lengths and as `t_interval`.
    """
    first, second = _sample(a, confidence), _sample(b, confidence)
    if len(first) != len(second):
        raise InputError(
            f"paired values are of the same chips, got {len(first)} and {len(second)} of them."
        )
    gaps = first - second
    interval = t_interval(gaps, confidence=confidence)
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    if error == 0:
        return Difference(interval=interval, p=1.0 if interval.mean == 0 else 0.0)
    p = 2 * stats.t.sf(abs(interval.mean) / error, len(gaps) - 1)
    return Difference(interval=interval, p=float(p))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: below a level at which all comparisons together err that rarely.

    Raises InputError for values outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    if not np.all((given >= 0) & (given <= 1)):
        raise InputError(f"p-values lie in [0, 1], got {list(p)}.")
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def chip_yield(values: ArrayLike, *, floor: float, confidence: float = 0.95) -> Interval:
    """The share of chips at or above a floor, with Clopper and Pearson's exact interval.

    Raises InputError without chips and for values that are not finite.
    """
    sample = _sample(values, confidence, fewest=1)
    passed = int((sample >= floor).sum())
    found = stats.binomtest(passed, len(sample)).proportion_ci(confidence, method="exact")
    return Interval(
        mean=passed / len(sample),
        low=float(found.low),
        high=float(found.high),
        n=len(sample),
        confidence=confidence,
        method="Clopper-Pearson",
    )


def recovered_fraction(
    repaired: ArrayLike,
    faulty: ArrayLike,
    *,
    healthy: float,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """How much of the loss to faults a repair wins back: (repaired - faulty) / (healthy - faulty).

    repaired, faulty: one value per chip, of the same chips.  healthy: what there is to win back to.
    The ratio of the means, with the percentile bootstrap over chips.
    Raises InputError when the loss is not shown to be one: the interval of healthy - faulty
    reaches 0.
    """
    after, before = _sample(repaired, confidence), _sample(faulty, confidence)
    if len(after) != len(before):
        raise InputError(f"the chips must be the same, got {len(after)} and {len(before)} of them.")
    loss = t_interval(healthy - before, confidence=confidence)
    if loss.low <= 0:
        raise InputError(
            f"no loss to recover is shown: healthy less faulty lies in [{loss.low:.4g}, "
            f"{loss.high:.4g}] over {loss.n} chips; take more chips or a higher fault rate."
        )
    chips = np.random.default_rng(seed).integers(len(after), size=(RESAMPLES, len(after)))
    gains = (after - before)[chips].mean(1) / (healthy - before)[chips].mean(1)
    low, high = np.quantile(gains, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(
        mean=float((after - before).mean() / (healthy - before).mean()),
        low=float(low),
        high=float(high),
        n=len(after),
        confidence=confidence,
        method="percentile bootstrap",
    )


def _sample(values: ArrayLike, confidence: float, *, fewest: int = 2) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < fewest:
        raise InputError(
            f"an interval needs values of {fewest} or more chips, one per chip, got the shape "
            f"{sample.shape}."
        )
    if not np.isfinite(sample).all():
        raise InputError(
            f"{int((~np.isfinite(sample)).sum())} of {len(sample)} values are not finite; leave "
            "their chips out or measure them again."
        )
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, got {confidence}.")
    return sample
