"""In what conditions differ: one named scalar per condition and axis.

A condition's labels name its axes. Without labels, or where labels leave two conditions alike, the
axes are the dotted paths of the canonical text at which conditions differ: `tile.rows`, `cell` for
a cell's type, `mitigations.0.rate`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from validation.campaign.store import Draw

Scalar = bool | int | float | str | None
Axes = dict[str, Scalar]


def axes_of(draws: Sequence[Draw]) -> list[Axes]:
    """The axes of each draw: those that differ between any two, with None where one has none."""
    paths = {draw.condition_id: dict(_leaves(json.loads(draw.condition), "")) for draw in draws}
    labels = {draw.condition_id: dict(draw.labels) for draw in draws}
    told = _differing(list(labels.values()))
    named = {key: {axis: labels[key].get(axis) for axis in told} for key in labels}
    if len({_text(axes) for axes in named.values()}) < len(named):
        more = [path for path in _differing(list(paths.values())) if path not in told]
        for key, axes in named.items():
            axes.update({path: paths[key].get(path) for path in more})
    versions = [asdict(draw.versions) for draw in draws]
    changed = _differing(versions)
    return [
        {**named[draw.condition_id], **{f"versions.{name}": used[name] for name in changed}}
        for draw, used in zip(draws, versions, strict=True)
    ]


def _differing(described: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """The names under which not all hold the same value, in the order of their appearance."""
    names = dict.fromkeys(name for one in described for name in one)
    return [name for name in names if len({repr(one.get(name)) for one in described}) > 1]


def _text(axes: Axes) -> str:
    return repr(sorted(axes.items()))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Scalar]]:
    """The scalars of canonical content by dotted path; a type stands at the path of its value."""
    if isinstance(value, list):
        for k, item in enumerate(value):
            yield from _leaves(item, _join(path, str(k)))
    elif not isinstance(value, dict):
        yield path, value
    elif "$value" in value:  # an enum
        yield from _leaves(value["$value"], path)
    elif "$float" in value:
        yield path, float(value["$float"])
    elif "$path" in value:
        yield path, value["$path"]
    elif "$bytes" in value or "$array" in value:
        content = json.dumps(value, sort_keys=True).encode()
        yield path, f"data {hashlib.sha256(content).hexdigest()[:8]}"
    else:
        if "$type" in value:
            yield path or "condition", value["$type"]
        for key, item in value.items():
            if not key.startswith("$"):
                yield from _leaves(item, _join(path, key))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
