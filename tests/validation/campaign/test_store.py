import json
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from netlists.errors import InputError
from tests.validation.campaign.conditions import VERSIONS, Condition, measured, strange, tasks
from validation.campaign.store import Store
from validation.campaign.task import Failure, Result, Task

FAILED = Result(failure=Failure(kind="ValueError", message="no"), seconds=0.5)


def result(task):
    return Result(values=measured(task), seconds=1.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "results.sqlite"


def filled(path, todo):
    with Store(path) as store:
        for task in todo:
            store.put(task, result(task))
    return path


def damage(path, change):
    with sqlite3.connect(path) as db:
        assert db.execute(change).rowcount == 1


def test_results_survive_and_repeats_change_no_byte(path):
    todo = tasks(rates=(0.1, 0.2))
    filled(path, todo)
    with Store(path) as store:
        store.set_meta("seed", {"b": 1, "a": [1, 2]})
        sha = store.put_artefact("png", b"\x00picture")
    before = path.read_bytes()
    with Store(path) as store:
        for task in todo:
            store.put(task, replace(result(task), seconds=9.0))
            store.label(task)
        store.put(todo[0], FAILED)
        store.set_meta("seed", {"a": (1, 2), "b": 1})
        assert store.put_artefact("png", b"\x00picture") == sha
        assert store.artefact(sha) == b"\x00picture" and store.artefact("0" * 64) is None
        assert store.artefacts() == {sha: "png"}
        assert store.get(todo) == {task.id: result(task) for task in todo}
        assert store.get(todo)[todo[0].id].seconds == 1.5
        assert store.meta("seed") == {"a": (1, 2), "b": 1} and store.meta("other") is None
    assert path.read_bytes() == before


def test_numbers_come_back_as_they_were(path):
    task = tasks()[0]
    with Store(path) as store:
        store.put(task, Result(values=strange(task)))
        values = store.get([task])[task.id].values
    assert math.isnan(values["nan"]) and values["inf"] == -math.inf
    assert math.copysign(1, values["zero"]) == -1 and values["whole"] == 2**60
    assert isinstance(values["whole"], int) and values["label"] == "π"


def test_draws_carry_condition_labels_chip_and_versions(path):
    labelled = Task(condition=Condition(rate=0.5, axes={"cell": "1R"}), number=7, versions=VERSIONS)
    with Store(path) as store:
        for task in [*tasks(chips=3)[::-1], labelled]:
            store.put(task, result(task))
        draws = store.draws()
    assert sorted(draw.number for draw in draws) == [0, 1, 2, 7]
    (found,) = [draw for draw in draws if draw.number == 7]
    assert (found.labels, found.versions) == ({"cell": "1R"}, VERSIONS)
    assert json.loads(found.condition)["rate"] == 0.5 and found.result == result(labelled)
    with Store(path) as store:
        chosen = store.draws([labelled, *tasks(chips=9)[1:]])
    assert [draw.number for draw in chosen] == [7, 1, 2]
    assert [d.number for d in draws if d.condition_id != found.condition_id] == [0, 1, 2]


def test_new_labels_take_the_place_of_old_ones(path):
    (task,) = tasks(chips=1)
    filled(path, [task])
    with Store(path) as store:
        store.label(replace(task, condition=replace(task.condition, axes={"name": "new"})))
        (draw,) = store.draws()
    assert draw.labels == {"name": "new"} and draw.id == task.id


def test_a_second_result_must_equal_the_first(path):
    task = filled(path, tasks()) and tasks()[1]
    with Store(path) as store, pytest.raises(InputError, match=f"chip 1 .*{task.id[:12]}.*seed"):
        store.put(task, Result(values={"accuracy": 0.0, "images": 1000}))
    with Store(path) as store:
        assert store.get([task])[task.id] == result(task)


def test_failures_give_way_to_numbers_and_to_later_failures(path):
    task = tasks()[0]
    later = replace(FAILED, failure=Failure(kind="OSError", message="gone"))
    with Store(path) as store:
        for given, kept in ((FAILED, FAILED), (later, later), (result(task), result(task))):
            store.put(task, given)
            assert store.get([task])[task.id] == kept


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE draw SET value = replace(value, '0.', '1.') WHERE number = 1",
        "UPDATE draw SET value = NULL WHERE number = 1",
        "UPDATE draw SET value = x'00ff' WHERE number = 1",
        "UPDATE draw SET number = 5 WHERE number = 1",
        "UPDATE draw SET seconds = 'soon' WHERE number = 1",
    ],
)
def test_a_damaged_row_is_missing_and_made_again(path, change):
    todo = tasks()
    damage(filled(path, todo), change)
    with Store(path) as store:
        assert set(store.get(todo)) == {todo[0].id, todo[2].id} and len(store.draws()) == 2
        store.put(todo[1], result(todo[1]))
        assert len(store.get(todo)) == len(store.draws()) == 3


def test_a_damaged_condition_hides_its_results_until_it_is_known_again(path):
    todo = tasks()
    damage(filled(path, todo), "UPDATE condition SET text = '{}'")
    with Store(path) as store:
        assert store.draws() == []
        store.label(todo[0])
        assert len(store.draws()) == 3


def test_a_damaged_artefact_is_missing_and_made_again(path):
    with Store(path) as store:
        sha = store.put_artefact("text", b"one")
    damage(path, "UPDATE artefact SET blob = x'00'")
    with Store(path) as store:
        assert store.artefact(sha) is None
        assert store.put_artefact("text", b"one") == sha and store.artefact(sha) == b"one"


# Merging


def test_two_machines_results_merge(tmp_path):
    todo = tasks(rates=(0.1, 0.2))
    one, two = filled(tmp_path / "a", todo[:4]), filled(tmp_path / "b", todo[2:])
    with Store(one) as here, Store(two) as there:
        there.set_meta("study", "x")
        sha = there.put_artefact("text", b"one")
        assert here.merge(there) == 2 and here.merge(there) == 0
        assert here.get(todo) == {task.id: result(task) for task in todo}
        assert here.meta("study") == "x" and here.artefact(sha) == b"one"


def test_merged_failures_never_displace_numbers(tmp_path):
    (task,) = tasks(chips=1)
    with Store(tmp_path / "a") as here, Store(tmp_path / "b") as there:
        here.put(task, result(task))
        there.put(task, FAILED)
        assert here.merge(there) == 0 and here.get([task])[task.id] == result(task)
        assert there.merge(here) == 1 and there.get([task])[task.id] == result(task)


@pytest.mark.parametrize("which", ["draw", "meta"])
def test_stores_that_disagree_do_not_merge_at_all(tmp_path, which):
    todo = tasks(chips=3)
    with Store(tmp_path / "a") as here, Store(tmp_path / "b") as there:
        here.put(todo[2], result(todo[2]))
        here.set_meta("z", 1)
        for task in todo[:2]:
            there.put(task, result(task))
        if which == "draw":
            there.put(todo[2], Result(values={"accuracy": 0.0}))
        else:
            there.set_meta("z", 2)
        before = (tmp_path / "a").read_bytes()
        with pytest.raises(InputError, match="chip 2" if which == "draw" else "z is 1 here"):
            here.merge(there)
    assert (tmp_path / "a").read_bytes() == before


# What goes wrong with files


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 50)
    (tmp_path / "file").write_text("")
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE t (x)")
    old = filled(tmp_path / "old", [])
    with sqlite3.connect(old) as db:
        db.execute("PRAGMA user_version = 1")
    for name, message in (
        ("text", "is not a results store"),
        ("other", "another program"),
        ("old", "version 1, this program reads version 2; move"),
        ("file/results", "cannot be made|exists"),
        (".", "cannot be opened"),
    ):
        with pytest.raises(InputError, match=message):
            Store(tmp_path / name)
    with pytest.raises(InputError, match="does not exist; run"):
        Store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_full_disk_loses_nothing(path):
    todo = tasks(chips=60)
    filled(path, todo[:1])
    store = Store(path)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(InputError, match=r"disk of .* is full; free some space"):
        for done in todo:
            store.put(done, result(done))
    finished = len(store.get(todo))
    assert 1 <= finished < 60
    store._db.execute("PRAGMA max_page_count = 100000")
    for task in todo:
        store.put(task, result(task))
    assert len(store.get(todo)) == 60
    store.close()


def test_a_lock_held_by_another_process_is_waited_for_and_named(path):
    filled(path, tasks(chips=1))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    start = time.perf_counter()
    with pytest.raises(InputError, match="locked by another process"):
        Store(path, lock_seconds=0.2)
    assert time.perf_counter() - start > 0.15
    holder.execute("COMMIT")
    holder.execute("BEGIN IMMEDIATE")
    with Store(path, lock_seconds=0.1) as store:
        assert len(store.draws()) == 1
        with pytest.raises(InputError, match="locked by another process"):
            store.put(tasks()[1], FAILED)
        holder.execute("ROLLBACK")
        store.put(tasks()[1], FAILED)
        assert len(store.draws()) == 2


def test_a_store_that_may_not_be_written_can_be_read(path, monkeypatch):
    filled(path, tasks(chips=1))
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda p, **kw: connect(f"file:{p}?mode=ro", uri=True, **kw)
    )
    with Store(path) as store:
        store.put(tasks()[0], result(tasks()[0]))  # writes nothing
        assert len(store.draws()) == 1
        with pytest.raises(InputError, match="may not be written; give"):
            store.put(tasks()[1], FAILED)
    with pytest.raises(InputError, match="cannot be opened or made"):
        Store(path.with_name("other"))


def test_a_truncated_file_is_one_sentence(path):
    filled(path, tasks(chips=40))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged .*\.recover"), Store(path) as store:
        store.draws()


# Killed programs

CREATE = """
import os, signal, sys
from pathlib import Path
from validation.campaign.store import Store
calls = 0
def trace(statement):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
import sqlite3
connect = sqlite3.connect
def traced(*a, **k):
    db = connect(*a, **k)
    db.set_trace_callback(trace)
    db.execute("PRAGMA cache_size = 1")
    return db
sqlite3.connect = traced
Store(Path(sys.argv[1]))
print(calls)
"""

WRITE = """
import sys
from pathlib import Path
from tests.validation.campaign.conditions import measured, tasks
from validation.campaign.store import Store
from validation.campaign.task import Result
with Store(Path(sys.argv[1])) as store:
    for task in tasks(chips=100000):
        store.put(task, Result(values=measured(task)))
        print(task.number, flush=True)
"""


def python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_killed_at_any_statement_of_its_making_the_store_is_made_by_the_next(tmp_path):
    whole = python(CREATE, tmp_path / "whole", -1)
    statements = int(whole.communicate()[0])
    assert statements > 8
    running = {at: python(CREATE, tmp_path / str(at), at) for at in range(5, statements, 5)}
    for at, process in running.items():
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        with Store(tmp_path / str(at)) as store:
            store.put(tasks()[0], FAILED)
            assert len(store.draws()) == 1


def test_killed_while_writing_what_was_reported_is_there(path):
    process = python(WRITE, path)
    for line in process.stdout:
        if int(line) == 30:
            process.kill()
            break
    process.wait()
    with Store(path) as store:
        found = store.get(tasks(chips=1000))
        assert len(found) >= 31
        todo = [task for task in tasks(chips=1000) if task.id in found]
        assert all(found[task.id].values == measured(task) for task in todo)
        assert [task.number for task in todo] == list(range(len(todo)))


def test_a_copy_of_the_file_is_the_whole_store(path, tmp_path):
    with Store(path) as store:
        store.put(tasks()[0], FAILED)
        shutil.copy(path, tmp_path / "copy")
    with Store(tmp_path / "copy") as copy:
        assert len(copy.draws()) == 1 and list(path.parent.iterdir()) == [path]
