import re
from dataclasses import replace

import numpy as np
import pytest

from circuitsim import calibrate_surface, compare, measure_states, solve
from netlists import (
    Bsim4Nmos,
    Drive,
    InputError,
    OneTransistorOneR,
    SubcktCell,
    Tile,
    TileSpec,
    Wires,
    build_circuit,
    to_spice,
)
from tests.tolerances import NONLINEAR_MAX, NONLINEAR_P99, assert_close

PORTS = {"drive": "bl", "sense": "sl", "gate": "wl"}
STATES = {"lrs": 1e-4, "hrs": 1e-6}


def write_kit(folder):
    """A kit in two files: a cell, and the transistor card it includes by a relative path."""
    folder = folder / "Kit With Spaces"
    folder.mkdir()
    card = " ".join(f"{key}={value}" for key, value in Bsim4Nmos().parameters().items())
    (folder / "Card.lib").write_text(f".model kitnmos nmos (level=54 {card})\n")
    (folder / "Cell.sp").write_text(
        "* a memory on a transistor\n.include Card.lib\n"
        ".SUBCKT Cell BL WL\n+ SL g=1e-5\nrm BL mid {1/g}\n"
        "m1 mid WL SL 0 kitnmos w=1e-6 l=0.13e-6\n.ends\n"
        ".subckt bent p n g=1e-5\n.param v0=0.1\nb1 p n i={g*v0}*sinh(v(p,n)/{v0})\n.ends\n"
    )
    return folder / "Cell.sp"


def tile_of(cell, n, seed=0):
    rng = np.random.default_rng(seed)
    wires = Wires(r_row_segment=2.0, r_col_segment=2.0)
    g = 10 ** rng.uniform(-6, -4, (n, n))
    return Tile(spec=TileSpec(rows=n, cols=n, wires=wires, cell=cell), g=g)


def write_library(folder, *, gap0=0.25):
    """A library of two corners that share a cell, whose memory's state is a gap and not g."""
    card = " ".join(f"{key}={value}" for key, value in Bsim4Nmos().parameters().items())
    slow = card.replace("vth0=0.35", "vth0=0.45")
    (folder / "My Parts").mkdir(exist_ok=True)
    (folder / "My Parts" / "cell.inc").write_text(
        f".subckt gapped bl wl sl gap=1\n.param v0=0.25 gap0={gap0}\n"
        "b1 bl mid i={1e-3*exp(-gap/gap0)}*sinh(v(bl,mid)/{v0})\n"
        "m1 mid wl sl 0 kitnmos w=1e-6 l=0.13e-6\n.ends\n"
    )
    (folder / "kit.lib").write_text(
        f".lib TT\n.model kitnmos nmos (level=54 {card})\n.inc 'My Parts/cell.inc'\n.endl TT\n"
        f".lib SS\n.model kitnmos nmos (level=54 {slow})\n.inc 'My Parts/cell.inc'\n.endl SS\n"
    )
    return SubcktCell(
        path=folder / "kit.lib",
        section="TT",
        name="gapped",
        ports=PORTS,
        states={"lrs": {"gap": 0.9}, "hrs": {"gap": 2.0}},
    )


@pytest.mark.ngspice
def test_a_kit_s_cell_is_the_built_in_one(tmp_path):
    cell = SubcktCell(path=write_kit(tmp_path), name="cell", ports=PORTS, states=STATES)
    own = OneTransistorOneR(nmos=Bsim4Nmos())
    drive = Drive(v=np.random.default_rng(1).uniform(0, 0.2, (2, 6)))
    found, expected = (solve(tile_of(c, 6), drive, "ngspice") for c in (cell, own))
    assert_close(found.i_out, expected.i_out, 1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("name", "ports"), [("cell", PORTS), ("bent", {"drive": "p", "sense": "n"})]
)
def test_everything_downstream_works(tmp_path, name, ports):
    cell = SubcktCell(path=write_kit(tmp_path), name=name, ports=ports, states=STATES)
    surface = calibrate_surface(cell, 0.0, 0.2)
    assert surface.held_out_max <= 1e-4 and surface.held_out_p99 <= 1e-5
    drive = Drive(v=np.random.default_rng(1).uniform(0, 0.2, (2, 12)))
    agreed = compare(*(solve(tile_of(cell, 12), drive, s) for s in ("newton", "ngspice")))
    assert agreed.max_relative <= NONLINEAR_MAX and agreed.p99_relative <= NONLINEAR_P99
    linear = compare(*(solve(tile_of(cell, 12), drive, s) for s in ("dissection", "newton")))
    assert linear.max_relative < 0.5


def test_netlist_includes_the_file_and_orders_the_ports(tmp_path):
    path = write_kit(tmp_path)
    cell = SubcktCell(path=path, name="CELL", ports=PORTS, states=STATES, v_gate=1.5)
    text = to_spice(build_circuit(tile_of(cell, 1), Drive(v=[0.1])))
    assert f'.include "{path}"' in text
    assert "xcell_0_0 x_0_0 gate_0 y_0_0 cell g=" in text and "vgate_0 gate_0 0 dc 1.5" in text


def test_what_does_not_fit_is_refused(tmp_path):
    path = write_kit(tmp_path)
    good = {"path": path, "name": "cell", "ports": PORTS, "states": STATES}
    for change, message in [
        ({"path": tmp_path / "none.sp"}, "cannot be read"),
        ({"name": "cel"}, r"defines no .subckt 'cel' \(it defines: cell, bent\)"),
        ({"ports": {"drive": "bl", "sense": "sl"}}, "do not match .subckt cell bl wl sl"),
        ({"ports": {"drive": "bl", "gate": "wl"}}, "must name 'drive', 'sense'"),
        ({"states": {"on": 1e-4}}, "must give 'lrs' and 'hrs'"),
        ({"states": {"lrs": 1e-4, "hrs": 0.0}}, "hrs=0.0"),
    ]:
        with pytest.raises(InputError, match=message):
            SubcktCell(**(good | change))


def test_a_changed_file_is_another_cell(tmp_path):
    path = write_kit(tmp_path)
    before = SubcktCell(path=path, name="cell", ports=PORTS, states=STATES)
    path.write_text(path.read_text().replace("w=1e-6", "w=2e-6"))
    after = SubcktCell(path=path, name="cell", ports=PORTS, states=STATES)
    assert before != after and repr(before) != repr(after)


@pytest.mark.ngspice
def test_states_by_parameters_are_measured_and_named_by_conductance(tmp_path):
    raw = write_library(tmp_path)
    with pytest.raises(InputError, match=r"circuitsim.measure_states"):
        tile_of(raw, 2).spec.cell.rram.g_lrs  # noqa: B018
    cell = measure_states(raw)
    assert cell == raw and (np.diff(cell.curve) > 0).all()
    # A gap of 0.9 nm makes i0 exp(-gap/gap0) / v0 = 1.1e-4 S before the transistor.
    assert 0.8e-4 < cell.rram.g_lrs < 1.2e-4 and 1e-6 < cell.rram.g_hrs < 2e-6
    ends = cell.parameters_of(np.array([cell.rram.g_hrs, cell.rram.g_lrs]))
    assert_close(ends["gap"], [2.0, 0.9], 1e-12)
    # Any state that is asked for is the conductance that the cell has.
    g = np.geomspace(cell.rram.g_hrs, cell.rram.g_lrs, 7)
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    tile = Tile(spec=TileSpec(rows=1, cols=7, wires=perfect, cell=cell), g=g[None])
    assert_close(solve(tile, Drive(v=[0.1]), "ngspice").i_out[0] / 0.1 / g, np.ones(7), 1e-5)
    for state in (2e-4, 1e-7):
        with pytest.raises(InputError, match="lies outside"):
            cell.parameters_of(np.array([state]))


@pytest.mark.ngspice
def test_a_library_s_sections_calibrate_and_solve(tmp_path):
    typical = measure_states(write_library(tmp_path))
    slow = measure_states(replace(typical, section="SS", curve=()))
    assert slow != typical and slow.rram.g_lrs < typical.rram.g_lrs
    surface = calibrate_surface(slow, 0.0, 0.2)
    assert surface.on_target and [e.name for e in surface.errors] == ["HRS", "LRS", "between"]
    assert (surface.g_low, surface.g_high) == (slow.curve[0], slow.curve[-1])
    rng = np.random.default_rng(0)
    wires = Wires(r_row_segment=2.0, r_col_segment=2.0)
    g = np.exp(rng.uniform(np.log(slow.curve[0]), np.log(slow.curve[-1]), (9, 7)))
    tile = Tile(spec=TileSpec(rows=9, cols=7, wires=wires, cell=slow), g=g)
    drive = Drive(v=rng.uniform(0, 0.2, (2, 9)))
    agreed = compare(*(solve(tile, drive, s) for s in ("newton", "ngspice")))
    assert agreed.max_relative <= NONLINEAR_MAX and agreed.p99_relative <= NONLINEAR_P99


@pytest.mark.ngspice
def test_states_that_do_not_rise_are_refused(tmp_path):
    cell = write_library(tmp_path)
    swapped = replace(cell, states={"lrs": {"gap": 2.0}, "hrs": {"gap": 0.9}})
    with pytest.raises(InputError, match="swap them if they were exchanged"):
        measure_states(swapped)


@pytest.mark.ngspice
def test_a_current_that_falls_is_refused(tmp_path):
    (tmp_path / "ndr.sp").write_text(
        ".subckt ndr p n g=1e-5\nb1 p n i={g}*v(p,n)*(1-40*v(p,n)*v(p,n))\n.ends\n"
    )
    ports = {"drive": "p", "sense": "n"}
    cell = SubcktCell(path=tmp_path / "ndr.sp", name="ndr", ports=ports, states=STATES)
    with pytest.raises(InputError, match="does not rise everywhere"):
        calibrate_surface(cell, 0.0, 0.2)


def test_a_moved_kit_is_the_same_cell_and_a_changed_one_is_not(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = write_library(tmp_path / "a"), write_library(tmp_path / "b")
    assert here == there and repr(here) == repr(there) and hash(here) == hash(there)
    changed = write_library(tmp_path / "b", gap0=0.3)  # in the file that the library includes
    assert here != changed and repr(here) != repr(changed)
    (tmp_path / "b" / "My Parts" / "cell.inc").unlink()
    with pytest.raises(InputError, match=r"cell.inc, which .*kit.lib includes, cannot be read"):
        replace(changed)


def test_the_library_s_section_is_in_the_netlist(tmp_path):
    cell = replace(write_library(tmp_path), curve=(1e-6, 1e-5, 1e-4))
    text = to_spice(build_circuit(tile_of(cell, 1), Drive(v=[0.1])))
    assert f'.lib "{cell.path}" TT' in text
    assert re.search(r"xcell_0_0 x_0_0 gate_0 y_0_0 gapped gap=[12]\.\d+\n", text)
    (tmp_path / "a b").mkdir()
    with pytest.raises(InputError, match="has a space"):
        write_library(tmp_path / "a b")
    odd = {"lrs": {"gap": 1.0}, "hrs": {"x": 1.0}}
    for states in (odd, {"lrs": {"gap": 1.0}, "hrs": 1e-6}):
        with pytest.raises(InputError, match="the same parameters"):
            replace(cell, states=states)
