"""Operators on disk, by what they were extracted from."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netlists.arrays import FloatArray
from netlists.errors import InputError

VERSION = 1
APPLICATION_ID = 0x78626F70  # "xbop"
FILE = "operators.sqlite"


class OperatorStore:
    """A folder of operators, so that a chip is extracted once and an interrupt loses little.

    Written batch by batch in transactions; several processes may share it. It grows by
    rows x cols x 8 bytes per tile, half that with dtype="float32", which rounds operators to 6e-8
    of their values (24-bit converters would see it, 16-bit ones do not); delete the folder to be
    rid of it. Stores of either precision share a folder without mixing.

    Raises InputError when the folder cannot be used or its file is of another version.
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
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if not version:
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS operator (id BLOB PRIMARY KEY, value BLOB NOT NULL)"
                )
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise InputError(
                f"{self.path} is a store of version {version}, this program reads version "
                f"{VERSION}; delete it or choose another folder."
            )

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
        them. Raises InputError where the disk is full or the file cannot be written.
        """
        values = np.empty((len(identities), *shape))
        missing = []
        for k, identity in enumerate(identities):
            kept = self._db.execute(
                "SELECT value FROM operator WHERE id = ?", (self._id(identity),)
            ).fetchone()
            if kept is None:
                missing.append(k)
            else:
                values[k] = np.frombuffer(kept[0], self.dtype).reshape(shape)
        if missing:
            # What a store rounds, it rounds for the first user too.
            fresh = make(missing).astype(self.dtype)
            values[missing] = fresh
            self._put([identities[k] for k in missing], fresh)
        return values

    def _put(self, identities: list[bytes], values: NDArray[np.floating]) -> None:
        rows = [(self._id(i), value.tobytes()) for i, value in zip(identities, values, strict=True)]
        try:
            with self._db:
                self._db.executemany("INSERT OR IGNORE INTO operator VALUES (?, ?)", rows)
        except sqlite3.OperationalError as problem:
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
