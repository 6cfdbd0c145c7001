"""Dotted keys of TOML files: "tile.rows", "network.arguments.width", "mitigation.tuned.rate".

A list of tables is entered by the `name` of one of them, by its `kind` where it has no name, or by
its place, from 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from netlists.errors import InputError
from validation.files.base import Section

Raw = dict[str, Any]


def put(raw: Mapping[str, Any], key: str, value: Any) -> Raw:
    """A copy with the value at the key; tables that are missing on the way are made.

    Raises InputError where the key enters what is no table, or names no table of a list.
    """
    placed: Raw = _put(raw, key.split("."), value, key)
    return placed


def _put(node: Any, parts: list[str], value: Any, key: str) -> Any:
    if not parts:
        return value
    first, rest = parts[0], parts[1:]
    if isinstance(node, Mapping):
        return {**node, first: _put(node.get(first, {}), rest, value, key)}
    if isinstance(node, Sequence) and not isinstance(node, str):
        k = element(node, first, key)
        return [*node[:k], _put(node[k], rest, value, key), *node[k + 1 :]]
    raise InputError(f"the key {key!r} enters {node!r}, which is no table.")


def label(table: Any, place: int) -> str:
    """What a table of a list is called: its name, else its kind, else its place."""
    if isinstance(table, Mapping):
        for key in ("name", "kind"):
            if isinstance(table.get(key), str):
                return str(table[key])
    return str(place)


def element(tables: Sequence[Any], called: str, key: str) -> int:
    """Place of the table that is called so; raises InputError unless there is exactly one."""
    if called.isdecimal() and int(called) < len(tables):
        return int(called)
    names = [label(table, k) for k, table in enumerate(tables)]
    if names.count(called) == 1:
        return names.index(called)
    if called in names:
        raise InputError(
            f"the key {key!r} names {names.count(called)} tables called {called!r}; give each of "
            "them a name, or write its place from 0."
        )
    there = f"there are {', '.join(map(repr, names))}" if names else "the list is empty"
    raise InputError(f"the key {key!r} names no table: {called!r} is not in its list, {there}.")


def require_known(key: str, model: type[Section], *, also: Sequence[str] = ()) -> None:
    """Raise InputError, with the closest key there is, unless the model has this key.

    also: keys that a file may hold beside those of the model.
    """
    if key in also or _has(key.split("."), [model]):
        return
    near = get_close_matches(key, [*known_keys(model), *also], n=1, cutoff=0.6)
    mend = f"did you mean {near[0]!r}?" if near else "keys are written 'section.key'."
    raise InputError(f"unknown key {key!r}; {mend}")


def known_keys(model: type[Section]) -> list[str]:
    """All keys of a model and its sections, dotted; those inside lists of tables are left out."""
    return list(dict.fromkeys(_walk(model, "")))


def _walk(model: type[Section], before: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield before + name
        if not _is_list(field.annotation):
            for form in _forms(field.annotation):
                yield from _walk(form, f"{before}{name}.")


def _has(parts: list[str], models: list[type[Section]]) -> bool:
    if any(model.model_config.get("extra") == "allow" for model in models):
        return True
    first, rest = parts[0], parts[1:]
    found = [m.model_fields[first].annotation for m in models if first in m.model_fields]
    return bool(found) and (not rest or any(_has_inside(rest, one) for one in found))


def _has_inside(parts: list[str], annotation: Any) -> bool:
    forms = _forms(annotation)
    if forms and _is_list(annotation):
        return len(parts) == 1 or _has(parts[1:], forms)
    return _has(parts, forms) if forms else _is_open(annotation)


def _forms(annotation: Any) -> list[type[Section]]:
    """Every section that a field's type allows."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [form for part in get_args(annotation) for form in _forms(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_is_list, get_args(annotation)))


def _is_open(annotation: Any) -> bool:
    """Whether a field is a table of any keys."""
    return get_origin(annotation) is dict or any(map(_is_open, get_args(annotation)))
