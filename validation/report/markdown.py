"""A pivot as a Markdown table, as the READMEs show it."""

from validation.pivot import Pivot, shown, text
from validation.statistics import Interval


def markdown(found: Pivot, *, percent: bool) -> str:
    """The table, a line per value of the axis that goes down."""
    heads = [found.down, *(found.title(k) for k in range(len(found.columns)))]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for line in found.lines:
        cells = [found.cells.get((line, k)) for k in range(len(found.columns))]
        label = "" if line is None else text(line)
        lines.append("| " + " | ".join([label, *(_cell(c, percent) for c in cells)]) + " |")
    return "\n".join(lines)


def _cell(cell: Interval | None, percent: bool) -> str:
    return "" if cell is None else shown(cell, percent=percent)
