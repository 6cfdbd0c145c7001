import sqlite3

import pytest

from netlists import InputError
from validation import Store


def test_results_survive_and_repeats_change_no_byte(tmp_path):
    path = tmp_path / "results.sqlite"
    with Store(path) as store:
        store.put("a", {"chip": 1}, {"accuracy": 0.5})
        store.set_meta("seed", {"b": 1, "a": [1, 2]})
    before = path.read_bytes()
    with Store(path) as store:
        store.put("a", {"chip": 1}, {"accuracy": 0.9})
        store.set_meta("seed", {"a": [1, 2], "b": 1})
        assert store.get(["a", "missing"]) == {"a": {"accuracy": 0.5}}
        assert store.meta("seed") == {"a": [1, 2], "b": 1} and store.meta("other") is None
    assert path.read_bytes() == before


def test_other_versions_and_other_files_are_refused(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (x)")
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="version 99"):
        Store(path)
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(InputError, match="not a results store"):
        Store(tmp_path / "text.sqlite")
    with pytest.raises(InputError, match="does not exist"):
        Store(tmp_path / "none.sqlite", create=False)
