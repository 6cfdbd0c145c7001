"""`xbarverify map`."""

from pathlib import Path
from typing import Annotated

import typer

from nnmap import mapping_table
from validation.commands.terminal import Checkpoint, TomlFile, Trust, out
from validation.files.base import read_toml
from validation.files.plan_file import PlanFile
from validation.mapping import mapped_checkpoint, write_table


def command(
    checkpoint: Checkpoint,
    plan: TomlFile,
    output: Annotated[Path | None, typer.Option("-o", help="write the table as CSV")] = None,
    trust: Trust = False,
) -> None:
    """Map a network onto tiles and print what each layer becomes."""
    mapped, _ = mapped_checkpoint(
        checkpoint, read_toml(plan, PlanFile, trust=trust), beside=plan.parent
    )
    table = mapping_table(mapped)
    out.print(str(table), highlight=False, soft_wrap=True)
    if output is not None:
        write_table(table, output)
