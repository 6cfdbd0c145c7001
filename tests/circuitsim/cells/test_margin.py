"""Calibration covers what a tile holds, also where stuck memories hold what no level is."""

import numpy as np
import pytest

from circuitsim import calibrate, solve
from circuitsim.cells.calibrate_secant import MARGIN, margin_for
from netlists import Drive, OneTransistorOneR, Tile, TileSpec, Wires

CELL = OneTransistorOneR()
LRS, HRS = CELL.rram.g_lrs, CELL.rram.g_hrs


@pytest.mark.parametrize(
    ("states", "margin"),
    [
        ([0.0, 0.0], MARGIN),
        ([HRS, LRS], MARGIN),
        ([HRS / 4, 4 * LRS], MARGIN),
        ([HRS, 4.01 * LRS], MARGIN**2),
        ([HRS / 17, LRS], MARGIN**3),
        ([HRS, 1e30], MARGIN),
    ],
)
def test_the_margin_is_the_least_power_that_covers_the_states(states, margin):
    assert margin_for(CELL, states, slack=1e-12) == margin


@pytest.mark.ngspice
def test_a_tile_whose_stuck_memories_leave_the_levels_is_solved_as_ngspice_solves_it():
    wires = Wires(r_row_segment=2.0, r_col_segment=1.0)
    spec = TileSpec(rows=5, cols=3, wires=wires, cell=CELL)
    rng = np.random.default_rng(3)
    g = rng.uniform(HRS, LRS, (5, 3))
    held = np.full((5, 3), np.nan)
    held[1, 2], held[4, 0] = 4.5 * LRS, HRS / 6
    tile = Tile(spec=spec, g=np.where(np.isnan(held), g, held))
    drive = Drive(v=rng.uniform(0.5, 1.0, (2, 5)) * spec.v_read)
    truth = solve(tile, drive, "ngspice").i_out
    scale = np.abs(truth).max()
    assert np.abs(solve(tile, drive, "newton").i_out - truth).max() < 3e-4 * scale
    full = Drive(v=np.full(5, spec.v_read))
    linear = solve(tile, full, "dissection").i_out
    assert np.abs(linear - solve(tile, full, "ngspice").i_out).max() < 1e-2 * scale
    assert len(calibrate(CELL, spec.v_read).g_memory) == 129
    assert calibrate(CELL, spec.v_read).g_memory[-1] == 4 * LRS
