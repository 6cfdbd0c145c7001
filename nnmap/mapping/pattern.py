"""Names of layers, and patterns (as in a shell) that choose among them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from netlists.errors import InputError

ROOT = "(root)"  # how patterns and messages name the network itself, where it is a layer


def pattern_name(name: str) -> str:
    """A layer's name as patterns take it and messages show it."""
    return name or ROOT


def require_matches(patterns: Iterable[str], names: Iterable[str]) -> None:
    """Raise InputError for a pattern that matches none of the layers' names."""
    names = list(names)
    for pattern in patterns:
        if names and not any(matches(name, (pattern,)) for name in names):
            shown = ", ".join(pattern_name(name) for name in names)
            raise InputError(f"the pattern {pattern!r} matches none of the layers {shown}.")


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern (as in a shell) names the layer or a module that contains it."""
    parts = pattern_name(name).split(".")
    names = [".".join(parts[: k + 1]) for k in range(len(parts))]
    # fnmatch reads brackets as a set of letters: the root is also meant literally.
    return any(n == pattern or fnmatchcase(n, pattern) for n in names for pattern in patterns)
