"""`xbarverify extract`."""

from pathlib import Path
from typing import Annotated

import typer

from nnmap import Extraction, Fidelity, OperatorStore, mapping_table
from validation.commands.terminal import (
    Checkpoint,
    Timeout,
    TomlFile,
    Trust,
    bar,
    interruptible,
    out,
)
from validation.files.base import read_toml
from validation.files.plan_file import PlanFile
from validation.mapping import mapped_checkpoint


def command(
    checkpoint: Checkpoint,
    plan: TomlFile,
    folder: Annotated[Path, typer.Option("--operators", help="folder that keeps them")],
    single: Annotated[bool, typer.Option("--float32", help="half the volume")] = False,
    memory: Annotated[float, typer.Option(help="GiB for a batch of tiles")] = 1.0,
    trust: Trust = False,
    timeout: Timeout = None,
) -> None:
    """Extract the LINEAR operators of a mapped network; what the folder holds is not done again."""
    mapped, _ = mapped_checkpoint(
        checkpoint, read_toml(plan, PlanFile, trust=trust), beside=plan.parent
    )
    tiles = mapping_table(mapped).tiles
    with OperatorStore(folder, dtype="float32" if single else "float64") as store:
        with interruptible("extracted tiles"), bar("extracting", tiles) as done:
            extraction = Extraction(memory=memory, store=store, on_done=done)
            mapped.on(fidelity=Fidelity.LINEAR, extraction=extraction)
        size = store.path.stat().st_size / 2**20
    out.print(f"{tiles} tiles at LINEAR; {store.path}: {size:.1f} MiB", soft_wrap=True)
