"""A campaign as one long table: a row per chip, a column per axis in which conditions differ.

Reports, the command line and exports read this and name no axis themselves.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from netlists.errors import InputError
from validation.axes import Scalar, axes_of
from validation.campaign.store import Draw
from validation.statistics import Interval, holm, paired_difference, t_interval

NUMBER, ERROR = "number", "error"
# Columns of tables and summaries, by which no axis can be called.
RESERVED = frozenset(
    f"{NUMBER} {ERROR} quantity n not_finite failed mean low high interval "
    "mean_a mean_b difference p p_holm verdict".split()
)
INT64 = 2**63


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The results of a campaign.

    frame: the axes' columns, `number` (the chip), a column per measured value, `error` (null where
    the chip was measured).  axes: the columns that tell conditions apart.  quantities: the columns
    of measured numbers. A measured value of an axis's name is in the column `measured.NAME`.
    """

    frame: pl.DataFrame
    axes: tuple[str, ...]
    quantities: tuple[str, ...]

    @classmethod
    def of(cls, draws: Iterable[Draw]) -> "Table":
        """From a store's rows, in their order.

        Raises InputError when there are none, and for an axis named like a column of tables.
        """
        rows = list(draws)
        if not rows:
            raise InputError("there are no results to make a table of; run the campaign first.")
        axes = axes_of(rows)
        names = tuple(axes[0])
        taken_names = sorted(RESERVED & set(names))
        if taken_names:
            raise InputError(
                f"an axis is called {taken_names[0]!r}, as a column of every table is; label it "
                "otherwise."
            )
        columns = [_series(name, [one[name] for one in axes]) for name in names]
        columns.append(pl.Series(NUMBER, [row.number for row in rows], dtype=pl.Int64))
        taken = {*names, NUMBER, ERROR}
        values = [row.result.values or {} for row in rows]
        measured = []
        for name in dict.fromkeys(name for one in values for name in one):
            column = f"measured.{name}" if name in taken else name
            measured.append(_series(column, [one.get(name) for one in values]))
        errors = [None if row.result.failure is None else str(row.result.failure) for row in rows]
        frame = pl.DataFrame([*columns, *measured, pl.Series(ERROR, errors, dtype=pl.String)])
        numbers = tuple(column.name for column in measured if column.dtype.is_numeric())
        return cls(frame=frame, axes=names, quantities=numbers)

    def summarise(
        self,
        quantities: Sequence[str] | None = None,
        *,
        interval: Callable[[list[float]], Interval] = t_interval,
    ) -> pl.DataFrame:
        """The mean over chips and its interval, a row per condition and quantity.

        quantities: all where None.  interval: of one value per chip, as `Precision.interval` of a
        campaign that ended by it.
        Columns: the axes, `quantity`, `n` chips with a finite value, `not_finite` and `failed`
        chips, `mean`, `low`, `high` (null where `n` is too small for the interval), `interval` (how
        it was made).
        Raises InputError for a quantity that there is not, and where every chip failed.
        """
        self.require_measured()
        wanted = self.quantities if quantities is None else tuple(quantities)
        rows = []
        for name in wanted:
            self._check(name, self.quantities, "quantity")
            for key, chips in self._conditions():
                values = chips[name].drop_nulls().cast(pl.Float64)
                finite = values.filter(values.is_finite()).to_list()
                found = _interval_or_none(finite, interval)
                rows.append(
                    {
                        **key,
                        "quantity": name,
                        "n": len(finite),
                        "not_finite": len(values) - len(finite),
                        "failed": chips[ERROR].drop_nulls().len(),
                        "mean": sum(finite) / len(finite) if finite else None,
                        "low": found and found.low,
                        "high": found and found.high,
                        "interval": found and found.method,
                    }
                )
        floats = dict.fromkeys(("mean", "low", "high"), pl.Float64())
        return self._frame(rows, self.axes, **floats)

    def failures(self) -> list[dict[str, Any]]:
        """The conditions of which chips failed: the axes, `failed` of `chips`, the commonest
        `reason` and `times` it occurred.
        """
        found = []
        for key, chips in self._conditions():
            errors = chips[ERROR].drop_nulls().to_list()
            if errors:
                ((reason, times),) = Counter(errors).most_common(1)
                counts = {"failed": len(errors), "chips": len(chips)}
                found.append({**key, **counts, "reason": reason, "times": times})
        return found

    def require_measured(self) -> None:
        """Raise InputError, naming the commonest reason, where every chip failed."""
        errors = self.frame[ERROR].drop_nulls().to_list()
        if len(errors) == len(self.frame):
            ((reason, times),) = Counter(errors).most_common(1)
            which = "each" if times == len(errors) else f"{times} of them"
            raise InputError(f"all {len(errors)} chips failed, {which} with {reason}")

    def compare(
        self,
        a: Mapping[str, Scalar],
        b: Mapping[str, Scalar],
        *,
        quantity: str,
        pair: str = NUMBER,
        margin: float = 0.0,
        confidence: float = 0.95,
    ) -> pl.DataFrame:
        """How much higher a quantity is under `a` than under `b`, on the same chips.

        a, b: values of the axes that are compared, as {"mitigation": "refresh"}.  pair: the column
        whose equal values make a pair.  margin: a difference that matters, not negative.
        A row per combination of the other axes: these, `n` pairs, `mean_a`, `mean_b`, `difference`,
        `low`, `high` (t), `p` (paired t test), `p_holm` over the rows, and `verdict`: "higher" or
        "lower" where the interval lies beyond the margin on that side and Holm's p is below 1 -
        confidence, else "no difference shown". Where chips failed or gave no finite number on one
        side, their pair is left out.
        Raises InputError for unknown axes, quantities and values, where axes stay open, and where
        no combination has two pairs.
        """
        self.require_measured()
        self._check(quantity, self.quantities, "quantity")
        self._check(pair, tuple(self.frame.columns), "column")
        if not margin >= 0:
            raise InputError(f"a margin is not negative, got {margin}.")
        others = [axis for axis in self.axes if axis not in a and axis not in b]
        left, right = (
            self._side(side, name, [*others, pair], quantity).rename({quantity: f"mean_{name}"})
            for name, side in (("a", a), ("b", b))
        )
        pairs = left.join(right, on=[*others, pair], nulls_equal=True, maintain_order="left")
        rows: list[dict[str, Any]] = []
        for key, chips in _groups(pairs, others):
            if len(chips) >= 2:
                one, two = chips["mean_a"].to_numpy(), chips["mean_b"].to_numpy()
                found = paired_difference(one, two, confidence=confidence)
                rows.append(
                    {
                        **key,
                        "n": len(chips),
                        "mean_a": float(one.mean()),
                        "mean_b": float(two.mean()),
                        "difference": found.interval.mean,
                        "low": found.interval.low,
                        "high": found.interval.high,
                        "p": found.p,
                    }
                )
        if not rows:
            raise InputError(
                f"no two chips were measured both under {dict(a)} and {dict(b)} with equal "
                f"{', '.join(others) or 'axes'}; name every axis in which the two differ."
            )
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p_holm"] = p
            row["verdict"] = _verdict(row, margin=margin, level=1 - confidence)
        return self._frame(rows, others)

    def export(self, path: Path) -> None:
        """Write the table to a .csv or .parquet file.

        Raises InputError for another ending and where the file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (".csv", ".parquet"):
            raise InputError(
                f"{path} ends in {path.suffix or 'nothing'}; a table is written to .csv or "
                ".parquet."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".csv":
                self.frame.write_csv(path)
            else:
                self.frame.write_parquet(path)
        except OSError as problem:
            raise InputError(f"{path} cannot be written: {problem}; choose another.") from None

    def _side(
        self, chosen: Mapping[str, Scalar], name: str, key: list[str], quantity: str
    ) -> pl.DataFrame:
        """The pairing columns and the finite numbers of the rows of one side of a comparison."""
        rows = self.frame
        for axis, value in chosen.items():
            self._check(axis, self.axes, "axis")
            known = self.frame[axis].unique(maintain_order=True).to_list()
            if value not in known:
                raise InputError(f"{axis} = {value!r} was not measured; there are {known}.")
            rows = rows.filter(pl.col(axis).eq_missing(pl.lit(value)))
        number = pl.col(quantity).cast(pl.Float64)
        rows = rows.filter(number.is_finite()).select(*key, number)
        if rows.select(key).is_duplicated().any():
            raise InputError(
                f"{name} = {dict(chosen)} holds several rows of one {key[-1]}; give it a value for "
                "each axis that the other side names."
            )
        return rows

    def _conditions(self) -> Iterable[tuple[dict[str, Any], pl.DataFrame]]:
        return _groups(self.frame, self.axes)

    def _frame(
        self, rows: list[dict[str, Any]], axes: Sequence[str], **types: pl.DataType
    ) -> pl.DataFrame:
        known = {axis: self.frame.schema[axis] for axis in axes}
        return pl.DataFrame(rows, schema_overrides={**known, **types}, infer_schema_length=None)

    @staticmethod
    def _check(name: str, known: tuple[str, ...], what: str) -> None:
        if name not in known:
            raise InputError(
                f"there is no {what} {name!r} in this table; there are "
                f"{', '.join(known) or 'none: all conditions are alike'}."
            )


def _groups(
    frame: pl.DataFrame, names: Sequence[str]
) -> Iterable[tuple[dict[str, Any], pl.DataFrame]]:
    """The parts of equal values under these names, in the order of their appearance."""
    if not names:
        return [({}, frame)]
    parts = frame.partition_by(names, maintain_order=True)
    return [({name: part[name][0] for name in names}, part) for part in parts]


def _interval_or_none(
    values: list[float], interval: Callable[[list[float]], Interval]
) -> Interval | None:
    if len(values) < 2:
        return None
    try:
        return interval(values)
    except InputError:  # too few for this kind
        return None


def _verdict(row: Mapping[str, Any], *, margin: float, level: float) -> str:
    if row["p_holm"] <= level and row["low"] > margin:
        return "higher"
    if row["p_holm"] <= level and row["high"] < -margin:
        return "lower"
    return "no difference shown"


def _series(name: str, values: Sequence[Scalar]) -> pl.Series:
    """A column of the narrowest type that holds all values; text where they are of several."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int} and all(v is None or -INT64 <= v < INT64 for v in values):  # type: ignore[operator]
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        numbers = [None if value is None else float(value) for value in values]
        return pl.Series(name, numbers, dtype=pl.Float64)
    texts = [value if value is None else str(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)
