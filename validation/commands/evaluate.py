"""`xbarverify evaluate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from validation.commands.terminal import TomlFile, bar, interruptible, out
from validation.config import EvaluationFile
from validation.evaluate import Evaluation, evaluate
from validation.files.base import read_toml
from validation.report import Row, audit_summary


def command(
    file: TomlFile,
    folder: Annotated[Path | None, typer.Option("--out", help="in place of [run] out")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="in place of [run] workers")] = None,
) -> None:
    """Run, or continue, an evaluation: network, faults, circuit, audit, report."""
    config = read_toml(file, EvaluationFile)
    changes = {"out": None if folder is None else str(folder), "workers": workers}
    run = config.run.model_copy(update={k: v for k, v in changes.items() if v is not None})
    with interruptible("finished chips"):
        found = evaluate(config.model_copy(update={"run": run}), progress=bar)
    _show(found)


def _accuracy_table(rows: list[Row], label: str) -> Table:
    table = Table(title=f"{label}: test accuracy, %, mean over chips with 95 % interval")
    chosen = [row for row in rows if row.label == label]
    variants = list(dict.fromkeys((row.cell, row.fidelity) for row in chosen))
    table.add_column("stuck")
    for cell, fidelity in variants:
        table.add_column(f"{cell} {fidelity}", justify="right")
    cells = {(row.rate, row.cell, row.fidelity): row for row in chosen}
    for rate in sorted({row.rate for row in chosen}):
        line = [f"{rate:.0%}" if 100 * rate % 1 == 0 else f"{rate:.1%}"]
        for variant in variants:
            interval = cells[(rate, *variant)].accuracy
            half = 100 * (interval.high - interval.mean)
            line.append(f"{100 * interval.mean:.1f} ± {half:.1f}")
        table.add_row(*line)
    return table


def _show(found: Evaluation) -> None:
    for label in dict.fromkeys(row.label for row in found.rows):
        out.print(_accuracy_table(found.rows, label))
    summary = audit_summary(found.audits)
    if summary:
        steps = summary["max_adc_steps"]
        out.print(
            f"audit: {summary['reads']} reads against {summary['solver']}: "
            f"{summary['fidelity']} within "
            f"{100 * summary['max_relative']:.3f} % of full scale"
            + (f" ({steps:.2f} ADC steps)" if steps is not None else "")
            + f", IDEAL within {100 * summary['ideal_max_relative']:.1f} %"
        )
    out.print(f"report: {found.report}", soft_wrap=True)
