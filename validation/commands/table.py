"""`xbarverify table`."""

from pathlib import Path
from typing import Annotated

import typer

from validation.campaign.store import Store
from validation.commands.terminal import out
from validation.study import STORE, counted_table


def command(
    folder: Annotated[Path, typer.Argument(help="folder of a finished study")],
    output: Annotated[Path, typer.Option("-o", help="write here: .csv or .parquet")],
) -> None:
    """Write a study's results as one long table, a row per chip, to .csv or .parquet."""
    with Store(folder / STORE, create=False) as store:
        table = counted_table(store)
    table.export(output)
    out.print(f"{len(table.frame)} rows: {output}", soft_wrap=True)
