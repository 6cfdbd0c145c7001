"""The torch backend against the compiled solver."""

import numpy as np
import pytest
import torch

from circuitsim.dissection import crossbar, effective_operator
from circuitsim.dissection.torch_backend import effective_operator_torch
from tests.circuitsim.dissection.parts import random_parts

SHAPES = [(1, 1), (1, 9), (9, 1), (8, 8), (17, 5), (30, 64), (65, 40), (100, 100)]


def as_tensors(circuit, dtype=torch.float64, device="cpu"):
    arrays = (circuit.g_cell, circuit.g_row, circuit.g_col)
    return [torch.from_numpy(a).to(device, dtype) for a in arrays]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("extreme", [False, True])
def test_float64(shape, extreme, rng):
    limits = {"cells": (1e-8, 1e-1), "wires": (1e-3, 1e3)} if extreme else {}
    circuit = random_parts(rng, *shape, **limits, binary=False).build()
    got = effective_operator_torch(*as_tensors(circuit)).numpy()
    np.testing.assert_allclose(got, effective_operator(circuit), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_good_to_its_own_precision(shape, rng):
    circuit = random_parts(rng, *shape, (1e-8, 1e-1), (1e-3, 1e3), binary=False).build()
    got = effective_operator_torch(*as_tensors(circuit, torch.float32))
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), effective_operator(circuit), rtol=1e-5, atol=1e-30)


def test_tiles_and_shared_wires(rng):
    circuit = crossbar(rng.choice([1e-6, 1e-3], (5, 20, 24)), 1.0, 2.0, 3.0, 4.0)
    got = effective_operator_torch(*as_tensors(circuit)).numpy()
    np.testing.assert_allclose(got, effective_operator(circuit), rtol=1e-12)


def test_open_wires(rng):
    parts = random_parts(rng, 21, 30)
    parts.r_row[rng.random((21, 30)) < 0.2] = np.inf
    parts.r_col[rng.random((21, 30)) < 0.2] = np.inf
    circuit = parts.build()
    got = effective_operator_torch(*as_tensors(circuit)).numpy()
    np.testing.assert_allclose(got, effective_operator(circuit), rtol=1e-12, atol=1e-25)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shape", SHAPES)
def test_gpu(shape, rng):
    circuit = random_parts(rng, *shape, (1e-8, 1e-1), (1e-3, 1e3), binary=False).build()
    got = effective_operator_torch(*as_tensors(circuit, device="cuda")).cpu().numpy()
    np.testing.assert_allclose(got, effective_operator_torch(*as_tensors(circuit)), rtol=1e-11)
