"""Both cores for compiled kernels that hold no lock: plain Python threads, nothing else.

A compiled parallel loop and a threaded BLAS that take turns stall each other for milliseconds a
hand-over. Here neither is used: kernels are serial, and the tree or the tiles are shared out.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise


def core_count() -> int:
    """Cores this process may use; OMP_NUM_THREADS, which process pools set, lowers it."""
    available = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, max(1, int(asked))) if asked.isdigit() else available


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="crossbar")


if hasattr(os, "register_at_fork"):  # a forked child has the pools but none of their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_together(jobs: Sequence[Callable[[], object]]) -> None:
    """Run jobs at once, the first on the calling thread: that is one hand-over fewer."""
    waiting = [_pool(len(jobs) - 1).submit(job) for job in jobs[1:]]
    try:
        for job in jobs[:1]:
            job()
    finally:
        for future in waiting:
            future.result()


def shares(count: int, parts: int, unit: int = 1) -> list[tuple[int, int]]:
    """Cut range(count) into at most `parts` runs (begin, end) of whole units."""
    units = -(-count // unit)
    parts = max(1, min(parts, units))
    cuts = [units * k // parts * unit for k in range(parts)] + [count]
    return list(pairwise(cuts))
