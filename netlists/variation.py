"""Variation of memories: what a chip's conductances are, against what they were meant to be.

Each kind is data with one method, `apply(g, rng)`, from conductances S to conductances S of the
same shape; a sequence of kinds is applied in order. Stuck memories are not touched here: faults
overwrite conductances afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from netlists.arrays import FloatArray
from netlists.errors import InputError

# Smallest factor a Gaussian draw may leave of a conductance or resistance: neither can vanish or
# change sign, and wide distributions would reach there.
FLOOR = 1e-3


def _require(owner: object, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise InputError(
                f"{type(owner).__name__}: {name}={value!r} must be finite and at least 0."
            )


class Variation(Protocol):
    """Conductances as meant, S -> as they are, S, any shape."""

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """The changed conductances; equal generators give equal chips."""
        ...


@dataclass(frozen=True, kw_only=True)
class LognormalSpread:
    """Device-to-device: G' = G exp(sigma n), n standard normal, so that the median stays G."""

    sigma: float

    def __post_init__(self) -> None:
        _require(self, sigma=self.sigma)

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`."""
        return np.asarray(g * np.exp(self.sigma * rng.standard_normal(g.shape)))


@dataclass(frozen=True, kw_only=True)
class GaussianSpread:
    """Device-to-device: G' = G (1 + sigma n), floored at a thousandth of G."""

    sigma: float

    def __post_init__(self) -> None:
        _require(self, sigma=self.sigma)

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`."""
        return np.asarray(g * np.maximum(1 + self.sigma * rng.standard_normal(g.shape), FLOOR))


@dataclass(frozen=True, kw_only=True)
class ResistanceError:
    """R' = R (1 + e), e normal with deviation sigma, floored at a thousandth of R.

    The variability of fpt (experimental setup; it takes sigma from 0.1 to 0.5).
    """

    sigma: float

    def __post_init__(self) -> None:
        _require(self, sigma=self.sigma)

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`."""
        return np.asarray(g / np.maximum(1 + self.sigma * rng.standard_normal(g.shape), FLOOR))


@dataclass(frozen=True, kw_only=True)
class ProgrammingError:
    """G' = G + sigma g_range n: writing leaves an error that does not depend on the state.

    sigma: of the error, over the programmable range.  g_range: G_LRS - G_HRS, S.
    Results are floored at a thousandth of G.
    """

    sigma: float
    g_range: float

    def __post_init__(self) -> None:
        _require(self, sigma=self.sigma, g_range=self.g_range)

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`."""
        error = self.sigma * self.g_range * rng.standard_normal(g.shape)
        return np.asarray(np.maximum(g + error, FLOOR * g))


@dataclass(frozen=True, kw_only=True)
class RetentionDrift:
    """G' = G (t / t0)^-nu, each memory with its own exponent, nu + sigma n.

    time, reference: t and t0, s.  nu: mean exponent; a positive one loses conductance.
    """

    time: float
    nu: float
    sigma: float = 0.0
    reference: float = 1.0

    def __post_init__(self) -> None:
        _require(self, sigma=self.sigma)
        if not (0 < self.reference <= self.time < float("inf")):
            raise InputError(
                f"RetentionDrift: time={self.time!r} s must be finite and at least "
                f"reference={self.reference!r} s > 0."
            )
        if not abs(self.nu) < float("inf"):
            raise InputError(f"RetentionDrift: nu={self.nu!r} must be finite.")

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`."""
        exponent = self.nu + self.sigma * rng.standard_normal(g.shape)
        return np.asarray(g * np.exp(-exponent * np.log(self.time / self.reference)))


def vary(g: FloatArray, kinds: Sequence[Variation], *, rng: np.random.Generator) -> FloatArray:
    """Conductances after every kind in turn, S, same shape; each kind draws from its own stream.

    The streams depend on `rng` and the kind's place alone, so that widening one spread moves every
    memory along its own direction and leaves the other kinds as they were.
    """
    result = np.asarray(g, dtype=np.float64)
    for kind, stream in zip(kinds, rng.spawn(len(kinds)), strict=True):
        result = kind.apply(result, rng=stream)
    return result
