import itertools
import random
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlists.errors import InputError
from tests.validation.campaign.conditions import Logged, failing_on_odd, measured, tasks
from validation.campaign.backends import Serial, attempt
from validation.campaign.run import run_campaign
from validation.campaign.store import Store
from validation.campaign.task import Failure, Result


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "results.sqlite") as opened:
        yield opened


def run(todo, runner, store, **options):
    return run_campaign(todo, runner, store, backend=options.pop("backend", Serial()), **options)


def test_only_what_is_missing_runs(store, tmp_path):
    log = Logged(tmp_path / "log")
    log.folder.mkdir()
    todo, heard = tasks(chips=5), []
    first = run(todo[:2], log, store, on_done=heard.append)
    assert (first.ran, first.kept, str(first)) == (2, 0, "2 tasks ran, 0 were there.")
    again = run([*todo, *todo], log, store, on_done=heard.append)
    assert (again.ran, again.kept, again.failed) == (3, 2, 0)
    assert heard == [0, 1, 1, 2, 1, 1, 1] and set(log.calls().values()) == {1}
    before = store.path.read_bytes()
    assert run(todo, log, store).kept == 5 and store.path.read_bytes() == before
    assert all(store.get(todo)[task.id].values == measured(task) for task in todo)


def test_failures_are_rows_that_the_next_run_tries_again(store):
    todo = tasks(chips=5)
    summary = run(todo, failing_on_odd, store)
    assert (summary.ran, summary.failed) == (3, 2)
    assert "2 failed and are tried again by the next run (1 of them: ValueError: chip" in str(
        summary
    )
    failure = store.get(todo)[todo[1].id].failure
    assert str(failure) == "ValueError: chip 1 cannot be read"
    assert "in failing_on_odd" in failure.trace
    again = run(todo, measured, store)
    assert (again.kept, again.ran, again.failed) == (3, 2, 0)


def test_runners_that_return_no_numbers_fail(store):
    summary = run(tasks(chips=1), lambda task: {"accuracy": None}, store)
    assert summary.failed == 1 and "no number and no text" in str(summary)
    assert "all: InputError" in str(summary)


def test_an_interrupt_keeps_what_had_finished(store, tmp_path):
    todo = tasks(chips=5)
    with pytest.raises(KeyboardInterrupt):
        run(todo, Logged(tmp_path, raises=KeyboardInterrupt), store)
    assert set(store.get(todo)) == {todo[0].id, todo[1].id}
    assert run(todo, measured, store).kept == 2


def test_numbers_that_change_end_the_run_with_a_sentence(store):
    (task,) = tasks(chips=1)

    @dataclass
    class Twice:
        def outcomes(self, runner, todo):
            for task in todo:
                yield task, Result(values={"x": 1.0})
                yield task, Result(values={"x": 2.0})

    with pytest.raises(InputError, match=r"chip 0 .* the same numbers each time"):
        run([task], measured, store, backend=Twice())


# Stopping early


@dataclass(frozen=True)
class Above:
    """Satisfied at the first count n >= 2 whose accuracies add to more than `total`."""

    total: float

    def chips(self, results):
        sums = list(itertools.accumulate(result["accuracy"] for result in results))
        return next((n for n, s in enumerate(sums, 1) if n >= 2 and s > self.total), None)


@dataclass
class Shuffled:
    """Finishes tasks in any order, several under way."""

    seed: int
    window: int

    def outcomes(self, runner, todo):
        rng, source = random.Random(self.seed), iter(todo)
        under_way = list(itertools.islice(source, self.window))
        while under_way:
            task = under_way.pop(rng.randrange(len(under_way)))
            yield task, attempt(runner, task)
            under_way += itertools.islice(source, self.window - len(under_way))

    def opened(self):
        return nullcontext(self)


def test_a_satisfied_rule_ends_its_condition_only(store):
    todo, heard = tasks(rates=(0.1, 0.5), chips=10), []
    summary = run(todo, measured, store, stop=Above(3.0), on_done=heard.append)
    lengths = [summary.last[todo[k].condition_id] + 1 for k in (0, 10)]
    assert lengths[0] < lengths[1] < 10
    assert summary.ran == sum(lengths) and summary.unneeded == 20 - sum(lengths)
    assert sum(heard) == 20 and "were not needed" in str(summary)
    before = store.path.read_bytes()
    again = run(todo, measured, store, stop=Above(3.0), on_done=heard.append)
    assert (again.last, again.ran, again.kept) == (summary.last, 0, summary.ran)
    assert sum(heard) == 40 and store.path.read_bytes() == before
    assert run(todo, measured, store).ran == summary.unneeded


class InMemory(dict):
    """A store's part in a run, without its disk."""

    def put(self, task, result):
        assert task.id not in self
        self[task.id] = result

    def get(self, todo):
        return {}

    def label(self, task):
        pass


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), window=st.integers(1, 7), odd=st.booleans())
def test_where_a_condition_ends_does_not_depend_on_what_finished_first(seed, window, odd):
    runner = failing_on_odd if odd else measured
    todo, summaries = tasks(rates=(0.1, 0.5), chips=14), []
    for backend in (Serial(), Shuffled(seed, window)):
        heard, store = [], InMemory()
        summary = run(todo, runner, store, backend=backend, stop=Above(2.0), on_done=heard.append)
        summaries.append(summary)
        assert sum(heard) == 28 == summary.ran + summary.failed + summary.unneeded
        assert len(store) == summary.ran + summary.failed
        assert all(task.id in store for task in summary.counting(todo))
        assert len(summary.counting(todo)) == sum(n + 1 for n in summary.last.values())
    assert summaries[0].last == summaries[1].last and len(summaries[0].last) == 2
    assert summaries[1].unneeded <= summaries[0].unneeded


def test_attempts_keep_exceptions_but_not_interrupts():
    assert attempt(failing_on_odd, tasks()[1]) == Result(
        failure=Failure(kind="ValueError", message="chip 1 cannot be read")
    )
    assert attempt(measured, tasks()[1]).seconds > 0
    with pytest.raises(KeyboardInterrupt):
        attempt(lambda task: (_ for _ in ()).throw(KeyboardInterrupt), tasks()[0])
