"""Gradients against finite differences, the closed formula and torch's own differentiation."""

import numpy as np
import pytest
import torch

from circuitsim.dissection import Crossbar, crossbar, effective_operator, factorise, node_voltages
from circuitsim.dissection.adjoint import operator_vjp
from circuitsim.dissection.torch_backend import effective_operator_torch
from circuitsim.dissection.torch_function import exact_operator
from tests.circuitsim.dissection.parts import log_uniform, random_parts

SHAPES = [(1, 1), (1, 7), (7, 1), (3, 2), (8, 8), (9, 14), (40, 33), (70, 80)]


def drops(parts):
    """(du [rows, rows, cols], dl [cols, rows, cols]): cell drops under unit drive, unit sense."""
    rows, cols = parts.g_cell.shape
    du = np.subtract(*node_voltages(factorise(parts.build()), np.eye(rows)))
    turned = crossbar(
        parts.g_cell[::-1, ::-1].T,
        parts.r_col[::-1, ::-1].T,
        parts.r_row[::-1, ::-1].T,
        parts.r_sense[::-1],
        parts.r_driver[::-1],
    )
    dl = -np.subtract(*node_voltages(factorise(turned), np.eye(cols)))
    return du, dl[::-1].transpose(0, 2, 1)[:, ::-1, ::-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_formula(shape, rng):
    parts = random_parts(rng, *shape)
    du, dl = drops(parts)
    seed = rng.standard_normal(shape[::-1])
    want = -np.einsum("nm,nij,mij->ij", seed, dl, du, optimize=True)
    got = operator_vjp(factorise(parts.build()), seed).g_cell
    assert np.abs(got - want).max() < 1e-12 * np.abs(want).max()


@pytest.mark.parametrize("wires", [(0.5, 2.0), (1e-3, 1e3)])
def test_finite_differences(wires, rng):
    parts = random_parts(rng, 6, 5, (1e-5, 1e-3), wires, binary=False)
    circuit = parts.build()
    seed = rng.standard_normal((5, 6))
    gradient = operator_vjp(factorise(circuit), seed)
    fields = ("g_cell", "g_row", "g_col")
    step = 1e-4
    for name in fields:
        scale = np.abs(getattr(gradient, name) * getattr(circuit, name)[0]).max()
        for i in range(6):
            for j in range(5):
                value = getattr(circuit, name)[0, i, j]
                sides = []
                for sign in (1, -1):
                    arrays = {field: getattr(circuit, field).copy() for field in fields}
                    arrays[name][0, i, j] += sign * step * value
                    sides.append(np.vdot(seed, effective_operator(Crossbar(**arrays))[0]))
                want = (sides[0] - sides[1]) / (2 * step)
                assert abs(getattr(gradient, name)[i, j] * value - want) < 1e-6 * scale


def tensors(rng, tiles, rows, cols, wires=1):
    out = [
        torch.from_numpy(log_uniform(rng, 1e-2, 1e0, (tiles, rows, cols))),
        torch.from_numpy(log_uniform(rng, 0.1, 10.0, (wires, rows, cols))),
        torch.from_numpy(log_uniform(rng, 0.1, 10.0, (tiles, rows, cols))),
    ]
    return [t.requires_grad_() for t in out]


def test_gradcheck(rng):
    assert torch.autograd.gradcheck(exact_operator, tensors(rng, 2, 5, 6), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 9, 12), (1, 33, 20)])
def test_backends_agree_on_gradients(shape, rng):
    inputs = tensors(rng, *shape)
    seed = torch.from_numpy(rng.standard_normal((shape[0], shape[2], shape[1])))
    results = []
    for operator in (exact_operator, effective_operator_torch):
        value = operator(*inputs)
        results.append((value, *torch.autograd.grad((value * seed).sum(), inputs)))
    for got, want in zip(*results, strict=True):
        assert (got - want).abs().max() < 1e-12 * want.abs().max()


def test_a_circuit_can_be_trained(rng):
    """Cells that compensate the wires: gradient descent on log-conductance reaches the target."""
    target = torch.from_numpy(rng.uniform(2e-4, 6e-4, (1, 6, 8)))
    wires = torch.full((1, 8, 6), 0.1, dtype=torch.float64)
    logs = torch.log(target.mT.clone()).requires_grad_()
    optimiser = torch.optim.Adam([logs], lr=0.02)
    losses = []
    for _ in range(150):
        optimiser.zero_grad()
        loss = ((exact_operator(logs.exp(), wires, wires) - target) / target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


def test_wrong_seed(rng):
    with pytest.raises(ValueError, match=r"d_operator\.shape"):
        operator_vjp(factorise(random_parts(rng, 4, 3).build()), np.ones((4, 3)))
