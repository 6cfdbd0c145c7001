"""`xbarverify audit`."""

from typing import Annotated

import typer

from validation.audit.network import audit_network
from validation.commands.terminal import Checkpoint, Timeout, TomlFile, Trust, bar, out
from validation.files.base import read_toml
from validation.files.plan_file import PlanFile
from validation.mapping import mapped_checkpoint


def command(
    checkpoint: Checkpoint,
    plan: TomlFile,
    reads: Annotated[int, typer.Option(min=1, help="tile inputs that ngspice solves")] = 32,
    seed: Annotated[int, typer.Option(help="of the draw of tiles and inputs")] = 0,
    trust: Trust = False,
    timeout: Timeout = None,
) -> None:
    """Solve sampled tile inputs of a mapped network again in ngspice; inputs are the sample's."""
    mapped, sample = mapped_checkpoint(
        checkpoint, read_toml(plan, PlanFile, trust=trust), beside=plan.parent
    )
    with bar("audit in ngspice", reads) as done:
        found = audit_network(mapped, sample, reads=reads, seed=seed, on_done=done)
    out.print(
        f"{found.reads} reads, {found.currents} currents against {found.solver}, in steps of an "
        f"8-bit converter: NONLINEAR at most {found.nonlinear_max:.2g}, LINEAR "
        f"{found.linear_p99:.2g} at p99 and at most {found.linear_max:.2g}, IDEAL at most "
        f"{found.ideal_max:.2g}. Verdict: {found.verdict}.",
        soft_wrap=True,
    )
