"""Results on disk: one SQLite file, one row a finished task, safe to stop at any moment."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netlists import InputError

VERSION = 1
APPLICATION_ID = 0x78626172  # "xbar"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE result (id TEXT PRIMARY KEY, task TEXT NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
"""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal content, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Store:
    """A campaign's results. Writing what is already there changes no byte.

    Raises InputError when the file cannot be opened, is not a store, or has another version.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if not create and not path.is_file():
            raise InputError(f"{path} does not exist; run `xbarverify evaluate` first.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path)
            self._open(path)
        except (OSError, sqlite3.OperationalError) as problem:
            raise InputError(
                f"{path} cannot be written: {problem}; choose another folder with [run] out."
            ) from None
        except sqlite3.DatabaseError as problem:
            raise InputError(f"{path} is not a results store: {problem}.") from None

    def _open(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not version:
            with self._db:
                self._db.executescript(_SCHEMA)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise InputError(
                f"{path} is a store of version {version}, this program reads version {VERSION}; "
                "move it away or use the program that wrote it."
            )

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def put(self, identity: str, task: dict[str, Any], value: dict[str, Any]) -> None:
        """Keep the result of a task, committed at once; a result already there stays."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO result VALUES (?, ?, ?)",
                (identity, canonical(task), canonical(value)),
            )

    def get(self, identities: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The results among these ids that are there, by id."""
        found = {}
        for identity in identities:
            row = self._db.execute("SELECT value FROM result WHERE id = ?", (identity,)).fetchone()
            if row:
                found[identity] = json.loads(row[0])
        return found

    def set_meta(self, key: str, value: Any) -> None:
        """Keep one value by name, written only where it differs."""
        text = canonical(value)
        if self.meta(key) != json.loads(text):
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    def meta(self, key: str) -> Any:
        """The value kept under this name, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None
