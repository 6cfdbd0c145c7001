"""A campaign: what the store lacks is run, and every result is kept as soon as it is there."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from validation.campaign.backends import Backend
from validation.campaign.store import Store
from validation.campaign.task import Number, Result, Runner, Task


class StopRule(Protocol):
    """Says when a condition has been measured well enough."""

    def chips(self, results: Sequence[Mapping[str, Number]]) -> int | None:
        """The least number of leading results that suffices, or None when all are too few.

        Must depend on the results alone, and not change when more follow.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to.

    kept: tasks that the store had numbers of.  ran: tasks that gave numbers now.
    failed: tasks that failed now.  unneeded: tasks left out since a stop rule was satisfied.
    reasons: how many failed for which reason.
    last: by condition id, the last chip that counts where a stop rule was satisfied.
    """

    kept: int
    ran: int
    failed: int
    unneeded: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)

    def counting(self, tasks: Iterable[Task[Any]]) -> list[Task[Any]]:
        """The tasks less those after the chip at which their condition's stop rule was satisfied.

        Some of those are in the store, since several run at once; what leaves them out comes out
        the same however many processes ran.
        """
        return [t for t in tasks if t.number <= self.last.get(t.condition_id, t.number)]

    def __str__(self) -> str:
        parts = [f"{self.ran} tasks ran, {self.kept} were there"]
        if self.unneeded:
            parts.append(f"{self.unneeded} were not needed")
        if self.failed:
            most, times = max(self.reasons.items(), key=lambda item: item[1])
            which = f"all: {most}" if times == self.failed else f"{times} of them: {most}"
            parts.append(f"{self.failed} failed and are tried again by the next run ({which})")
        return "; ".join(parts) + "."


def run_campaign(
    tasks: Iterable[Task[Any]],
    runner: Runner,
    store: Store,
    *,
    backend: Backend,
    stop: StopRule | None = None,
    guard: Callable[[], None] = lambda: None,
    on_done: Callable[[int], None] = lambda settled: None,
) -> Summary:
    """Run what the store lacks.

    runner: from a task to named numbers; must be picklable for other processes. What it raises is
    kept as a failure, which a later run tries again, and the run goes on.
    stop: asked after every result; a condition that it is satisfied with takes no more chips. It
    sees each condition's results in the order of chip numbers, without gaps but for failures, so
    what it says depends neither on the backend nor on what finished first.
    guard: called before a result is kept; what it raises ends the run, and the result is not kept.
    on_done: hears how many more tasks are settled, those kept and not needed included.
    An interrupt passes through; what had finished is kept. Raises InputError when the store cannot
    be written or gives other numbers than a task did before, and what the backend raises.
    """
    every = list({task.id: task for task in tasks}.values())
    known = store.get(every)
    for task in {task.condition_id: task for task in every}.values():
        store.label(task)
    have = {key: result for key, result in known.items() if result.values is not None}
    progress = _Progress(every, have, stop)
    on_done(len(have) + progress.newly_unneeded())
    ran, reasons = 0, Counter[str]()
    open_tasks = [task for task in every if task.id not in have]
    if not open_tasks:
        return progress.summary(kept=len(have), ran=0, reasons=reasons)
    with closing(backend.outcomes(runner, progress.needed(open_tasks))) as outcomes:
        for task, result in outcomes:
            guard()
            store.put(task, result)
            if result.failure is None:
                ran += 1
            else:
                reasons[str(result.failure)] += 1
            progress.settle(task, result)
            on_done(1 + progress.newly_unneeded())
    return progress.summary(kept=len(have), ran=ran, reasons=reasons)


class _Progress:
    """What is settled, by condition in the order of chip numbers, and what the stop rule ended."""

    def __init__(
        self, tasks: Sequence[Task[Any]], have: Mapping[str, Result], stop: StopRule | None
    ) -> None:
        self._stop = stop
        self._settled = dict(have)
        self._started: set[str] = set()
        self._unneeded = self._told = 0
        self._last: dict[str, int] = {}
        self._ahead: dict[str, list[Task[Any]]] = defaultdict(list)  # the next chip stands last
        self._values: dict[str, list[Mapping[str, Number]]] = defaultdict(list)
        self._numbers: dict[str, list[int]] = defaultdict(list)
        for task in sorted(tasks, key=lambda task: -task.number):
            self._ahead[task.condition_id].append(task)
        for condition in self._ahead:
            self._advance(condition)

    def needed(self, tasks: Iterable[Task[Any]]) -> Iterator[Task[Any]]:
        """The tasks whose condition is still open when they are asked for."""
        for task in tasks:
            if task.condition_id not in self._last:
                self._started.add(task.id)
                yield task

    def settle(self, task: Task[Any], result: Result) -> None:
        self._settled[task.id] = result
        self._advance(task.condition_id)

    def newly_unneeded(self) -> int:
        """How many tasks became unneeded since this was asked last."""
        new, self._told = self._unneeded - self._told, self._unneeded
        return new

    def summary(self, *, kept: int, ran: int, reasons: Mapping[str, int]) -> Summary:
        return Summary(
            kept=kept,
            ran=ran,
            failed=sum(reasons.values()),
            unneeded=self._unneeded,
            reasons=dict(reasons),
            last=dict(self._last),
        )

    def _advance(self, condition: str) -> None:
        ahead, values = self._ahead[condition], self._values[condition]
        numbers = self._numbers[condition]
        before = len(values)
        while ahead and ahead[-1].id in self._settled:
            task = ahead.pop()
            found = self._settled[task.id].values
            if found is not None:
                values.append(found)
                numbers.append(task.number)
        if self._stop is None or condition in self._last or len(values) == before:
            return
        enough = self._stop.chips(values)
        if enough is not None:
            self._last[condition] = numbers[enough - 1]
            open_now = (task.id for task in ahead if task.id not in self._settled)
            self._unneeded += sum(task not in self._started for task in open_now)
