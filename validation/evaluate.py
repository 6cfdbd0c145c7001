"""The main job: train, map, damage, mitigate, solve, audit, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitsim import calibrate, default_session
from netlists import InputError
from nnmap import Fidelity, accuracy
from validation.audit.sample import audit, choose_reads
from validation.campaign.store import Store
from validation.condition import Condition
from validation.files.study_file import StudyFile, StudyGrid
from validation.report.page import reference_figures, write_report
from validation.report.tile_view import make_tile_view
from validation.runner import TaskRunner
from validation.study import STORE, Progress, Results, Study, silent
from validation.study_of_file import study_of

BATCH = 250  # images at a time, which bounds the memory of convolutions


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found: results, audits, and the report's path."""

    results: Results
    audits: Sequence[Mapping[str, Any]]
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

    Raises InputError on input that cannot be used and MissingToolError without ngspice.
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
        store.set_meta("study", file.model_dump(mode="json"))
        store.set_meta("networks", _networks(study))
        store.set_meta("calibrations", _calibrations(study.conditions))
        runner = TaskRunner(sources=dict(study.sources))
        if store.meta("tile") is None:
            store.set_meta("tile", _tile(study, runner, results.folder))
        audits = _audits(results, file, runner, store, progress)
        report = write_report(results, store, audits)
    return Evaluation(results=results, audits=audits, report=report)


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


def _tile(study: Study, runner: TaskRunner, folder: Path) -> dict[str, Any]:
    """The first tile of the first layer of chip 0, under the condition in the middle of those at
    the best fidelity.
    """
    solved = [c for c in study.conditions if c.fidelity is not Fidelity.IDEAL]
    some = solved or list(study.conditions)
    condition = some[len(some) // 2]
    setup, _ = runner.deployed(condition, 0)
    name, programme = next(iter(setup.network.programmes.items()))
    tile = setup.chip.tile(name, programme, 0)
    labels = ", ".join(f"{axis} = {value}" for axis, value in condition.axes.items())
    caption = f"Tile 0 of layer {name}, chip 0" + (f", {labels}" if labels else "")
    return make_tile_view(tile, folder, caption=caption)


def _audits(
    results: Results, file: StudyFile, runner: TaskRunner, store: Store, progress: Progress
) -> list[dict[str, Any]]:
    reads = choose_reads(
        results.study.conditions,
        chips=results.study.chips,
        count=file.audit.samples,
        seed=file.audit.seed,
    )
    known = {read.id: store.meta(f"audit {read.id}") for read in reads}
    with progress("audit in ngspice", len(reads)) as done:
        return [
            dict(value)
            for value in audit(
                reads,
                runner,
                known,
                keep=lambda key, value: store.set_meta(f"audit {key}", value),
                on_done=done,
            )
        ]


def rewrite_report(folder: Path) -> Path:
    """Render the report of a finished evaluation again, from its store alone.

    Raises InputError when the folder holds no finished evaluation.
    """
    from validation.report.page import report_of_store

    with Store(folder / STORE, create=False) as store:
        return report_of_store(folder, store)
