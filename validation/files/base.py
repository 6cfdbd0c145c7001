"""What all TOML files share: reading, sections, and errors of one sentence."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Tag, ValidationError

from netlists.errors import InputError

Seed = Annotated[int, Field(ge=0, lt=2**63)]
# A folder's name: neither hidden nor a way to another folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]


class Section(BaseModel):
    """Part of a file: unknown keys, infinities and NaN are refused, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


File = TypeVar("File", bound=Section)


def tag(form: str) -> Tag:
    """Marks one form of a section that has several; errors name keys without it."""
    return Tag(f"<{form}>")


def read_table(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file, unchecked; raises InputError where there is none."""
    try:
        require_file(Path(path))
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.") from None
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{path} is not TOML: {problem}.") from None


def require_file(path: Path) -> None:
    """Raise InputError for a pipe, a device or a folder, on which reading would hang or fail.

    What does not exist is left to whoever opens it.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a folder, a pipe or a device and no file; name a file.")


def require_checkpoint(path: Path) -> None:
    """Raise InputError where there is no such file."""
    if not path.exists():
        raise InputError(f"there is no file {path}; name the checkpoint that you mean.")


def read_array(path: Path, key: str) -> np.ndarray:
    """The real numbers in a .npy file, float64; raises InputError, naming the key, without."""
    try:
        require_file(path)
        # Mapped first: a header that promises more than the file holds makes no room for it.
        return np.array(np.lib.format.open_memmap(path, mode="r"), dtype=np.float64)
    except (OSError, ValueError, TypeError, EOFError, MemoryError, SyntaxError) as problem:
        words = " ".join(str(problem).split())
        raise InputError(f"{key} = {str(path)!r} is not a readable .npy file: {words}.") from None


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
    if path is None or beside is None:
        return path
    try:
        return str((beside / path).resolve())
    except (OSError, RuntimeError) as problem:
        raise ValueError(f"is no path of a file: {problem}") from None


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
