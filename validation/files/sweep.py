"""[sweep]: the keys that a study varies, and the points that follow.

    [sweep]
    "tile.rows" = [32, 64]                  # any key of any section, with the values it takes
    "tile.cols" = [32, 64]
    "mapping.layers" = [["fc1"], ["*"]]     # a value may be a list or a table itself
    zip = [["tile.rows", "tile.cols"]]      # these move together; everything else is multiplied

The key that stands first varies slowest; keys that move together stand where the first of them
stands. What a section says of a swept key is overruled. All functions here are pure, on what
tomllib read.
"""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netlists.errors import InputError
from validation.files.keys import Raw, label, put

Scalar = bool | int | float | str | None
MOST = 100_000  # points of a study; more is taken for a slip

# Lists that a section may hold in place of one value: shorthands for a sweep of that value.
SHORTHANDS = {
    "network.activations": "network.activation",
    "faults.rates": "faults.rate",
    "measure.fidelities": "measure.fidelity",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Keys that move together, and per step the value of each of them."""

    keys: tuple[str, ...]
    steps: tuple[tuple[Any, ...], ...]

    def labels(self) -> list[tuple[Scalar, ...]]:
        """Per step and key a plain value that tells the step apart in a table."""
        columns = [_column([step[k] for step in self.steps]) for k in range(len(self.keys))]
        return list(zip(*columns, strict=True))


def swept(raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each swept key, by dotted key, in the order written.

    Raises InputError for what is no list, an empty list or a repeated value of a key that moves on
    its own.
    """
    found = _flat(_table(raw), "")
    together = {key for group in _groups(raw) for key in group}
    for key, values in found.items():
        if not values:
            raise InputError(f"[sweep] {key!r} lists no value, which leaves nothing to run.")
        if key not in together:
            _require_distinct([(value,) for value in values], repr(key))
    return found


def axes(raw: Mapping[str, Any]) -> list[Axis]:
    """The axes of a study's sweep; raises InputError where keys cannot move together."""
    values, groups = swept(raw), _groups(raw)
    for group in groups:
        for key in group:
            if key not in values:
                raise InputError(f"[sweep] zip names {key!r}, which [sweep] gives no values.")
        lengths = {key: len(values[key]) for key in group}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{key!r} has {n}" for key, n in lengths.items())
            raise InputError(f"[sweep] keys that move together need equally many values: {shown}.")
        _require_distinct(
            list(zip(*(values[key] for key in group), strict=True)), " with ".join(map(repr, group))
        )
    group_of = {key: group for group in groups for key in group}
    ordered = dict.fromkeys(group_of.get(key, (key,)) for key in values)
    return [
        Axis(keys=keys, steps=tuple(zip(*(values[key] for key in keys), strict=True)))
        for keys in ordered
    ]


def points(raw: Mapping[str, Any]) -> list[tuple[dict[str, Scalar], Raw]]:
    """Each point of the sweep: its swept keys with their values, and what its file would say.

    A study without a sweep is one point. Raises InputError for a sweep that cannot be read, or of
    more than 100,000 points.
    """
    base = {key: value for key, value in raw.items() if key != "sweep"}
    all_axes = axes(raw)
    count = math.prod(len(axis.steps) for axis in all_axes)
    if count > MOST:
        raise InputError(f"[sweep] makes {count} points, more than {MOST}; zip keys or list fewer.")
    found = []
    steps = [list(zip(axis.labels(), axis.steps, strict=True)) for axis in all_axes]
    for chosen in itertools.product(*steps):
        point, shown = base, dict[str, Scalar]()
        for axis, (labels, values) in zip(all_axes, chosen, strict=True):
            shown.update(zip(axis.keys, labels, strict=True))
            for key, value in zip(axis.keys, values, strict=True):
                point = put(point, key, value)
        found.append((shown, point))
    return found


def written_out(raw: Mapping[str, Any]) -> Raw:
    """The same study with its shorthands as sweeps, after those that [sweep] lists.

    Raises InputError for a shorthand that is no list, and for one beside the key it stands for.
    """
    result, more = dict(raw), dict[str, Any]()
    listed = _flat(_table(raw), "")
    for short, key in SHORTHANDS.items():
        section, name = short.split(".")
        single = key.split(".")[1]
        content = raw.get(section)
        if short in listed:
            raise InputError(f"[sweep] {short!r} is a list of its own; sweep {key!r}.")
        if not isinstance(content, Mapping) or name not in content:
            continue
        if not isinstance(content[name], list):
            raise InputError(
                f"{short} = {content[name]!r} must be a list; one value is written {single!r}."
            )
        if key in listed or single in content:
            raise InputError(f"{short!r} and {key!r} say the same twice; keep one of them.")
        if not content[name]:
            raise InputError(f"{short!r} lists no value, which leaves nothing to run.")
        result[section] = {k: v for k, v in content.items() if k != name}
        more[key] = content[name]
    if more:
        result["sweep"] = {**_table(raw), **more}
    return result


def forgotten(raw: Mapping[str, Any], key: str) -> Raw:
    """The same study without its sweep of a key, and without the shorthand of it.

    Of a shorthand, what it stands for is forgotten too. Keys that moved with it go on.
    """
    result = dict(raw)
    gone = {key, *(name for pair in SHORTHANDS.items() if key in pair for name in pair)}
    for name in gone - {key}:
        section, last = name.split(".")
        if isinstance(raw.get(section), Mapping):
            result[section] = {k: v for k, v in raw[section].items() if k != last}
    left: Raw = {k: v for k, v in _flat(_table(raw), "").items() if k not in gone}
    groups = [[k for k in group if k not in gone] for group in _groups(raw)]
    groups = [group for group in groups if len(group) > 1]
    if groups:
        left["zip"] = groups
    result.pop("sweep", None)
    return {**result, "sweep": left} if left else result


def _table(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    table = raw.get("sweep", {})
    if not isinstance(table, Mapping):
        raise InputError("'sweep' is one table; head it with [sweep].")
    return table


def _flat(table: Mapping[str, Any], before: str) -> dict[str, list[Any]]:
    """Lists by dotted key: TOML reads an unquoted tile.rows as a table in a table."""
    found: dict[str, list[Any]] = {}
    for name, value in table.items():
        key = before + name
        if key == "zip":
            continue
        more = _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
        for one, values in more.items():
            if not isinstance(values, list):
                raise InputError(f"[sweep] {one!r} = {values!r} must be a list of values.")
            if one in found:
                raise InputError(f"[sweep] lists {one!r} twice.")
            found[one] = values
    return found


def _groups(raw: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Keys that move together."""
    given = _table(raw).get("zip", [])
    if not isinstance(given, list) or not all(
        isinstance(group, list) and len(group) > 1 and all(isinstance(key, str) for key in group)
        for group in given
    ):
        raise InputError(
            f"[sweep] zip = {given!r} must be a list of lists of two or more keys, as in "
            '[["tile.rows", "tile.cols"]].'
        )
    keys = [key for group in given for key in group]
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"[sweep] zip names {key!r} twice.")
    return [tuple(group) for group in given]


def _plain(value: Any) -> Any:
    """Equal for equal values: 32 and 32.0 are, 1 and true are not."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _require_distinct(steps: list[tuple[Any, ...]], what: str) -> None:
    seen = set()
    for step in steps:
        text = _text([_plain(value) for value in step])
        if text in seen:
            shown = ", ".join(_text(value) for value in step)
            raise InputError(f"[sweep] {what} lists {shown} twice.")
        seen.add(text)


def _column(values: list[Any]) -> list[Scalar]:
    """Plain values that tell the given ones apart: themselves, a table's name, or JSON text."""
    if not any(isinstance(value, Mapping | list) for value in values):
        return [value if isinstance(value, bool | int | float) else str(value) for value in values]
    short: list[Scalar] = [
        label(value, 0) if isinstance(value, Mapping) else _text(value) for value in values
    ]
    texts = [_text(value) for value in values]
    return short if len(set(short)) == len(set(texts)) else list(texts)
