"""SPICE files of a user: what they include, and the subcircuits they define."""

import re
from collections.abc import Sequence
from pathlib import Path

from netlists.cells.spice_code import require_harmless, require_inside, require_regular
from netlists.errors import InputError


def _statements(text: str) -> list[str]:
    """Lines with their continuations joined; other ends of lines are white space to ngspice."""
    return re.sub(r"\n\s*\+", " ", text).split("\n")


def read_spice(
    path: Path, *, trust: bool = False, libraries: Sequence[Path] = ()
) -> dict[Path, str]:
    """A SPICE file and all that it includes, each relative to the file that asks for it.

    Unless they are trusted, files may run nothing (see `spice_code`), and what is included lies in
    the folder of `path` or in one of `libraries`.

    Raises InputError naming the file that cannot be read or used, and which one includes it.
    """
    files: dict[Path, str] = {}
    folders = [path.resolve().parent, *(Path(folder).resolve() for folder in libraries)]
    waiting: list[tuple[Path, Path | None]] = [(path, None)]
    while waiting:
        file, asker = waiting.pop(0)
        if file in files:
            continue
        if asker is not None and not trust:
            require_inside(file, asker, folders)
        try:
            require_regular(file, asker)
            files[file] = file.read_bytes().decode(errors="surrogateescape")
        except (OSError, ValueError) as problem:
            if isinstance(problem, InputError):
                raise
            by = f", which {asker} includes," if asker else ""
            why = getattr(problem, "strerror", None) or str(problem)
            raise InputError(f"SubcktCell: {file}{by} cannot be read: {why}.") from None
        statements = _statements(files[file])
        if not trust:
            require_harmless(file, statements)
        for line in statements:
            found = re.match(
                r"\s*\.(inc\S*|lib\S*)\s+(\"[^\"]*\"|'[^']*'|\S+)\s*(\S*)", line, re.IGNORECASE
            )
            # `.lib tt` begins a section; `.lib file tt` uses one.
            if found and (found[1][0] in "iI" or (found[3] and found[3][0] not in "*;$")):
                asked = Path(found[2].strip("\"'")).expanduser()
                waiting.append(((file.parent / asked).resolve(), file))
    return files


def subckt_ports(path: Path, files: dict[Path, str], name: str) -> tuple[str, ...]:
    """Port names of `.subckt name` in some SPICE files, in order, lower case.

    Raises InputError, naming `path`, when none of them defines the subcircuit.
    """
    known = []
    for line in (line for text in files.values() for line in _statements(text.lower())):
        words = line.split()
        if len(words) > 1 and words[0] == ".subckt":
            if words[1] == name.lower():
                ports = words[2:]
                end = next(
                    (k for k, w in enumerate(ports) if "=" in w or w in ("params:", ";", "$")),
                    len(ports),
                )
                # A parameter may be written "g = 1": its name is no port.
                return tuple(ports[: end - 1] if ports[end : end + 1] == ["="] else ports[:end])
            known.append(words[1])
    defined = ", ".join(known) or "none"
    raise InputError(f"SubcktCell: {path} defines no .subckt {name!r} (it defines: {defined}).")
