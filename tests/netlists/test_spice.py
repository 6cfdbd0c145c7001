import io
import re
import shutil
import subprocess

import numpy as np
import pytest

from circuitsim import solve
from netlists import (
    Drive,
    InputError,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    Tile,
    TileSpec,
    Wires,
    build_circuit,
    to_spice,
    write_spice,
)
from netlists.spice import read_printed_currents
from tests.strategies import random_drive, random_tile
from tests.tolerances import EXACT, assert_close

ONE_R_1X2 = """\
* 1x2 OneR tile, input 1 of 1
rdrv_0 in_0 entry_0 3.0
rrow_0_0 entry_0 x_0_0 1.5
rrow_0_1 x_0_0 x_0_1 1.5
rcol_0_0 y_0_0 out_0 2.5
rcol_0_1 y_0_1 out_1 2.5
rcell_0_0 x_0_0 y_0_0 10000.0
rcell_0_1 x_0_1 y_0_1 1000000.0
vin_0 in_0 0 dc 0.2
vout_0 out_0 0 dc 0.0
vout_1 out_1 0 dc 0.0
.options klu
.control
set numdgt=16
op
print i(vout_0)
print i(vout_1)
quit
.endc
.end
"""

TWO_R_1X1 = """\
* 1x1 OneTransistorTwoR tile, input 1 of 1
rrow_0_0 in_0 x_0_0 1.0
rcol_0_0 y_0_0 out_0 1.0
rcell_0_0_0 mid_0_0 y_0_0 10000.0
rcell_0_0_1 mid_0_0 y_0_0 1000000.0
mcell_0_0 x_0_0 gate_0 mid_0_0 0 access w=1e-06 l=1.3e-07 ic=0,1.2,0
.model access nmos (level=1 vto=0.4 kp=0.0003 lambda=0.05 gamma=0.3 phi=0.8 is=0.0)
vin_0 in_0 0 dc 0.2
vout_0 out_0 0 dc 0.0
vgate_0 gate_0 0 dc 1.2
.options klu reltol=1e-6 abstol=1e-15 vntol=1e-9 gmin=1e-18
.control
set numdgt=16
op
print i(vout_0)
quit
.endc
.end
"""


def golden_tile(cell, wires, g):
    g = np.asarray(g)
    spec = TileSpec(rows=g.shape[0], cols=g.shape[1], wires=wires, cell=cell)
    return Tile(spec=spec, g=g)


def test_golden_1r():
    wires = Wires(r_row_segment=1.5, r_col_segment=2.5, r_driver=3.0)
    tile = golden_tile(OneR(), wires, [[1e-4, 1e-6]])
    assert to_spice(build_circuit(tile, Drive(v=[0.2]))) == ONE_R_1X2


def test_golden_1t2r_driven_from_the_source_line():
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    tile = golden_tile(OneTransistorTwoR(drive_line="SL"), wires, [[[1e-4, 1e-6]]])
    assert to_spice(build_circuit(tile, Drive(v=[0.2]))) == TWO_R_1X1


@pytest.mark.parametrize("cell", [OneR(), OneTransistorOneR(), OneTransistorTwoR()])
def test_names_are_unique_after_case_folding(cell):
    tile = random_tile(12, 11, 1, cell=cell)
    circuit = build_circuit(tile, random_drive(tile, 2))
    elements = circuit.resistors.names + circuit.sources.names
    elements += circuit.mosfets.names if circuit.mosfets else ()
    for names in (circuit.nodes, elements):
        assert len({name.lower() for name in names}) == len(names)
        assert all(name == name.lower() for name in names)


def test_numbers_keep_every_digit():
    tile = random_tile(3, 3, 7)
    text = to_spice(build_circuit(tile, random_drive(tile, 8)))
    written = {m[1]: float(m[2]) for m in re.finditer(r"^(rcell\S*) \S+ \S+ (\S+)$", text, re.M)}
    for (i, j), g in np.ndenumerate(tile.g):
        assert written[f"rcell_{i}_{j}"] == 1.0 / g
    assert not re.search(r"\d(meg|[kmunpf])\b", text, re.I)


def test_zero_ohm_and_open_are_not_elements():
    wires = Wires(r_row_segment=0.0, r_col_segment=[[np.inf, 1.0], [1.0, 1.0]])
    tile = golden_tile(OneR(), wires, [[1e-4, 0.0], [1e-4, 1e-4]])
    circuit = build_circuit(tile, Drive(v=[1.0, 1.0]))
    names = set(circuit.resistors.names)
    assert not any(name.startswith(("rrow", "rdrv", "rsen")) for name in names)
    assert "rcol_0_0" not in names and "rcol_0_1" in names and "rcell_0_1" not in names
    assert circuit.layout.x[0].tolist() == [circuit.sources.plus[0]] * 2


def test_paths_and_streams_get_the_same_text(tmp_path):
    tile = random_tile(2, 2, 1)
    circuit = build_circuit(tile, random_drive(tile, 1, batch=2))
    stream = io.StringIO()
    write_spice(circuit, stream, vector=1)
    write_spice(circuit, tmp_path / "tile.cir", vector=1)
    assert stream.getvalue() == (tmp_path / "tile.cir").read_text() != to_spice(circuit)


def test_unknown_dialects_and_vectors_are_refused():
    tile = random_tile(2, 2, 1)
    circuit = build_circuit(tile, random_drive(tile, 1, batch=2))
    with pytest.raises(InputError, match="dialect='hspice'"):
        to_spice(circuit, dialect="hspice")
    with pytest.raises(InputError, match="vector=2"):
        to_spice(circuit, vector=2)


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="no ngspice program on the path")
@pytest.mark.parametrize("cell", [OneR(), OneTransistorOneR(), OneTransistorTwoR()])
def test_the_program_runs_the_netlist_as_emitted(cell, tmp_path):
    tile = random_tile(3, 2, 5, cell=cell)
    drive = random_drive(tile, 6, batch=1)
    circuit = build_circuit(tile, drive)
    write_spice(circuit, tmp_path / "tile.cir")
    done = subprocess.run(
        ["ngspice", "-b", "tile.cir"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    printed = read_printed_currents(done.stdout, ("vout_0", "vout_1"))
    assert_close(printed, solve(tile, drive, solver="ngspice").i_out[0], EXACT)
    with pytest.raises(InputError, match="vout_9"):
        read_printed_currents(done.stdout, ("vout_9",))
