import numpy as np
import pytest

from circuitsim import calibrate_surface
from circuitsim.cells.measure import measure_currents
from circuitsim.cells.polynomial import PolynomialSurface, term_powers
from circuitsim.cells.series import SeriesSurface
from netlists import (
    Bsim4Nmos,
    InputError,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    YakopcicRram,
)
from tests.tolerances import SURFACE_MAX, SURFACE_P99, assert_close

pytestmark = pytest.mark.ngspice
BSIM4 = OneTransistorOneR(nmos=Bsim4Nmos())
CELLS = {
    "level1": OneTransistorOneR(),
    "bsim4": BSIM4,
    "bsim4-SL": OneTransistorOneR(nmos=Bsim4Nmos(), drive_line="SL"),
    "bsim4-sinh": OneTransistorOneR(nmos=Bsim4Nmos(), rram=SinhRram()),
    "bsim4-1T2R": OneTransistorTwoR(nmos=Bsim4Nmos()),
    "bsim4-yakopcic": OneTransistorOneR(nmos=Bsim4Nmos(), rram=YakopcicRram.hp_tio2()),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_stated_error_holds_on_fresh_samples(cell):
    surface = calibrate_surface(cell, 0.0, 0.2)
    rng = np.random.default_rng(77)
    drive, sense = rng.uniform(0.0, 0.2, 16), rng.uniform(0.0, 0.2, 64)
    low, high = cell.rram.g_hrs, cell.rram.g_lrs * cell.n_rram
    g = np.exp(rng.uniform(np.log(low), np.log(high), 64))
    g[:8], g[8:16] = low, high
    truth, _ = measure_currents(cell, drive, sense, g)
    error = np.abs(surface(drive[:, None], sense, g) - truth) / surface.full_scale
    assert error.max() <= SURFACE_MAX and surface.held_out_max <= SURFACE_MAX
    assert np.quantile(error, 0.99) <= SURFACE_P99 and surface.held_out_p99 <= SURFACE_P99
    assert surface.held_out >= 2000 and "reltol" in surface.options
    assert isinstance(surface, PolynomialSurface) and surface.on_target


NEAR_THRESHOLD = {
    "level1-0.5": OneTransistorOneR(v_gate=0.5),
    "level1-0.6-SL": OneTransistorOneR(v_gate=0.6, drive_line="SL"),
    "bsim4-0.55": OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.55),
    "bsim4-0.65-sinh": OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.65, rram=SinhRram()),
    "bsim4-0.6-1T2R": OneTransistorTwoR(nmos=Bsim4Nmos(), v_gate=0.6),
}


@pytest.mark.parametrize("cell", NEAR_THRESHOLD.values(), ids=NEAR_THRESHOLD)
def test_near_threshold_the_target_holds_too(cell):
    v_low = -0.1 if cell.drive_line == "SL" else 0.0
    surface = calibrate_surface(cell, v_low, 0.2)
    rng = np.random.default_rng(78)
    drive, sense = rng.uniform(v_low, 0.2, 24), rng.uniform(v_low, 0.2, 90)
    low, high = cell.rram.g_hrs, cell.rram.g_lrs * cell.n_rram
    g = np.repeat([low, high, np.sqrt(low * high)], 30)
    truth, _ = measure_currents(cell, drive, sense, g)
    error = np.abs(surface(drive[:, None], sense, g) - truth) / surface.full_scale
    assert isinstance(surface, SeriesSurface) and surface.on_target
    assert error.max() <= SURFACE_MAX and np.quantile(error, 0.99) <= SURFACE_P99


def test_errors_are_told_by_state():
    levels = (1e-6, 3e-5, 1e-4)
    errors = calibrate_surface(BSIM4, 0.0, 0.2, levels).errors
    names = ["HRS", "level 2 of 3", "LRS", "between", "below HRS", "above LRS"]
    assert [error.name for error in errors] == names
    assert all(error.samples >= 700 and 0 < error.p99 <= error.max for error in errors)
    assert [(error.g_low, error.g_high) for error in errors[:3]] == [(g, g) for g in levels]


def test_a_cell_near_saturation_gets_the_finer_grade():
    surface = calibrate_surface(OneTransistorOneR(v_gate=0.7), 0.0, 0.2)
    assert surface.degree > calibrate_surface(OneTransistorOneR(), 0.0, 0.2).degree
    assert surface.held_out_max <= SURFACE_MAX


def test_slopes_are_derivatives_and_positive():
    surface = calibrate_surface(BSIM4, 0.0, 0.2)
    rng = np.random.default_rng(3)
    drive, sense = rng.uniform(0.01, 0.19, (2, 50))
    g, h = 10 ** rng.uniform(-6, -4, 50), 1e-6
    by_drive = (surface(drive + h, sense, g) - surface(drive - h, sense, g)) / (2 * h)
    by_sense = (surface(drive, sense - h, g) - surface(drive, sense + h, g)) / (2 * h)
    for found, expected in zip(surface.slopes(drive, sense, g), (by_drive, by_sense), strict=True):
        assert_close(found / g, expected / g, 1e-6)
        assert (found > 0).all()


def test_polynomials_are_the_surface():
    surface = calibrate_surface(BSIM4, 0.0, 0.2)
    a, b = term_powers(surface.degree).T
    forward = surface.polynomials([[3e-5]])[0, 0, 0]
    u, t = surface.scale * 0.1 - 1, surface.scale * 0.03 - 1
    assert_close(0.1 * (forward * u**a * t**b).sum(), surface(0.13, 0.03, 3e-5), 1e-13)
    assert surface(0.13, 0.03, 0.0) == 0.0


def test_outside_the_range_is_refused():
    surface = calibrate_surface(BSIM4, 0.0, 0.2)
    with pytest.raises(InputError, match=r"v_drive=0.3 V lies outside"):
        surface(0.3, 0.0, 1e-5)
    with pytest.raises(InputError, match=r"v_sense=-0.1 V lies outside"):
        surface(0.1, -0.1, 1e-5)
    with pytest.raises(InputError, match=r"1 S lies outside"):
        surface(0.1, 0.0, 1.0)
    with pytest.raises(InputError, match="must be a range that holds 0 V"):
        calibrate_surface(BSIM4, 0.1, 0.2)
    with pytest.raises(InputError, match="needs no surface"):
        calibrate_surface(OneR(), 0.0, 0.2)
    with pytest.raises(InputError, match=r"0\.7 V across the memory"):
        calibrate_surface(OneTransistorOneR(rram=SinhRram()), -0.2, 0.5)
    with pytest.raises(InputError, match="level 1 S lies outside the states"):
        calibrate_surface(BSIM4, 0.0, 0.2, (1e-6, 1.0))
