"""What all TOML files share: reading, sections, and errors of one sentence."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Tag, ValidationError

from netlists.errors import InputError


class Section(BaseModel):
    """Part of a file: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


File = TypeVar("File", bound=Section)


def tag(form: str) -> Tag:
    """Marks one form of a section that has several; errors name keys without it."""
    return Tag(f"<{form}>")


def read_table(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file, unchecked; raises InputError where there is none."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.") from None
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"{path} is not TOML: {problem}.") from None


def checked(
    content: dict[str, Any],
    kind: type[File],
    *,
    source: str,
    beside: Path,
    trust: bool = False,
) -> File:
    """The content as a section; file names in it count from the folder `beside`.

    source: what an error calls the content.  trust: whether the SPICE files that it names may run
    commands. Raises InputError with the key, the value and the mend.
    """
    try:
        return kind.model_validate(content, context={"beside": beside, "trust": trust})
    except ValidationError as problem:
        raise InputError(f"{source}: {findings(problem)}.") from None


def read_toml(path: str | Path, kind: type[File], *, trust: bool = False) -> File:
    """Read and check a TOML file; file names in it count from its folder.

    trust: see `checked`. Raises InputError with the key, the value and the mend.
    """
    return checked(read_table(path), kind, source=str(path), beside=Path(path).parent, trust=trust)


def beside_file(path: str | None, context: dict[str, Any] | None) -> str | None:
    """A file name that counts from the folder of validation's context, as an absolute one."""
    beside: Path | None = (context or {}).get("beside")
    return path if path is None or beside is None else str((beside / path).resolve())


def findings(problem: ValidationError, *, inside: str = "") -> str:
    """What pydantic found, as one sentence without its full stop; keys start with `inside`."""
    return "; ".join(dict.fromkeys(_finding(entry, inside) for entry in problem.errors()))


def _finding(entry: Any, inside: str) -> str:
    # A form of a section is in pydantic's path, but users wrote no such key.
    parts = [str(part) for part in entry["loc"] if not str(part).startswith("<")]
    key = ".".join([inside, *parts] if inside else parts)
    given = entry.get("input")
    if entry["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {key!r}; remove it or correct its spelling"
    if entry["type"] == "missing":
        return f"key {key!r} is missing"
    if entry["type"] == "value_error" and isinstance(given, dict):  # of several keys
        return str(entry["ctx"]["error"]).removesuffix(".")
    if entry["type"] == "tuple_type" and isinstance(given, dict):
        return f"{key!r} is a list of tables; head each of them with [[{key}]]"
    return f"{key} = {given!r}: {entry['msg'][0].lower()}{entry['msg'][1:]}"
