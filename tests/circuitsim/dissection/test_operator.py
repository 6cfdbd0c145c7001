"""The operator against independent oracles, hand-solved circuits and its own invariants."""

from dataclasses import replace

import numpy as np
import pytest

from circuitsim.dissection import Crossbar, crossbar, effective_operator, factorise, operator_bytes
from tests.circuitsim.dissection.oracles import exact_operator, nodal_voltages
from tests.circuitsim.dissection.parts import Parts, log_uniform, random_parts

TOLERANCE = 1e-11
"""Largest error over the largest entry: what the project promises (measured: 1e-14)."""


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """Largest error relative to the largest entry."""
    return float(np.abs(got - want).max() / np.abs(want).max())


def columns(parts: Parts, rng: np.random.Generator, most: int = 12):
    """(some sources, their columns of the operator) from the sparse oracle."""
    rows = len(parts.g_cell)
    some = np.sort(rng.choice(rows, min(rows, most), replace=False))
    v = np.zeros((rows, len(some)))
    v[some, np.arange(len(some))] = 1.0
    return some, nodal_voltages(parts, v)[2].astype(np.float64)


def test_one_cell_by_hand():
    got = effective_operator(crossbar([[1e-3]], 2.0, 3.0, 5.0, 7.0))
    assert got.shape == (1, 1, 1)
    assert got[0, 0, 0] == pytest.approx(1 / (1000 + 2 + 3 + 5 + 7), rel=1e-15)


def test_ladder_in_closed_form():
    """One row of n cells whose columns are ideal but for the sense resistance: a ladder."""
    n, g, r, rs = 37, 1e-3, 1.5, 4.0
    load = 1 / (1 / g + 1.0 + rs)
    conductance = [load]  # looking right from each node, last node first
    for _ in range(n - 1):
        conductance.append(load + 1 / (r + 1 / conductance[-1]))
    v, want = 1.0, []
    for looking in conductance[::-1]:
        v *= 1 / (1 + r * looking)
        want.append(v * load)
    got = effective_operator(crossbar(np.full((1, n), g), r, 1.0, 0.0, rs))[0, :, 0]
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_vanishing_wires_give_the_ideal_matrix(rng):
    g = rng.choice([1e-6, 1e-3], (12, 9))
    got = effective_operator(crossbar(g, 1e-9, 1e-9))[0]
    np.testing.assert_allclose(got, g.T, rtol=1e-4)


SHAPES = [
    (1, 1),
    (1, 2),
    (1, 13),
    (13, 1),
    (2, 2),
    (3, 5),
    (4, 4),
    (4, 5),
    (8, 8),
    (5, 64),
    (97, 7),
    (16, 16),
    (31, 37),
    (64, 64),
    (63, 65),
    (101, 89),
    (128, 96),
    (200, 200),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape, rng):
    parts = random_parts(rng, *shape)
    some, want = columns(parts, rng)
    assert difference(effective_operator(parts.build())[0][:, some], want) < TOLERANCE


@pytest.mark.parametrize("seed", range(24))
def test_extreme_conductances_and_wires(seed):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(1, 201 if seed < 4 else 90, 2)
    wires = [(1e-3, 1e3), (1e-3, 1e-3), (1e3, 1e3)][seed % 3]
    cells = [(1e-8, 1e-1), (1e-10, 1e-3)][seed % 2]
    parts = random_parts(rng, rows, cols, cells, wires, binary=seed % 4 < 2)
    got = effective_operator(parts.build())[0]
    some, want = columns(parts, rng, 6)
    assert difference(got[:, some], want) < TOLERANCE
    assert got.min() >= 0


@pytest.mark.parametrize("wires", [(1e-3, 1e-3), (1e-3, 1e3), (1e3, 1e3)])
@pytest.mark.parametrize("cells", [(1e-8, 1e-1), (1e-10, 1e-3), (1e-8, 1e-8)])
def test_every_entry_to_full_precision(wires, cells, rng):
    """Nothing is subtracted, so even the smallest entry has all its digits."""
    parts = random_parts(rng, 6, 7, cells, wires, binary=False)
    np.testing.assert_allclose(
        effective_operator(parts.build())[0], exact_operator(parts), rtol=2e-14
    )


def test_the_sparse_oracle_can_tell(rng):
    """The comparison fails for a tile that differs in one cell."""
    parts = random_parts(rng, 9, 9)
    other = replace(parts, g_cell=parts.g_cell * (1 + 1e-9 * (np.arange(81).reshape(9, 9) == 40)))
    some, want = columns(other, rng)
    assert difference(effective_operator(parts.build())[0][:, some], want) > TOLERANCE


def test_open_wires_and_empty_cells(rng):
    parts = random_parts(rng, 23, 18)
    parts.g_cell[rng.random(parts.g_cell.shape) < 0.3] = 0.0
    parts.r_row[rng.random(parts.r_row.shape) < 0.2] = np.inf
    parts.r_col[rng.random(parts.r_col.shape) < 0.2] = np.inf
    parts.g_cell[5] = 0.0  # row 5 and column 3 are islands of single nodes
    parts.r_row[5] = np.inf
    parts.g_cell[:, 3] = 0.0
    parts.r_col[:, 3] = np.inf
    got = effective_operator(parts.build())[0]
    some, want = columns(parts, rng, 23)
    assert np.isfinite(got).all()
    assert difference(got[:, some], want) < TOLERANCE
    assert not got[3].any() and not got[:, 5].any()


def test_all_open():
    got = effective_operator(crossbar(np.ones((9, 6)), np.inf, np.inf))
    assert not got.any()
    assert not effective_operator(crossbar(np.zeros((9, 6)))).any()


def test_floating_column_carries_current_sideways(rng):
    """A column cut from its sense terminal still bridges rows: currents move, none is lost."""
    parts = random_parts(rng, 8, 8)
    parts.r_sense[2] = np.inf
    got = effective_operator(parts.build())[0]
    some, want = columns(parts, rng)
    assert not got[2].any()
    assert difference(got[:, some], want) < TOLERANCE


def test_reciprocity(rng):
    """Sources and sense terminals change places when the tile is turned over."""
    parts = random_parts(rng, 33, 21)
    turned = crossbar(
        parts.g_cell[::-1, ::-1].T,
        parts.r_col[::-1, ::-1].T,
        parts.r_row[::-1, ::-1].T,
        parts.r_sense[::-1],
        parts.r_driver[::-1],
    )
    a, b = effective_operator(parts.build())[0], effective_operator(turned)[0]
    assert difference(b[::-1, ::-1].T, a) < 1e-13


def test_tiles_and_threads_agree_to_the_bit(rng):
    g = rng.choice([1e-6, 1e-3], (7, 70, 45))
    row = log_uniform(rng, 0.1, 10, (7, 70, 45))
    circuit = crossbar(g, row, 2.0, 3.0, 4.0)
    together = effective_operator(circuit)
    for k in range(7):
        alone = crossbar(g[k], row[k], 2.0, 3.0, 4.0)
        np.testing.assert_array_equal(together[k], effective_operator(alone, threads=1)[0])
        np.testing.assert_array_equal(together[k], factorise(circuit, k, threads=3).operator)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_split_merges(threads, rng):
    parts = random_parts(rng, 230, 215)
    want = effective_operator(parts.build(), threads=1)[0]
    assert difference(effective_operator(parts.build(), threads=threads)[0], want) < 1e-13


def test_memory_is_stated_and_bounded():
    assert operator_bytes(512, 512) < 2**30
    assert operator_bytes(64, 64, tiles=1000) - operator_bytes(64, 64) == 999 * 64 * 64 * 8


@pytest.mark.parametrize(
    "arguments",
    [
        {"g_cell": [[-1e-3]]},
        {"g_cell": [[np.nan]]},
        {"g_cell": [[np.inf]]},
        {"g_cell": [[1e-3]], "r_row": 0.0},
        {"g_cell": [[1e-3]], "r_col": -1.0},
        {"g_cell": [1e-3]},
        {"g_cell": np.zeros((0, 4))},
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments):
    with pytest.raises(ValueError, match=r"g_cell|r_row|r_col"):
        crossbar(**arguments)


def test_wires_per_tile(rng):
    g = rng.choice([1e-6, 1e-3], (2, 6, 5))
    circuit = crossbar(g, 1.0, 1.0, r_sense=np.array([[1.0] * 5, [9.0] * 5]))
    assert isinstance(circuit, Crossbar)
    got = effective_operator(circuit)
    for k, sense in enumerate((1.0, 9.0)):
        alone = effective_operator(crossbar(g[k], 1.0, 1.0, 0.0, sense))[0]
        np.testing.assert_array_equal(got[k], alone)
