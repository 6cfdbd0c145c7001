import numpy as np
import pytest

from benchmarks.operating_point import linearise_at, operating_conductance
from circuitsim import cell_conductance, effective_conductance, solve
from netlists import Bsim4Nmos, Drive, OhmicRram, OneR, OneTransistorOneR, SinhRram
from tests.circuitsim.nonlinear.test_newton import tile_of
from tests.strategies import random_tile
from tests.tolerances import EXACT

LOADED = OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3))


def binary(rows, seed, batch):
    return Drive(v=0.2 * np.random.default_rng(seed).integers(0, 2, (batch, rows)))


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", [OneR(rram=SinhRram()), LOADED], ids=["sinh", "bsim4-1k"])
def test_operating_secants_beat_nominal_ones_on_fresh_inputs(cell):
    tile, fresh = tile_of(cell, 32, 32, stuck=0.1), binary(32, 8, batch=8)
    truth = solve(tile, fresh, "newton").i_out
    nominal = np.abs(fresh.v @ effective_conductance(tile).T - truth).max()
    own = linearise_at(tile, binary(32, 7, batch=16))
    assert np.abs(fresh.v @ effective_conductance(own).T - truth).max() < 0.7 * nominal


def test_one_cell_without_wires_to_speak_of_gets_its_secant():
    tile = tile_of(OneR(rram=SinhRram()), 1, 1, segment=1e-9)
    found = operating_conductance(tile, Drive(v=[0.1]))
    expected = SinhRram().secant_factor(0.1) * tile.g_device
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_ohmic_cells_and_cells_without_a_voltage_keep_theirs():
    ohmic = random_tile(3, 4, 1)
    np.testing.assert_array_equal(operating_conductance(ohmic, Drive(v=np.ones(3))), ohmic.g)
    dark = tile_of(OneR(rram=SinhRram()), 3, 4)
    found = operating_conductance(dark, Drive(v=np.zeros(3)))
    np.testing.assert_allclose(found, cell_conductance(dark), rtol=EXACT)
