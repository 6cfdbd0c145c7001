import numpy as np
import pytest

from circuitsim import Outcome, compare, prepare_nonlinear, solve
from circuitsim.nonlinear import newton as newton_module
from netlists import (
    Bsim4Nmos,
    Drive,
    FaultRates,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    inject,
    sample_faults,
)
from tests import oracles
from tests.tolerances import (
    KCL,
    NONLINEAR_MAX,
    NONLINEAR_P99,
    NONLINEAR_SAME_LAW,
    assert_close,
)

SINH = OneR(rram=SinhRram())
BSIM4 = OneTransistorOneR(nmos=Bsim4Nmos())
LOADED = OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3))


def tile_of(cell, rows, cols, *, segment=1.0, stuck=0.0, seed=0):
    rng = np.random.default_rng(seed)
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell)
    g = np.exp(rng.uniform(np.log(cell.rram.g_hrs), np.log(cell.rram.g_lrs), spec.g_shape))
    on = rng.random(spec.g_shape)
    g = np.where(on < 0.3, cell.rram.g_lrs, np.where(on < 0.6, cell.rram.g_hrs, g))
    faults = sample_faults(spec, FaultRates.from_ocr(stuck, 1.0), rng=rng)
    return inject(Tile(spec=spec, g=g), faults)


def inputs(rows, seed=1, batch=2):
    rng = np.random.default_rng(seed)
    return Drive(v=0.2 * np.vstack([rng.integers(0, 2, (1, rows)), rng.random((batch - 1, rows))]))


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "rram",
    [SinhRram(), SinhRram(v0=0.05, r_lrs=1e3, v_max=0.4), YakopcicRram.hp_tio2()],
    ids=["sinh", "sinh-50mV", "yakopcic-hp"],
)
@pytest.mark.parametrize(
    ("n", "segment", "stuck"), [(8, 10.0, 0.3), (24, 0.1, 0.0), (40, 1.0, 0.1)]
)
def test_the_same_equation_in_both(rram, n, segment, stuck):
    tile, rng = (
        tile_of(OneR(rram=rram), n, n + 3, segment=segment, stuck=stuck),
        np.random.default_rng(2),
    )
    drive = Drive(v=rng.uniform(-0.2, 0.2, (3, n)))
    found = solve(tile, drive, "newton")
    agreed = compare(found, solve(tile, drive, "ngspice"))
    assert found.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    assert agreed.max_relative <= NONLINEAR_SAME_LAW
    assert_close(found.power, found.dissipation, 1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "cell",
    [
        OneTransistorOneR(),
        BSIM4,
        LOADED,
        OneTransistorTwoR(nmos=Bsim4Nmos()),
        OneTransistorOneR(rram=YakopcicRram.hp_tio2()),
        OneTransistorOneR(nmos=Bsim4Nmos(), rram=VteamRram()),
    ],
    ids=["level1", "bsim4", "bsim4-1k", "bsim4-1T2R", "yakopcic-hp", "vteam"],
)
@pytest.mark.parametrize(("n", "segment", "stuck"), [(8, 10.0, 0.3), (32, 1.0, 0.1)])
def test_surfaces_against_transistors(cell, n, segment, stuck):
    tile, drive = tile_of(cell, n, n, segment=segment, stuck=stuck), inputs(n)
    found = solve(tile, drive, "newton")
    agreed = compare(found, solve(tile, drive, "ngspice"))
    assert found.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    assert agreed.max_relative <= NONLINEAR_MAX
    assert agreed.p99_relative <= NONLINEAR_P99


@pytest.mark.ngspice
@pytest.mark.parametrize("rram", [OhmicRram(), YakopcicRram.hp_tio2()], ids=["ohmic", "yakopcic"])
def test_negative_inputs_and_another_drive_line(rram):
    cell = OneTransistorOneR(nmos=Bsim4Nmos(), drive_line="SL", rram=rram)
    tile = tile_of(cell, 12, 9, segment=3.0)
    drive = Drive(v=np.random.default_rng(5).uniform(-0.2, 0.2, (2, 12)))
    agreed = compare(solve(tile, drive, "newton"), solve(tile, drive, "ngspice"))
    assert agreed.max_relative <= NONLINEAR_MAX


def test_a_device_that_differs_backwards_is_read_with_its_sign():
    """One cell between perfect conductors is the device itself, in both directions."""
    rram = YakopcicRram.hp_tio2()
    wires = Wires(r_row_segment=0.0, r_col_segment=0.0)
    tile = Tile(spec=TileSpec(rows=1, cols=1, wires=wires, cell=OneR(rram=rram)), g=[[1e-4]])
    v = np.array([[0.25], [-0.25]])
    assert_close(solve(tile, Drive(v=v), "newton").i_out, rram.current(v, 1e-4), 1e-12)


def test_vteam_reads_by_ohm_s_law():
    tile = tile_of(OneR(rram=VteamRram()), 6, 5)
    exact, newton = (solve(tile, inputs(6), name) for name in ("nodal", "newton"))
    assert_close(newton.i_out, exact.i_out, 1e-11)


def test_one_cell_by_bisection():
    r, rram, v = 500.0, SinhRram(r_lrs=1e3), 0.4
    wires = Wires(r_row_segment=r / 2, r_col_segment=r / 2)
    tile = Tile(spec=TileSpec(rows=1, cols=1, wires=wires, cell=OneR(rram=rram)), g=[[1e-3]])
    found = solve(tile, Drive(v=[v]), "newton").i_out[0, 0]
    expected = oracles.series_sinh_current(r=r, g=1e-3, v0=rram.v0, v=v)
    assert found == pytest.approx(expected, rel=1e-9)


def test_damped_newton_finds_what_the_chord_finds(monkeypatch):
    tile = tile_of(OneR(rram=SinhRram(v0=0.05, r_lrs=1e3)), 10, 7, segment=5.0)
    drive = inputs(10, batch=3)
    expected = solve(tile, drive, "newton")
    monkeypatch.setattr(newton_module, "CHORD_STEPS", 1)
    found = solve(tile, drive, "newton")
    assert found.outcome is Outcome.SOLVED
    assert_close(found.i_out, expected.i_out, 1e-8)


def test_no_convergence_is_an_outcome_and_never_nan(monkeypatch):
    tile = tile_of(OneR(rram=SinhRram(v0=0.05, r_lrs=1e3)), 10, 7, segment=5.0)
    monkeypatch.setattr(newton_module, "CHORD_STEPS", 1)
    monkeypatch.setattr(newton_module, "NEWTON_STEPS", 1)
    prepared = prepare_nonlinear(tile)
    found = prepared.solve(inputs(10))
    assert found.outcome is Outcome.NOT_CONVERGED
    assert np.isfinite(found.i_out).all() and np.isfinite(found.v_row).all()
    with pytest.raises(InputError, match="no balance"):
        prepared.currents(inputs(10))


@pytest.mark.parametrize("v0", [0.25, 0.02])
@pytest.mark.parametrize("state", ["g_lrs", "g_hrs"])
def test_uniform_tiles_converge_however_much_they_bend(v0, state):
    rram = SinhRram(v0=v0, r_lrs=1e3)
    wires = Wires(r_row_segment=10.0, r_col_segment=10.0)
    spec = TileSpec(rows=16, cols=16, wires=wires, cell=OneR(rram=rram))
    tile = Tile(spec=spec, g=np.full((16, 16), getattr(rram, state)))
    found = solve(tile, Drive(v=[np.full(16, 0.4), np.zeros(16), -np.full(16, 0.1)]), "newton")
    assert found.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    assert (found.i_out[1] == 0).all() and (found.i_out[0] > 0).all() and (found.i_out[2] < 0).all()


@pytest.mark.ngspice
def test_perfect_and_open_segments():
    for segment in (0.0, "open"):
        r = np.full((5, 6), 2.0)
        r[1, 2:] = np.inf if segment == "open" else 0.0
        wires = Wires(r_row_segment=r, r_col_segment=2.0)
        spec = TileSpec(rows=5, cols=6, wires=wires, cell=SINH)
        tile = Tile(spec=spec, g=np.full((5, 6), 1e-4))
        found, spice = (solve(tile, inputs(5), name) for name in ("newton", "ngspice"))
        assert compare(found, spice).max_relative <= NONLINEAR_SAME_LAW
        assert found.kcl_residual <= KCL
        assert_close(found.power, found.dissipation, 1e-9)


@pytest.mark.ngspice
def test_light_currents_are_the_solution_s():
    prepared = prepare_nonlinear(tile_of(BSIM4, 20, 11))
    drive = inputs(20, batch=45)
    assert_close(prepared.currents(drive), prepared.solve(drive).i_out, 1e-9)


@pytest.mark.ngspice
def test_ranges_are_enforced():
    with pytest.raises(InputError, match=r"can put 0.6 V across a memory"):
        solve(tile_of(SINH, 2, 2), Drive(v=[0.6, 0.0]), "newton")
    prepared = prepare_nonlinear(tile_of(BSIM4, 2, 2))
    with pytest.raises(InputError, match=r"leave the prepared range \[0, 0.2\] V"):
        prepared.solve(Drive(v=[0.3, 0.0]))
    with pytest.raises(InputError, match="leave the calibrated range"):
        prepare_nonlinear(tile_of(BSIM4, 2, 2), v_high=0.3, surface=prepared.law.surface)
    with pytest.raises(InputError, match="recalibrate"):
        prepare_nonlinear(tile_of(LOADED, 2, 2), surface=prepared.law.surface)
    with pytest.raises(InputError, match="obeys Ohm's law"):
        prepare_nonlinear(tile_of(OneR(), 2, 2))
