"""What is run: one chip under one condition, and what came of it.

A condition is any frozen dataclass that determines a result together with a chip's number: the
machinery reads nothing of it but its identity and, where it has one, its field `axes`: labels for
tables, which say nothing about the result and are therefore no part of the identity.
"""

import dataclasses
import platform
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from typing import Any, Generic, TypeVar

import numpy as np

from netlists.errors import InputError, MissingToolError
from netlists.identity import canonical, digest

C = TypeVar("C")
Number = float | int | str
KEY_PREFIX = "chip-"  # bare digests as keys defeat dask's queuing; "chip_" does too (measured)
TRACE_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The programs that compute a result, as text that is equal on any two machines."""

    program: str
    python: str
    numpy: str
    scipy: str
    torch: str
    pyspice: str
    ngspice: str

    @classmethod
    def here(cls) -> "Versions":
        """What runs in this process; ngspice is "none" where its library is missing."""
        return _versions_here()

    def differences(self, other: "Versions") -> str:
        """What the other one has otherwise, as "torch 2.9.0 against 2.13.0"; empty if nothing."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return ", ".join(f"{k} {mine[k]} against {theirs[k]}" for k in mine if mine[k] != theirs[k])


@cache
def _versions_here() -> Versions:
    from circuitsim import default_session  # starts the simulator

    try:
        with warnings.catch_warnings(action="ignore"):
            ngspice = str(default_session().version)
    except MissingToolError:
        ngspice = "none"
    installed = {
        name: _public(metadata.version(name)) for name in ("numpy", "scipy", "torch", "PySpice")
    }
    return Versions(
        program=metadata.version("xbarverify"),
        python=platform.python_version(),
        numpy=installed["numpy"],
        scipy=installed["scipy"],
        torch=installed["torch"],
        pyspice=installed["PySpice"],
        ngspice=ngspice,
    )


def _public(version: str) -> str:
    """A version less the label of its build: 2.13.0 for 2.13.0+cpu."""
    return version.split("+")[0]


def labels_of(condition: Any) -> dict[str, Any]:
    """The labels that a condition carries in its field `axes`, empty where it carries none."""
    return dict(getattr(condition, "axes", None) or {})


def unlabelled(condition: C) -> C:
    """The condition without its labels: what its identity is taken of."""
    fields = {f.name for f in dataclasses.fields(condition) if f.init}  # type: ignore[arg-type]
    if "axes" not in fields:
        return condition
    return dataclasses.replace(condition, axes={})  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class Task(Generic[C]):
    """One chip under one condition, computed by programs of these versions.

    condition: a frozen dataclass.  number: the chip's number, from 0.
    Raises InputError when the number is negative; `id` raises it for a condition that has no
    identity (see `netlists.identity`).
    """

    condition: C
    number: int
    versions: Versions

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.condition) or isinstance(self.condition, type):
            raise InputError(
                f"a condition must be a frozen dataclass, got {type(self.condition).__name__}."
            )
        if self.number < 0:
            raise InputError(f"chips are numbered from 0, got {self.number}.")

    @cached_property
    def condition_text(self) -> str:
        """The condition's canonical text, without labels."""
        return canonical(unlabelled(self.condition))

    @cached_property
    def condition_id(self) -> str:
        """The condition's digest, without labels."""
        return digest(unlabelled(self.condition))

    @cached_property
    def id(self) -> str:
        """The digest of everything that determines the result."""
        return digest(self.condition_id, self.number, self.versions)

    @property
    def key(self) -> str:
        """The id as schedulers like it."""
        return KEY_PREFIX + self.id

    def __str__(self) -> str:
        return f"chip {self.number} of condition {self.condition_id[:12]} (task {self.id[:12]})"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task gave no numbers: the exception's type, its message in one line, the trace's end.

    Failures compare by type and message; a trace holds line numbers.
    """

    kind: str
    message: str
    trace: str = dataclasses.field(default="", compare=False)

    @classmethod
    def of(cls, problem: BaseException) -> "Failure":
        """What is kept of an exception."""
        message = " ".join(str(problem).split()) or "no message"
        trace = "".join(traceback.format_exception(problem))
        return cls(kind=type(problem).__name__, message=message, trace=trace[-TRACE_CHARACTERS:])

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a task: named numbers, or a failure, and the seconds it took.

    Two results are the same when their numbers are, to the last bit; seconds do not count.
    Raises InputError for values that are no numbers or text, and for both or neither given.
    """

    values: Mapping[str, Number] | None = None
    failure: Failure | None = None
    seconds: float = dataclasses.field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        if (self.values is None) == (self.failure is None):
            raise InputError("a result has either values or a failure.")
        if self.values is not None:
            plain = {name: _plain(name, value) for name, value in sorted(self.values.items())}
            object.__setattr__(self, "values", plain)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> str | Failure | None:
        return self.failure if self.values is None else canonical(self.values)  # NaN equals NaN


def _plain(name: str, value: Any) -> Number:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, float | int | str):
        raise InputError(
            f"{name!r} = {value!r} is no number and no text; a measure returns floats, integers "
            "and text by name."
        )
    return value


Runner = Callable[[Any], Mapping[str, Number]]
