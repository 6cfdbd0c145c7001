"""Every defect in every cell: each solver against ngspice on the emitted netlist."""

import functools

import numpy as np
import pytest

from benchmarks.operating_point import linearise_at
from circuitsim import (
    SOLVERS,
    Outcome,
    compare,
    effective_conductance,
    linearise,
    prepare_nonlinear,
    solve,
)
from circuitsim.cells.stuck_transistors import off_surface, shorted_current
from netlists import (
    Bridge,
    Bsim4Nmos,
    Defects,
    Drive,
    FaultMap,
    InputError,
    Level1Nmos,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    SubcktCell,
    Tile,
    TileSpec,
    Wires,
    YakopcicRram,
    inject,
    is_linear,
)
from tests.tolerances import (
    DEFECTS_LINEAR,
    DEFECTS_NONLINEAR,
    KCL,
    LINEAR_FIDELITY,
    NONLINEAR_SAME_LAW,
    assert_close,
)

ROWS, COLS = 8, 7


def bridge(kind, row, col, r):
    return Bridge(kind=kind, row=row, col=col, r=r)


CELLS = {
    "1R": OneR(),
    "1R sinh": OneR(rram=SinhRram()),
    "1T1R": OneTransistorOneR(),
    "1T1R from SL": OneTransistorOneR(drive_line="SL"),
    "1T1R BSIM4": OneTransistorOneR(nmos=Bsim4Nmos(), gate_line="column"),
    "1T1R sinh": OneTransistorOneR(rram=SinhRram()),
    "1T2R": OneTransistorTwoR(),
    "1T1R yakopcic": OneTransistorOneR(rram=YakopcicRram.hp_tio2()),
}
DEFECTS = {
    "stuck anywhere": {},
    "transistor open": {"transistor_open": [(1, 2), (3, 4), (7, 6)]},
    "transistor shorted": {"transistor_shorted": [(1, 2), (3, 4), (7, 6)]},
    "transistor shorted, 0 ohm": {"transistor_shorted": [(1, 2), (3, 4)], "r_short": 0.0},
    "row open": {"open_row": [(2, 5), (0, 0)]},
    "column open": {"open_col": [(4, 5), (7, 3)]},
    "gate open": {"open_gate": [(2, 5), (0, 0), (6, 3)]},
    "gate open, bridged": {
        "open_gate": [(2, 5), (2, 2), (6, 3)],
        "bridges": [bridge("gate", 2, 2, 50.0), bridge("gate", 5, 5, 1e6)],
    },
    "rows bridged": {
        "bridges": [bridge("row", 2, 5, 100.0), bridge("row", 6, 0, 1e-3), bridge("row", 4, 0, 1e9)]
    },
    "columns bridged": {
        "bridges": [bridge("column", 2, 5, 10.0), bridge("column", 6, 0, 1e-3)],
    },
    "row to column": {"bridges": [bridge("cell", 2, 5, 1e3), bridge("cell", 6, 0, 1e-3)]},
    "0 ohm": {
        "bridges": [bridge("row", 6, 0, 0.0), bridge("column", 0, 0, 0.0), bridge("cell", 3, 3, 0)]
    },
    "bridge to a cut row": {"open_row": [(2, 0)], "bridges": [bridge("row", 2, 5, 10.0)]},
    "all at once": {
        "transistor_open": [(1, 2), (3, 4)],
        "transistor_shorted": [(5, 5)],
        "open_row": [(2, 5)],
        "open_col": [(3, 3)],
        "open_gate": [(7, 2)],
        "bridges": [
            bridge("cell", 2, 5, 10.0),
            bridge("row", 6, 0, 5.0),
            bridge("column", 0, 0, 1),
        ],
    },
}


def tile_of(cell, rows=ROWS, cols=COLS, *, segment=2.0):
    rng = np.random.default_rng(0)
    wires = Wires(r_row_segment=segment, r_col_segment=0.75 * segment, r_driver=3.0, r_sense=1.0)
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell)
    g = rng.choice([cell.rram.g_lrs, cell.rram.g_hrs, 3e-5], spec.g_shape)
    kind = rng.choice([0, 3], spec.g_shape, p=[0.8, 0.2])
    stuck = 10 ** rng.uniform(-6, -4, spec.g_shape)
    return Tile(spec=spec, g=g, faults=FaultMap(kind=kind, g_stuck=stuck))


def drive_of(rows=ROWS):
    rng = np.random.default_rng(1)
    return Drive(v=0.2 * np.vstack([rng.integers(0, 2, (1, rows)), rng.random((2, rows))]))


def possible(cell, defects):
    sites = {site for site in defects if site != "bridges"}
    if any(b.kind == "gate" for b in defects.get("bridges", ())):
        sites.add("open_gate")
    return (cell.transistor is not None or not any("transistor" in site for site in sites)) and (
        cell.gate is not None or "open_gate" not in sites
    )


CASES = [
    (cell, kind)
    for cell in CELLS
    for kind, defects in DEFECTS.items()
    if possible(CELLS[cell], defects)
]


@functools.cache
def case(cell, kind):
    """(tile, drive, ngspice's solution)."""
    tile = inject(tile_of(CELLS[cell]), Defects.at(ROWS, COLS, **DEFECTS[kind]))
    return tile, drive_of(), solve(tile, drive_of(), "ngspice")


@pytest.mark.ngspice
class TestDefects:
    """One contract for all: a new solver, cell or defect joins the lists above."""

    @pytest.mark.parametrize("solver", sorted(set(SOLVERS) - {"ngspice"}))
    @pytest.mark.parametrize(("cell", "kind"), CASES)
    def test_against_ngspice(self, cell, kind, solver):
        tile, drive, spice = case(cell, kind)
        found = solve(tile, drive, solver)
        agreed = compare(found, spice)
        linear = is_linear(CELLS[cell])
        if linear:
            limit = DEFECTS_LINEAR
        elif solver == "newton":
            limit = DEFECTS_NONLINEAR
        else:  # secants at the read voltage: what LINEAR means, not what the defect adds
            limit = 0.1 if "sinh" in cell else 2 * LINEAR_FIDELITY
        assert agreed.max_relative <= limit
        assert found.outcome is spice.outcome and found.kcl_residual <= KCL
        assert_close(found.power, found.dissipation, 1e-9)
        if linear or solver == "newton":
            for mine, theirs in ((found.v_row, spice.v_row), (found.v_col, spice.v_col)):
                off = np.nanmax(np.abs(mine - theirs))
                assert off <= limit * 0.2
                assert np.array_equal(np.isnan(mine), np.isnan(theirs))

    @pytest.mark.parametrize(("cell", "kind"), CASES)
    def test_operator_and_dissection_are_nodal(self, cell, kind):
        tile, drive, _ = case(cell, kind)
        found, exact = solve(tile, drive), solve(tile, drive, "nodal")
        assert compare(found, exact).max_relative <= 1e-11
        assert_close(found.i_in, exact.i_in, 1e-10)
        operators = effective_conductance([tile, tile_of(CELLS[cell])])
        assert_close(drive.v @ operators[0].T, exact.i_out, 1e-11)

    def test_a_defect_changes_what_is_read(self):
        """Without the defect the same comparison fails: the contract can."""
        for cell, kind in CASES:
            _, drive, spice = case(cell, kind)
            if kind != "stuck anywhere" and is_linear(CELLS[cell]):
                well = solve(tile_of(CELLS[cell]), drive)
                assert compare(well, spice).max_relative > 1e-6, (cell, kind)


@pytest.mark.ngspice
@pytest.mark.parametrize("v", [0.2, 0.3])
def test_off_transistors_leak_what_ngspice_says(v):
    """With inputs of both signs a BSIM4 transistor at 0 V of gate leaks; all gates are cut."""
    cell = OneTransistorOneR(nmos=Bsim4Nmos())
    tile = inject(tile_of(cell), Defects.at(ROWS, COLS, open_gate=[(i, 0) for i in range(ROWS)]))
    drive = Drive(v=np.random.default_rng(2).uniform(-v, v, (3, ROWS)))
    found, spice = solve(tile, drive, "newton"), solve(tile, drive, "ngspice")
    assert compare(found, spice).full_scale > 1e-11  # a leak, and not nothing
    on = 0.2 * cell.rram.g_lrs
    assert_close(found.i_out, spice.i_out, DEFECTS_NONLINEAR, scale=on)
    assert off_surface(cell, -v, v).held_out_max <= DEFECTS_NONLINEAR


@pytest.mark.ngspice
def test_a_transistor_that_turns_on_behind_a_cut_gate_is_refused():
    tile = inject(tile_of(CELLS["1T1R"]), Defects.at(ROWS, COLS, open_gate=[(0, 0)]))
    with pytest.raises(InputError, match="narrow the inputs"):
        solve(tile, Drive(v=np.full(ROWS, -0.5)), "newton")


@pytest.mark.parametrize("rram", [SinhRram(), SinhRram(v0=0.05, r_lrs=1e3)], ids=repr)
def test_a_memory_in_series_with_a_short(rram):
    v = np.linspace(-0.4, 0.4, 9)
    i = shorted_current(rram, 1e-3, 250.0, v)
    assert_close(rram.current(v - 250.0 * i, 1e-3), i, 1e-12)


@pytest.mark.ngspice
def test_shorted_memories_whose_two_directions_differ():
    tile = tile_of(OneTransistorOneR(rram=YakopcicRram.hp_tio2()))
    shorted = [(i, j) for i in range(ROWS) for j in range(COLS)]  # no fitted transistor is left
    tile = inject(tile, Defects.at(ROWS, COLS, transistor_shorted=shorted, r_short=2e3))
    drive = Drive(v=np.random.default_rng(3).uniform(-0.2, 0.2, (3, ROWS)))
    found, spice = solve(tile, drive, "newton"), solve(tile, drive, "ngspice")
    assert compare(found, spice).max_relative <= NONLINEAR_SAME_LAW


@pytest.mark.ngspice
def test_linear_at_the_operating_point_keeps_defects():
    tile, drive, spice = case("1T1R sinh", "all at once")
    own = linearise_at(tile, drive)
    assert own.bridges == tile.bridges == linearise(tile).bridges
    nominal = compare(solve(tile, drive), spice).max_relative
    assert compare(solve(own, drive), spice).max_relative < nominal / 2


@pytest.mark.ngspice
def test_one_preparation_serves_many_inputs():
    tile, _, _ = case("1T1R", "all at once")
    v = np.random.default_rng(7).uniform(0, 0.2, (70, ROWS))
    prepared = prepare_nonlinear(tile)
    together = prepared.solve(Drive(v=v))
    assert together.outcome is Outcome.SOLVED
    assert_close(prepared.currents(Drive(v=v)), together.i_out, 1e-9)
    assert_close(prepared.solve(Drive(v=v[65])).i_out[0], together.i_out[65], 1e-9)
    assert_close(together.i_in.sum(1), together.i_out.sum(1), 1e-9)


def subckt(folder, nmos=None):
    nmos = nmos or Bsim4Nmos()
    path = folder / "cell.sp"
    card = " ".join(f"{key}={value}" for key, value in nmos.parameters().items())
    path.write_text(
        f".model kit nmos (level={nmos.level} {card})\n.subckt cell d s g q=1e-5\nr1 d m {{1/q}}\n"
        "m1 m g s 0 kit w=1e-6 l=0.13e-6\n.ends\n"
    )
    return SubcktCell(
        path=path,
        name="cell",
        ports={"drive": "d", "sense": "s", "gate": "g"},
        states={"lrs": 1e-4, "hrs": 1e-6},
        parameter="q",
        gate_line="column",
    )


@pytest.mark.ngspice
def test_subcircuits_take_defects_of_lines_and_refuse_those_of_transistors(tmp_path):
    tile = tile_of(subckt(tmp_path))
    lines = {
        "open_gate": [(2, 2)],
        "open_row": [(5, 4)],
        "bridges": [bridge("row", 1, 1, 20.0), bridge("column", 4, 4, 3.0)],
    }
    broken = inject(tile, Defects.at(ROWS, COLS, **lines))
    agreed = compare(solve(broken, drive_of(), "newton"), solve(broken, drive_of(), "ngspice"))
    assert agreed.max_relative <= DEFECTS_NONLINEAR
    with pytest.raises(InputError, match="subcircuit is out of reach"):
        inject(tile, Defects.at(ROWS, COLS, transistor_open=[(0, 0)]))


@pytest.mark.ngspice
def test_ngspice_may_take_steps_towards_its_first_solution(tmp_path):
    """Level 1 starts from off, so that cut rows float until ngspice has stepped gmin down."""
    cut = Defects.at(ROWS, COLS, open_row=[(i, 4) for i in range(ROWS)])
    tile = inject(tile_of(subckt(tmp_path, Level1Nmos())), cut)
    spice = solve(tile, drive_of(), "ngspice")
    own = inject(tile_of(CELLS["1T1R"]), cut)
    assert_close(spice.i_out, solve(own, drive_of(), "ngspice").i_out, DEFECTS_NONLINEAR)
