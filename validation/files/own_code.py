"""Functions of one's own that a file names as "package.module:function".

They are imported from the file's folder, and run with the user's rights. Nothing of that stays
behind: `sys.path` is as it was, and so are the modules that other code finds, so that two studies
may each have a `model.py`.
"""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from netlists.errors import InputError

REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def checked_reference(given: str, *, toolkit: bool = True) -> str:
    """The text of a `make` or `data`; raises ValueError unless it is "package.module:function".

    toolkit: whether the bare name of one of the toolkit's networks will do.
    """
    if not (toolkit and given.isidentifier()) and not REFERENCE.fullmatch(given):
        raise ValueError("must be of the form 'package.module:function'")
    return given


_OWN: dict[Path, dict[str, ModuleType]] = {}  # by folder, the modules that were imported from it


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """While it lasts, the folder's modules can be imported; those imported before are found again.

    Code that imports while it runs, or that unpickles, needs it too.
    """
    folder = folder.resolve()
    own = _OWN.setdefault(folder, {})
    path, before = list(sys.path), dict(sys.modules)
    sys.modules.update(own)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if before.get(name) is not module and _lies_in(module, folder):
                own[name] = module
                del sys.modules[name]
                if name in before:
                    sys.modules[name] = before[name]
        _put_back(own, folder)


def call_own(reference: str, arguments: Mapping[str, Any], *, folder: Path, key: str) -> Any:
    """What the function "package.module:function" gives for these arguments.

    key: of the file, for errors. Raises InputError where there is no such function, where the
    arguments do not fit, and, with file and line, for what it raises.
    """
    with importable(folder):
        function = _found(reference, folder, key)
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as problem:
            raise InputError(
                f"{key} = {reference!r} does not take these arguments: {problem}."
            ) from None
        except ValueError:  # a built-in function without a signature
            pass
        with _told(reference, folder, key):
            return function(**arguments)


def _found(reference: str, folder: Path, key: str) -> Callable[..., Any]:
    if not REFERENCE.fullmatch(reference):
        raise InputError(f"{key} = {reference!r} is not of the form 'package.module:function'.")
    place, _, name = reference.partition(":")
    where = f"{key} = {reference!r} cannot be found"
    try:
        with _told(reference, folder, key):
            module = importlib.import_module(place)
    except ModuleNotFoundError as problem:
        raise InputError(
            f"{where}: no module {problem.name!r} in {folder.resolve()}, nor installed."
        ) from None
    top = sys.modules[place.partition(".")[0]]
    if _holds(folder, top.__name__) and not _lies_in(top, folder.resolve()):
        raise InputError(
            f"{where}: another module {top.__name__!r} is in use, {_origin(top)}; rename yours."
        )
    function = getattr(module, name, None)
    if function is None:
        raise InputError(f"{where}: {_origin(module)} has no {name!r}.")
    if not callable(function):
        raise InputError(f"{key} = {reference!r} is no function but {function!r}.")
    found: Callable[..., Any] = function
    return found


@contextmanager
def _told(reference: str, folder: Path, key: str) -> Iterator[None]:
    """Turn what one's own code raises into one sentence with its file and line.

    That the module itself is missing, ModuleNotFoundError, is left to the caller.
    """
    try:
        yield
    except (Exception, SystemExit) as problem:
        place = reference.partition(":")[0]
        if isinstance(problem, ModuleNotFoundError) and f"{place}.".startswith(f"{problem.name}."):
            raise
        words = " ".join(str(problem).split())
        raise InputError(
            f"{key} = {reference!r} failed in {_line(problem, folder.resolve())}: "
            f"{type(problem).__name__}{words and f': {words}'}."
        ) from problem


def _line(problem: BaseException, folder: Path) -> str:
    """File and line where one's own code was last, of what it raised."""
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{problem.filename}:{problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    last = (own or list(frames))[-1]
    return f"{last.filename}:{last.lineno}"


def _origin(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _holds(folder: Path, top: str) -> bool:
    return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(place and Path(place).resolve().is_relative_to(folder) for place in places)


def _put_back(own: dict[str, ModuleType], folder: Path) -> None:
    """Modules that can be imported without the folder, such as installed ones, are everybody's."""
    for top in {name.partition(".")[0] for name in own}:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            continue
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        if any(place and Path(place).resolve().is_relative_to(folder) for place in places):
            for name in [name for name in own if name.partition(".")[0] == top]:
                sys.modules.setdefault(name, own.pop(name))
