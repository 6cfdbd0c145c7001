"""The `xbarverify` command."""

import sys
import warnings

import typer

from validation.commands.verbs import VerbGroup

app = typer.Typer(
    cls=VerbGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def xbarverify() -> None:
    """Circuit-level verification of RRAM crossbars."""


def main() -> None:
    """Entry point: bad input exits with 2 and one sentence, ngspice's failures with 1.

    An interrupt exits with 130.
    """
    warnings.formatwarning = lambda message, *_, **__: f"note: {message}\n"
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:
        sys.exit(_told(problem))


def _told(problem: Exception) -> int:
    """Print a failure that has a sentence for users; gives the exit code, and raises others."""
    # Only now: importing what can fail takes longer than a list of verbs.
    from rich.markup import escape

    from circuitsim import NgspiceError
    from netlists import InputError, MissingToolError
    from validation.commands.terminal import err

    if isinstance(problem, InputError | MissingToolError):
        title, code = "error", 2
    elif isinstance(problem, NgspiceError):
        title, code = "ngspice failed", 1
    else:
        raise problem
    err.print(f"[red]{title}:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
