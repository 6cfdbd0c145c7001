"""What verbs share: where they print, how they show progress, and arguments of one meaning."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from circuitsim.spice.session import TIMEOUT
from netlists import InputError

out = Console()
err = Console(stderr=True)
TomlFile = Annotated[Path, typer.Argument(help="TOML file", show_default=False)]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="let the cell's SPICE files run commands and load code, with your rights"
    ),
]


def _set_timeout(seconds: float | None) -> float | None:
    if seconds is not None:
        os.environ[TIMEOUT] = repr(seconds)  # where worker processes find it too
    return seconds


Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="seconds that ngspice may take for one deck; 600 where left out",
        callback=_set_timeout,
        min=0.001,
        max=1e7,
    ),
]
Checkpoint = Annotated[
    Path, typer.Argument(help=".safetensors, or what torch.save wrote", show_default=False)
]


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; gives a function that takes how many more are done."""
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path` into InputError."""
    try:
        yield
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror}.") from None


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """On Ctrl-C, say that what is `kept` stays and the same command continues; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"interrupted; {kept} are kept and the same command continues.")
        raise typer.Exit(130) from None
