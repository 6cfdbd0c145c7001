"""A summary as a table that people read: one axis down, the combinations of the others across."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from validation.axes import Scalar
from validation.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Pivot:
    """Means with intervals by one axis and the combinations of the others.

    down: the axis whose values are the lines; empty where there is none.  lines: its values.
    columns: combinations of the other axes' values, in their order.
    cells: interval by (line, number of the column); a combination that was not measured has none.
    """

    down: str
    lines: tuple[Scalar, ...]
    columns: tuple[Mapping[str, Scalar], ...]
    cells: Mapping[tuple[Scalar, int], Interval]

    def title(self, column: int) -> str:
        """What a column is called: its values, one after the other."""
        shown = [text(v) for v in self.columns[column].values() if v is not None]
        return " ".join(shown) or "all"

    @property
    def numeric(self) -> bool:
        """Whether the lines are numbers, so that a curve can be drawn over them."""
        return len(self.lines) > 1 and all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in self.lines
        )

    def facets(self, most: int) -> list[list[int]]:
        """Numbers of columns that belong on one figure of at most so many curves, if they can."""
        if len(self.columns) <= most:
            return [list(range(len(self.columns)))]
        axis = max(self.columns[0], key=lambda a: len({c[a] for c in self.columns}))
        values = dict.fromkeys(c[axis] for c in self.columns)
        return [[k for k, c in enumerate(self.columns) if c[axis] == v] for v in values]


def pivot(summary: pl.DataFrame, axes: Sequence[str]) -> Pivot:
    """The summary of one quantity (`Table.summarise`) by its axes.

    Down goes the axis with the most values, a numeric one where there is any.
    """
    rows = summary.to_dicts()
    down = _down(rows, axes)
    others = [axis for axis in axes if axis != down]
    lines = tuple(dict.fromkeys(row[down] for row in rows)) if down else (None,)
    keys = list(dict.fromkeys(tuple(row[a] for a in others) for row in rows))
    cells = {}
    for row in rows:
        if row["mean"] is not None:
            column = keys.index(tuple(row[a] for a in others))
            cells[row[down] if down else None, column] = _interval(row)
    columns = tuple(dict(zip(others, key, strict=True)) for key in keys)
    return Pivot(down=down, lines=lines, columns=columns, cells=cells)


def _interval(row: Mapping[str, Any]) -> Interval:
    known = row["low"] is not None
    return Interval(
        mean=row["mean"],
        low=row["low"] if known else float("-inf"),
        high=row["high"] if known else float("inf"),
        n=row["n"],
        method=row["interval"] or "too few chips",
    )


def _down(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> str:
    if not axes:
        return ""
    values = {axis: dict.fromkeys(row[axis] for row in rows) for axis in axes}

    def rank(axis: str) -> tuple[bool, int]:
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values[axis])
        return numeric, len(values[axis])

    return max(axes, key=rank)


def text(value: Scalar) -> str:
    """A value as tables show it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(interval: Interval, *, percent: bool) -> str:
    """Mean and half width: in per cent for shares, else to three significant digits."""
    factor, digits = (100.0, ".1f") if percent else (1.0, ".3g")
    mean = format(factor * interval.mean, digits)
    if interval.half_width == float("inf"):
        return mean
    half = factor * interval.half_width
    no_spread = half <= 1e-9 * abs(factor * interval.mean)  # equal chips, but for rounding
    return mean if no_spread else f"{mean} ± {format(half, digits)}"
