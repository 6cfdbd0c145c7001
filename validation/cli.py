"""The `xbarverify` command."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from circuitsim import Calibration, NgspiceError, calibrate_cell, compare, solve, verify
from netlists import InputError, MissingToolError, build_circuit, check, to_spice
from validation.config import CellFile, EvaluationFile, PlanFile, TileFile, read_toml
from validation.single import build_tile

# What imports torch or matplotlib, which takes seconds, is imported by the command that needs it.
if TYPE_CHECKING:
    from validation.evaluate import Evaluation
    from validation.report import Row

app = typer.Typer(
    help="Circuit-level verification of RRAM crossbars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

SOLVER_HELP = "dissection, nodal, newton or ngspice; repeatable"
TomlFile = Annotated[Path, typer.Argument(help="TOML file", show_default=False)]


@app.command()
def doctor() -> None:
    """Show what this machine has and what each missing thing costs."""
    from validation.doctor import examine

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in examine():
        mark = "[green]ok[/]" if finding.well else "[yellow]![/]"
        table.add_row(
            mark,
            finding.what,
            f"{finding.found}. {finding.cost}" if finding.cost else finding.found,
        )
    out.print(table)


@app.command()
def netlist(
    file: TomlFile,
    output: Annotated[Path | None, typer.Option("-o", help="write here, not to stdout")] = None,
) -> None:
    """Write the SPICE netlist of a tile; `ngspice -b` runs it as it is."""
    tile, drive = build_tile(read_toml(file, TileFile), beside=file.parent)
    text = to_spice(build_circuit(tile, drive))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text)
    except OSError as problem:
        raise InputError(f"{output} cannot be written: {problem.strerror}.") from None


@app.command("solve")
def solve_command(
    file: TomlFile,
    solver: Annotated[list[str] | None, typer.Option(help=SOLVER_HELP)] = None,
    calibrated: Annotated[
        Path | None, typer.Option("--surface", help="what `calibrate` wrote for this cell")
    ] = None,
) -> None:
    """Solve a tile; with two solvers, print how far they agree."""
    tile, drive = build_tile(read_toml(file, TileFile), beside=file.parent)
    surface = None if calibrated is None else Calibration.load(calibrated).of(tile.spec.cell)
    floating = check(build_circuit(tile, drive)).floating
    if floating:
        out.print(f"{len(floating)} floating nodes carry no current, among them {floating[0]}")
    names = solver or ["dissection"]
    if "dissection" in names:
        # Loads compiled kernels, which is not the solver's time.
        solve(tile, drive, "dissection", surface=surface)
    solutions = {name: solve(tile, drive, name, surface=surface) for name in names}
    table = Table("solver", "inputs", "largest", "power", "KCL", "time", box=box.SIMPLE)
    for solution in solutions.values():
        table.add_row(
            solution.solver,
            str(len(solution.i_out)),
            f"{solution.i_out.max():.3e} A",
            f"{solution.power.max():.3e} W",
            f"{solution.kcl_residual:.1e}",
            f"{1e3 * sum(solution.timings.values()):.1f} ms",
        )
    out.print(table)
    reference = solutions[names[-1]]
    for name in names[:-1]:
        found = compare(solutions[name], reference)
        out.print(
            f"{name} against {names[-1]}: largest relative difference {found.max_relative:.3e} "
            f"of full scale ({found.full_scale:.3e} A), p99 {found.p99_relative:.3e}, "
            f"{found.adc_steps(8):.2g} steps of an 8-bit converter"
        )


@app.command("calibrate")
def calibrate_command(
    file: TomlFile,
    output: Annotated[Path, typer.Option("-o", help="write the calibration here, JSON")],
    check_tiles: Annotated[
        bool, typer.Option("--verify/--no-verify", help="solve random tiles in ngspice too")
    ] = True,
) -> None:
    """Calibrate a transistor cell in ngspice; write its surfaces and a page about them."""
    config = read_toml(file, CellFile)
    cell = config.cell.build()
    volts, gates = config.range, config.range.v_gate or (config.cell.v_gate,)
    tiles = config.verify.tiles if check_tiles else 0
    with _bar("calibrating", len(gates)) as done:
        found = calibrate_cell(
            cell, volts.v_low, volts.v_high, gates=gates, levels=volts.levels, on_gate=done
        )
    if tiles:
        with _bar("verifying", tiles * len(gates)) as done:
            found = verify(found, cell, tiles=tiles, seed=config.verify.seed, on_tile=done)
    from validation.calibration_report import write_calibration_report

    try:
        found.save(output)
        page = write_calibration_report(found, cell, output.with_suffix(".html"))
    except OSError as problem:
        raise InputError(f"{output} cannot be written: {problem.strerror}.") from None
    _show_calibration(found)
    out.print(f"calibration: {output}\nreport: {page}", soft_wrap=True)


def _show_calibration(found: Calibration) -> None:
    table = Table("gate", "state", "held out", "max error", "p99", box=box.SIMPLE)
    for surface in found.surfaces:
        for error in surface.errors:
            table.add_row(
                f"{surface.v_gate:g} V",
                error.name,
                str(error.samples),
                f"{error.max:.1e}",
                f"{error.p99:.1e}",
            )
    out.print(table)
    first = found.surfaces[0]
    out.print(
        f"{first.source}, {first.v_low:g} V to {first.v_high:g} V, {first.g_low:.3g} S to "
        f"{first.g_high:.3g} S; errors are relative to the current with all memories LRS",
        soft_wrap=True,
    )
    if found.tiles:
        out.print(
            f"{len(found.tiles)} random tiles against ngspice: error at most "
            f"{max(tile.max for tile in found.tiles):.1e} of full scale",
            soft_wrap=True,
        )
    for sentence in found.shortfalls:
        err.print(f"[yellow]warning:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.advance(task, more)


def _accuracy_table(rows: "list[Row]", label: str) -> Table:
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


def _show(found: "Evaluation") -> None:
    from validation.report import audit_summary

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


@app.command("evaluate")
def evaluate_command(
    file: TomlFile,
    folder: Annotated[Path | None, typer.Option("--out", help="in place of [run] out")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="in place of [run] workers")] = None,
) -> None:
    """Run, or continue, an evaluation: network, faults, circuit, audit, report."""
    from validation.evaluate import evaluate

    config = read_toml(file, EvaluationFile)
    changes = {"out": None if folder is None else str(folder), "workers": workers}
    run = config.run.model_copy(update={k: v for k, v in changes.items() if v is not None})
    try:
        found = evaluate(config.model_copy(update={"run": run}), progress=_bar)
    except KeyboardInterrupt:
        err.print("interrupted; finished chips are kept and the same command continues.")
        raise typer.Exit(130) from None
    _show(found)


@app.command("train")
def train_command(
    name: Annotated[str, typer.Argument(help="as in nnmap/catalogue.py", show_default=False)],
    folder: Annotated[Path, typer.Option("-o", help="write weights and manifest here")],
    full: Annotated[bool, typer.Option("--full", help="the paper's size, not the shipped")] = False,
    device: Annotated[str, typer.Option(help="where torch computes: cpu, cuda")] = "cpu",
) -> None:
    """Train a network of the papers; write its weights and a manifest with its accuracies."""
    from nnmap.measures.mapping_accuracy import FORMS
    from nnmap.networks.pretrained import batches, images, train_network

    data = images(name)
    with _bar("training, batches", batches(name, data, full=full)) as done:
        found = train_network(name, folder, data=data, full=full, device=device, on_batch=done)
    shown = ", ".join(f"{form} {100 * found['test_accuracy'][form]:.2f} %" for form in FORMS)
    out.print(f"{name} ({found['setting']}): {shown}", highlight=False, soft_wrap=True)
    out.print(f"weights: {folder / name}.safetensors", soft_wrap=True)


@app.command("map")
def map_command(
    checkpoint: Annotated[Path, typer.Argument(help=".safetensors, or what torch.save wrote")],
    plan: TomlFile,
    output: Annotated[Path | None, typer.Option("-o", help="write the table as CSV")] = None,
) -> None:
    """Map a network onto tiles and print what each layer becomes."""
    from nnmap import mapping_table
    from validation.mapping import mapped_checkpoint, write_table

    mapped, _ = mapped_checkpoint(checkpoint, read_toml(plan, PlanFile), beside=plan.parent)
    table = mapping_table(mapped)
    out.print(str(table), highlight=False, soft_wrap=True)
    if output is not None:
        write_table(table, output)


@app.command("extract")
def extract_command(
    checkpoint: Annotated[Path, typer.Argument(help="file that torch.save wrote")],
    plan: TomlFile,
    folder: Annotated[Path, typer.Option("--operators", help="folder that keeps them")],
    single: Annotated[bool, typer.Option("--float32", help="half the volume")] = False,
    memory: Annotated[float, typer.Option(help="GiB for a batch of tiles")] = 1.0,
) -> None:
    """Extract the LINEAR operators of a mapped network; what the folder holds is not done again."""
    from nnmap import Extraction, Fidelity, OperatorStore, at_fidelity, mapping_table
    from validation.mapping import mapped_checkpoint

    mapped, _ = mapped_checkpoint(checkpoint, read_toml(plan, PlanFile), beside=plan.parent)
    tiles = mapping_table(mapped).tiles
    with OperatorStore(folder, dtype="float32" if single else "float64") as store:
        try:
            with _bar("extracting", tiles) as done:
                extraction = Extraction(memory=memory, store=store, on_done=done)
                at_fidelity(mapped, Fidelity.LINEAR, extraction=extraction)
        except KeyboardInterrupt:
            err.print("interrupted; extracted tiles are kept and the same command continues.")
            raise typer.Exit(130) from None
        size = store.path.stat().st_size / 2**20
    out.print(f"{tiles} tiles at LINEAR; {store.path}: {size:.1f} MiB", soft_wrap=True)


@app.command("audit")
def audit_command(
    checkpoint: Annotated[Path, typer.Argument(help="file that torch.save wrote")],
    plan: TomlFile,
    reads: Annotated[int, typer.Option(min=1, help="tile inputs that ngspice solves")] = 32,
    seed: Annotated[int, typer.Option(help="of the draw of tiles and inputs")] = 0,
) -> None:
    """Solve sampled tile inputs of a mapped network again in ngspice; inputs are the sample's."""
    from validation.mapping import mapped_checkpoint
    from validation.network_audit import audit_network

    mapped, sample = mapped_checkpoint(checkpoint, read_toml(plan, PlanFile), beside=plan.parent)
    with _bar("audit in ngspice", reads) as done:
        found = audit_network(mapped, sample, reads=reads, seed=seed, on_done=done)
    out.print(
        f"{found.reads} reads, {found.currents} currents against {found.solver}, in steps of an "
        f"8-bit converter: NONLINEAR at most {found.nonlinear_max:.2g}, LINEAR "
        f"{found.linear_p99:.2g} at p99 and at most {found.linear_max:.2g}, IDEAL at most "
        f"{found.ideal_max:.2g}. Verdict: {found.verdict}.",
        soft_wrap=True,
    )


@app.command("program")
def program_command(file: TomlFile) -> None:
    """Write an array of devices that differ, with and without verifying."""
    from validation.programming import ProgrammingFile, run_programming

    out.print(run_programming(read_toml(file, ProgrammingFile), progress=_bar), soft_wrap=True)


@app.command("cost")
def cost_command(
    checkpoint: Annotated[Path, typer.Argument(help=".safetensors, or what torch.save wrote")],
    plan: TomlFile,
    source: Annotated[str, typer.Option("--figures", help="isaac or remeco")] = "isaac",
) -> None:
    """Area, energy and latency of an inference: published figures, and the tiles as solved."""
    from nnmap import Fidelity, array_power, at_fidelity, cost, figures, workload
    from validation.mapping import mapped_checkpoint

    published = figures(source)
    mapped, sample = mapped_checkpoint(checkpoint, read_toml(plan, PlanFile), beside=plan.parent)
    work = workload(mapped, sample[:1])
    out.print(str(cost(work, published)), highlight=False, soft_wrap=True)
    solved = at_fidelity(mapped, Fidelity.LINEAR)
    powers = array_power(solved, sample, rng=np.random.default_rng(0))
    energy = sum(
        power.mean * one.reads * published.read_time(one)
        for power, one in zip(powers, work, strict=True)
    )
    out.print(
        f"tiles as solved (linear): {sum(power.mean for power in powers):.3g} W with all layers "
        f"reading, {1e6 * energy:.4g} uJ an inference at the figures' read times",
        highlight=False,
        soft_wrap=True,
    )


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="folder of a finished evaluation")],
) -> None:
    """Write report.html again from a finished evaluation's store."""
    from validation.evaluate import rewrite_report

    out.print(f"report: {rewrite_report(folder)}", soft_wrap=True)


def main() -> None:
    """Entry point: bad input exits with 2 and one sentence."""
    warnings.formatwarning = lambda message, *_, **__: f"note: {message}\n"
    try:
        app()
    except (InputError, MissingToolError) as problem:
        err.print(f"[red]error:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except NgspiceError as problem:
        words = escape(str(problem))
        err.print(f"[red]ngspice failed:[/] {words}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
