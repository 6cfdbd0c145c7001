"""JSON files of numbers that carry a checksum: a damaged or edited one is refused, not believed."""

import json
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from netlists.errors import InputError
from netlists.identity import digest

SEAL = "sha256"


def write_sealed(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the content with this program's version and a checksum, one row of numbers per line.

    Raises InputError where a number is not finite: it would be read as one.
    """
    found = {**content, "program": metadata.version("xbarverify")}
    try:
        text = json.dumps({**found, SEAL: digest(found)}, indent=1, allow_nan=False)
    except ValueError:
        raise InputError(f"{path}: what is to be kept holds a value that is no number.") from None
    text = re.sub(r"\[[^][{}\"]*\]", lambda row: " ".join(row[0].split()), text)
    Path(path).write_text(text + "\n")


def read_sealed(path: str | Path, what: str, expected: str) -> dict[str, Any]:
    """What `write_sealed` wrote, of the format `expected`.

    what: names it in errors. Raises InputError for a file that cannot be read, is of another format
    or of another version of the program, or is not what was written.
    """
    try:
        content = json.loads(Path(path).read_bytes(), parse_constant=_refused)
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path} is not a readable {what}: {problem}.") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected:
        raise InputError(f"{path}: format {found!r} is not {expected!r}; recalibrate.")
    program = metadata.version("xbarverify")
    if content.get("program") != program:
        raise InputError(
            f"{path} was written by version {content.get('program')} of the program, this is "
            f"{program}; recalibrate."
        )
    seal = content.pop(SEAL, None)
    try:
        whole = digest(content) == seal
    except InputError:
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged: it is not what was written; recalibrate.")
    return dict(content)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")
