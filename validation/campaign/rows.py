"""The store's tables, and rows that carry a checksum: a damaged row reads as a missing one."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

VERSION = 2
APPLICATION_ID = 0x78626172  # "xbar"

SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE condition (id TEXT PRIMARY KEY, text TEXT NOT NULL, labels TEXT NOT NULL,"
    " checksum TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE draw (id TEXT PRIMARY KEY, condition TEXT NOT NULL, number INTEGER NOT NULL,"
    " versions TEXT NOT NULL, value TEXT, error TEXT, seconds REAL NOT NULL,"
    " checksum TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE artefact (sha TEXT PRIMARY KEY, kind TEXT NOT NULL, blob BLOB NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
COLUMNS = {
    "meta": ("key", "value"),
    "condition": ("id", "text", "labels"),
    "draw": ("id", "condition", "number", "versions", "value", "error", "seconds"),
}
Row = tuple[Any, ...]  # as COLUMNS names them, without the checksum


def read_row(db: sqlite3.Connection, table: str, key: str) -> Row | None:
    """The row of this key; None where it is missing or damaged."""
    columns = COLUMNS[table]
    query = f"SELECT {', '.join(columns)}, checksum FROM {table} WHERE {columns[0]} = ?"
    found = db.execute(query, (key,)).fetchone()
    return found[:-1] if found and found[-1] == _checksum(found[:-1]) else None


def whole_rows(db: sqlite3.Connection, table: str) -> Iterator[Row]:
    """Every row that is not damaged."""
    for found in db.execute(f"SELECT {', '.join(COLUMNS[table])}, checksum FROM {table}"):
        if found[-1] == _checksum(found[:-1]):
            yield found[:-1]


def write_row(db: sqlite3.Connection, table: str, row: Row) -> None:
    """Put the row in the place of what its key holds, unless that is the same."""
    if read_row(db, table, row[0]) != row:
        marks = ", ".join("?" * (len(row) + 1))
        db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*row, _checksum(row)))


def _checksum(row: Row) -> str:
    text = json.dumps(row, separators=(",", ":"), default=repr)  # damage may change a type
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
