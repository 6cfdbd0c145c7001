"""A network and data of one's own that do not fit one another, and devices that are not there."""

import pytest

from netlists import InputError
from tests.validation.test_study import small_study
from validation.dry_run import dry_run
from validation.study_of_file import study_of

CODE = """
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs=6, outputs=3):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 7), nn.Linear(7, outputs)
    def forward(self, x):
        return self.last(self.first(x).relu())

class Tuple(Net):
    def forward(self, x):
        return super().forward(x), 1

class Raises(Net):
    def forward(self, x):
        if len(x) > 20:
            raise RuntimeError("too many\\nof them")
        return super().forward(x)

class Nan(Net):
    def forward(self, x):
        return super().forward(x) * float("nan")

class Squeezed(Net):
    def forward(self, x):
        return super().forward(x).squeeze(0)

def half():
    return Net().half()

def double():
    return Net().double()

def one_output():
    return Net(outputs=1)

def lazy():
    return nn.Sequential(nn.LazyLinear(3))

def data(inputs=(6,), add=0):
    rng = np.random.default_rng(0)
    x, y = rng.random((90, *inputs)), rng.integers(0, 3, 90)
    return (x[:60], y[:60]), (x[60:], y[60:] + add)

def wide():
    return data((9,))

def images():
    return data((2, 3))

def beyond():
    return data(add=2)
"""
FILE = "one_s_own"


@pytest.fixture
def own_study(tiny, tmp_path):
    """The study of a network and data by the names of their functions."""
    (tmp_path / f"{FILE}.py").write_text(CODE)

    def made(make, data):
        network = {"make": f"{FILE}:{make}", "data": f"{FILE}:{data}"}
        return study_of(tiny(network=network))

    return made


def test_what_fits_becomes_a_study(own_study):
    assert len(own_study("Net", "data").conditions) == 4


@pytest.mark.parametrize(
    "make, data, words",
    [
        ("Net", "wide", r"does not run on images of shape \[1, 9\]"),
        ("Net", "images", r"does not run on images of shape \[1, 2, 3\]"),
        ("Net", "beyond", "test_y: the labels hold the class 4, and a network of 3 outputs"),
        ("Tuple", "data", "gives a tuple"),
        ("Raises", "data", r"shape \[60, 6\] and torch.float32 \(RuntimeError: too many of them"),
        ("Nan", "data", "answers NaN"),
        ("Squeezed", "data", r"outputs of shape \[3\] for 1 images"),
        ("one_output", "data", "1 output per image"),
        ("half", "data", "first.weight is torch.float16"),
        ("double", "data", "first.weight is torch.float64"),
        ("lazy", "data", "0.weight has no shape yet"),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(own_study, make, data, words):
    with pytest.raises(InputError, match=words) as told:
        own_study(make, data)
    assert f"{FILE}:{make}" in str(told.value) and f"{FILE}:{data}" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_at_once(tiny, tmp_path, device):
    with pytest.raises(InputError, match=f"device='{device}' cannot be used"):
        dry_run(tiny({"run": {"device": device}}))
    with pytest.raises(InputError, match=f"device='{device}' cannot be used"):
        small_study().run(tmp_path, device=device)
    assert not (tmp_path / small_study().name).exists()
