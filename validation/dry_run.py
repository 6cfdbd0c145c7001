"""What a study will take, before it is run."""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from validation.campaign.backends import Serial
from validation.campaign.store import Store
from validation.campaign.task import Failure, Task, Versions
from validation.condition import Condition
from validation.files.study_file import StudyGrid
from validation.pilot import PILOT_IMAGES, measure_pilot
from validation.precision import Advice
from validation.runner import TaskRunner, mapped_network
from validation.study import STORE, Progress, Study, silent, told
from validation.study_of_file import study_of

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """tasks: chips times conditions.  done: of them, those that the folder holds.

    seconds: of what is left, from one chip timed per kind of condition, on the workers asked for.
    memory: bytes per process that conductances, operators and images take.
    advice: with a precision, the dearest condition's.
    refused: a sentence per condition that cannot run; the estimate leaves it out.
    """

    conditions: int
    tasks: int
    done: int
    seconds: float
    memory: int
    workers: int
    advice: Advice | None
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.conditions} conditions, {self.tasks} tasks, {self.done} of them done; about "
            f"{_time(self.seconds)} on {self.workers} process{'es' * (self.workers > 1)}, "
            f"{self.memory / MIB:.0f} MiB per process beside the programs"
        ]
        if self.advice is not None:
            lines.append(f"for the wanted interval: {self.advice}")
        if self.refused:
            lines.append(
                f"{len(self.refused)} of {self.conditions} conditions cannot run and are left out "
                "of the estimate:"
            )
            lines += self.refused
        return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def dry_run(grid: StudyGrid, *, progress: Progress = silent) -> DryRun:
    """Map every plan, time one chip of each kind of condition, and add up.

    With [precision], a pilot of a few chips says how many chips and images it takes. Nothing is
    kept but networks that the study trains.
    """
    study = study_of(grid, progress=progress)
    run = grid.common.run
    runner = TaskRunner(sources=dict(study.sources), threads=run.threads, device=run.device)
    advised = None if study.precision is None else _advice(study, runner, progress)
    chips = study.chips if advised is None else advised.chips
    seconds = _seconds(study, runner, progress)
    done = _done(study, Path(run.out) / study.name)
    running = [c for c, one in zip(study.conditions, seconds, strict=True) if not one.refusal]
    whole = sum(one.seconds or 0.0 for one in seconds)
    left = max(0.0, chips * whole * (1 - done / max(1, chips * len(running))))
    return DryRun(
        conditions=len(study.conditions),
        tasks=chips * len(study.conditions),
        done=done,
        seconds=left / run.workers,
        memory=max((_memory(study, condition) for condition in running), default=0),
        workers=run.workers,
        advice=advised,
        refused=tuple(
            f"{told(condition)}: {one.refusal}"
            for condition, one in zip(study.conditions, seconds, strict=True)
            if one.refusal
        ),
    )


def _kind(condition: Condition) -> tuple[Any, ...]:
    """What decides how long a chip takes."""
    return (
        condition.network,
        condition.plan,
        condition.mitigations,
        condition.fidelity,
        condition.measure,
    )


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """Seconds that a chip takes, or why none can be measured."""

    seconds: float | None = None
    refusal: str = ""


def _seconds(study: Study, runner: TaskRunner, progress: Progress) -> list[_Timed]:
    """Seconds per chip of every condition; one of each kind is timed, after one to warm up."""

    def key_of(condition: Condition) -> tuple[Any, ...]:
        total = len(runner.sources[condition.network].data().test_x)
        return (*_kind(condition), max(condition.images, total))  # too many images are a kind

    keys = [key_of(condition) for condition in study.conditions]
    kinds = dict(zip(keys, study.conditions, strict=True))
    found = {}
    with progress("timing", len(kinds)) as done:
        for key, condition in kinds.items():
            try:
                found[key] = _Timed(seconds=_seconds_of(condition, runner))
            except Exception as problem:  # as a task of the run would fail, also of a user's own
                found[key] = _Timed(refusal=str(Failure.of(problem)))
            done(1)
    return [found[key] for key in keys]


def _seconds_of(condition: Condition, runner: TaskRunner) -> float:
    versions = Versions.here()
    total = len(runner.sources[condition.network].data().test_x)
    images = condition.images or total
    few = images if images > total else min(PILOT_IMAGES, images)
    timed = [_timed(runner, replace(condition, images=n), versions) for n in (2, 2, few)]
    per_image = max(0.0, timed[2] - timed[1]) / max(1, few - 2)
    return timed[1] + images * per_image


def _timed(runner: TaskRunner, condition: Condition, versions: Versions) -> float:
    start = time.perf_counter()
    runner(Task(condition=condition, number=0, versions=versions))
    return time.perf_counter() - start


def _advice(study: Study, runner: TaskRunner, progress: Progress) -> Advice | None:
    assert study.precision is not None
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / STORE) as store:
        measured = measure_pilot(
            study.conditions, runner, store, Serial(), quantity=study.quantity, progress=progress
        )
    advised = [one.advice(study.precision) for one in measured]
    return max(advised, key=lambda one: one.seconds, default=None)


def _done(study: Study, folder: Path) -> int:
    if not (folder / STORE).is_file():
        return 0
    with Store(folder / STORE, create=False) as store:
        return sum(r.values is not None for r in store.get(study.tasks()).values())


def _memory(study: Study, condition: Condition) -> int:
    source = study.sources[condition.network]
    network = mapped_network(source, condition.plan)
    held = sum(p.target.nbytes for p in network.programmes.values())
    data = source.data()
    images = data.test_x.nbytes + data.train_x.nbytes
    return 4 * held + images
