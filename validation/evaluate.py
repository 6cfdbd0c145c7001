"""The main job: train, map, damage, solve, audit, report."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitsim import calibrate, default_session
from netlists import InputError, OneR
from nnmap import Dataset, Fidelity, accuracy, at_fidelity
from validation.audit import choose_samples, layer_tiles, run_audit
from validation.campaign import Task, run_campaign
from validation.config import EvaluationFile
from validation.exhibit import exhibit_tile, make_exhibit
from validation.experiment import (
    BATCH,
    TaskRunner,
    load_data,
    mapped_network,
    setup_text,
    tasks,
)
from validation.networks import NetworkFile, epochs, trained_network
from validation.report import Row, reference_figures, summarise, versions, write_report
from validation.store import Store

# Opens a progress display: (title, total) -> a context giving "this many more are done".
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """The progress display that shows nothing."""
    yield lambda more: None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found: table rows, audits, and the report's path."""

    rows: list[Row]
    audits: list[dict[str, Any]]
    report: Path
    ran: int


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


def _calibrations(config: EvaluationFile) -> list[dict[str, Any]]:
    """Calibrate every transistor cell of the evaluation, before any long work starts."""
    needed = set(config.compare.fidelities) - {"ideal"} or config.audit.samples
    found = []
    for kind in config.compare.cells:
        cell = config.cell.build(kind)
        if isinstance(cell, OneR) or not needed:
            continue
        model = calibrate(cell, config.tile.v_read)
        found.append(
            {
                "kind": kind,
                "v_read": model.v_read,
                "samples": len(model.g_memory),
                "held_out": model.held_out,
                "held_out_max": model.held_out_max,
                "held_out_p99": model.held_out_p99,
                "source": model.source,
            }
        )
    return found


def _networks(
    config: EvaluationFile, progress: Progress
) -> tuple[dict[str, NetworkFile], list[dict[str, Any]]]:
    """File by label, and what the report says of each network."""
    files: dict[str, NetworkFile] = {}
    facts: list[dict[str, Any]] = []
    data = _data(config)
    labels = config.network.labels
    with progress("training", epochs(config.network) * len(labels)) as done:
        for label in labels:
            files[label], sha256 = trained_network(config, label, on_epoch=done)
            digital = accuracy(files[label].load(), data.test_x, data.test_y, batch=BATCH)
            facts.append({"label": label, "sha256": sha256, "accuracy": digital})
    return files, facts


def _data(config: EvaluationFile) -> Dataset:
    network = config.network
    return load_data(network.dataset, network.inputs, config.compare.test_images)


def _prepare(config: EvaluationFile, files: dict[str, NetworkFile], progress: Progress) -> None:
    """Map every variant and extract it once: mistakes show early, and kernels that several
    processes would each compile are compiled and cached by one.
    """
    with progress("mapping", len(config.compare.cells)) as done:
        for cell in config.compare.cells:
            first = files[config.network.labels[0]]
            mapped, _ = mapped_network(first, setup_text(config), cell)
            for fidelity in config.compare.chosen_fidelities():
                at_fidelity(mapped, fidelity)
            done(1)


def _exhibit_task(all_tasks: list[Task]) -> Task:
    """The first chip at the middle rate of the first variant, at the best fidelity there is."""
    rates = sorted({task.rate for task in all_tasks})
    middle = [task for task in all_tasks if task.rate == rates[len(rates) // 2]]
    solved = [task for task in middle if task.fidelity != Fidelity.IDEAL.value]
    return (solved or middle)[0]


def _draw_exhibit(
    all_tasks: list[Task], files: dict[str, NetworkFile], store: Store, out: Path
) -> None:
    task = _exhibit_task(all_tasks)
    known = store.meta("exhibit")
    if known and known["task"] == task.id and (out / "tile.cir").exists():
        return
    tile = exhibit_tile(task, files[task.label])
    caption = (
        f"Tile 0 of the first layer, chip {task.chip}, {task.cell.upper()}, {task.rate:.0%} stuck"
    )
    store.set_meta("exhibit", {"task": task.id, **make_exhibit(tile, out, caption=caption)})


def evaluate(config: EvaluationFile, *, progress: Progress = silent) -> Evaluation:
    """Run, or continue, an evaluation and write its report.

    Raises InputError on input that cannot be used and MissingToolError without ngspice.
    """
    out = config.folder()
    if config.reference:
        reference_figures(config.reference)
    require_writable(out)
    default_session()  # a missing ngspice must show before the work, not after it
    with Store(out / "results.sqlite") as store:
        calibrations = _calibrations(config)
        files, networks = _networks(config, progress)
        all_tasks = list(tasks(config, {n["label"]: n["sha256"] for n in networks}))
        for key, value in (
            ("evaluation", config.model_dump(mode="json")),
            ("networks", networks),
            ("calibrations", calibrations),
            ("versions", versions()),
        ):
            store.set_meta(key, value)
        _prepare(config, files, progress)
        workers = min(config.run.workers, os.cpu_count() or 1)
        with progress("chips", len(all_tasks)) as done:
            runner = TaskRunner(files)
            ran = run_campaign(all_tasks, runner, store, workers=workers, on_done=done)
        _draw_exhibit(all_tasks, files, store, out)
        audits = _audit(config, all_tasks, files, store, progress)
        store.set_meta("audits", audits)
        return Evaluation(
            rows=summarise(all_tasks, store),
            audits=audits,
            report=write_report(config, all_tasks, audits, store),
            ran=ran,
        )


def _audit(
    config: EvaluationFile,
    all_tasks: list[Task],
    files: dict[str, NetworkFile],
    store: Store,
    progress: Progress,
) -> list[dict[str, Any]]:
    first = files[config.network.labels[0]]
    layers: dict[str, dict[str, int]] = {
        cell: layer_tiles(mapped_network(first, setup_text(config), cell)[0])
        for cell in config.compare.cells
    }
    test_x = _data(config).test_x
    samples = choose_samples(
        all_tasks,
        layers,
        images=len(test_x),
        n=config.audit.samples,
        seed=config.audit.seed,
    )
    with progress("audit in ngspice", len(samples)) as done:
        return run_audit(
            samples,
            files,
            store,
            test_x=test_x,
            on_done=done,
        )


def rewrite_report(folder: Path) -> Path:
    """Render the report of a finished evaluation again, from its store alone.

    Raises InputError when the folder holds no finished evaluation.
    """
    with Store(folder / "results.sqlite", create=False) as store:
        stored = store.meta("evaluation")
        if stored is None:
            raise InputError(f"{folder} holds no evaluation; run `xbarverify evaluate` first.")
        config = EvaluationFile.model_validate(stored)
        config = config.model_copy(
            update={
                "name": folder.name,
                "run": config.run.model_copy(update={"out": str(folder.parent)}),
            }
        )
        networks = {n["label"]: n["sha256"] for n in store.meta("networks")}
        all_tasks = list(tasks(config, networks))
        audits = store.meta("audits") or []
        return write_report(config, all_tasks, audits, store)
