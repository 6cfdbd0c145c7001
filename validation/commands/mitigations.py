"""`xbarverify mitigations`."""

from nnmap.mitigations import MITIGATIONS, ChipAgnostic, Mitigation, Needs
from validation.commands.terminal import out

HEADS = ("name", "stages", "kind", "needs", "overhead", "source")

NOTE = """
reads: array reads, one per tile and input vector.  writes: memories programmed again.
images, labels: shown, each counted once.  epochs: passes over training data.
digital operations: on the host while tuning.
memories: on tiles, and operations per inference: of digital corrections, for good."""


def command() -> None:
    """List the mitigations: stages, what each may know, what its overhead counts, source."""
    lines = [HEADS, *(_line(name, kind) for name, kind in MITIGATIONS.items())]
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEADS))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.print(text.rstrip(), highlight=False, soft_wrap=True)

    out.print(NOTE, highlight=False, soft_wrap=True)


def _line(name: str, kind: type[Mitigation]) -> tuple[str, ...]:
    stages = [
        stage
        for stage in ("train", "place", "tune")
        if getattr(kind, stage) is not getattr(Mitigation, stage)
    ]
    needs = ", ".join((need.name or "").lower() for need in Needs if need in kind.needs)
    family = "chip-agnostic" if issubclass(kind, ChipAgnostic) else "chip-specific"
    overhead = ", ".join(kind.overhead).replace("_", " ") or "nothing"
    return name, ", ".join(stages), family, needs or "nothing", overhead, kind.source
