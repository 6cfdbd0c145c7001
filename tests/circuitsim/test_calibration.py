import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitsim import (
    Calibration,
    calibrate,
    calibrate_cell,
    calibrate_surface,
    compare,
    linearise,
    solve,
    verify,
    verify_surface,
)
from circuitsim.cells.calibrate_secant import secant_model
from circuitsim.verification import residuals
from netlists import (
    Bsim4Nmos,
    Drive,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    SinhRram,
    Tile,
    TileSpec,
    Wires,
)
from tests.tolerances import NONLINEAR_MAX, NONLINEAR_P99, SURFACE_MAX, assert_close

pytestmark = pytest.mark.ngspice
BSIM4 = OneTransistorOneR(nmos=Bsim4Nmos())


@pytest.fixture(scope="module")
def family():
    found = calibrate_cell(BSIM4, 0.0, 0.2, gates=(1.2, 0.55), levels=3)
    return verify(found, BSIM4, tiles=2)


def test_a_family_holds_one_surface_a_gate(family):
    assert [surface.v_gate for surface in family.surfaces] == [0.55, 1.2]
    weak, strong = (family.of(replace(BSIM4, v_gate=v)) for v in (0.55, 1.2))
    assert weak(0.2, 0.0, 1e-4) < strong(0.2, 0.0, 1e-4)
    assert [error.name for error in strong.errors[:3]] == ["HRS", "level 2 of 3", "LRS"]
    assert family.shortfalls == ()


def test_a_cell_gets_its_own_surface_or_one_sentence(family):
    for cell, words in [
        (replace(BSIM4, v_gate=1.1), r"v_gate=1.1 V is not among .*\(0.55 V, 1.2 V\)"),
        (replace(BSIM4, rram=OhmicRram(r_lrs=5e3)), "was calibrated for .* the tile has"),
        (OneR(), "needs no surface"),
    ]:
        with pytest.raises(InputError, match=words):
            family.of(cell)
    old = replace(family, surfaces=(replace(family.surfaces[1], netlist_sha256="0" * 64),))
    with pytest.raises(InputError, match="has changed since"):
        old.of(BSIM4)


def test_tiles_of_every_gate_are_on_target(family):
    assert len(family.tiles) == 4 and {tile.v_gate for tile in family.tiles} == {0.55, 1.2}
    for tile in family.tiles:
        assert tile.outcome == "SOLVED" and 8 <= tile.rows <= 64 and 8 <= tile.cols <= 64
        assert 0 < tile.max <= NONLINEAR_MAX and 0 < tile.p99 <= NONLINEAR_P99


def test_the_same_seed_checks_the_same_tiles(family):
    surface = family.of(BSIM4)
    told = []
    again = verify_surface(surface, BSIM4, tiles=2, on_tile=told.append)
    assert again == tuple(tile for tile in family.tiles if tile.v_gate == 1.2) and told == [1, 1]
    assert verify_surface(surface, BSIM4, tiles=1, seed=1)[0] != again[0]


def test_a_surface_that_is_off_is_caught(family):
    surface = family.of(BSIM4)
    wrong = replace(surface, coefficients=1.001 * surface.coefficients)
    (tile,) = verify_surface(wrong, BSIM4, tiles=1)
    assert tile.max > 1e-4 and not tile.on_target
    error = replace(surface.errors[0], max=1e-3)
    told = replace(family, surfaces=(replace(surface, errors=(error,)),), tiles=(tile,)).shortfalls
    assert len(told) == 2 and "HRS: held-out error at most 1.0e-03" in told[0]
    seen = residuals(wrong, BSIM4, 1e-4, points=9)
    assert_close(seen.off, 0.001 * seen.measured, 1e-2)


def test_saved_and_loaded_calibrations_are_equal(family, tmp_path):
    family.save(tmp_path / "cell.json")
    loaded = Calibration.load(tmp_path / "cell.json")
    assert loaded.tiles == family.tiles and loaded.shortfalls == family.shortfalls
    for here, there in zip(family.surfaces, loaded.surfaces, strict=True):
        assert type(here) is type(there) and here.errors == there.errors
        assert (here.cell, here.netlist_sha256) == (there.cell, there.netlist_sha256)
        v = np.linspace(0.0, 0.2, 5)
        assert (here(v[:, None], v, 3e-5) == there(v[:, None], v, 3e-5)).all()
    content = json.loads((tmp_path / "cell.json").read_text())
    assert content["on_target"] is True and "ngspice" in content["surfaces"][0]["source"]
    for text, words in [
        (json.dumps(content | {"format": "xbarverify-surface-1"}), "recalibrate"),
        (json.dumps({k: v for k, v in content.items() if k != "tiles"}), "is damaged"),
        (json.dumps(content | {"program": "0.0.1"}), "version 0.0.1 of the program"),
        (json.dumps(content | {"on_target": False}), "not what was written"),
        (json.dumps(content).replace(repr(family.surfaces[0].full_scale), "NaN"), "NaN is no"),
        (json.dumps(content).replace(repr(family.surfaces[0].full_scale), "1.0"), "not what was"),
        ("[", "not a readable calibration"),
        ("[]", "format None"),
    ]:
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=words):
            Calibration.load(tmp_path / "bad.json")
    with pytest.raises(InputError, match="not a readable calibration"):
        Calibration.load(tmp_path / "none.json")


def test_tiles_without_a_solution_are_kept_and_surfaces_without_numbers_are_not(family, tmp_path):
    failed = replace(family.tiles[0], max=np.nan, p99=np.inf, outcome="DIVERGED")
    replace(family, tiles=(failed,)).save(tmp_path / "cell.json")
    [back] = Calibration.load(tmp_path / "cell.json").tiles
    assert np.isnan(back.max) and not back.on_target and back.outcome == "DIVERGED"
    surface = replace(family.surfaces[0], full_scale=np.nan)
    with pytest.raises(InputError, match="holds a value that is no number"):
        replace(family, surfaces=(surface,)).save(tmp_path / "bad.json")
    assert not (tmp_path / "bad.json").exists()


@given(data=st.data())
def test_any_damage_to_a_calibration_is_noticed(family, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cell") / "cell.json"
    family.save(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.just(len(content)) | st.integers(0, place))]))
    with contextlib.suppress(InputError):
        loaded = Calibration.load(path)
        for here, there in zip(family.surfaces, loaded.surfaces, strict=True):
            assert (here(0.2, 0.1, 3e-5), here.cell_id) == (there(0.2, 0.1, 3e-5), there.cell_id)
        assert loaded.tiles == family.tiles


@pytest.mark.parametrize("rram", [OhmicRram(), SinhRram()], ids=["ohmic", "sinh"])
def test_a_surface_stands_in_for_calibration(rram):
    cell = replace(BSIM4, rram=rram)
    surface = calibrate_surface(cell, 0.0, 0.2)
    wires = Wires(r_row_segment=2.0, r_col_segment=2.0)
    g = 10 ** np.random.default_rng(0).uniform(-6, -4, (6, 5))
    tile = Tile(spec=TileSpec(rows=6, cols=5, wires=wires, cell=cell), g=g)
    drive = Drive(v=[[0.2, 0.0, 0.2, 0.1, 0.2, 0.05]])
    for solver in ("dissection", "nodal", "newton", "ngspice"):
        given = solve(tile, drive, solver, surface=surface)
        assert compare(given, solve(tile, drive, solver)).max_relative <= SURFACE_MAX / 10
    given, own = (
        linearise(tile, model=model) for model in (secant_model(surface, 0.2), calibrate(cell, 0.2))
    )
    assert_close(given.g, own.g, 1e-5)
    other = replace(tile, spec=replace(tile.spec, cell=BSIM4 if rram != BSIM4.rram else OneR()))
    for solver in ("dissection", "newton") if rram != BSIM4.rram else ():
        with pytest.raises(InputError, match="recalibrate"):
            solve(other, drive, solver, surface=surface)


def test_bare_memories_need_none():
    with pytest.raises(InputError, match="needs no surface"):
        calibrate_cell(OneR(), 0.0, 0.2)
