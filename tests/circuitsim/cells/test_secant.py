import math
import re
from dataclasses import replace

import numpy as np
import pytest

from circuitsim import SecantModel, calibrate, linearise
from circuitsim.cells.measure import measure_currents
from netlists import (
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SubcktCell,
    Tile,
)
from tests.strategies import random_tile
from tests.tolerances import assert_close

pytestmark = pytest.mark.ngspice
CELLS = [OneTransistorOneR(), OneTransistorTwoR(), OneTransistorOneR(drive_line="SL")]


@pytest.mark.parametrize("cell", CELLS, ids=["1T1R", "1T2R", "1T1R-SL"])
def test_stated_error_holds_on_fresh_samples(cell):
    model = calibrate(cell, 0.2)
    low, high = model.g_memory[0], model.g_memory[-1]
    g = np.geomspace(low, high, 301)
    (current,), _ = measure_currents(cell, [0.2], np.zeros(len(g)), g)
    error = np.abs(model(g) * 0.2 - current) / current.max()
    assert error.max() <= 2 * model.held_out_max < 1e-6
    assert model.held_out_p99 <= model.held_out_max


def test_the_transistor_adds_resistance_and_the_curve_rises():
    model = calibrate(OneTransistorOneR(), 0.2)
    g = np.geomspace(model.g_memory[0], model.g_memory[-1], 1000)
    cell = model(g)
    assert (cell < g).all() and (np.diff(cell) > 0).all()
    assert model(0.0) == 0.0


def test_outside_the_range_is_refused():
    model = calibrate(OneTransistorOneR(), 0.2)
    with pytest.raises(InputError, match="calibrated range"):
        model(1.0)


def test_saved_and_loaded_models_are_equal(tmp_path):
    model = calibrate(OneTransistorOneR(), 0.2)
    model.save(tmp_path / "cell.json")
    loaded = SecantModel.load(tmp_path / "cell.json")
    assert loaded == model
    assert_close(loaded([1e-5, 1e-4]), model([1e-5, 1e-4]), 1e-15)


def test_a_model_of_another_cell_is_refused():
    model = calibrate(OneTransistorOneR(), 0.2)
    tile = random_tile(2, 2, 1, cell=OneTransistorOneR(rram=OhmicRram(r_lrs=5e3)))
    with pytest.raises(InputError, match="recalibrate"):
        linearise(tile, model=model)


def test_linear_cells_need_none():
    with pytest.raises(InputError, match="no calibration"):
        calibrate(OneR(), 0.2)
    tile = random_tile(2, 2, 1)
    assert isinstance(tile, Tile) and linearise(tile) is tile


def test_a_changed_file_is_refused(tmp_path):
    model = calibrate(OneTransistorOneR(), 0.2)
    path = tmp_path / "cell.json"
    model.save(path)
    text = path.read_text()
    value = repr(model.r_series[5])
    for bad, words in [
        (text.replace(value, repr(model.r_series[5] * 1.001)), "not what was written"),
        (text.replace(value, "NaN"), "NaN is no number"),
        (text.replace('"xbarverify-secant-3"', '"xbarverify-secant-2"'), "recalibrate"),
        (text[:-10], "not a readable cell model"),
        ("[]", "format None"),
        (re.sub(r'"program": "[^"]*"', '"program": "0.0.1"', text), "version 0.0.1 of the program"),
    ]:
        path.write_text(bad)
        with pytest.raises(InputError, match=words):
            SecantModel.load(path)
    with pytest.raises(InputError, match="not a readable cell model"):
        SecantModel.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="no number"):
        replace(model, r_series=(math.nan, *model.r_series[1:])).save(path)


def test_a_moved_kit_keeps_its_model_and_a_changed_one_does_not(tmp_path):
    tiles = []
    for name, ohm in [("a", "1k"), ("b", "1k"), ("c", "2k")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cell.sp").write_text(
            f".subckt cell a b g=1e-5\nr1 a m {{1/g}}\nr2 m b {ohm}\n.ends\n"
        )
        cell = SubcktCell(
            path=tmp_path / name / "cell.sp",
            name="cell",
            ports={"drive": "a", "sense": "b"},
            states={"lrs": 1e-4, "hrs": 1e-6},
        )
        tiles.append(random_tile(2, 3, 1, cell=cell))
    model = calibrate(tiles[0].spec.cell, 0.2)
    assert_close(linearise(tiles[1], model=model).g, linearise(tiles[0], model=model).g, 1e-15)
    with pytest.raises(InputError, match="recalibrate"):
        linearise(tiles[2], model=model)
