"""`xbarverify evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from validation.commands.terminal import Timeout, TomlFile, Trust, bar, err, interruptible, out
from validation.dry_run import dry_run
from validation.evaluate import Evaluation, evaluate
from validation.files.study_file import read_study
from validation.pivot import Pivot, pivot, shown, text
from validation.report.page import audit_summary, is_share, unit_of


def command(
    file: TomlFile,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, in place of the file's")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="in place of [run] out")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes of this machine")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="per process")] = None,
    device: Annotated[str | None, typer.Option(help="where torch computes: cpu, cuda")] = None,
    scheduler: Annotated[str | None, typer.Option(help="of a dask cluster, tcp://...")] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="say what it takes, run next to nothing")
    ] = False,
    trust: Trust = False,
    timeout: Timeout = None,
) -> None:
    """Run, or continue, a study: network, faults, mitigations, circuit, audit, report."""
    given = {
        "out": folder, "workers": workers, "threads": threads, "device": device,
        "scheduler": scheduler,
    }  # fmt: skip
    chosen = [f"run.{key}={value}" for key, value in given.items() if value is not None]
    grid = read_study(file, [*(settings or []), *chosen], trust=trust)
    if dry:
        found = dry_run(grid, progress=bar)
        out.print(str(found), highlight=False, soft_wrap=True, markup=False)
        if found.refused:
            raise typer.Exit(2)
        return
    with interruptible("finished chips"):
        _show(evaluate(grid, progress=bar))


def shown_table(found: Pivot, *, title: str, percent: bool) -> Table:
    """A pivot for the terminal."""
    table = Table(title=title)
    table.add_column(found.down)
    for k in range(len(found.columns)):
        table.add_column(found.title(k), justify="right")
    for line in found.lines:
        cells = [found.cells.get((line, k)) for k in range(len(found.columns))]
        table.add_row(
            "" if line is None else text(line),
            *("" if cell is None else shown(cell, percent=percent) for cell in cells),
        )
    return table


def _show(found: Evaluation) -> None:
    results = found.results
    summary = results.summarise()
    percent = is_share(summary)
    quantity = results.study.quantity
    unit = unit_of(quantity, percent=percent)
    named = f"{quantity}, {unit}" if unit else quantity
    title = f"{named}, mean over chips with 95 % interval"
    table = results.long_table()
    out.print(shown_table(pivot(summary, table.axes), title=title, percent=percent))
    for loss in found.losses:
        if loss["sentence"]:
            err.print(f"[yellow]warning:[/] {loss['sentence']}", highlight=False, soft_wrap=True)
    audit = audit_summary(found.audits)
    if audit:
        steps = audit["max_adc_steps"]
        out.print(
            f"audit: {audit['reads']} reads against {audit['solver']}: {audit['fidelity']} within "
            f"{100 * audit['max_relative']:.3f} % of full scale"
            + (f" ({steps:.2f} ADC steps)" if steps is not None else "")
            + f", IDEAL within {100 * audit['ideal_max_relative']:.1f} %",
            soft_wrap=True,
        )
    out.print(f"report: {found.report}", soft_wrap=True)
    failures = [_failure_told(row, table.axes) for row in table.failures()]
    for sentence in (*failures, *found.unfinished):
        err.print(f"[red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    if failures or found.unfinished:
        raise typer.Exit(2)


def _failure_told(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """How many chips of a condition failed, and most often why."""
    where = ", ".join(f"{axis} = {text(row[axis])}" for axis in axes if row[axis] is not None)
    which = "" if row["times"] == row["failed"] else f"{row['times']} of them "
    return (
        f"{where + ': ' if where else ''}{row['failed']} of {row['chips']} chips failed, "
        f"{which}with {row['reason']}"
    )
