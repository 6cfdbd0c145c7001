"""The list of verbs, and a group of commands that imports a verb once it is called.

What verbs need takes seconds to import (torch, ngspice's driver, compiled kernels), so a list of
them must not.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

# The first line of each verb's docstring; a test holds the two together.
VERBS = {
    "doctor": "Show what this machine has and what each missing thing costs.",
    "netlist": "Write the SPICE netlist of a tile; `ngspice -b` runs it as it is.",
    "solve": "Solve a tile; with two solvers, print how far they agree.",
    "calibrate": "Calibrate a transistor cell in ngspice; write its surfaces and a page about "
    "them.",
    "evaluate": "Run, or continue, a study: network, faults, mitigations, circuit, audit, report.",
    "table": "Write a study's results as one long table, a row per chip, to .csv or .parquet.",
    "mitigations": "List the mitigations: stages, what each may know, what its overhead counts, "
    "source.",
    "train": "Train a network of the papers; write its weights and a manifest with its accuracies.",
    "map": "Map a network onto tiles and print what each layer becomes.",
    "extract": "Extract the LINEAR operators of a mapped network; what the folder holds is not "
    "done again.",
    "audit": "Solve sampled tile inputs of a mapped network again in ngspice; inputs are the "
    "sample's.",
    "program": "Write an array of devices that differ, with and without verifying.",
    "cost": "Area, energy and latency of an inference: published figures, and the tiles as solved.",
    "report": "Write report.html again from a finished evaluation's store.",
}


class VerbGroup(TyperGroup):
    """The verbs by name: a listing gets their help, a call their function."""

    def __init__(self, **attrs: Any) -> None:
        listed = {name: TyperCommand(name, help=line) for name, line in VERBS.items()}
        super().__init__(**{**attrs, "commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the arguments call, imported: (name, command, remaining arguments)."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, verb(str(name)), rest


def verb(name: str) -> Any:
    """The command of this name; imports what it needs."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(import_module(f"validation.commands.{name}").command)
    return get_command(app)
