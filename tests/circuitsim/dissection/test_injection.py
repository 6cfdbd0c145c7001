import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitsim.dissection import Injection, factorise, node_voltages
from circuitsim.linear.tile_arrays import crossbar_of
from circuitsim.nonlinear.linear_system import SparseSystem
from netlists import InputError
from tests.strategies import random_tile
from tests.tolerances import OPERATOR, assert_close


def both_systems(tile, seed, width):
    rng = np.random.default_rng(seed)
    rows, cols = tile.spec.rows, tile.spec.cols
    v = rng.uniform(-0.2, 0.2, (rows, width))
    i = rng.uniform(-1e-5, 1e-5, (rows, cols, width))
    found = []
    for engine in (Injection(factorise(crossbar_of([tile]))), SparseSystem(tile)):
        pair = np.empty((2, rows, cols, width))
        engine.voltages(v, i, pair[0], pair[1])
        found.append(pair)
    return found


@given(
    rows=st.integers(1, 30),
    cols=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from([8, 16, 32]),
)
def test_against_sparse_nodal_analysis(rows, cols, seed, width):
    found, expected = both_systems(random_tile(rows, cols, seed, stuck=0.2), seed, width)
    assert_close(found, expected, OPERATOR)


def test_without_currents_it_is_the_plain_substitution():
    tile = random_tile(40, 24, 3)
    done, v = factorise(crossbar_of([tile])), np.random.default_rng(4).uniform(0, 1, (40, 8))
    pair = np.empty((2, 40, 24, 8))
    Injection(done).voltages(v, np.zeros((40, 24, 8)), pair[0], pair[1])
    for found, expected in zip(pair, node_voltages(done, v.T), strict=True):
        assert_close(np.moveaxis(found, -1, 0), expected, 1e-14)


def test_shapes_that_do_not_fit_are_refused():
    engine = Injection(factorise(crossbar_of([random_tile(3, 4, 1)])))
    wide = np.zeros((3, 4, 7))
    with pytest.raises(InputError, match=r"v_source.shape=\(3, 7\)"):
        engine.voltages(np.zeros((3, 7)), wide, wide.copy(), wide.copy())
