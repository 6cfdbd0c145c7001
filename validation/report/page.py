"""Store -> summary rows, and the self-contained HTML page."""

import platform
import tomllib
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from netlists import FaultRates, InputError
from validation.campaign import Task
from validation.config import EvaluationFile
from validation.plots import Curve, accuracy_figure, audit_figure, drop_figure
from validation.stats import Interval, chip_interval
from validation.store import Store

PACKAGES = ("numpy", "scipy", "torch", "PySpice", "networkx")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant at one rate: accuracy over chips, and how it was reached."""

    label: str
    cell: str
    fidelity: str
    rate: float
    requested: FaultRates
    accuracy: Interval
    stuck_lrs: float
    stuck_hrs: float
    adc_clipped: float
    images: int
    tiles: int


def summarise(tasks: list[Task], store: Store) -> list[Row]:
    """One row a (variant, fidelity, rate); raises InputError when results are missing."""
    results = store.get(task.id for task in tasks)
    missing = len(tasks) - len(results)
    if missing:
        raise InputError(
            f"{missing} of {len(tasks)} tasks have no result yet; run `xbarverify evaluate` again."
        )
    groups: dict[tuple[str, str, str, float], list[tuple[Task, dict[str, Any]]]] = {}
    for task in tasks:
        key = (task.label, task.cell, task.fidelity, task.rate)
        groups.setdefault(key, []).append((task, results[task.id]))
    return [_row(members) for members in groups.values()]


def _row(members: list[tuple[Task, dict[str, Any]]]) -> Row:
    task = members[0][0]
    values = [value for _, value in members]

    def mean(key: str) -> float:
        return float(sum(value[key] for value in values) / len(values))

    return Row(
        label=task.label,
        cell=task.cell,
        fidelity=task.fidelity,
        rate=task.rate,
        requested=FaultRates.from_ocr(task.rate, task.ocr),
        accuracy=chip_interval([value["accuracy"] for value in values]),
        stuck_lrs=mean("stuck_lrs"),
        stuck_hrs=mean("stuck_hrs"),
        adc_clipped=mean("adc_clipped"),
        images=values[0]["images"],
        tiles=values[0]["tiles"],
    )


def curves(rows: list[Row], label: str) -> list[Curve]:
    """The rows of one network as curves over the fault rate."""
    chosen = [row for row in rows if row.label == label]
    variants = dict.fromkeys((row.cell, row.fidelity) for row in chosen)
    return [
        Curve(
            label=f"{cell.upper()} {fidelity.upper()}",
            group=cell,
            fidelity=fidelity,
            rates=tuple(r.rate for r in chosen if (r.cell, r.fidelity) == (cell, fidelity)),
            points=tuple(r.accuracy for r in chosen if (r.cell, r.fidelity) == (cell, fidelity)),
        )
        for cell, fidelity in variants
    ]


def reference_figures(name: str) -> dict[str, Any]:
    """A paper's transcribed figures, "paper:table"; raises InputError where there are none."""
    paper, _, table = name.partition(":")
    file = resources.files("validation") / "reference" / f"{paper}.toml"
    if not file.is_file():
        raise InputError(f"reference={name!r}: no figures of a paper {paper!r} are transcribed.")
    tables = tomllib.loads(file.read_text())
    if table not in tables:
        raise InputError(f"reference={name!r}: {paper} has {', '.join(tables)}.")
    found: dict[str, Any] = tables[table]
    return found


def versions() -> dict[str, str]:
    """Versions of everything that computes."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {"xbarverify": package_version(), "Python": platform.python_version(), **found}


def package_version() -> str:
    """Version of the installed distribution."""
    return metadata.version("xbarverify")


def render(
    config: EvaluationFile, tasks: list[Task], audits: list[dict[str, Any]], store: Store
) -> str:
    """The report as one HTML page without outside references."""
    rows = summarise(tasks, store)
    exhibit = store.meta("exhibit")
    reference = reference_figures(config.reference) if config.reference else None
    overlay = (
        (f"paper: {config.reference}", reference["rate"], reference["accuracy"])
        if reference
        else None
    )
    figures = {
        label: accuracy_figure(
            curves(rows, label),
            reference=None if label in ("tanh", "sigmoid") else overlay,  # papers' use ReLU
        )
        for label in config.network.labels
    }
    environment = Environment(
        loader=PackageLoader("validation"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html").render(
        config=config,
        rows=rows,
        figures=figures,
        reference=reference,
        audits=audits,
        audit=audit_summary(audits),
        audit_figure=audit_figure(
            [a["max_relative"] for a in audits], [a["ideal_max_relative"] for a in audits]
        )
        if audits
        else None,
        exhibit=exhibit,
        currents=list(zip(exhibit["names"], exhibit["i_spice"], exhibit["i_fast"], strict=True)),
        drop_figure=drop_figure(exhibit["drop"]),
        networks=store.meta("networks"),
        calibrations=store.meta("calibrations"),
        versions=store.meta("versions"),
    )


def audit_summary(audits: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Worst and typical audit errors, or None without an audit."""
    if not audits:
        return None
    steps = [a["max_adc_steps"] for a in audits if a["max_adc_steps"] is not None]
    return {
        "fidelity": audits[0]["fidelity"].upper(),
        "reads": len(audits),
        "columns": sum(a["columns"] for a in audits),
        "max_relative": max(a["max_relative"] for a in audits),
        "mean_relative": sum(a["mean_relative"] for a in audits) / len(audits),
        "max_adc_steps": max(steps) if steps else None,
        "ideal_max_relative": max(a["ideal_max_relative"] for a in audits),
        "solver": audits[0]["solver"],
    }


def write_report(
    config: EvaluationFile, tasks: list[Task], audits: list[dict[str, Any]], store: Store
) -> Path:
    """Write report.html into the evaluation's folder."""
    path = config.folder() / "report.html"
    path.write_text(render(config, tasks, audits, store))
    return path
