"""The main job: train, map, damage, mitigate, solve, audit, report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitsim import calibrate, default_session
from netlists import InputError
from nnmap import Fidelity, accuracy
from validation.audit.sample import audit, choose_reads
from validation.campaign.store import Store
from validation.campaign.task import Failure
from validation.condition import Condition
from validation.files.study_file import StudyFile, StudyGrid
from validation.losses import losses
from validation.report.page import reference_figures, write_report
from validation.report.tile_view import make_tile_view
from validation.runner import TaskRunner
from validation.study import STORE, Progress, Results, Study, silent
from validation.study_of_file import study_of

BATCH = 250  # images at a time, which bounds the memory of convolutions


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found: results, audits, fault-free losses, and the report's path.

    unfinished: sentences about what beside the chips could not be done, such as an audit.
    """

    results: Results
    audits: Sequence[Mapping[str, Any]]
    unfinished: Sequence[str]
    losses: Sequence[Mapping[str, Any]]
    report: Path


def require_writable(folder: Path) -> None:
    """Create the folder; raises InputError when nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise InputError(
            f"{folder} cannot be written: {problem.strerror}; choose another folder with [run] out."
        ) from None


def evaluate(grid: StudyGrid, *, progress: Progress = silent) -> Evaluation:
    """Run, or continue, a study and write its report.

    Once the chips are settled their rows can be exported and the report is written; what else
    fails then is told in `unfinished`.
    Raises InputError on input that cannot be used and where every chip failed, MissingToolError
    without ngspice.
    """
    file = grid.common
    if file.reference:
        reference_figures(file.reference)
    require_writable(file.folder())
    default_session()  # a missing ngspice must show before the work, not after it
    study = study_of(grid, progress=progress)
    _prepare(study, progress)
    run = file.run
    results = study.run(
        run.out,
        workers=run.workers,
        threads=run.threads,
        scheduler=run.scheduler,
        device=run.device,
        progress=progress,
    )
    with Store(results.folder / STORE) as store:
        results.keep(store)
        store.set_meta("study", file.model_dump(mode="json"))
        results.summarise()  # says why where every chip failed
        runner = TaskRunner(sources=dict(study.sources))
        unfinished: list[str] = []
        with _telling("the networks could not be tested without faults", unfinished):
            store.set_meta("networks", _networks(study))
        with _telling("the cells could not be calibrated", unfinished):
            store.set_meta("calibrations", _calibrations(study.conditions))
        if store.meta("tile") is None:
            with _telling("no tile could be shown", unfinished):
                store.set_meta("tile", _tile(results, store, runner))
        lost: list[dict[str, Any]] = []
        with _telling("the circuits could not be tested without faults", unfinished):
            lost = losses(study, store, progress=progress)
        store.set_meta("losses", lost)
        audits = _audits(results, file, runner, store, progress, unfinished)
        store.set_meta("unfinished", unfinished)
        report = write_report(results, store, audits)
    return Evaluation(
        results=results, audits=audits, unfinished=unfinished, losses=lost, report=report
    )


@contextmanager
def _telling(what: str, unfinished: list[str]) -> Iterator[None]:
    """Turn a failure inside the block into a sentence: results that are there stay to be seen."""
    try:
        yield
    except Exception as problem:  # also of a user's own network
        unfinished.append(f"{what}: {_reason(problem)}")


def _reason(problem: Exception) -> str:
    failure = Failure.of(problem)
    return failure.message if isinstance(problem, InputError) else str(failure)


def _prepare(study: Study, progress: Progress) -> None:
    """Map every plan and extract it once: mistakes show early, and kernels that several processes
    would each compile are compiled and cached by one.
    """
    from validation.runner import mapped_network

    plans = {(c.network, c.plan): c for c in study.conditions}
    with progress("mapping", len(plans)) as done:
        for condition in plans.values():
            network = mapped_network(study.sources[condition.network], condition.plan)
            for fidelity in {c.fidelity for c in study.conditions}:
                network.on(fidelity=fidelity)
            done(1)


def _networks(study: Study) -> list[dict[str, Any]]:
    found = []
    for network, source in study.sources.items():
        data = source.data()
        share = accuracy(source.load(), data.test_x, data.test_y, batch=BATCH)
        found.append({"name": network.name, "weights": network.weights, "accuracy": share})
    return found


def _calibrations(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """How well every transistor cell of the study is known."""
    found = []
    specs = {(c.plan.spec.cell, c.plan.spec.v_read) for c in conditions}
    for cell, v_read in sorted(specs, key=repr):
        if cell.is_bare:
            continue
        model = calibrate(cell, v_read)
        found.append(
            {
                "kind": type(cell).__name__,
                "v_read": model.v_read,
                "samples": len(model.g_memory),
                "held_out": model.held_out,
                "held_out_max": model.held_out_max,
                "held_out_p99": model.held_out_p99,
                "source": model.source,
            }
        )
    return found


def _tile(results: Results, store: Store, runner: TaskRunner) -> dict[str, Any]:
    """The first tile of the first layer of chip 0, under the condition in the middle of those at
    the best fidelity whose chip 0 was measured.
    """
    tasks = [task for task in results.study.tasks() if task.number == 0]
    kept = store.get(tasks)
    every = [t.condition for t in tasks if t.id in kept and kept[t.id].values is not None]
    if not every:
        raise InputError("chip 0 failed under every condition.")
    some = [c for c in every if c.fidelity is not Fidelity.IDEAL] or every
    condition = some[len(some) // 2]
    setup, _ = runner.deployed(condition, 0)
    name, programme = next(iter(setup.network.programmes.items()))
    tile = setup.chip.tile(name, programme, 0)
    labels = ", ".join(f"{axis} = {value}" for axis, value in condition.axes.items())
    caption = f"Tile 0 of layer {name}, chip 0" + (f", {labels}" if labels else "")
    return make_tile_view(tile, results.folder, caption=caption)


def _audits(
    results: Results,
    file: StudyFile,
    runner: TaskRunner,
    store: Store,
    progress: Progress,
    unfinished: list[str],
) -> list[dict[str, Any]]:
    reads = choose_reads(
        results.study.conditions,
        chips=results.study.chips,
        count=file.audit.samples,
        seed=file.audit.seed,
    )
    known = {read.id: store.meta(f"audit {read.id}") for read in reads}
    failed: list[str] = []
    with progress("audit in ngspice", len(reads)) as done:
        found = [
            dict(value)
            for value in audit(
                reads,
                runner,
                known,
                keep=lambda key, value: store.set_meta(f"audit {key}", value),
                on_failure=lambda problem: failed.append(_reason(problem)),
                on_done=done,
            )
        ]
    if failed:
        ((reason, _),) = Counter(failed).most_common(1)
        unfinished.append(
            f"{len(failed)} of {len(reads)} reads could not be audited, most often because: "
            f"{reason}"
        )
    return found


def rewrite_report(folder: Path) -> Path:
    """Render the report of a finished evaluation again, from its store alone.

    Raises InputError when the folder holds no finished evaluation.
    """
    from validation.report.page import report_of_store

    with Store(folder / STORE, create=False) as store:
        return report_of_store(folder, store)
