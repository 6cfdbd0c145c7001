"""Stuck devices: kinds, rates and sampled maps.

Faults belong to single memories, after weights have been encoded, never to weights. The states are
named by what the device does (LRS, HRS), because SA0 and SA1 mean opposite things in different
papers.
"""

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.errors import InputError


class FaultKind(IntEnum):
    """State of one memory; the values are those stored in files."""

    NONE = 0
    STUCK_LRS = 1
    STUCK_HRS = 2
    STUCK_AT = 3


# What SA0 and SA1 stand for, as each paper or tool defines them.
SA_CONVENTIONS: dict[str, tuple[FaultKind, FaultKind]] = {
    "rramedy": (FaultKind.STUCK_HRS, FaultKind.STUCK_LRS),
    "drop-connect": (FaultKind.STUCK_LRS, FaultKind.STUCK_HRS),
    "pytorx": (FaultKind.STUCK_LRS, FaultKind.STUCK_HRS),
}


def sa_kinds(convention: str | None) -> tuple[FaultKind, FaultKind]:
    """(SA0, SA1) as `convention` means them; raises InputError unless it is a known name."""
    if convention not in SA_CONVENTIONS:
        raise InputError(
            f"SA0/SA1 mean opposite states in different papers, and convention={convention!r} "
            f"names none of {', '.join(SA_CONVENTIONS)}; name one, or use stuck_lrs and stuck_hrs."
        )
    return SA_CONVENTIONS[convention]


@dataclass(frozen=True, kw_only=True)
class FaultRates:
    """Probability that a memory is stuck; raises InputError if above 1.

    stuck_at: anywhere between the two states, its conductance log-uniform.
    """

    stuck_lrs: float = 0.0
    stuck_hrs: float = 0.0
    stuck_at: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stuck_lrs", "stuck_hrs", "stuck_at"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"FaultRates: {name}={getattr(self, name)!r} must lie in [0, 1]; "
                    "rates are fractions, 5 % is 0.05."
                )
        if self.total > 1:
            raise InputError(
                f"FaultRates: stuck_lrs={self.stuck_lrs!r} + stuck_hrs={self.stuck_hrs!r} + "
                f"stuck_at={self.stuck_at!r} = {self.total!r} exceeds 1; a memory has one state."
            )

    @property
    def total(self) -> float:
        """Probability that a memory is stuck at all."""
        return self.stuck_lrs + self.stuck_hrs + self.stuck_at

    @classmethod
    def from_ocr(cls, total: float, ocr: float) -> "FaultRates":
        """Split a total rate by the open-close ratio, stuck-HRS : stuck-LRS (fpt, Section IV-A)."""
        if not 0 <= ocr < float("inf"):
            raise InputError(f"FaultRates: ocr={ocr!r} must be a finite ratio of at least 0.")
        stuck_lrs = total / (1 + ocr)
        return cls(stuck_lrs=stuck_lrs, stuck_hrs=total - stuck_lrs)  # never more than the total

    @classmethod
    def from_sa(
        cls, *, sa0: float = 0.0, sa1: float = 0.0, convention: str | None = None
    ) -> "FaultRates":
        """Rates given as SA0/SA1 under a named convention; raises InputError without one."""
        rate = dict(zip(sa_kinds(convention), (sa0, sa1), strict=True))
        return cls(stuck_lrs=rate[FaultKind.STUCK_LRS], stuck_hrs=rate[FaultKind.STUCK_HRS])


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultMap:
    """Which memories of one tile are stuck, and how that came to be.

    kind: `FaultKind` values, int8, the tile's `g_shape`.
    g_stuck: conductance that a stuck memory holds, S, same shape: where it is STUCK_AT one, and
        where it is stuck at LRS or HRS and not just at the nominal state; NaN elsewhere.
    requested: the rates asked for, where the map was sampled.
    seed: the random stream it was sampled from, as text.

    Raises InputError on an unknown kind, and on a STUCK_AT without a conductance of at least 0 S.
    """

    kind: NDArray[np.int8]
    g_stuck: FloatArray | None = None
    requested: FaultRates | None = None
    seed: str = ""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        given = np.asarray(self.kind)
        known = (given >= FaultKind.NONE) & (given <= FaultKind.STUCK_AT) & (given == given // 1)
        if not known.all():
            where = tuple(int(k) for k in np.argwhere(~known)[0])
            raise InputError(
                f"FaultMap: kind{list(where)}={given[where]!r} is not one of "
                f"{', '.join(f'{int(k)} ({k.name})' for k in FaultKind)}."
            )
        kind = given.astype(np.int8)
        kind.flags.writeable = False
        object.__setattr__(self, "kind", kind)
        content = str(kind.shape).encode() + np.ascontiguousarray(kind).tobytes()
        g_stuck = self._checked_states(kind)
        if g_stuck is not None:
            content += g_stuck.tobytes()
        object.__setattr__(self, "g_stuck", g_stuck)
        object.__setattr__(self, "sha256", hashlib.sha256(content).hexdigest())

    def _checked_states(self, kind: NDArray[np.int8]) -> FloatArray | None:
        """Conductances of stuck memories that are given, S; None where there are none."""
        at = kind == FaultKind.STUCK_AT
        if self.g_stuck is None and not at.any():
            return None
        if self.g_stuck is None or np.shape(self.g_stuck) != kind.shape:
            if self.g_stuck is not None or at.any():
                raise InputError(
                    f"FaultMap: g_stuck must give a conductance of shape {kind.shape} where "
                    "memories are STUCK_AT one."
                )
            return None
        g = np.where(kind == FaultKind.NONE, np.nan, self.g_stuck)
        bad = (at & np.isnan(g)) | (~np.isnan(g) & ~(np.isfinite(g) & (g >= 0)))
        if bad.any():
            where = tuple(int(k) for k in np.argwhere(bad)[0])
            raise InputError(
                f"FaultMap: g_stuck{list(where)}={g[where]!r} S must be finite and at least 0."
            )
        if np.isnan(g).all():
            return None
        g.flags.writeable = False
        return g

    @property
    def realised(self) -> FaultRates:
        """The rates counted on the map."""
        lrs, hrs, at = (
            np.count_nonzero(self.kind == kind) / self.kind.size
            for kind in (FaultKind.STUCK_LRS, FaultKind.STUCK_HRS, FaultKind.STUCK_AT)
        )
        return FaultRates(stuck_lrs=lrs, stuck_hrs=hrs, stuck_at=at)

    def applied_to(self, g: FloatArray, *, g_lrs: float, g_hrs: float) -> FloatArray:
        """Conductances g, S, with those of the stuck memories overwritten."""
        stuck = np.select(
            [self.kind == FaultKind.STUCK_LRS, self.kind == FaultKind.STUCK_HRS],
            [g_lrs, g_hrs],
            default=g,
        )
        if self.g_stuck is None:
            return stuck
        return np.where(np.isnan(self.g_stuck), stuck, self.g_stuck)
