"""Operators and factorisations after some cells changed."""

import numpy as np
import pytest

from circuitsim.dissection import (
    crossbar,
    effective_operator,
    factorise,
    low_rank_operator,
    node_voltages,
    operator_vjp,
    updated_factorisation,
    updated_operator,
)
from circuitsim.dissection.update import unit_currents
from tests.circuitsim.dissection.parts import random_parts


def some_cells(rng, shape, k):
    flat = rng.choice(shape[0] * shape[1], k, replace=False)
    return np.stack(np.unravel_index(flat, shape), axis=1)


def changed(parts, cells, new):
    parts.g_cell[cells[:, 0], cells[:, 1]] = new
    return parts.build()


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (9, 14), (40, 33), (70, 80)])
@pytest.mark.parametrize("k", [1, 2, 9, 60])
def test_low_rank(shape, k, rng):
    parts = random_parts(rng, *shape)
    k = min(k, shape[0] * shape[1])
    cells, new = some_cells(rng, shape, k), rng.choice([0.0, 1e-6, 1e-3, 1e-2], k)
    got = low_rank_operator(factorise(parts.build()), cells, new)
    want = effective_operator(changed(parts, cells, new))[0]
    assert got is not None
    assert np.abs(got - want).max() < 1e-12 * want.max()
    assert got.min() >= 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (9, 14), (40, 33), (110, 90)])
def test_paths(shape, rng):
    parts = random_parts(rng, *shape)
    done = factorise(parts.build(), keep_blocks=True)
    for k in (1, 3, 1):
        cells = some_cells(rng, shape, min(k, shape[0] * shape[1]))
        new = rng.choice([0.0, 1e-6, 1e-3, 1e-2], len(cells))
        done = updated_factorisation(done, cells, new)
        fresh = factorise(changed(parts, cells, new))
        np.testing.assert_array_equal(done.operator, fresh.operator)
    v = rng.random((2, shape[0]))
    for got, want in zip(node_voltages(done, v), node_voltages(fresh, v), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("k", [0, 1, 30, 500])
def test_automatic_choice(k, rng):
    parts = random_parts(rng, 40, 40)
    cells, new = some_cells(rng, (40, 40), k), rng.uniform(1e-6, 1e-3, k)
    got = updated_operator(factorise(parts.build()), cells, new)
    want = effective_operator(changed(parts, cells, new))[0]
    assert np.abs(got - want).max() < 1e-12 * want.max()


def test_ill_conditioned_change_is_refused_and_still_answered(rng):
    """Cutting the cell that alone holds a floating row at its voltage divides by nothing."""
    parts = random_parts(rng, 6, 6)
    parts.g_cell[2] = 0.0
    parts.g_cell[2, 2] = 1e-3
    parts.r_row[2, 0] = np.inf
    done = factorise(parts.build())
    cells = np.array([[2, 2]])
    assert low_rank_operator(done, cells, np.zeros(1)) is None
    got = updated_operator(done, cells, np.zeros(1))
    np.testing.assert_array_equal(got, effective_operator(changed(parts, cells, 0.0))[0])


def test_unit_currents_are_voltage_drops(rng):
    parts = random_parts(rng, 14, 19)
    done = factorise(parts.build())
    cells = some_cells(rng, (14, 19), 11)
    du, _, drops = unit_currents(done, cells)
    v_row, v_col = node_voltages(done, np.eye(14))
    want = (v_row - v_col)[:, cells[:, 0], cells[:, 1]]
    np.testing.assert_allclose(du, want, atol=1e-13)
    np.testing.assert_allclose(drops, drops.T, rtol=1e-12)
    assert (np.linalg.eigvalsh(drops) > 0).all()


def test_the_old_factorisation_is_spent_after_an_update_of_paths(rng):
    done = factorise(random_parts(rng, 9, 9).build(), keep_blocks=True)
    updated_factorisation(done, [[0, 0]], [1e-4])
    for use in (
        lambda: node_voltages(done, np.ones((1, 9))),
        lambda: low_rank_operator(done, [[0, 0]], [1e-3]),
        lambda: updated_factorisation(done, [[0, 0]], [1e-3]),
        lambda: operator_vjp(done, np.ones((9, 9))),
    ):
        with pytest.raises(ValueError, match="spent"):
            use()


@pytest.mark.parametrize(
    ("cells", "new", "message"),
    [
        ([[0, 9]], [1e-3], "outside"),
        ([[-1, 0]], [1e-3], "outside"),
        ([[0, 0], [0, 0]], [1e-3, 1e-4], "twice"),
        ([[0, 0]], [-1e-3], "finite"),
        ([[0, 0]], [1e-3, 1e-3], "shape"),
    ],
)
def test_bad_changes(cells, new, message):
    done = factorise(crossbar(np.full((9, 9), 1e-3)))
    with pytest.raises(ValueError, match=message):
        updated_operator(done, cells, new)


def test_blocks_are_needed(rng):
    with pytest.raises(ValueError, match="keep_blocks"):
        updated_factorisation(factorise(random_parts(rng, 5, 5).build()), [[0, 0]], [1e-3])
