"""SPICE files of a user: what they include, and the subcircuits they define."""

import re
from pathlib import Path

from netlists.errors import InputError


def _statements(text: str) -> list[str]:
    """Lines with their continuations joined."""
    return re.sub(r"\n\s*\+", " ", text).splitlines()


def read_spice(path: Path) -> dict[Path, str]:
    """A SPICE file and all that it includes, each relative to the file that asks for it.

    Raises InputError naming the file that cannot be read, and which one includes it.
    """
    files: dict[Path, str] = {}
    waiting: list[tuple[Path, Path | None]] = [(path, None)]
    while waiting:
        file, asker = waiting.pop(0)
        if file in files:
            continue
        try:
            files[file] = file.read_text(errors="replace")
        except OSError as problem:
            by = f", which {asker} includes," if asker else ""
            raise InputError(
                f"SubcktCell: {file}{by} cannot be read: {problem.strerror}."
            ) from None
        for line in _statements(files[file]):
            found = re.match(
                r"\s*\.(inc\w*|lib)\s+(\"[^\"]*\"|'[^']*'|\S+)\s*(\S*)", line, re.IGNORECASE
            )
            # `.lib tt` begins a section; `.lib file tt` uses one.
            if found and (found[1].lower() != "lib" or (found[3] and found[3][0] not in "*;$")):
                waiting.append(((file.parent / found[2].strip("\"'")).resolve(), file))
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
