"""`xbarverify calibrate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from circuitsim import Calibration, calibrate_cell, verify
from validation.commands.terminal import Timeout, TomlFile, Trust, bar, err, out, writing
from validation.files.base import read_toml
from validation.files.cell_file import CellFile
from validation.report.calibration_page import write_calibration_report


def command(
    file: TomlFile,
    output: Annotated[Path, typer.Option("-o", help="write the calibration here, JSON")],
    check_tiles: Annotated[
        bool, typer.Option("--verify/--no-verify", help="solve random tiles in ngspice too")
    ] = True,
    trust: Trust = False,
    timeout: Timeout = None,
) -> None:
    """Calibrate a transistor cell in ngspice; write its surfaces and a page about them."""
    config = read_toml(file, CellFile, trust=trust)
    cell = config.cell.build()
    volts, gates = config.range, config.range.v_gate or (config.cell.v_gate,)
    tiles = config.verify.tiles if check_tiles else 0
    with bar("calibrating", len(gates)) as done:
        found = calibrate_cell(
            cell, volts.v_low, volts.v_high, gates=gates, levels=volts.levels, on_gate=done
        )
    if tiles:
        with bar("verifying", tiles * len(gates)) as done:
            found = verify(found, cell, tiles=tiles, seed=config.verify.seed, on_tile=done)
    with writing(output):
        found.save(output)
        page = write_calibration_report(found, cell, output.with_suffix(".html"))
    _show(found)
    out.print(f"calibration: {output}\nreport: {page}", soft_wrap=True)


def _show(found: Calibration) -> None:
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
