"""Values as text: equal values, equal text; nothing else is constructed again."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists.errors import InputError
from netlists.identity import canonical, digest, revive


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Newer:
    version: ClassVar[int] = 2
    x: float


class Colour(Enum):
    RED = "red"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text().filter(lambda k: not k.startswith("$")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_values_come_back(value):
    found = revive(canonical(value), ())
    assert canonical(found) == canonical(value)
    assert digest(found) == digest(value)


def test_dataclasses_enums_arrays_and_paths_come_back():
    value = {"a": Point(x=1.5, tags=("p", "q")), "c": Colour.RED, "d": Path("x/y")}
    assert revive(canonical(value), (Point, Colour)) == value
    array = np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1]
    back = revive(canonical(array), ())
    assert back.dtype == array.dtype and np.array_equal(back, array)


def test_digests_tell_apart_what_differs():
    different = [
        1, 1.0, "1", True, None, (1,), ((1,),), {"a": 1}, Point(x=1.0), Point(x=1.0, tags=("a",)),
        Newer(x=1.0), Colour.RED, "red", np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.float32),
        float("nan"), float("inf"), b"1", Path("1"),
    ]  # fmt: skip
    assert len({digest(value) for value in different}) == len(different)
    assert digest(1, 2) != digest(12) != digest((1, 2))


def test_order_of_keys_does_not_matter():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no canonical text"),
        ("NaN", "NaN is no number"),
        ('{"$type":"Point","$version":1,"x":1.0}', "'Point' is not one of the types"),
        ('{"$type":"Newer","$version":1,"x":1.0}', "version 1 was written by another"),
        ('{"$type":"Newer","$version":2,"y":1.0}', "cannot be made of y"),
    ],
)
def test_what_cannot_be_revived_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        revive(text, (Newer,))


@dataclass
class Open:
    x: int


@pytest.mark.parametrize(
    ("value", "words"),
    [(len, "has no identity"), ({1: 2}, "must be text"), (Open(1), "make it frozen"),
     ({"$type": 1}, "must be text"), (np.array([len]), "Python objects")],
)  # fmt: skip
def test_what_has_no_identity_is_refused(value, words):
    with pytest.raises(InputError, match=words):
        canonical(value)
