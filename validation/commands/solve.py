"""`xbarverify solve`."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from circuitsim import Calibration, compare, solve
from netlists import build_circuit, check
from validation.commands.terminal import Timeout, TomlFile, Trust, out
from validation.files.base import read_toml
from validation.files.tile_file import TileFile, build_tile

SOLVER_HELP = "dissection, nodal, newton or ngspice; repeatable"


def command(
    file: TomlFile,
    solver: Annotated[list[str] | None, typer.Option(help=SOLVER_HELP)] = None,
    calibrated: Annotated[
        Path | None, typer.Option("--surface", help="what `calibrate` wrote for this cell")
    ] = None,
    trust: Trust = False,
    timeout: Timeout = None,
) -> None:
    """Solve a tile; with two solvers, print how far they agree."""
    tile, drive = build_tile(read_toml(file, TileFile, trust=trust), beside=file.parent)
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
