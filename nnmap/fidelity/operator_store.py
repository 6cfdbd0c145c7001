"""Operators on disk, by what they were extracted from, each with a checksum."""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.errors import InputError

VERSION = 2
APPLICATION_ID = 0x78626F70  # "xbop"
FILE = "operators.sqlite"


class OperatorStore:
    """A folder of operators, so that a chip is extracted once and an interrupt loses little.

    Written batch by batch in transactions; several processes may share it. It grows by
    rows x cols x 8 bytes per tile, half that with dtype="float32", which rounds operators to 6e-8
    of their values (24-bit converters would see it, 16-bit ones do not); delete the folder to be
    rid of it. Stores of either precision share a folder without mixing. A value whose checksum does
    not match, or that is no number, is made again.

    Raises InputError when the folder cannot be used or its file is of another version or program.
    """

    def __init__(
        self, folder: str | Path, *, dtype: Literal["float64", "float32"] = "float64"
    ) -> None:
        if dtype not in ("float64", "float32"):
            raise InputError(f"OperatorStore: dtype={dtype!r} is not one of float64, float32.")
        self.dtype = np.dtype(dtype)
        self.path = Path(folder) / FILE
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=60.0)
            self._open()
        except (OSError, sqlite3.OperationalError) as problem:
            raise InputError(f"{self.path} cannot be written: {problem}.") from None
        except sqlite3.DatabaseError as problem:
            raise InputError(f"{self.path} is not an operator store: {problem}.") from None

    def _open(self) -> None:
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not self._pragma("user_version") and not self._pragma("application_id"):
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS operator (id BLOB PRIMARY KEY, value BLOB NOT NULL,"
                    " checksum BLOB NOT NULL)"
                )
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        if self._pragma("application_id") != APPLICATION_ID:
            raise InputError(
                f"{self.path} is a database of another program, not an operator store; choose "
                "another folder."
            )
        version = self._pragma("user_version")
        if version != VERSION:
            raise InputError(
                f"{self.path} is a store of version {version}, this program reads version "
                f"{VERSION}; delete it or choose another folder."
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _id(self, identity: bytes) -> bytes:
        return identity + self.dtype.char.encode()

    def complete(
        self,
        identities: Sequence[bytes],
        shape: tuple[int, ...],
        make: Callable[[list[int]], FloatArray],
    ) -> FloatArray:
        """The values of these digests, [n, *shape]; what is missing is made and kept at once.

        make: places in `identities` -> their values. An interrupt before its end keeps none of
        them. Raises InputError where the disk is full, the file cannot be read or written, or what
        is made is not finite.
        """
        values = np.empty((len(identities), *shape))
        missing = []
        for k, identity in enumerate(identities):
            kept = self._kept(self._id(identity), shape)
            if kept is None:
                missing.append(k)
            else:
                values[k] = kept
        if missing:
            # What a store rounds, it rounds for the first user too.
            fresh = make(missing).astype(self.dtype)
            if not np.isfinite(fresh).all():
                raise InputError(
                    f"{self.path} keeps no operator that is not finite; the tile's conductances "
                    "and wires are out of the range of a number."
                )
            values[missing] = fresh
            self._put([identities[k] for k in missing], fresh)
        return values

    def _kept(self, key: bytes, shape: tuple[int, ...]) -> NDArray[np.floating] | None:
        """The value of a key; None where it is missing or damaged."""
        try:
            found = self._db.execute(
                "SELECT value, checksum FROM operator WHERE id = ?", (key,)
            ).fetchone()
        except sqlite3.DatabaseError as problem:
            raise InputError(f"{self.path} is damaged ({problem}); delete it.") from None
        if found is None or not isinstance(found[0], bytes) or found[1] != _checksum(key, found[0]):
            return None
        if len(found[0]) != int(np.prod(shape)) * self.dtype.itemsize:
            return None
        value = np.frombuffer(found[0], self.dtype).reshape(shape)
        return value if np.isfinite(value).all() else None

    def _put(self, identities: list[bytes], values: NDArray[np.floating]) -> None:
        keys = [self._id(identity) for identity in identities]
        blobs = [value.tobytes() for value in values]
        rows = [(k, blob, _checksum(k, blob)) for k, blob in zip(keys, blobs, strict=True)]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO operator VALUES (?, ?, ?)", rows)
        except sqlite3.DatabaseError as problem:
            raise InputError(
                f"{self.path} cannot be written: {problem}; what it holds so far is kept."
            ) from None

    def __len__(self) -> int:
        """How many values of this precision it holds."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM operator WHERE substr(id, 33) = ?", (self.dtype.char.encode(),)
        ).fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> "OperatorStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.sha256(key + value).digest()[:16]
