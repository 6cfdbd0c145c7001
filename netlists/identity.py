"""Values as text and as a digest: one notion of "the same" for tasks, operators and calibrations.

A frozen dataclass becomes `{"$type": its name, "$version": its version, field: value, ...}` over
every field that its constructor takes; a class states `version: ClassVar[int]` once a field changes
its meaning. Equal values give equal text, on any machine and in any process. A class whose fields
say where it is found, and not what it is, states what counts in a method `identity_fields`, name ->
value; `revive` does not make it again.
"""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from netlists.errors import InputError

MARK = "$"  # opens the keys that say what an object stands for


def canonical(value: Any) -> str:
    """The value as JSON text with sorted keys and no spaces.

    Takes frozen dataclasses, enums, arrays and tensors, mappings, sequences, paths and plain
    values, nested in any way. Raises InputError for anything else: a function or an open file is
    no value.

    >>> canonical({"b": (1, 2.5), "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(*values: Any) -> str:
    """SHA-256, in hexadecimal, over the canonical text of the values.

    >>> digest(1) == digest(1), digest(1) == digest("1"), digest(1, 2) == digest([1, 2])
    (True, False, False)
    """
    found = hashlib.sha256()
    for value in values:
        text = canonical(value).encode()
        found.update(f"{len(text)}:".encode())
        found.update(text)
    return found.hexdigest()


def revive(text: str, types: Iterable[type]) -> Any:
    """The value that `canonical` wrote; sequences come back as tuples.

    types: the dataclasses and enums that may occur; nothing else is ever constructed.
    Raises InputError for text that is not canonical, a type that is not among `types`, or one of
    another version.
    """
    known = {kind.__name__: kind for kind in types}
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except ValueError as problem:
        raise InputError(f"this is no canonical text: {problem}.") from None
    return _revived(content, known)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def version_of(kind: type) -> int:
    """The version a dataclass states for itself, 1 where it states none."""
    stated = getattr(kind, "version", 1)
    return stated if isinstance(stated, int) else 1  # else a field or property of that name


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):  # before int: an IntEnum is both
        return {"$type": type(value).__name__, "$value": _plain(value.value)}
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if np.isfinite(number) else {"$float": repr(number)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain_dataclass(value)
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor, without importing torch
        return _plain_array(value.detach().cpu().numpy())
    raise InputError(
        f"a {type(value).__name__} has no identity; describe it with plain values, arrays or a "
        "frozen dataclass."
    )


def _plain_dataclass(value: Any) -> dict[str, Any]:
    kind = type(value)
    if not kind.__dataclass_params__.frozen:
        raise InputError(f"{kind.__name__} can change after it is named; make it frozen.")
    if hasattr(kind, "identity_fields"):
        fields = _plain_mapping(value.identity_fields())
    else:
        fields = {
            f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init
        }
    return {"$type": kind.__name__, "$version": version_of(kind), **fields}


def _plain_array(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.hasobject:
        raise InputError("an array of Python objects has no identity.")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode()
    return {"$array": data, "$dtype": little.dtype.str, "$shape": list(array.shape)}


def _plain_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str) or key.startswith(MARK):
            raise InputError(f"the key {key!r} of a mapping must be text that starts without '$'.")
    return {key: _plain(item) for key, item in value.items()}


def _revived(content: Any, known: Mapping[str, type]) -> Any:
    if isinstance(content, list):
        return tuple(_revived(item, known) for item in content)
    if not isinstance(content, dict):
        return content
    if "$type" in content:
        return _revived_type(content, known)
    if "$float" in content:
        return float(content["$float"])
    if "$path" in content:
        return Path(content["$path"])
    if "$bytes" in content:
        return base64.b64decode(content["$bytes"])
    if "$array" in content:
        flat = np.frombuffer(base64.b64decode(content["$array"]), dtype=content["$dtype"])
        return flat.reshape(content["$shape"])
    return {key: _revived(item, known) for key, item in content.items()}


def _revived_type(content: dict[str, Any], known: Mapping[str, type]) -> Any:
    name = content["$type"]
    kind = known.get(name)
    if kind is None:
        raise InputError(f"{name!r} is not one of the types expected here: {', '.join(known)}.")
    if issubclass(kind, Enum):
        return kind(_revived(content["$value"], known))
    if content.get("$version") != version_of(kind):
        raise InputError(
            f"{name} of version {content.get('$version')} was written by another program; this "
            f"one reads version {version_of(kind)}."
        )
    fields = {k: _revived(v, known) for k, v in content.items() if not k.startswith(MARK)}
    try:
        return kind(**fields)
    except TypeError as problem:
        raise InputError(f"{name} cannot be made of {', '.join(fields)}: {problem}.") from None


class ByContent:
    """Equality and hash by digest, for frozen dataclasses (`eq=False`) that hold arrays."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the value holds."""
        return digest(self)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
