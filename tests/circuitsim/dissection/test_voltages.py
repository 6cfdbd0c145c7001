"""Node voltages from the stored factorisation."""

import numpy as np
import pytest

from circuitsim.dissection import factorise, node_voltages
from tests.circuitsim.dissection.oracles import nodal_voltages
from tests.circuitsim.dissection.parts import random_parts


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 4), (17, 30), (64, 64), (130, 75)])
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_against_sparse_nodal_analysis(shape, batch, rng):
    parts = random_parts(rng, *shape, wires=(0.1, 10.0))
    v = rng.uniform(-0.3, 0.3, (batch, shape[0]))
    v_row, v_col = node_voltages(factorise(parts.build()), v)
    assert v_row.shape == v_col.shape == (batch, *shape)
    x, y, _ = nodal_voltages(parts, v.T)
    assert np.abs(np.moveaxis(v_row, 0, -1) - x).max() < 1e-13
    assert np.abs(np.moveaxis(v_col, 0, -1) - y).max() < 1e-13


def test_kirchhoff_and_operator(rng):
    parts = random_parts(rng, 37, 52)
    done = factorise(parts.build())
    v = rng.random((5, 37))
    v_row, v_col = node_voltages(done, v)
    g_row, g_col, g_cell = done.circuit.tile(0)
    cell = g_cell * (v_row - v_col)
    along = g_row * (np.concatenate([v[:, :, None], v_row[:, :, :-1]], 2) - v_row)
    down = g_col * (v_col - np.concatenate([v_col[:, 1:], np.zeros_like(v_col[:, :1])], 1))
    into_row = along - cell
    into_row[:, :, :-1] -= along[:, :, 1:]
    into_col = cell - down
    into_col[:, 1:] += down[:, :-1]
    scale = np.abs(along).max()
    assert max(np.abs(into_row).max(), np.abs(into_col).max()) < 1e-11 * scale
    np.testing.assert_allclose(down[:, -1], v @ done.operator.T, rtol=1e-11)


def test_superposition(rng):
    done = factorise(random_parts(rng, 21, 34).build())
    a, b = rng.standard_normal((2, 3, 21))
    together = node_voltages(done, 2 * a - b)
    apart = [2 * p - q for p, q in zip(node_voltages(done, a), node_voltages(done, b), strict=True)]
    for got, want in zip(together, apart, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-13)


def test_voltages_stay_within_the_terminals(rng):
    parts = random_parts(rng, 40, 40, (1e-8, 1e-1), (1e-3, 1e3), binary=False)
    for voltages in node_voltages(factorise(parts.build()), rng.random((9, 40))):
        assert voltages.min() >= 0.0 and voltages.max() <= 1.0 + 1e-14


def test_floating_nodes_are_at_zero(rng):
    parts = random_parts(rng, 10, 12)
    parts.g_cell[4] = 0.0
    parts.r_row[4, 3:] = np.inf  # row nodes (4, 3) onwards float one by one
    v_row, v_col = node_voltages(factorise(parts.build()), np.ones((2, 10)))
    assert not v_row[:, 4, 3:].any()
    np.testing.assert_allclose(v_row[:, 4, :3], 1.0, rtol=1e-14)
    assert np.isfinite(v_col).all()


def test_wrong_shape_is_named(rng):
    with pytest.raises(ValueError, match=r"\(3, 4\) is not \[batch, rows=5\]"):
        node_voltages(factorise(random_parts(rng, 5, 4).build()), np.zeros((3, 4)))
