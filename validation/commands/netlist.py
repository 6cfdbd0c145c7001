"""`xbarverify netlist`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from netlists import build_circuit, to_spice
from validation.commands.terminal import TomlFile, Trust, writing
from validation.files.base import read_toml
from validation.files.tile_file import TileFile, build_tile


def command(
    file: TomlFile,
    output: Annotated[Path | None, typer.Option("-o", help="write here, not to stdout")] = None,
    trust: Trust = False,
) -> None:
    """Write the SPICE netlist of a tile; `ngspice -b` runs it as it is."""
    tile, drive = build_tile(read_toml(file, TileFile, trust=trust), beside=file.parent)
    text = to_spice(build_circuit(tile, drive))
    if output is None:
        sys.stdout.write(text)
        return
    with writing(output):
        output.write_text(text)
