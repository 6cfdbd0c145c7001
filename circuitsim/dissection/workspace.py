"""Scratch memory for the kernels, kept between calls: fresh pages cost more than small tiles do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from circuitsim.dissection.plan import Plan
from circuitsim.dissection.simd import LANES
from netlists.arrays import FloatArray, IntArray

KEEP_BYTES = 256 * 2**20
"""Scratch that may stay allocated while nothing runs."""
_idle: list["Scratch"] = []


def aligned(size: int) -> FloatArray:
    """Uninitialised doubles that start on a cache line."""
    raw = np.empty(size + LANES)
    start = -(raw.ctypes.data // 8) % LANES
    return raw[start : start + size]


def aligned_zeros(size: int) -> FloatArray:
    """Zeroed doubles that start on a cache line."""
    out = aligned(size)
    out[:] = 0.0
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Scratch:
    """What one thread writes to and nobody reads afterwards (sizes in doubles, see Plan)."""

    plan: Plan
    schur: FloatArray
    scaled: FloatArray
    slots: FloatArray
    panel: FloatArray
    small: FloatArray
    places: IntArray

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (self.schur, self.scaled, self.slots, self.panel, self.small))


def scratch_bytes(plan: Plan) -> int:
    """Bytes of one Scratch."""
    return 8 * (
        plan.schur_size
        + 2 * plan.panel_size
        + LANES * plan.max_slots
        + (LANES + 1) * (plan.max_front + LANES)
    )


@contextmanager
def scratch(plan: Plan) -> Iterator[Scratch]:
    """Lend scratch for a plan: the last one of that plan that came back, or a new one."""
    mine = next((s for s in reversed(_idle) if s.plan is plan), None)
    if mine is not None:
        try:
            _idle.remove(mine)
        except ValueError:  # another thread was faster
            mine = None
    if mine is None:
        mine = Scratch(
            plan=plan,
            schur=aligned(plan.schur_size),
            scaled=aligned(plan.panel_size),
            slots=aligned(LANES * plan.max_slots),
            panel=aligned(plan.panel_size),
            small=aligned((LANES + 1) * (plan.max_front + LANES)),
            places=np.empty((2, LANES), np.int64),
        )
    try:
        yield mine
    finally:
        _idle.append(mine)
        while len(_idle) > 1 and sum(s.nbytes for s in _idle) > KEEP_BYTES:
            _idle.pop(0)
