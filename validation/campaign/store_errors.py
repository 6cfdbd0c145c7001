"""What SQLite says, as one sentence with the mend."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netlists.errors import InputError

_KEPT = "what was finished is kept, and the same command goes on from there"

# By the beginning of SQLite's error name; https://www.sqlite.org/rescode.html
_SENTENCES = {
    "SQLITE_FULL": "the disk of {path} is full; free some space: " + _KEPT + ".",
    "SQLITE_BUSY": "{path} is locked by another process that is writing to it; wait for it or end "
    "it: " + _KEPT + ".",
    "SQLITE_LOCKED": "{path} is locked within this process; close the other use of it.",
    "SQLITE_READONLY": "{path} may not be written; give the file and its folder write permission "
    "or choose another folder: " + _KEPT + ".",
    "SQLITE_CANTOPEN": "{path} cannot be opened or made there; choose another folder or give this "
    "one read and write permission.",
    "SQLITE_PERM": "{path} may not be opened; give it read and write permission.",
    "SQLITE_NOTADB": "{path} is not a results store; choose another file.",
    "SQLITE_CORRUPT": "{path} is damaged ({problem}); move it away and run again, or take over "
    "what `sqlite3 {path} .recover` still finds.",
    "SQLITE_IOERR": "{path} cannot be read or written ({problem}); check its disk: " + _KEPT + ".",
}


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """Turn SQLite's errors inside the block into InputError about the store at `path`."""
    try:
        yield
    except sqlite3.Error as problem:
        name = getattr(problem, "sqlite_errorname", "")
        for beginning, sentence in _SENTENCES.items():
            if name.startswith(beginning):
                raise InputError(sentence.format(path=path, problem=problem)) from None
        raise InputError(f"{path} cannot be used as a results store: {problem}.") from None
