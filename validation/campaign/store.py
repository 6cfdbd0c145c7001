"""A campaign's results on disk: one SQLite file, safe to stop, to share and to merge.

The file keeps a rollback journal, not a write-ahead log: a log needs shared memory, which network
folders lack, leaves results in a second file that a copy forgets, and cannot be read in a folder
without write permission. Rows are written one transaction each, some milliseconds, against tasks of
seconds; several processes may run one campaign into one store.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlists.errors import InputError
from netlists.identity import canonical, revive
from validation.campaign.rows import (
    APPLICATION_ID,
    COLUMNS,
    SCHEMA,
    VERSION,
    Row,
    read_row,
    whole_rows,
    write_row,
)
from validation.campaign.store_errors import one_sentence
from validation.campaign.task import Failure, Result, Task, Versions, labels_of

LOCK_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One kept result: the task's id, its condition's id, canonical text and labels, the chip."""

    id: str
    condition_id: str
    condition: str
    labels: Mapping[str, Any]
    number: int
    versions: Versions
    result: Result


class Store:
    """What is kept of a campaign. Writing what is there already changes no byte.

    path: the file, made with its folders where it is missing.  lock_seconds: how long to wait for
    another process that is writing.
    Every method raises InputError, one sentence with the mend, when the file cannot be read or
    written: nothing half-written is left, and what was there stays.
    """

    def __init__(
        self, path: Path, *, create: bool = True, lock_seconds: float = LOCK_SECONDS
    ) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise InputError(f"{self.path} does not exist; run the campaign first.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(
                f"{self.path.parent} cannot be made: {problem.strerror}; choose another folder."
            ) from None
        with one_sentence(self.path):
            self._db = sqlite3.connect(self.path, timeout=lock_seconds, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def _open(self) -> None:
        if self._is_empty():
            with self._transaction():
                if self._is_empty():  # else another process was faster
                    for statement in SCHEMA:
                        self._db.execute(statement)
        if self._pragma("application_id") != APPLICATION_ID:
            raise InputError(
                f"{self.path} is a database of another program, not a results store; choose "
                "another file."
            )
        version = self._pragma("user_version")
        if version != VERSION:
            raise InputError(
                f"{self.path} is a store of version {version}, this program reads version "
                f"{VERSION}; move it away or use the program that wrote it."
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _is_empty(self) -> bool:
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return not (tables or self._pragma("user_version") or self._pragma("application_id"))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block or nothing of it; alone among the processes that write."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Results

    def put(self, task: Task[Any], result: Result) -> None:
        """Keep what came of a task, committed at once.

        Numbers stand where there were none, a failure or a damaged row; a failure never takes the
        place of numbers. Raises InputError naming the task when other numbers are there.
        """
        condition, draw = _condition_row(task), _draw_row(task, result)
        with one_sentence(self.path):
            if read_row(self._db, "condition", condition[0]) == condition and not self._gains(
                draw, str(task)
            ):
                return
            with self._transaction():
                write_row(self._db, "condition", condition)
                if self._gains(draw, str(task)):
                    write_row(self._db, "draw", draw)

    def label(self, task: Task[Any]) -> None:
        """Keep the condition of a task and its labels, in place of the labels that are there."""
        row = _condition_row(task)
        with one_sentence(self.path):
            if read_row(self._db, "condition", row[0]) != row:
                with self._transaction():
                    write_row(self._db, "condition", row)

    def get(self, tasks: Iterable[Task[Any]]) -> dict[str, Result]:
        """What is kept of these tasks, failures included, by the task's id."""
        found = {}
        with one_sentence(self.path):
            for task in tasks:
                row = read_row(self._db, "draw", task.id)
                if row is not None:
                    found[task.id] = _result(row)
        return found

    def draws(self, tasks: Iterable[Task[Any]] | None = None) -> list[Draw]:
        """The whole rows of these tasks in their order, or all, ordered by condition and chip."""
        with one_sentence(self.path):
            conditions = {row[0]: row for row in whole_rows(self._db, "condition")}
            rows = [row for row in whole_rows(self._db, "draw") if row[1] in conditions]
        found = {
            row[0]: Draw(
                id=row[0],
                condition_id=row[1],
                condition=conditions[row[1]][1],
                labels=dict(revive(conditions[row[1]][2], ())),
                number=row[2],
                versions=revive(row[3], [Versions]),
                result=_result(row),
            )
            for row in rows
        }
        if tasks is None:
            return sorted(
                found.values(), key=lambda draw: (draw.condition_id, draw.number, draw.id)
            )
        return [found[task.id] for task in tasks if task.id in found]

    # Named values and artefacts

    def set_meta(self, key: str, value: Any) -> None:
        """Keep one value by name, written only where it differs from what is there."""
        row = (key, canonical(value))
        with one_sentence(self.path):
            if read_row(self._db, "meta", key) != row:
                with self._transaction():
                    write_row(self._db, "meta", row)

    def meta(self, key: str) -> Any:
        """The value kept under this name, sequences as tuples; None where there is none."""
        with one_sentence(self.path):
            row = read_row(self._db, "meta", key)
        return None if row is None else revive(row[1], ())

    def put_artefact(self, kind: str, blob: bytes) -> str:
        """Keep bytes under their SHA-256, which is returned. kind: what they are, as "png"."""
        sha = hashlib.sha256(blob).hexdigest()
        if self.artefact(sha) is None:
            with one_sentence(self.path), self._transaction():
                self._db.execute(
                    "INSERT OR REPLACE INTO artefact VALUES (?, ?, ?)", (sha, kind, blob)
                )
        return sha

    def artefact(self, sha: str) -> bytes | None:
        """The bytes of this SHA-256; None where they are missing or damaged."""
        with one_sentence(self.path):
            found = self._db.execute("SELECT blob FROM artefact WHERE sha = ?", (sha,)).fetchone()
        whole = found is not None and hashlib.sha256(found[0]).hexdigest() == sha
        return found[0] if whole else None

    def artefacts(self) -> dict[str, str]:
        """The kinds of what is kept, by SHA-256."""
        with one_sentence(self.path):
            return dict(self._db.execute("SELECT sha, kind FROM artefact ORDER BY sha"))

    # Another store

    def merge(self, other: "Store") -> int:
        """Take over what the other store holds and this one lacks; returns how many results.

        Raises InputError naming the first task or value on which the two disagree; nothing is
        taken over then.
        """
        gained = 0
        with one_sentence(other.path):
            rows = {table: list(whole_rows(other._db, table)) for table in COLUMNS}
            artefacts = [
                (sha, kind, other.artefact(sha)) for sha, kind in other.artefacts().items()
            ]
        with one_sentence(self.path), self._transaction():
            for key, value in rows["meta"]:
                mine = read_row(self._db, "meta", key)
                if mine is not None and mine[1] != value:
                    raise InputError(
                        f"{self.path} and {other.path} are of different campaigns: {key} is "
                        f"{_short(mine[1])} here and {_short(value)} there; keep them apart."
                    )
                write_row(self._db, "meta", (key, value))
            for row in rows["condition"]:
                if read_row(self._db, "condition", row[0]) is None:  # labels of this store stay
                    write_row(self._db, "condition", row)
            for row in rows["draw"]:
                if self._gains(
                    row, f"chip {row[2]} of condition {row[1][:12]} (task {row[0][:12]})"
                ):
                    write_row(self._db, "draw", row)
                    gained += 1
            for sha, kind, blob in artefacts:
                if blob is not None and self.artefact(sha) is None:
                    self._db.execute(
                        "INSERT OR REPLACE INTO artefact VALUES (?, ?, ?)", (sha, kind, blob)
                    )
        return gained

    def _gains(self, draw: Row, name: str) -> bool:
        """Whether the row is to be written over what is there; raises when both are numbers."""
        mine = read_row(self._db, "draw", draw[0])
        if mine is None:
            return True
        new, old = draw[4], mine[4]
        if old is None:  # a failure: numbers and later failures stand in its place
            return new is not None or draw[5] != mine[5]
        if new is not None and new != old:
            raise InputError(
                f"{name} gave {_short(new)} and {self.path} holds {_short(old)}; a task must give "
                "the same numbers each time: seed what it draws, and keep results of changed "
                "programs in a store of their own."
            )
        return False


def _condition_row(task: Task[Any]) -> Row:
    labels = list(labels_of(task.condition).items())  # pairs: an object's keys would be sorted
    return task.condition_id, task.condition_text, canonical(labels)


def _draw_row(task: Task[Any], result: Result) -> Row:
    return (
        task.id,
        task.condition_id,
        task.number,
        canonical(task.versions),
        None if result.values is None else canonical(result.values),
        None if result.failure is None else canonical(result.failure),
        float(result.seconds),
    )


def _result(row: Row) -> Result:
    if row[4] is not None:
        return Result(values=revive(row[4], ()), seconds=row[6])
    return Result(failure=revive(row[5], [Failure]), seconds=row[6])


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
