"""The Solution of a tile from its node voltages alone, perfect conductors included."""

import numpy as np
import pytest

from circuitsim import Outcome, solve
from circuitsim.linear.tile_arrays import conductances_of
from circuitsim.linear.tile_solution import solution_of_tile
from netlists import Drive, Tile, TileSpec, Wires
from tests.tolerances import EXACT, KCL, assert_close

SHAPE = 4, 5


def tile_with_perfect_segments(seed, share):
    """Random segments, some of 0 ohm on rows and on columns; drivers keep the sources apart."""
    rng = np.random.default_rng(seed)
    r_row, r_col = 10 ** rng.uniform(-1, 1, (2, *SHAPE))
    r_row[rng.random(SHAPE) < share] = 0.0
    r_col[rng.random(SHAPE) < share] = 0.0
    wires = Wires(r_row_segment=r_row, r_col_segment=r_col, r_driver=2.0, r_sense=1.0)
    spec = TileSpec(rows=SHAPE[0], cols=SHAPE[1], wires=wires)
    return Tile(spec=spec, g=10 ** rng.uniform(-5, -3, SHAPE))


def read_off(tile, v, v_row, v_col):
    return solution_of_tile(conductances_of(tile), v, v_row, v_col, solver="test", timings={})


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_the_general_solver_says_of_the_same_voltages(seed, share):
    tile = tile_with_perfect_segments(seed, share)
    drive = Drive(v=np.random.default_rng(seed).uniform(-0.2, 0.2, (3, SHAPE[0])))
    truth = solve(tile, drive, "nodal")
    found = read_off(tile, drive.v, truth.v_row, truth.v_col)
    assert_close(found.i_out, truth.i_out, 1e-10)
    assert_close(found.i_in, truth.i_in, 1e-10)
    assert_close(found.dissipation, truth.dissipation, 1e-10)
    assert_close(found.power, found.dissipation, 1e-10)
    assert found.kcl_residual <= KCL and found.outcome is Outcome.SOLVED


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_residual_is_the_current_that_a_wrong_voltage_leaves_over(share):
    tile = tile_with_perfect_segments(5, share)
    drive = Drive(v=np.full((1, SHAPE[0]), 0.1))
    truth = solve(tile, drive, "nodal")
    v_row = truth.v_row.copy()
    off = 1e-3
    v_row[0, 2] += off  # a whole row line, 0 ohm or not, off by the same
    found = read_off(tile, drive.v, v_row, truth.v_col)
    scale = max(np.abs(found.i_in).max(), np.abs(found.i_out).max())
    first = conductances_of(tile)[0][2, 0]
    leaves = off * (first + tile.g_device[2].sum() if share else first + tile.g_device[2, 0])
    assert found.kcl_residual == pytest.approx(leaves / scale, rel=1e-6)


def test_an_input_without_any_current_has_no_residual():
    tile = tile_with_perfect_segments(6, 0.3)
    dark = np.zeros((1, *SHAPE))
    found = read_off(tile, np.zeros((1, SHAPE[0])), dark, dark)
    assert found.kcl_residual == 0.0 and not found.i_out.any()
    assert_close(found.power, np.zeros(1), EXACT)
