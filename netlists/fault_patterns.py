"""Where stuck memories lie on a tile, and what they hold.

Every pattern realises the same rates per memory. Maps at rising rates of one open-close ratio are
nested in each: what is stuck at 5 % is stuck alike at 10 %.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultRates

Kinds = NDArray[np.int8]


class Pattern(Protocol):
    """Fault kinds of the memories of a tile."""

    def kinds(
        self, shape: tuple[int, int, int], rates: FaultRates, *, rng: np.random.Generator
    ) -> Kinds:
        """Memories stuck at LRS or HRS, int8 [memories per cell, rows, cols].

        The first plane does not depend on how many there are.
        """
        ...


@dataclass(frozen=True)
class Independent:
    """Each memory by itself.

    One uniform number decides: LRS from below, HRS from above, so that maps are nested in each rate
    alone too.
    """

    def kinds(
        self, shape: tuple[int, int, int], rates: FaultRates, *, rng: np.random.Generator
    ) -> Kinds:
        """See `Pattern.kinds`."""
        u = rng.random(shape)
        kind = np.zeros(shape, dtype=np.int8)
        kind[u < rates.stuck_lrs] = FaultKind.STUCK_LRS
        kind[u >= 1.0 - rates.stuck_hrs] = FaultKind.STUCK_HRS
        return kind


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Whole rows or columns, all of a line stuck alike, and single memories beside them.

    along: "row" or "col".  share: of the stuck memories that lie on stuck lines.

    March tests on fabricated arrays saw whole bit lines fail (Chen et al., IEEE Trans. Comput. 64,
    2015). Raises InputError for a share outside [0, 1].
    """

    along: Literal["row", "col"] = "row"
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.along not in ("row", "col"):
            raise InputError(f"Lines: along={self.along!r} must be 'row' or 'col'.")
        _require_share("Lines", self.share)

    def kinds(
        self, shape: tuple[int, int, int], rates: FaultRates, *, rng: np.random.Generator
    ) -> Kinds:
        """See `Pattern.kinds`."""
        lines, single = rng.spawn(2)
        count = shape[1] if self.along == "row" else shape[2]
        at, lrs = lines.random((2, count))
        axis = (slice(None), None) if self.along == "row" else (None, slice(None))
        start = np.broadcast_to(_rate_of(at, self.share)[axis], shape[1:])
        return _first(
            start, np.broadcast_to(lrs[axis], shape[1:]), self.share, shape, rates, single
        )


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Discs of neighbouring memories, all of a disc stuck alike, and single memories beside them.

    radius: of a disc, in cells.  share: of the stuck memories that lie in discs.
    Raises InputError for a radius that is not positive and a share outside [0, 1].
    """

    radius: float = 2.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.radius < 1e3:
            raise InputError(f"Clusters: radius={self.radius!r} must lie in (0, 1000).")
        _require_share("Clusters", self.share)

    def kinds(
        self, shape: tuple[int, int, int], rates: FaultRates, *, rng: np.random.Generator
    ) -> Kinds:
        """See `Pattern.kinds`."""
        discs, single = rng.spawn(2)
        reach = int(self.radius)
        offsets = [
            (i, j)
            for i in range(-reach, reach + 1)
            for j in range(-reach, reach + 1)
            if i * i + j * j <= self.radius**2
        ]
        # Centres beyond the border count too, so that cells at the border are as likely as others.
        _, rows, cols = shape
        at, lrs = discs.random((2, rows + 2 * reach, cols + 2 * reach))
        start, kind = np.full((rows, cols), np.inf), np.zeros((rows, cols))
        for i, j in offsets:
            window = slice(reach + i, reach + i + rows), slice(reach + j, reach + j + cols)
            sooner = at[window] < start
            start = np.where(sooner, at[window], start)
            kind = np.where(sooner, lrs[window], kind)
        # A cell is spared while none of its discs has come: 1 - (1 - u)^discs is uniform.
        covered = -np.expm1(len(offsets) * np.log1p(-start))
        return _first(_rate_of(covered, self.share), kind, self.share, shape, rates, single)


def _rate_of(u: FloatArray, share: float) -> FloatArray:
    """Total rate from which on something is stuck that the pattern places at share * rate."""
    return np.divide(u, share, out=np.full_like(u, np.inf), where=share > 0)


def _first(
    start: FloatArray,
    lrs: FloatArray,
    share: float,
    shape: tuple[int, int, int],
    rates: FaultRates,
    rng: np.random.Generator,
) -> Kinds:
    """Kinds by whatever gets hold of a memory at the lowest rate: the pattern, or chance alone.

    start: rate from which on the pattern holds a cell, [rows, cols].  lrs: uniform numbers that
    decide the pattern's kind there.
    """
    total = rates.stuck_lrs + rates.stuck_hrs
    u = rng.random((shape[0], 2, *shape[1:]))
    # Alone at rate r: (1 - share) r / (1 - share r), which makes r of all memories together.
    alone = u[:, 0] / (1 - share + share * u[:, 0]) if share < 1 else np.full(shape, np.inf)
    by_pattern = start[None] <= alone
    begins = np.where(by_pattern, start[None], alone)
    decides = np.where(by_pattern, lrs[None], u[:, 1])
    kind = np.zeros(shape, dtype=np.int8)
    stuck = begins < total
    is_lrs = decides * total < rates.stuck_lrs
    kind[stuck & is_lrs] = FaultKind.STUCK_LRS
    kind[stuck & ~is_lrs] = FaultKind.STUCK_HRS
    return kind


def _require_share(owner: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"{owner}: share={share!r} must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class Lognormal:
    """Conductances with this median, S, whose logarithm has the deviation sigma.

    Raises InputError for a median that is not positive or a negative sigma.
    """

    median: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.median < float("inf") or not 0 <= self.sigma < float("inf"):
            raise InputError(
                f"Lognormal: median={self.median!r} S must be positive and sigma={self.sigma!r} at "
                "least 0, both finite."
            )

    def draw(self, shape: tuple[int, ...], *, rng: np.random.Generator) -> FloatArray:
        """Conductances, S."""
        return np.asarray(self.median * np.exp(self.sigma * rng.standard_normal(shape)))


@dataclass(frozen=True, kw_only=True)
class StuckStates:
    """What stuck memories hold, also outside the range that memories are programmed in.

    lrs, hrs: of memories stuck at LRS and HRS; None for the nominal states. Public chips have
    stuck-on devices above 400 uS where healthy ones range from 133 to 233 uS.
    """

    lrs: Lognormal | None = None
    hrs: Lognormal | None = None

    def fill(self, g_stuck: FloatArray, kind: Kinds, *, rng: np.random.Generator) -> None:
        """Put what stuck memories hold into g_stuck, S, in place; same shape as kind."""
        streams = rng.spawn(2)
        laws = ((self.lrs, FaultKind.STUCK_LRS), (self.hrs, FaultKind.STUCK_HRS))
        for (law, state), stream in zip(laws, streams, strict=True):
            if law is not None:
                at = kind == state
                g_stuck[at] = law.draw(kind.shape, rng=stream)[at]
