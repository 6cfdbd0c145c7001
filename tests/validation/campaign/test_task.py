import math
import pickle
from dataclasses import dataclass, field, fields, replace
from importlib import metadata

import numpy as np
import pytest

from netlists.errors import InputError
from tests.validation.campaign.conditions import VERSIONS, Cell, Condition
from validation.campaign.task import Failure, Result, Task, Versions


def test_the_id_is_of_all_that_determines_the_result_and_of_nothing_else():
    task = Task(condition=Condition(rate=0.1), number=3, versions=VERSIONS)
    same = Task(condition=Condition(rate=0.1, axes={"name": "b"}), number=3, versions=VERSIONS)
    assert same.id == task.id and same.condition_id == task.condition_id
    others = [
        replace(task, number=4),
        replace(task, condition=Condition(rate=0.2)),
        replace(task, condition=Condition(rate=0.1, cell=Cell(g=2e-5))),
        *(replace(task, versions=replace(VERSIONS, **{one.name: "0"})) for one in fields(Versions)),
    ]
    assert len({task.id, *(other.id for other in others)}) == 1 + len(others)
    assert Versions.here().program == metadata.version("xbarverify")
    assert task.key == f"chip-{task.id}" and len(task.id) == 64
    assert pickle.loads(pickle.dumps(task)).id == task.id


def test_what_is_no_condition_is_refused():
    with pytest.raises(InputError, match="frozen dataclass, got dict"):
        Task(condition={"rate": 1}, number=0, versions=VERSIONS)
    with pytest.raises(InputError, match="from 0, got -1"):
        Task(condition=Condition(rate=0.1), number=-1, versions=VERSIONS)

    @dataclass
    class Loose:
        values: list = field(default_factory=list)

    with pytest.raises(InputError, match="make it frozen"):
        _ = Task(condition=Loose(), number=0, versions=VERSIONS).id


def test_versions_of_this_machine_are_plain_numbers():
    here = Versions.here()
    for name in ("program", "python", "numpy", "scipy", "torch", "pyspice"):
        assert getattr(here, name)[0].isdigit() and "+" not in getattr(here, name)
    assert here.ngspice == "none" or here.ngspice.isdigit()
    assert here.differences(here) == ""
    assert replace(here, torch="1.0").differences(here) == f"torch 1.0 against {here.torch}"


def test_results_compare_by_their_numbers():
    first = Result(values={"accuracy": np.float64(0.5), "images": np.int64(7)}, seconds=1.0)
    assert first == Result(values={"images": 7, "accuracy": 0.5}, seconds=2.0)
    assert first != Result(values={"accuracy": 0.5, "images": 7.5})
    assert Result(values={"x": math.nan}) == Result(values={"x": math.nan})
    assert Result(values={"x": math.nan}) != Result(values={"x": 0.0})


@pytest.mark.parametrize("value", [True, None, [1.0], np.ones(2)])
def test_values_are_numbers_or_text(value):
    with pytest.raises(InputError, match=r"'x' = .* no number"):
        Result(values={"x": value})


def test_a_result_is_numbers_or_a_failure():
    for given in ({}, {"values": {}, "failure": Failure(kind="E", message="m")}):
        with pytest.raises(InputError, match="either"):
            Result(**given)


def test_failures_keep_the_type_a_line_and_the_end_of_the_trace():
    def fail(depth):
        return 1 / 0 if depth == 0 else fail(depth - 1)

    try:
        fail(300)
    except ZeroDivisionError as problem:
        failure = Failure.of(problem)
    assert str(failure) == "ZeroDivisionError: division by zero"
    assert len(failure.trace) <= 2000 and failure.trace.rstrip().endswith("division by zero")
    assert Failure.of(ValueError("two\n lines")).message == "two lines"
    assert Failure.of(KeyError()).message == "no message"
