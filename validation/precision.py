"""How many chips and images a wanted interval takes, and when to stop.

Two things vary: chips (their faults), and which images a chip is tested with. Each chip draws its
own images, the same in every condition, so that conditions compare on equal terms and the images
average out with the chips: one fixed subset is an error that no number of chips averages out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.errors import InputError
from validation.campaign.task import Number
from validation.statistics import Floats, Interval, hall_bounds, t_quantile

_STREAM = 0x696D6167  # "imag": images are drawn apart from whatever else uses the seed


def images_of_chip(seed: int, number: int, total: int, count: int) -> NDArray[np.int64]:
    """Which of the test images a chip is tested with: `count` of `total`, sorted, none twice.

    They depend on the seed and the chip's number alone; more images include the fewer.
    Raises InputError when there are not so many.
    """
    if not 0 < count <= total:
        raise InputError(f"a chip is tested with 1 to {total} images, got {count}.")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, number)))
    return np.sort(rng.permutation(total)[:count])


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A wanted interval of a mean over chips, and the rule by which its measurement ends.

    half_width: of the interval, in the unit of what is measured.  confidence: of the interval.
    images: per chip; None for what `advice` says after a pilot.  min_chips: before the first look,
    also the pilot.  step: chips between looks.  max_chips: where to end in any case.

    The rule: from `min_chips` on, at every `step` chips, end when both arms of the interval are at
    most `half_width`. The interval is Hall's, which allows for skewness, with both arms 1 + 2 / n
    longer. Why not Student's at every chip: ending when luck kept the spread small makes it cover
    too little, and most where few chips are bad, since samples that hide the bad chips look both
    better and more certain (exponential losses: 88 % instead of 95 %). Hall's interval sees the
    skewness and measures on; 30 chips keep the first look from being fooled; the step and the
    longer arms pay for looking often. Simulated, 20,000 campaigns each at a half width of a third
    of the spread: covered 95.3 % where chips are normal, 95.2 % with skewness 1, 94.5 % with
    skewness 2, with 56, 60 and 66 chips where a known spread would take 44; other widths and
    images per chip: 94.2 to 96.4 %.

    Raises InputError for a width that is not positive, and numbers of chips that contradict.
    """

    half_width: float
    confidence: float = 0.95
    images: int | None = None
    min_chips: int = 30
    step: int = 8
    max_chips: int = 1000

    def __post_init__(self) -> None:
        if not self.half_width > 0:
            raise InputError(f"a half width must be positive, got {self.half_width}.")
        if not 0 < self.confidence < 1:
            raise InputError(f"a confidence lies between 0 and 1, got {self.confidence}.")
        if not 3 <= self.min_chips <= self.max_chips or self.step < 1:
            raise InputError(
                f"needs 3 <= min_chips <= max_chips and step >= 1, got min_chips = "
                f"{self.min_chips}, max_chips = {self.max_chips}, step = {self.step}."
            )
        if self.images is not None and self.images < 1:
            raise InputError(f"a chip is tested with at least 1 image, got {self.images}.")

    def looks(self) -> Iterator[int]:
        """The numbers of chips at which the rule is asked."""
        yield from range(self.min_chips, self.max_chips, self.step)
        yield self.max_chips

    def bounds(self, values: ArrayLike) -> tuple[Floats, Floats]:
        """The interval's bounds, each [...]; values[..., n] of n >= 3 chips on the last axis."""
        sample = np.asarray(values, dtype=np.float64)
        widening = 1 + 2 / sample.shape[-1]
        return hall_bounds(sample, confidence=self.confidence, widening=widening)

    def interval(self, values: ArrayLike) -> Interval:
        """The interval over the chips at which the rule ended, or over however many there are."""
        sample = np.asarray(values, dtype=np.float64)
        if sample.ndim != 1 or len(sample) < 3 or not np.isfinite(sample).all():
            raise InputError(
                f"an interval that allows for skewness needs finite values of 3 or more chips, "
                f"got {sample.tolist()[:5]} of {sample.size}."
            )
        low, high = self.bounds(sample)
        return Interval(
            mean=float(sample.mean()),
            low=float(low),
            high=float(high),
            n=len(sample),
            confidence=self.confidence,
            method="Hall, sequential",
        )

    def reached(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Whether the interval is narrow enough; values[..., n] gives [...]."""
        sample = np.asarray(values, dtype=np.float64)
        low, high = self.bounds(sample)
        mean = sample.mean(-1)
        return np.asarray(np.maximum(high - mean, mean - low) <= self.half_width)

    def chips(self, values: Sequence[float]) -> int | None:
        """The number of leading chips at which the rule ends; None where it asks for more."""
        for n in self.looks():
            if n > len(values):
                return None
            if n == self.max_chips or self.reached(values[:n]):
                return n
        return None


@dataclass(frozen=True, kw_only=True)
class StopWhenPrecise:
    """The stop rule of a campaign (`campaign.run.StopRule`): one measured quantity is precise.

    quantity: its name among the results.
    """

    precision: Precision
    quantity: str

    def chips(self, results: Sequence[Mapping[str, Number]]) -> int | None:
        """The number of leading chips that suffices.

        Raises InputError when the results do not hold the quantity as a number.
        """
        if len(results) < self.precision.min_chips:
            return None
        try:
            return self.precision.chips([float(result[self.quantity]) for result in results])
        except (KeyError, ValueError):
            raise InputError(
                f"the precision is asked of {self.quantity!r}, which is not a number of each "
                f"result; there are {', '.join(results[0])}."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What varies, estimated from some chips: variances of a share such as an accuracy.

    between: of the true shares of chips.  within: p (1 - p) of single images, mean over chips.
    total: images there are to draw from.
    """

    between: float
    within: float
    total: int

    @classmethod
    def of(cls, shares: ArrayLike, *, images: int, total: int) -> "Pilot":
        """From one share of right answers per chip, each of `images` of `total` images.

        Raises InputError for shares outside [0, 1], fewer than 2 chips, or images that are not
        2 to `total`.
        """
        sample = np.asarray(shares, dtype=np.float64)
        if sample.ndim != 1 or len(sample) < 2 or not ((sample >= 0) & (sample <= 1)).all():
            raise InputError(
                f"a pilot needs shares in [0, 1] of 2 or more chips, got "
                f"{sample.tolist()[:5]} of {sample.size}."
            )
        if not 2 <= images <= total:
            raise InputError(f"a pilot needs 2 to {total} images per chip, got {images}.")
        within = float((sample * (1 - sample)).mean()) * images / (images - 1)
        drawn = within / images * (1 - images / total)
        return cls(between=max(0.0, float(sample.var(ddof=1)) - drawn), within=within, total=total)

    def variance(self, images: int) -> float:
        """Of one chip's measured share, tested with so many images drawn without replacement."""
        return self.between + self.within / images * (1 - images / self.total)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds that one chip takes, and that each of its images takes on top."""

    per_chip: float
    per_image: float

    def __post_init__(self) -> None:
        if self.per_chip < 0 or self.per_image < 0 or not math.isfinite(self.per_chip):
            raise InputError(
                f"seconds cannot be negative, got {self.per_chip} and {self.per_image}."
            )

    def seconds(self, chips: int, images: int) -> float:
        """Of a whole condition."""
        return chips * (self.per_chip + images * self.per_image)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Images per chip, chips, and the seconds they take; `str` is the sentence.

    enough: whether so many chips reach the wanted width, else max_chips came first.
    half_width: what is to be expected.
    """

    images: int
    chips: int
    seconds: float
    half_width: float
    enough: bool

    def __str__(self) -> str:
        found = (
            f"{self.chips} chips of {self.images} images each, about {self.seconds:.3g} s per "
            f"condition, give a half width of {self.half_width:.3g}"
        )
        return found + ("." if self.enough else ", more than wanted: allow more chips.")


def advice(pilot: Pilot, *, precision: Precision, cost: Cost) -> Advice:
    """The cheapest images per chip and the chips that the wanted interval then takes.

    The variance of a mean over n chips of m images is (b + w / m) / n with b the variance between
    chips less w / total; n (c + m d) seconds are least at m = sqrt(w c / (b d)), from 1 to all
    images (Cochran, Sampling Techniques, 1977, section 10.6), or at more where that would take more
    than `max_chips`. `precision.images` is kept where it is given. Raises InputError when there are
    not so many images.
    """
    images = precision.images or _cheapest_images(pilot, precision, cost)
    if images > pilot.total:
        raise InputError(f"{images} images per chip are wanted and there are {pilot.total}.")
    sd = math.sqrt(pilot.variance(images))
    for chips in precision.looks():
        half_width = sd * _arm(chips, precision)
        if half_width <= precision.half_width:
            break
    return Advice(
        images=images,
        chips=chips,
        seconds=cost.seconds(chips, images),
        half_width=half_width,
        enough=half_width <= precision.half_width,
    )


def _arm(chips: int, precision: Precision) -> float:
    """Length of the rule's interval to one side, without skewness, for a spread of 1."""
    return t_quantile(chips, precision.confidence) / math.sqrt(chips) * (1 + 2 / chips)


def _cheapest_images(pilot: Pilot, precision: Precision, cost: Cost) -> int:
    between = pilot.between - pilot.within / pilot.total
    allowed = (precision.half_width / _arm(precision.max_chips, precision)) ** 2 - between
    if between <= 0 or cost.per_image == 0 or allowed <= 0:
        return pilot.total
    best = round(math.sqrt(pilot.within * cost.per_chip / (between * cost.per_image)))
    fewest = math.ceil(pilot.within / allowed)  # with fewer, max_chips would not suffice
    return min(pilot.total, max(1, best, fewest))
