import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from netlists.errors import InputError
from tests.validation.campaign.conditions import VERSIONS
from validation.campaign.store import Draw, Store
from validation.campaign.task import Failure, Result, Task, labels_of
from validation.precision import Precision
from validation.statistics import t_interval
from validation.table import Table


class Fidelity(Enum):
    IDEAL = "ideal"
    LINEAR = "linear"


@dataclass(frozen=True)
class Flip:
    rate: float = 0.3


@dataclass(frozen=True)
class Fine:
    epochs: int = 2


@dataclass(frozen=True, kw_only=True)
class Condition:
    rows: int = 64
    fidelity: Fidelity = Fidelity.IDEAL
    mitigations: tuple = ()
    weights: np.ndarray | None = None
    limit: float | str | None = None
    axes: Mapping = field(default_factory=dict)


def accuracy(condition, number):
    rng = np.random.default_rng(number)
    gain = 0.03 if condition.mitigations else 0.0
    return (
        0.8
        + rng.normal(0, 0.05)
        + gain
        + condition.rows * 1e-4
        + rng.normal(0, 0.001) * (1 + bool(condition.mitigations))
    )


def draw(condition, number, result, versions=VERSIONS):
    task = Task(condition=condition, number=number, versions=versions)
    return Draw(
        id=task.id, condition_id=task.condition_id, condition=task.condition_text,
        labels=labels_of(condition), number=number, versions=versions, result=result,
    )  # fmt: skip


def table(conditions, *, chips=6, value=accuracy):
    draws = []
    for condition in conditions:
        for number in range(chips):
            found = value(condition, number)
            values = found if isinstance(found, dict) else {"accuracy": found}
            draws.append(draw(condition, number, Result(values=values)))
    return Table.of(draws)


def test_a_store_makes_the_table_in_the_order_of_the_tasks(tmp_path):
    conditions = [Condition(rows=r, axes={"rows": r, "kind": "a" * r}) for r in (9, 1)]
    todo = [Task(condition=c, number=n, versions=VERSIONS) for c in conditions for n in (1, 0)]
    with Store(tmp_path / "s") as store:
        for task in todo[::-1]:
            store.put(task, Result(values={"x": task.number}))
        found = Table.of(store.draws(todo))
    assert found.axes == ("rows", "kind")  # as the labels were given
    assert found.frame["rows"].to_list() == [9, 9, 1, 1]
    assert found.frame["number"].to_list() == found.frame["x"].to_list() == [1, 0, 1, 0]


def test_axes_are_the_paths_that_differ():
    found = table(
        [
            Condition(),
            Condition(rows=128, fidelity=Fidelity.LINEAR),
            Condition(mitigations=(Flip(), Fine()), weights=np.ones(3), limit=math.inf),
            Condition(mitigations=(Flip(rate=0.5),), limit="none"),
        ],
        chips=1,
    )
    rows = {name: found.frame[name].to_list() for name in found.axes}
    data = rows.pop("weights")
    assert rows == {
        "rows": [64, 128, 64, 64],
        "fidelity": ["ideal", "linear", "ideal", "ideal"],
        "mitigations.0": [None, None, "Flip", "Flip"],
        "mitigations.0.rate": [None, None, 0.3, 0.5],
        "mitigations.1": [None, None, "Fine", None],
        "mitigations.1.epochs": [None, None, 2, None],
        "limit": [None, None, "inf", "none"],
    }
    assert data[0] is data[1] is None and data[2].startswith("data ")
    assert found.frame.columns[-3:] == ["number", "accuracy", "error"]
    assert found.quantities == ("accuracy",)


def test_labels_name_the_axes_and_keep_their_order():
    found = table(
        [
            Condition(rows=r, mitigations=m, axes={"rows": r, "repair": name, "same": 1})
            for name, m in (("none", ()), ("flip", (Flip(),)))
            for r in (128, 64)
        ],
        chips=2,
    )
    assert found.axes == ("rows", "repair")
    assert found.frame["rows"].to_list() == [128, 128, 64, 64] * 2
    assert found.frame["repair"].to_list() == ["none"] * 4 + ["flip"] * 4


def test_labels_that_leave_conditions_alike_are_completed():
    conditions = [Condition(rows=r, axes={"name": n}) for r, n in ((1, "a"), (2, "a"), (3, "b"))]
    found = table(conditions, chips=1)
    assert found.axes == ("name", "rows")
    assert found.frame["rows"].to_list() == [1, 2, 3]


def test_versions_that_differ_are_an_axis():
    versions = [replace(VERSIONS, ngspice=ngspice) for ngspice in ("46", "39")]
    found = Table.of(draw(Condition(), 0, Result(values={"x": 1}), v) for v in versions)
    assert found.axes == ("versions.ngspice",)
    assert set(found.frame["versions.ngspice"]) == {"46", "39"}


def test_values_keep_their_kind():
    def value(condition, number):
        if number == 0:
            return {"rows": 7, "worst": "fc1", "big": 2**80, "mixed": 1}
        return {"rows": 8, "worst": "fc2", "big": 1, "mixed": math.nan, "late": 1.5}

    found = table([Condition(rows=1), Condition(rows=2)], chips=2, value=value)
    assert found.quantities == ("big", "mixed", "measured.rows", "late")
    assert dict(found.frame.schema) == {
        "rows": pl.Int64, "number": pl.Int64, "big": pl.Float64, "mixed": pl.Float64,
        "measured.rows": pl.Int64, "worst": pl.String, "late": pl.Float64, "error": pl.String,
    }  # fmt: skip
    assert found.frame["late"].to_list() == [None, 1.5, None, 1.5]
    assert math.isnan(found.frame["mixed"][1])


def test_summaries_count_what_failed_and_what_is_no_number():
    conditions = [Condition(), Condition(rows=128)]
    draws = []
    for condition in conditions:
        for number in range(9):
            value = math.nan if number == 4 else accuracy(condition, number)
            values = {"accuracy": value, "clipped": number}
            draws.append(draw(condition, number, Result(values=values)))
    gone = Result(failure=Failure(kind="OSError", message="gone"))
    found = Table.of([*draws, *(draw(conditions[1], number, gone) for number in (20, 21))])
    summary = found.summarise()
    assert summary.columns == [
        "rows", "quantity", "n", "not_finite", "failed", "mean", "low", "high", "interval",
    ]  # fmt: skip
    row = summary.row(by_predicate=(pl.col("rows") == 128) & (pl.col("quantity") == "accuracy"),
                      named=True)  # fmt: skip
    expected = t_interval([accuracy(conditions[1], n) for n in range(9) if n != 4])
    assert (row["n"], row["not_finite"], row["failed"]) == (8, 1, 2)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    clipped = found.summarise(["clipped"])
    assert clipped["n"].to_list() == [9, 9] and set(clipped["interval"]) == {"t"}
    precise = found.summarise(["clipped"], interval=Precision(half_width=1).interval)
    assert set(precise["interval"]) == {"Hall, sequential"}
    assert found.frame["error"].drop_nulls().to_list() == ["OSError: gone"] * 2


def test_one_chip_has_a_mean_and_no_interval():
    summary = table([Condition()], chips=1).summarise()
    assert summary.columns[0] == "quantity" and summary["n"].to_list() == [1]
    assert summary["low"].to_list() == [None] and summary["mean"][0] == accuracy(Condition(), 0)


@pytest.fixture
def grid():
    return table(
        [
            Condition(rows=rows, mitigations=m, axes={"repair": name, "rows": rows})
            for rows in (64, 128, 256)
            for name, m in (("none", ()), ("flip", (Flip(),)))
        ],
        value=lambda condition, number: (
            math.nan
            if condition.rows == 256 and number == 1
            else accuracy(condition, number)
            - (0.06 if condition.rows == 256 else 0) * bool(condition.mitigations)
        ),
    )


def test_comparisons_pair_the_chips_of_matching_axes(grid):
    found = grid.compare({"repair": "flip"}, {"repair": "none"}, quantity="accuracy")
    assert found["rows"].to_list() == [64, 128, 256] and found["n"].to_list() == [6, 6, 5]
    assert found["verdict"].to_list() == ["higher", "higher", "lower"]
    flip, none = ([accuracy(Condition(mitigations=m), n) for n in range(6)] for m in ((1,), ()))
    expected = stats.ttest_1samp(np.subtract(flip, none), 0)
    first = found.row(0, named=True)
    assert first["difference"] == pytest.approx(np.mean(flip) - np.mean(none))
    assert first["mean_a"] - first["mean_b"] == pytest.approx(first["difference"])
    between = expected.confidence_interval(0.95)
    assert (first["low"], first["high"]) == pytest.approx(tuple(between))
    assert first["p_holm"] >= first["p"] > 0 or first["p"] == 0
    wide = grid.compare({"repair": "flip"}, {"repair": "none"}, quantity="accuracy", margin=0.04)
    assert set(wide["verdict"]) == {"no difference shown"}
    back = grid.compare({"repair": "none"}, {"repair": "flip"}, quantity="accuracy")
    assert back["difference"].to_list() == pytest.approx([-d for d in found["difference"]])
    assert back["verdict"].to_list() == ["lower", "lower", "higher"]


def test_comparisons_without_other_axes_and_across_two(grid):
    pair = table([Condition(rows=64), Condition(rows=128)])
    found = pair.compare({"rows": 128}, {"rows": 64}, quantity="accuracy")
    assert found.columns[0] == "n" and found["n"].to_list() == [6]
    both = grid.compare(
        {"repair": "flip", "rows": 128}, {"repair": "none", "rows": 64}, quantity="accuracy"
    )
    assert both["difference"].to_list() == pytest.approx([0.0364], abs=0.002)


def test_many_comparisons_of_nothing_show_nothing():
    def noise(condition, number):
        key = [condition.rows, len(condition.mitigations), number]
        return float(np.random.default_rng(key).normal())

    found = table(
        [Condition(rows=r, mitigations=m) for r in range(60) for m in ((), (Fine(epochs=1),))],
        chips=5,
        value=noise,
    )
    a = {"mitigations.0": "Fine", "mitigations.0.epochs": 1}
    b = {"mitigations.0": None, "mitigations.0.epochs": None}
    compared = found.compare(a, b, quantity="accuracy")
    assert len(compared) == 60 and (compared["p"] < 0.05).any()
    assert set(compared["verdict"]) == {"no difference shown"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.summarise(["loss"]), "no quantity 'loss' in this table; there are accuracy"),
        (lambda t: t.compare({"x": 1}, {"x": 2}, quantity="accuracy"), "no axis 'x'.*repair, rows"),
        (
            lambda t: t.compare({"repair": "a"}, {"repair": "none"}, quantity="accuracy"),
            r"repair = 'a' was not measured; there are \['none', 'flip'\]",
        ),
        (
            lambda t: t.compare({"rows": 64}, {"repair": "none"}, quantity="accuracy"),
            "holds several rows of one number; give it a value",
        ),
        (
            lambda t: t.compare({"rows": 64}, {"rows": 128}, quantity="accuracy", margin=-1),
            "margin is not negative, got -1",
        ),
        (
            lambda t: t.compare({"rows": 64}, {"rows": 128}, quantity="accuracy", pair="image"),
            "no column 'image'",
        ),
        (lambda t: t.export(Path("x.xlsx")), r"x.xlsx ends in .xlsx; .* .csv or .parquet"),
        (lambda t: t.export(Path("x")), "ends in nothing"),
        (lambda t: Table.of([]), "no results"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(grid, call, message):
    with pytest.raises(InputError, match=message):
        call(grid)


def test_conditions_without_common_chips_are_not_compared():
    found = table([Condition(rows=1, limit="a"), Condition(rows=2, limit="b")])
    with pytest.raises(InputError, match="with equal limit; name every axis"):
        found.compare({"rows": 1}, {"rows": 2}, quantity="accuracy")


@pytest.mark.parametrize("name", ["t.csv", "sub/t.parquet", "T.CSV"])
def test_exports_read_back(grid, tmp_path, name):
    grid.export(tmp_path / name)
    read = pl.read_parquet if name.endswith("parquet") else pl.read_csv
    assert (
        read(tmp_path / name, **({} if "parquet" in name else {"infer_schema_length": None}))
        .drop("error")
        .equals(grid.frame.drop("error"))
    )
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        grid.export(tmp_path / "file" / "t.csv")


def test_an_axis_named_like_a_column_is_refused():
    conditions = [Condition(rows=rows, axes={"mean": rows}) for rows in (8, 16)]
    with pytest.raises(InputError, match="an axis is called 'mean'"):
        table(conditions)
