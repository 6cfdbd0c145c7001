"""`--set key=value` on the command line: a key of a study's file, whatever the file says of it."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from netlists.errors import InputError
from validation.files.keys import Raw, put
from validation.files.sweep import forgotten, swept


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """The value of each key; a key given twice has its last one.

    Values are written as in TOML, and a bare word is text: tile.rows=32, cell.kind=1t1r,
    'faults.rates=[0.1, 0.2]', 'sweep."tile.rows"=[32, 64]'.
    Raises InputError for what is not of this form.
    """
    return dict(_read(text) for text in texts)


def with_settings(raw: Mapping[str, Any], texts: Sequence[str]) -> Raw:
    """The study with keys set; a key that is set is no longer swept.

    `sweep."tile.rows"` sets the values that a key is swept over.
    Raises InputError for a text of another form, or a key that cannot be set.
    """
    result = dict(raw)
    for key, value in read_settings(texts).items():
        if key.startswith("sweep."):
            result = _with_axis(result, key.removeprefix("sweep."), value)
            continue
        for other in swept(result):
            if key.startswith(f"{other}."):
                raise InputError(
                    f"--set {key}: [sweep] lists {other!r} as a whole; set or sweep one of the two."
                )
        result = put(forgotten(result, key), key, value)
    return result


def _with_axis(raw: Raw, key: str, values: Any) -> Raw:
    """Swept over other values; a key that moves with others goes on moving with them."""
    listed: Raw = dict(swept(raw))
    groups = raw.get("sweep", {}).get("zip")
    if groups is not None:
        listed["zip"] = groups
    if key not in listed:
        raw = forgotten(raw, key)  # its shorthand
    return {**raw, "sweep": {**listed, key: values}}


def _read(text: str) -> tuple[str, Any]:
    left, sign, right = (part.strip() for part in text.partition("="))
    if not sign or not left or not right or "\n" in text:
        raise InputError(f"--set {text!r} is not of the form key=value.")
    try:
        parts = tomllib.loads(f"{left} = 0")
    except tomllib.TOMLDecodeError:
        raise InputError(f"--set {text!r}: {left!r} is no key.") from None
    names = []
    while isinstance(parts, dict):
        [(name, parts)] = parts.items()
        names.append(name)
    return ".".join(names), _value(right, text)


def _value(written: str, text: str) -> Any:
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError as problem:
        if written[0] in "[{\"'":
            raise InputError(f"--set {text!r} is no TOML value: {problem}.") from None
        return written
