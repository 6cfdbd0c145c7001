"""`xbarverify mitigations`."""

from rich.table import Table

from nnmap.mitigations import MITIGATIONS, ChipAgnostic, Mitigation, Needs
from validation.commands.terminal import out


def command() -> None:
    """List the mitigations: source, stages, what each may know."""
    table = Table("name", "source", "stages", "kind", "needs", box=None, padding=(0, 2, 0, 0))
    for name, kind in MITIGATIONS.items():
        stages = [
            s for s in ("train", "place", "tune") if getattr(kind, s) is not getattr(Mitigation, s)
        ]
        needs = ", ".join((n.name or "").lower() for n in Needs if n in kind.needs)
        family = "chip-agnostic" if issubclass(kind, ChipAgnostic) else "chip-specific"
        table.add_row(name, kind.source, ", ".join(stages), family, needs or "nothing")
    out.print(table)
