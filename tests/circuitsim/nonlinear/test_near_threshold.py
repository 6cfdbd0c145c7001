"""Tiles whose transistors saturate or cut off within the read voltage."""

from dataclasses import replace

import numpy as np
import pytest

from circuitsim import Outcome, calibrate_surface, compare, prepare_nonlinear, solve
from circuitsim.nonlinear import newton as newton_module
from netlists import (
    Bsim4Nmos,
    DefectRates,
    Drive,
    FaultRates,
    InputError,
    OhmicRram,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    SubcktCell,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    inject,
    sample_defects,
    sample_faults,
)
from tests.tolerances import KCL, NONLINEAR_MAX, NONLINEAR_P99, assert_close

pytestmark = pytest.mark.ngspice
LEVEL1 = OneTransistorOneR(v_gate=0.5)
BSIM4 = OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.55)
CELLS = {
    "level1": LEVEL1,
    "bsim4": BSIM4,
    "bsim4-SL-sinh": OneTransistorOneR(
        nmos=Bsim4Nmos(), v_gate=0.6, drive_line="SL", rram=SinhRram()
    ),
    "bsim4-1T2R-1k": OneTransistorTwoR(nmos=Bsim4Nmos(), v_gate=0.6, rram=OhmicRram(r_lrs=1e3)),
}


def spec_of(cell, rows, cols, segment):
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    return TileSpec(rows=rows, cols=cols, wires=wires, cell=cell)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_random_tiles_against_transistors(cell):
    rng = np.random.default_rng(0)
    spec = spec_of(cell, 19, 14, 5.0)
    low, high = cell.rram.g_hrs, cell.rram.g_lrs
    g = np.exp(rng.uniform(np.log(low), np.log(high), spec.g_shape)).clip(low, high)
    tile = inject(Tile(spec=spec, g=g), sample_faults(spec, FaultRates.from_ocr(0.3, 1.0), rng=rng))
    drive = Drive(v=0.2 * np.vstack([rng.integers(0, 2, (2, 19)), rng.random((1, 19))]))
    found = solve(tile, drive, "newton")
    agreed = compare(found, solve(tile, drive, "ngspice"))
    assert found.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    assert agreed.max_relative <= NONLINEAR_MAX and agreed.p99_relative <= NONLINEAR_P99


@pytest.mark.parametrize(
    "cell",
    [
        BSIM4,
        OneTransistorTwoR(nmos=Bsim4Nmos(), v_gate=0.6, rram=YakopcicRram()),
        OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.6, rram=VteamRram(), drive_line="SL"),
    ],
    ids=["ohmic", "yakopcic-1T2R", "vteam-SL"],
)
def test_defects_beside_transistors_that_work(cell):
    rng = np.random.default_rng(2)
    spec = spec_of(cell, 12, 9, 2.0)
    rates = DefectRates(transistor_open=0.1, transistor_shorted=0.1, open_gate=0.02)
    g = np.exp(rng.uniform(np.log(cell.rram.g_hrs), np.log(cell.rram.g_lrs), spec.g_shape))
    tile = Tile(spec=spec, g=g, defects=sample_defects(spec, rates, rng=rng))
    assert len(np.unique(tile.access)) == 4
    drive = Drive(v=rng.uniform(-0.1, 0.2, (3, 12)))
    found = solve(tile, drive, "newton")
    assert found.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    agreed = compare(found, solve(tile, drive, "ngspice"))
    assert agreed.max_relative <= NONLINEAR_MAX and agreed.p99_relative <= NONLINEAR_P99


def test_damped_newton_finds_what_the_chord_finds_with_defects(monkeypatch):
    rng = np.random.default_rng(3)
    spec = spec_of(BSIM4, 9, 7, 10.0)
    rates = DefectRates(transistor_open=0.1, transistor_shorted=0.1)
    tile = Tile(
        spec=spec,
        g=np.full(spec.g_shape, 1e-4),
        defects=sample_defects(spec, rates, rng=rng),
    )
    drive = Drive(v=rng.uniform(0.0, 0.2, (2, 9)))
    expected = solve(tile, drive, "newton")
    monkeypatch.setattr(newton_module, "CHORD_STEPS", 1)
    found = solve(tile, drive, "newton")
    assert found.outcome is Outcome.SOLVED
    assert_close(found.i_out, expected.i_out, 1e-8)


@pytest.mark.parametrize("state", ["g_lrs", "g_hrs"])
@pytest.mark.parametrize("segment", [0.0, 100.0])
def test_uniform_tiles_of_both_signs_converge(state, segment):
    cell = OneTransistorOneR(v_gate=0.5, rram=OhmicRram(r_lrs=1e3))
    spec = spec_of(cell, 16, 16, segment)
    tile = Tile(spec=spec, g=np.full((16, 16), getattr(cell.rram, state)))
    drive = Drive(v=[np.full(16, 0.2), np.zeros(16), np.linspace(-0.1, 0.2, 16)])
    found = solve(tile, drive, "newton")
    assert found.outcome is Outcome.SOLVED and np.isfinite(found.v_row).all()
    assert (found.i_out[1] == 0).all()
    assert compare(found, solve(tile, drive, "ngspice")).max_relative <= NONLINEAR_MAX


def test_ranges_are_enforced_in_every_direction():
    surface = calibrate_surface(BSIM4, 0.0, 0.2)
    for at, words in [
        ((0.21, 0.0, 1e-5), "v_drive=0.21 V lies outside"),
        ((0.1, -0.01, 1e-5), "v_sense=-0.01 V lies outside"),
        ((0.1, 0.0, 1e-3), "conductance 0.001 S lies outside"),
        ((0.1, 0.0, 1e-8), "conductance 1e-08 S lies outside"),
    ]:
        with pytest.raises(InputError, match=words):
            surface(*at)
        with pytest.raises(InputError, match=words):
            surface.slopes(*at)
    beyond = Tile(spec=spec_of(BSIM4, 2, 2, 1.0), g=np.full((2, 2), 1e-3))
    with pytest.raises(InputError, match="lies outside the calibrated range"):
        prepare_nonlinear(beyond, surface=surface)
    tile = Tile(spec=spec_of(BSIM4, 2, 2, 1.0), g=np.full((2, 2), 1e-5))
    for solver in ("newton", "dissection"):
        far = Tile(spec=TileSpec(**(vars(tile.spec) | {"v_read": 0.3})), g=tile.g)
        with pytest.raises(InputError, match="calibrated range"):
            solve(far, Drive(v=[0.3, 0.3]), solver, surface=surface)


def test_ngspice_s_notes_are_no_errors():
    # A memory that bends this much makes ngspice step its gmin, which it notes on stderr.
    rram = SinhRram(r_lrs=1e3, v0=0.05)
    surface = calibrate_surface(
        OneTransistorOneR(v_gate=0.5, rram=rram, drive_line="SL"), -0.1, 0.2
    )
    assert surface.on_target


def kit_cell(folder, memory):
    card = " ".join(f"{key}={value}" for key, value in Bsim4Nmos().parameters().items())
    (folder / "cell.sp").write_text(
        f".model n nmos (level=54 {card})\n.subckt cell bl wl sl g=1e-5\n{memory}"
        "m1 mid wl sl 0 n w=1e-6 l=0.13e-6\n.ends\n"
    )
    return SubcktCell(
        path=folder / "cell.sp",
        name="cell",
        ports={"drive": "bl", "sense": "sl", "gate": "wl"},
        states={"lrs": 1e-4, "hrs": 1e-6},
        v_gate=0.55,
    )


@pytest.mark.parametrize("on_drive", [True, False])
def test_a_subcircuit_is_told_apart_where_it_can_be(tmp_path, on_drive):
    cell = kit_cell(tmp_path, "rm bl mid {1/g}\n")
    if not on_drive:
        cell = replace(cell, ports={"drive": "sl", "sense": "bl", "gate": "wl"})
    surface = calibrate_surface(cell, 0.0, 0.2)
    assert surface.on_target and surface.memory_on_drive == on_drive


def test_what_cannot_be_fitted_says_so(tmp_path):
    cell = kit_cell(tmp_path, "b1 bl mid i={g*0.1}*sinh(v(bl,mid)/0.1)\n")
    tile = Tile(spec=spec_of(cell, 2, 2, 1.0), g=np.full((2, 2), 1e-5))
    with pytest.warns(UserWarning, match="misses its target"):
        found = solve(tile, Drive(v=[0.2, 0.2]), "newton")
    assert not calibrate_surface(cell, 0.0, 0.2).on_target
    spice = solve(tile, Drive(v=[0.2, 0.2]), "ngspice")
    assert_close(found.i_out, spice.i_out, 5e-2)
