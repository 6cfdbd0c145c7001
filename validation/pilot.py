"""Before a long run: images and chips that the wanted interval takes, from a few chips."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from netlists.identity import digest
from validation.campaign.backends import Backend
from validation.campaign.run import run_campaign
from validation.campaign.store import Store
from validation.campaign.task import Result, Task, Versions
from validation.condition import Condition, require_unchanged_cells
from validation.precision import Advice, Cost, Pilot, Precision, advice
from validation.runner import TaskRunner

PILOT_CHIPS = 8
PILOT_IMAGES = 250
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a pilot found of one condition. cost: seconds per chip and per image."""

    condition: Condition
    pilot: Pilot
    cost: Cost

    def advice(self, precision: Precision) -> Advice:
        """Chips and images for that precision."""
        return advice(self.pilot, precision=precision, cost=self.cost)


def measure_pilot(
    conditions: Sequence[Condition],
    runner: TaskRunner,
    store: Store,
    backend: Backend,
    *,
    quantity: str,
    progress: Progress,
) -> list[Measured]:
    """A few chips of every condition with few images each, kept in the store like any others.

    A condition of which a chip fails, or whose quantity is no share, is left out.
    """
    versions = Versions.here()
    few = [replace(c, images=_few(runner, c)) for c in conditions]
    tasks = [
        Task(condition=c, number=k, versions=versions) for k in range(PILOT_CHIPS) for c in few
    ]
    with progress("pilot", len(tasks)) as done:
        run_campaign(
            tasks,
            runner,
            store,
            backend=backend,
            guard=lambda: require_unchanged_cells(conditions),
            on_done=done,
        )
    results = store.get(tasks)
    found = []
    for asked, condition in zip(conditions, few, strict=True):
        of_it = [results[t.id] for t in tasks if t.condition is condition and t.id in results]
        shares = [_share(one, quantity) for one in of_it]
        good = [share for share in shares if share is not None]
        if len(good) == PILOT_CHIPS:
            total = _total(runner, condition)
            pilot = Pilot.of(good, images=condition.images, total=total)
            cost = _cost(of_it, condition.images, runner, condition)
            found.append(Measured(condition=asked, pilot=pilot, cost=cost))
    return found


def images_wanted(
    conditions: Sequence[Condition],
    precision: Precision,
    runner: TaskRunner,
    store: Store,
    backend: Backend,
    *,
    quantity: str,
    progress: Progress,
) -> int:
    """Images per chip for a study: the most that any of its conditions wants; 0 for all.

    Kept in the store, so that a run of the same conditions that continues takes as many.
    """
    ids = sorted(Task(condition=c, number=0, versions=Versions.here()).id for c in conditions)
    key = f"images for {digest(precision, quantity, ids)}"
    known = store.meta(key)
    if known is not None:
        return int(known)
    measured = measure_pilot(
        conditions, runner, store, backend, quantity=quantity, progress=progress
    )
    wanted = max((one.advice(precision).images for one in measured), default=0)
    store.set_meta(key, wanted)
    return wanted


def _few(runner: TaskRunner, condition: Condition) -> int:
    return min(PILOT_IMAGES, _total(runner, condition))


def _total(runner: TaskRunner, condition: Condition) -> int:
    return len(runner.sources[condition.network].data().test_x)


def _share(result: Result, quantity: str) -> float | None:
    value: Any = None if result.values is None else result.values.get(quantity)
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def _cost(results: Sequence[Result], images: int, runner: TaskRunner, condition: Condition) -> Cost:
    """Seconds per chip and per image: one chip is timed again with a single image."""
    seconds = sorted(result.seconds for result in results)[len(results) // 2]
    start = time.perf_counter()
    task = Task(condition=replace(condition, images=2), number=0, versions=Versions.here())
    runner(task)
    alone = time.perf_counter() - start
    per_image = max(0.0, seconds - alone) / max(1, images - 2)
    return Cost(per_chip=min(alone, seconds), per_image=per_image or 1e-6)
