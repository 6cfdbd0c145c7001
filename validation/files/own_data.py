"""Data of one's own: what a user's function gives, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netlists.errors import InputError
from validation.files.own_code import call_own

FORM = "(train_x, train_y), (test_x, test_y)"


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnData:
    """Inputs, float32 [n, *input], and class numbers, int64 [n], to train and to test."""

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]


def own_data(reference: str, *, folder: Path, key: str = "network.data") -> OwnData:
    """What the function "package.module:function" gives when it is called without arguments.

    It gives (train_x, train_y), (test_x, test_y), tensors or arrays of real numbers.
    Raises InputError for what the function raises, and for anything that cannot be used.
    """
    return checked_data(call_own(reference, {}, folder=folder, key=key), f"{key} = {reference!r}")


def checked_data(given: Any, what: str) -> OwnData:
    """The data as float32 and int64 arrays; `what` opens the sentence of an InputError."""
    try:
        (train_x, train_y), (test_x, test_y) = given
    except (TypeError, ValueError):
        raise InputError(f"{what} must give {FORM}, not {_kind(given)}.") from None
    made = OwnData(
        train_x=_inputs(train_x, "train_x", what),
        train_y=_labels(train_y, "train_y", what),
        test_x=_inputs(test_x, "test_x", what),
        test_y=_labels(test_y, "test_y", what),
    )
    for x, y, part in ((made.train_x, made.train_y, "train"), (made.test_x, made.test_y, "test")):
        if len(x) != len(y):
            raise InputError(
                f"{what} gives {len(x)} inputs {part}_x and {len(y)} labels {part}_y; each input "
                "needs one label."
            )
    if made.train_x.shape[1:] != made.test_x.shape[1:]:
        raise InputError(
            f"{what} gives inputs of two shapes, train_x {list(made.train_x.shape)} and test_x "
            f"{list(made.test_x.shape)}; all but the first number must be equal."
        )
    return made


def _array(given: Any, name: str, what: str) -> NDArray[Any]:
    if hasattr(given, "detach") and hasattr(given, "cpu"):  # a tensor, without importing torch
        given = given.detach().cpu().numpy()
    try:
        array = np.asarray(given)
    except ValueError:  # lists of unequal lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{what}: {name} must be a tensor or array of numbers, not {_kind(given)}."
        )
    if array.ndim == 0 or not array.size:
        raise InputError(f"{what}: {name} of shape {list(array.shape)} is empty.")
    return array


def _inputs(given: Any, name: str, what: str) -> NDArray[np.float32]:
    array = _array(given, name, what)
    if array.ndim < 2:
        raise InputError(f"{what}: {name} has shape {list(array.shape)}, and must be [n, *input].")
    bad = ~np.isfinite(array)
    if bad.any():
        where = [int(k) for k in np.argwhere(bad)[0]]
        raise InputError(
            f"{what}: {name}{where} is {array[tuple(where)]}, one of {bad.sum()} values that are "
            "not finite; inputs must be numbers."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _labels(given: Any, name: str, what: str) -> NDArray[np.int64]:
    array = _array(given, name, what)
    if array.ndim != 1:
        raise InputError(
            f"{what}: {name} has shape {list(array.shape)}, and must be class numbers [n]."
        )
    if array.dtype.kind not in "iu":
        raise InputError(
            f"{what}: {name} holds {array.dtype} values, and must be class numbers, integers."
        )
    if array.min() < 0:
        raise InputError(f"{what}: {name} holds the class {array.min()}; classes count from 0.")
    return array.astype(np.int64)


def _kind(given: Any) -> str:
    if isinstance(given, tuple | list):
        inside = ", ".join(_kind(one) for one in given[:4]) + ", ..." * (len(given) > 4)
        return f"({inside})"
    if given is None:
        return "None"
    shape = getattr(given, "shape", None)
    return f"{type(given).__name__}{'' if shape is None else list(shape)}"
