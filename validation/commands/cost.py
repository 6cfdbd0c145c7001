"""`xbarverify cost`."""

from typing import Annotated

import numpy as np
import typer

from nnmap import Fidelity, array_power, cost, figures, workload
from validation.commands.terminal import Checkpoint, TomlFile, Trust, out
from validation.files.base import read_toml
from validation.files.plan_file import PlanFile
from validation.mapping import mapped_checkpoint


def command(
    checkpoint: Checkpoint,
    plan: TomlFile,
    source: Annotated[str, typer.Option("--figures", help="isaac or remeco")] = "isaac",
    trust: Trust = False,
) -> None:
    """Area, energy and latency of an inference: published figures, and the tiles as solved."""
    published = figures(source)
    mapped, sample = mapped_checkpoint(
        checkpoint, read_toml(plan, PlanFile, trust=trust), beside=plan.parent
    )
    work = workload(mapped.on(), sample[:1])
    out.print(str(cost(work, published)), highlight=False, soft_wrap=True)
    solved = mapped.on(fidelity=Fidelity.LINEAR)
    powers = array_power(solved, sample, rng=np.random.default_rng(0))
    energy = sum(
        power.mean * one.reads * published.read_time(one)
        for power, one in zip(powers, work, strict=True)
    )
    out.print(
        f"tiles as solved (linear): {sum(power.mean for power in powers):.3g} W with all layers "
        f"reading, {1e6 * energy:.4g} uJ an inference at the figures' read times",
        highlight=False,
        soft_wrap=True,
    )
