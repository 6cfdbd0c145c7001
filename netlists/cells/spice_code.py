"""What makes a SPICE file a program: statements that run commands, load code or open files.

ngspice runs them with the rights of who calls it, so that they are refused in files of others.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from string import whitespace

from netlists.errors import InputError

COMMANDS = ("shell", "pre_shell", "write", "codemodel", "pre_codemodel", "osdi", "pre_osdi")
# XSPICE models that start a process, load a library, or read a file of any name.
CODE_MODELS = (
    "d_process",
    "d_cosim",
    "d_source",
    "d_state",
    "filesource",
    "file_source",
    "table2d",
    "table3d",
)
# What ngspice's command line gives a meaning of its own, or cuts at.
_SPECIAL = re.compile(r"[\s;$`!*?\[\]{}<>|&\"'\\~]")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
LARGEST = 2**28  # bytes of one file


def require_harmless(file: Path, statements: Iterable[str]) -> None:
    """Raise InputError, naming the file and the word, for a statement that runs something."""
    control = False
    for statement in statements:
        if "\0" in statement:
            _refuse(file, "a NUL byte, at which readers of a line part ways")
        line = statement.lstrip("\ufeff" + whitespace).lower()
        # Commands hide in comments of this form too.
        words = line.removeprefix("*#").split()
        if line.startswith(".endc"):
            control = False
        elif line.startswith("*#"):
            _refuse(file, f"the command {' '.join(words[:1]) or '*#'!r} in a comment '*#'")
        elif line.startswith(".control"):
            control = True
        elif words and words[0] in COMMANDS:
            _refuse(file, f"the command {words[0]!r}")
        elif words and line.startswith(".model"):
            kinds = [kind for kind in CODE_MODELS if kind in re.split(r"[\s(]+", line)]
            if kinds:
                _refuse(file, f"a model of the kind {kinds[0]!r}")
        elif control and words:
            _refuse(file, f"a block '.control', which begins with {words[0]!r}")
    if control:
        _refuse(file, "a block '.control'")


def _refuse(file: Path, what: str) -> None:
    raise InputError(
        f"{file} holds {what}, which ngspice would run with your rights; take it out, or, where "
        "you trust the file, pass trust=True (--trust)."
    )


def require_regular(file: Path, asker: Path | None) -> None:
    """Raise InputError for a pipe, a device or a file too large to be a netlist.

    One that does not exist is left to whoever opens it.
    """
    by = f", which {asker} includes," if asker else ""
    if file.exists() and not file.is_file():
        raise InputError(
            f"{file}{by} is a folder, a pipe or a device and no file; name the file itself."
        )
    if file.is_file() and file.stat().st_size > LARGEST:
        raise InputError(
            f"{file}{by} is larger than {LARGEST >> 20} MiB, which no netlist of a cell is."
        )


def require_inside(file: Path, asker: Path, folders: Iterable[Path]) -> None:
    """Raise InputError unless the file lies in one of the folders; links count as their target."""
    if not any(file.is_relative_to(folder) for folder in folders):
        raise InputError(
            f"{asker} includes {file}, outside its own folder; name the folder among the cell's "
            "libraries, or, where you trust the file, pass trust=True (--trust)."
        )


def require_name(what: str, name: str) -> None:
    """Raise InputError unless a name is letters, digits and underscores, as netlists take it."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{what}={name!r} is no name; write letters, digits and underscores, a letter first."
        )


def require_word(what: str, word: str) -> None:
    """Raise InputError unless a word can stand in a netlist without ending its line or token."""
    if not word or re.search(r"[\s\"';$=(){},\0]", word):
        raise InputError(f"{what}={word!r} is no word; write it without spaces and quotes.")


def require_plain_path(what: str, path: str, *, command: bool = False) -> None:
    """Raise InputError for a path that would end a quoted name in a netlist.

    command: whether it stands in a command, where other characters have a meaning as well.
    """
    found = _SPECIAL.search(path) if command else re.search(r"[\"\n\r\0]", path)
    if found:
        shown = "white space" if found[0].isspace() else f"the character {found[0]!r}"
        raise InputError(
            f"{what}={path!r} holds {shown}, at which ngspice cuts the path; move the file."
        )
