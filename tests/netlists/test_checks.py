from dataclasses import replace

import numpy as np
import pytest

from netlists import (
    Drive,
    InputError,
    OneTransistorOneR,
    Tile,
    TileSpec,
    Wires,
    build_circuit,
    check,
)
from netlists.checks import without_islands
from tests.strategies import random_drive, random_tile


def circuit_with(g, *, r_row=1.0, r_col=1.0):
    g = np.asarray(g, dtype=float)
    wires = Wires(r_row_segment=r_row, r_col_segment=r_col)
    spec = TileSpec(rows=g.shape[0], cols=g.shape[1], wires=wires)
    return build_circuit(Tile(spec=spec, g=g), Drive(v=np.ones(g.shape[0])))


@pytest.mark.parametrize("cell", [None, OneTransistorOneR()])
def test_a_whole_tile_passes(cell):
    tile = random_tile(4, 5, 1, cell=cell)
    report = check(build_circuit(tile, random_drive(tile, 1)))
    assert report.solvable and not report.floating


def test_an_open_that_isolates_cells_is_found():
    r_row = np.ones((2, 3))
    r_row[0, 1] = np.inf
    g = np.full((2, 3), 1e-4)
    assert not check(circuit_with(g, r_row=r_row)).floating  # still held by its columns
    g[0, 1:] = 0.0
    report = check(circuit_with(g, r_row=r_row))
    assert report.islands == (("x_0_1", "x_0_2"),)
    assert report.solvable


def test_islands_can_be_left_out():
    r_row = np.ones((1, 2))
    r_row[0, 1] = np.inf
    circuit = circuit_with([[1e-4, 1e-4]], r_row=r_row, r_col=[[1.0, np.inf]])
    report = check(circuit)
    assert set(report.floating) == {"x_0_1", "y_0_1"}
    pruned = without_islands(circuit, report)
    assert set(circuit.resistors.names) - set(pruned.resistors.names) == {"rcell_0_1"}


def test_shorted_and_missing_sources_are_found():
    circuit = circuit_with([[1e-4, 1e-4]])
    sources = circuit.sources
    doubled = replace(sources, plus=np.array([sources.plus[1], *sources.plus[1:]]))
    report = check(replace(circuit, sources=doubled))
    assert report.shorted and "vout_0" in report.shorted[0]
    with pytest.raises(InputError, match="shorted"):
        report.require_solvable()
    silent = replace(circuit, layout=replace(circuit.layout, inputs=np.array([], dtype=int)))
    assert check(silent).missing == ("no input source",)
