import numpy as np
import pytest

from circuitsim import calibrate_surface, compare, solve
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
