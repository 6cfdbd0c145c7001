"""What a network computes beside its weights, by content: modules, their attributes, their code."""

import ast
import functools
import inspect
import re
import sysconfig
from collections.abc import Iterator
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from torch import nn

from netlists.errors import InputError
from netlists.identity import canonical, digest

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
INSTALLED = tuple(
    Path(place).resolve()
    for place in (
        sysconfig.get_paths()["purelib"],
        sysconfig.get_paths()["stdlib"],
        Path(__file__).parents[1] / "nnmap",
    )
)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def structure(model: nn.Module) -> str:
    """SHA-256 of what torch prints of the network, the plain attributes of its parts and the code
    of their classes, with the modules beside it that this code imports.

    Comments and layout of the code do not count; of installed libraries the names of classes do.
    """
    parts = [
        [name, _class(type(part)), {k: _plain(v) for k, v in _own_attributes(part).items()}]
        for name, part in model.named_modules()
    ]
    code = sorted({digest(text) for part in model.modules() for text in _code(type(part))})
    return digest(str(model), parts, code)


def _class(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _own_attributes(part: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(part).items() if name not in OF_EVERY_MODULE}


def _plain(value: Any) -> str:
    """Text that is equal for equal values, or that names what is no value."""
    try:
        return canonical(value)
    except InputError:
        pass
    if inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__} {_compiled(value)}"
    return ADDRESS.sub("", repr(value))


def _code(kind: type) -> Iterator[str]:
    """The code that a class of one's own runs: its files, or its functions where it has no file."""
    for base in kind.__mro__:
        for function in filter(inspect.isfunction, vars(base).values()):
            path = Path(function.__code__.co_filename)
            if not path.is_file():
                yield _compiled(function)
            elif not any(path.resolve().is_relative_to(place) for place in INSTALLED):
                yield from _texts(path)


def _compiled(function: Any) -> str:
    code = function.__code__
    return f"{code.co_code.hex()} {code.co_names} {ADDRESS.sub('', repr(code.co_consts))}"


@functools.cache  # a process runs a file as it was when it was imported
def _texts(path: Path) -> tuple[str, ...]:
    return tuple(map(_text, _with_imports(path)))


def _with_imports(path: Path) -> set[Path]:
    """A file of code and the files in its folder that it imports, in turn."""
    finder = ModuleFinder(path=[str(path.parent)])
    try:
        finder.run_script(str(path))
    except SyntaxError:  # it changed since it was imported
        return {path}
    named = (getattr(module, "__file__", None) for module in finder.modules.values())
    found = {Path(file) for file in named if file}
    return {path, *(file for file in found if file.suffix == ".py")}


def _text(path: Path) -> str:
    """The code without comments and layout."""
    try:
        return ast.unparse(ast.parse(path.read_text()))
    except (SyntaxError, UnicodeDecodeError, RecursionError):
        return path.read_bytes().hex()
