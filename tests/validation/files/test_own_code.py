import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netlists import InputError
from validation.files.own_code import call_own
from validation.files.own_data import OwnData, checked_data, own_data

ROOT = Path(__file__).resolve().parents[3]
MODEL = """
import helper

WIDTH = 3

def net(width=1):
    return helper.double(width)

def late(width):
    import helper
    return helper.double(width) / 0

class Broken:
    def __init__(self):
        raise RuntimeError("first\\nsecond")
"""


def folder_of(path, **files):
    for name, text in files.items():
        (path / f"{name}.py").write_text(text)
    return path


@pytest.fixture
def own(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    folder_of(package, __init__="", data="from . import numbers\nget = lambda: numbers.FOUND\n")
    folder_of(package, numbers="FOUND = 42\n")
    return folder_of(tmp_path, model=MODEL, helper="def double(x):\n    return 2 * x\n")


def test_functions_of_the_folder_run_and_leave_no_trace(own):
    path, modules = list(sys.path), set(sys.modules)
    assert call_own("model:net", {"width": 4}, folder=own, key="network.make") == 8
    assert call_own("package.data:get", {}, folder=own, key="network.data") == 42
    assert sys.path == path and set(sys.modules) == modules


def test_two_folders_may_have_a_module_of_one_name(own, tmp_path_factory):
    other = folder_of(tmp_path_factory.mktemp("other"), model="def net():\n    return 'other'\n")
    answers = [call_own("model:net", {}, folder=place, key="k") for place in (own, other, own)]
    assert answers == [2, "other", 2]


def test_a_module_is_imported_once(own):
    folder_of(
        own, counted="import itertools\nK = itertools.count()\ndef up():\n    return next(K)\n"
    )
    assert [call_own("counted:up", {}, folder=own, key="k") for _ in range(3)] == [0, 1, 2]


def test_modules_that_others_can_import_stay_everybodys(own, monkeypatch):
    assert call_own("json:dumps", {"obj": 1}, folder=own, key="k") == "1"
    assert "json" in sys.modules
    monkeypatch.delitem(sys.modules, "validation.files.own_data")
    given = {"given": parts(), "what": "data"}
    found = call_own("validation.files.own_data:checked_data", given, folder=ROOT, key="k")
    assert type(found) is sys.modules["validation.files.own_data"].OwnData
    assert type(found) is not OwnData


@pytest.mark.parametrize(
    "reference, arguments, words",
    [
        (":", {}, "k = ':' is not of the form 'package.module:function'"),
        ("model", {}, "is not of the form"),
        ("model:", {}, "is not of the form"),
        ("nowhere:net", {}, "cannot be found: no module 'nowhere' in "),
        ("package.nowhere:net", {}, "no module 'package.nowhere' in "),
        ("model:nothing", {}, r"cannot be found: .*model.py has no 'nothing'"),
        ("model:WIDTH", {}, "is no function but 3"),
        ("model:net", {"depth": 3}, "does not take these arguments: .*'depth'"),
        ("model:late", {}, "does not take these arguments: missing .*'width'"),
        ("model:late", {"width": 1}, r"failed in .*model.py:11: ZeroDivisionError: division by"),
        ("model:Broken", {}, r"failed in .*model.py:15: RuntimeError: first second\.$"),
        ("bad:net", {}, r"failed in .*bad.py:2: IndentationError"),
        ("needy:net", {}, r"failed in .*needy.py:1: ModuleNotFoundError: No module named 'absent"),
        ("leaving:net", {}, r"failed in .*leaving.py:2: SystemExit: 3"),
        ("tests:net", {}, "another module 'tests' is in use, .* rename yours"),
    ],
)
def test_what_cannot_run_is_told_in_one_sentence(own, reference, arguments, words):
    folder_of(own, bad="def net():\nreturn 1\n", needy="import absent.thing\n", tests="net = 1\n")
    folder_of(own, leaving="def net(): pass\nraise SystemExit(3)\n")
    with pytest.raises(InputError, match=words) as found:
        call_own(reference, arguments, folder=own, key="k")
    assert "\n" not in str(found.value)


def parts(**changes):
    made = {
        "train_x": np.zeros((5, 4)), "train_y": np.arange(5),
        "test_x": torch.ones(3, 4), "test_y": torch.tensor([0, 1, 1]),
    } | changes  # fmt: skip
    return (made["train_x"], made["train_y"]), (made["test_x"], made["test_y"])


def test_data_become_float32_and_int64_whatever_they_were(own):
    found = checked_data(parts(train_x=np.full((5, 4), 7, dtype=np.uint8)), "data")
    assert {found.train_x.dtype, found.test_x.dtype} == {np.dtype("float32")}
    assert found.train_y.dtype == found.test_y.dtype == np.int64
    assert found.train_x.max() == 7 and found.test_y.tolist() == [0, 1, 1]
    text = "def get():\n    return ([[1, 2]], [0]), ([[3, 4]], [1])\n"
    made = own_data("lists:get", folder=folder_of(own, lists=text))
    assert made.test_x.tolist() == [[3, 4]]


NAN = np.array([[0.0, 1.0], [np.nan, np.inf]])


@pytest.mark.parametrize(
    "given, words",
    [
        (None, r"must give \(train_x, train_y\), \(test_x, test_y\), not None"),
        ((1, 2, 3), r"not \(int, int, int\)"),
        ((np.ones(2), np.ones(3)), r"not \(ndarray\[2\], ndarray\[3\]\)"),
        (parts(train_x="abc"), "train_x must be a tensor or array of numbers, not str"),
        (parts(train_x=[[1.0], [1.0, 2.0]]), "train_x must be a tensor or array of numbers"),
        (parts(train_x=np.zeros((0, 4))), r"train_x of shape \[0, 4\] is empty"),
        (parts(train_x=np.zeros(5)), r"train_x has shape \[5\], and must be \[n, \*input\]"),
        (parts(test_x=NAN, train_x=NAN), r"train_x\[1, 0\] is nan, one of 2 values"),
        (parts(test_x=np.zeros((3, 5))), r"two shapes, train_x \[5, 4\] and test_x \[3, 5\]"),
        (parts(train_y=np.arange(4)), "5 inputs train_x and 4 labels train_y"),
        (parts(test_y=np.zeros(3)), "test_y holds float64 values, and must be class numbers"),
        (parts(test_y=np.eye(3, dtype=int)), r"test_y has shape \[3, 3\], and must be class"),
        (parts(test_y=np.array([0, -1, 2])), "test_y holds the class -1; classes count from 0"),
        (parts(test_y=np.array([True, False, True])), "test_y holds bool values"),
    ],
)
def test_data_that_cannot_be_used_are_told(given, words):
    with pytest.raises(InputError, match=f"^data.*{words}"):
        checked_data(given, "data")
