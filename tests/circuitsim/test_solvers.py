import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitsim import SOLVERS, compare, effective_conductance, solve
from circuitsim.linear.nodal import NodalFactorisation
from circuitsim.solution import solution_of_circuit
from netlists import (
    Drive,
    FaultMap,
    InputError,
    OneTransistorOneR,
    OneTransistorTwoR,
    Tile,
    TileSpec,
    Wires,
    build_circuit,
    inject,
)
from tests import oracles
from tests.contracts import SolverContract
from tests.strategies import random_drive, random_tile, small_tiles
from tests.tolerances import (
    BADCROSSBAR,
    CLOSED_FORM,
    EXACT,
    LINEAR_FIDELITY,
    NGSPICE_LINEAR,
    OPERATOR,
    assert_close,
)


class TestNodal(SolverContract):
    solver = "nodal"


class TestDissection(SolverContract):
    solver = "dissection"


class TestNewton(SolverContract):
    solver = "newton"


@pytest.mark.ngspice
class TestNgspice(SolverContract):
    solver = "ngspice"


def test_every_solver_has_a_contract():
    contracts = (TestNodal, TestDissection, TestNewton, TestNgspice)
    assert {contract.solver for contract in contracts} == set(SOLVERS)


def uniform_tile(rows, cols, *, r_row, r_col, r_cell, r_driver=0.0, r_sense=0.0):
    wires = Wires(r_row_segment=r_row, r_col_segment=r_col, r_driver=r_driver, r_sense=r_sense)
    g = 1.0 / np.broadcast_to(np.asarray(r_cell, dtype=float), (rows, cols))
    return Tile(spec=TileSpec(rows=rows, cols=cols, wires=wires), g=g)


def test_one_cell_by_hand():
    values = {"r_driver": 3.0, "r_row": 1.0, "r_cell": 1000.0, "r_col": 2.0, "r_sense": 5.0}
    found = solve(uniform_tile(1, 1, **values), Drive(v=[0.3]))
    expected = oracles.single_cell_current(**values, v=0.3)
    assert expected == pytest.approx(0.3 / 1011)
    assert_close(found.i_out, [[expected]], EXACT)


def test_two_by_two_by_hand():
    cells = [[100, 1000], [500, 2000]]
    found = solve(uniform_tile(2, 2, r_row=3, r_col=7, r_cell=cells), Drive(v=[1.0, 2.0]))
    expected = oracles.two_by_two(r_row=3, r_col=7, r_cell=cells, v=(1, 2))
    assert_close(found.i_out[0], expected, EXACT)


@pytest.mark.parametrize("n", [1, 2, 17, 300])
def test_ladder_in_closed_form(n):
    found = solve(uniform_tile(1, n, r_row=2.0, r_col=0.0, r_cell=1e3), Drive(v=[0.5]))
    assert_close(found.i_out[0], oracles.ladder_currents(n, r=2.0, g=1e-3, v=0.5), CLOSED_FORM)


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (8, 3), (20, 20)])
def test_against_badcrossbar(shape):
    g = random_tile(*shape, seed=11).g
    wires = Wires(r_row_segment=1.5, r_col_segment=0.7)
    tile = Tile(spec=TileSpec(rows=shape[0], cols=shape[1], wires=wires), g=g)
    drive = random_drive(tile, 12)
    found = solve(tile, drive)
    i_out, v_row, v_col = oracles.badcrossbar_solution(g, r_row=1.5, r_col=0.7, v=drive.v)
    assert_close(found.i_out, i_out, BADCROSSBAR)
    assert_close(found.v_row, v_row, BADCROSSBAR)
    assert_close(found.v_col, v_col, BADCROSSBAR, scale=np.abs(v_row).max())


@given(tile=small_tiles(stuck=0.2))
def test_operator_against_dense_elimination(tile):
    assert_close(effective_conductance(tile), oracles.dense_operator(tile), OPERATOR)


@given(tile=small_tiles(max_side=12, opens=0.1, stuck=0.2), seed=st.integers(0, 1000))
def test_operator_times_inputs_is_solve(tile, seed):
    drive = random_drive(tile, seed)
    i_out = solve(tile, drive).i_out
    operator = effective_conductance(tile)
    scale = np.abs(operator).sum(axis=1).max() * tile.spec.v_read
    assert_close(drive.v @ operator.T, i_out, OPERATOR, scale=scale or 1.0)
    assert (operator >= -1e-15 * np.abs(operator).max()).all()


@given(tile=small_tiles(stuck=0.3))
def test_reciprocity(tile):
    """Driving the sense ends and sensing the driver ends transposes the operator."""
    wires = tile.spec.wires

    def turn(a):
        return np.asarray(a)[::-1, ::-1].T

    turned = Wires(
        r_row_segment=turn(wires.r_col_segment),
        r_col_segment=turn(wires.r_row_segment),
        r_driver=np.asarray(wires.r_sense)[::-1],
        r_sense=np.asarray(wires.r_driver)[::-1],
    )
    spec = TileSpec(rows=tile.spec.cols, cols=tile.spec.rows, wires=turned)
    found = effective_conductance(Tile(spec=spec, g=turn(tile.g_device)))
    assert_close(found, turn(effective_conductance(tile)), OPERATOR)


def test_a_stuck_map_on_the_tile_equals_the_same_conductances():
    tile = random_tile(6, 6, 21, stuck=0.3)
    overwritten = Tile(spec=tile.spec, g=tile.g_device)
    assert not np.array_equal(tile.g, tile.g_device)
    assert_close(effective_conductance(tile), effective_conductance(overwritten), EXACT)


def test_two_grounds_on_one_node_are_refused():
    tile = uniform_tile(2, 2, r_row=0.0, r_col=1.0, r_cell=1e3)
    assert solve(tile, Drive(v=[1.0, 1.0])).i_out.shape == (1, 2)
    with pytest.raises(InputError, match=r"\(batch, rows\)"):
        solve(tile, Drive(v=[1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="solver='magic'"):
        solve(tile, Drive(v=[1.0, 1.0]), solver="magic")


@pytest.mark.ngspice
@settings(max_examples=12)
@given(
    rows=st.integers(1, 24),
    cols=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
    opens=st.sampled_from([0.0, 0.05]),
)
def test_nodal_against_ngspice(rows, cols, seed, opens):
    tile = random_tile(rows, cols, seed, opens=opens, stuck=0.2)
    drive = random_drive(tile, seed)
    found = compare(solve(tile, drive), solve(tile, drive, solver="ngspice"))
    assert found.max_abs <= NGSPICE_LINEAR * max(found.full_scale, 1e-12)


@pytest.mark.ngspice
@pytest.mark.parametrize("shape", [(48, 48), (48, 1), (1, 48), (31, 47)])
def test_nodal_against_ngspice_up_to_48(shape):
    tile = random_tile(*shape, seed=5, opens=0.02, stuck=0.3)
    drive = random_drive(tile, 6)
    found = compare(solve(tile, drive), solve(tile, drive, solver="ngspice"))
    assert found.max_relative <= NGSPICE_LINEAR


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "cell",
    [OneTransistorOneR(), OneTransistorOneR(drive_line="SL"), OneTransistorTwoR()],
    ids=["1T1R", "1T1R-SL", "1T2R"],
)
def test_calibrated_secants_against_transistors(cell):
    rng = np.random.default_rng(4)
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    spec = TileSpec(rows=32, cols=32, wires=wires, cell=cell)
    g = np.where(rng.random(spec.g_shape) < 0.5, cell.rram.g_lrs, cell.rram.g_hrs)
    kind = (rng.random(spec.g_shape) < 0.1).astype(np.int8)
    tile = inject(Tile(spec=spec, g=g), FaultMap(kind=kind))
    drive = Drive(v=spec.v_read * rng.integers(0, 2, (2, 32)))
    found = compare(solve(tile, drive), solve(tile, drive, solver="ngspice"))
    assert 0 < found.max_relative <= LINEAR_FIDELITY


@pytest.mark.ngspice
def test_a_stuck_map_in_the_netlist_is_the_one_in_the_operator():
    cell = OneTransistorOneR()
    wires = Wires(r_row_segment=0.0, r_col_segment=0.0)
    spec = TileSpec(rows=4, cols=4, wires=wires, cell=cell)
    kind = np.zeros((4, 4), dtype=np.int8)
    kind[1, 2], kind[3, 0] = 1, 2
    tile = inject(Tile(spec=spec, g=np.full((4, 4), 2e-5)), FaultMap(kind=kind))
    each_row = Drive(v=np.eye(4) * spec.v_read)
    spice = solve(tile, each_row, solver="ngspice").i_out / spec.v_read
    assert_close(effective_conductance(tile).T, spice, 1e-6)
    assert spice[1, 2] > 4 * 2e-5 and spice[3, 0] < 2e-5


def test_voltages_that_break_kirchhoff_s_law_show_as_a_residual():
    linear = build_circuit(random_tile(3, 4, 1), Drive(v=[0.1, 0.2, 0.15]))
    factorised = NodalFactorisation(linear)
    v = factorised.voltages(linear.sources.v)
    i = factorised.source_currents(v)
    assert solution_of_circuit(linear, v, i, solver="x", timings={}).kcl_residual <= 1e-9
    inner = linear.nodes.index("x_1_2")
    moved = v.copy()
    moved[:, inner] += 1e-3
    found = solution_of_circuit(linear, moved, i, solver="x", timings={}).kcl_residual
    assert found > 1e-3
