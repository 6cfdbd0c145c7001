"""`xbarverify report`."""

from pathlib import Path
from typing import Annotated

import typer

from validation.commands.terminal import out
from validation.evaluate import rewrite_report


def command(
    folder: Annotated[Path, typer.Argument(help="folder of a finished evaluation")],
) -> None:
    """Write report.html again from a finished evaluation's store."""
    out.print(f"report: {rewrite_report(folder)}", soft_wrap=True)
