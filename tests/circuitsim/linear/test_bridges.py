"""Shorts between lines, on the structured solver: exact, or handed to the general one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitsim import (
    Outcome,
    certified_conductance,
    compare,
    effective_conductance,
    linearise,
    prepare,
    solve,
)
from circuitsim.linear.certificate import operator_residual
from circuitsim.linear.linear_tile import NotStructuredError
from netlists import (
    Bridge,
    Defects,
    Drive,
    InputError,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    Tile,
    TileSpec,
    Wires,
    inject,
)
from tests import oracles
from tests.strategies import random_drive, random_tile, with_random_defects
from tests.tolerances import DEFECTS_LINEAR, EXACT, KCL, OPERATOR, assert_close

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
R_BRIDGE = st.sampled_from([0.0, 1e-3, 1.0, 100.0, 1e9])


def bridge(kind, row, col, r):
    return Bridge(kind=kind, row=row, col=col, r=r)


def bridged(tile, *bridges, **places):
    spec = tile.spec
    return inject(tile, Defects.at(spec.rows, spec.cols, bridges=bridges, **places))


def assert_alike(tile, drive):
    """Dissection against the general solver: currents, voltages, what floats, the operator."""
    found, exact = solve(tile, drive), solve(tile, drive, "nodal")
    # Of what the tile reads when whole. Nodal analysis adds conductances up, so that it sees
    # currents no finer than a rounding of the largest, and an island's voltage no finer than that
    # over the smallest, which holds it.
    g = linearise(tile).g_device
    full = tile.spec.v_read * float(np.asarray(tile.g).max())
    r = np.array([0.1, *tile.wires.r_driver, *tile.wires.r_sense, *(b.r for b in tile.bridges)])
    rounding = 8 * np.finfo(float).eps / r[r > 0].min()
    scale = max(np.abs(exact.i_in).max(), np.abs(exact.i_out).max(), full)
    scale = max(scale, rounding * tile.spec.v_read / DEFECTS_LINEAR)
    assert_close(found.i_out, exact.i_out, DEFECTS_LINEAR, scale=scale)
    assert_close(found.i_in, exact.i_in, DEFECTS_LINEAR, scale=scale)
    assert found.outcome is exact.outcome
    blur = DEFECTS_LINEAR + rounding / float(g[g > 0].min(initial=1e-6))
    for mine, theirs in ((found.v_row, exact.v_row), (found.v_col, exact.v_col)):
        assert np.array_equal(np.isnan(mine), np.isnan(theirs))
        assert np.nan_to_num(np.abs(mine - theirs)).max() <= blur * tile.spec.v_read
    operator = effective_conductance(tile)
    assert (operator >= 0).all()
    assert_close(drive.v @ operator.T, exact.i_out, DEFECTS_LINEAR, scale=scale)


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([0.02, 0.1, 0.3]),
    r=R_BRIDGE,
)
def test_random_mixtures_are_nodal(rows, cols, seed, rate, r):
    tile = with_random_defects(random_tile(rows, cols, seed, stuck=0.2), seed, rate, r)
    assert_alike(tile, random_drive(tile, seed))


@pytest.mark.ngspice
@given(
    cell=st.sampled_from([OneTransistorOneR(gate_line="column"), OneTransistorTwoR()]),
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([0.02, 0.1, 0.3]),
    r=R_BRIDGE,
)
def test_random_mixtures_with_transistors_are_nodal(cell, rows, cols, seed, rate, r):
    tile = with_random_defects(random_tile(rows, cols, seed, cell=cell), seed, rate, r)
    assert_alike(tile, random_drive(tile, seed))


@pytest.mark.parametrize("r", [1e-6, 1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("kind", ["row", "column", "cell"])
def test_any_resistance_against_exact_arithmetic(kind, r):
    r_row, r_col, v = 2.0, 3.0, (0.25, 0.125)
    cells = [[1e4, 1e6], [5e5, 2e4]]
    wires = Wires(r_row_segment=r_row, r_col_segment=r_col)
    tile = Tile(spec=TileSpec(rows=2, cols=2, wires=wires), g=1 / np.array(cells))
    found = solve(bridged(tile, bridge(kind, 0, 0, r)), Drive(v=v))
    ends = {"row": ("x00", "x10"), "column": ("y00", "y01"), "cell": ("x00", "y00")}[kind]
    branches = [(*ends, r)]
    for i in range(2):
        for j in range(2):
            before = f"x{i}{j - 1}" if j else f"in{i}"
            after = f"y{i + 1}{j}" if i == 0 else f"out{j}"
            g = float(np.asarray(tile.g)[i, j])  # the double that the tile holds
            branches += [(before, f"x{i}{j}", r_row), (f"y{i}{j}", after, r_col)]
            branches.append((f"x{i}{j}", f"y{i}{j}", 1 / oracles.Fraction(g)))
    exact = oracles.exact_voltages(branches, {"in0": v[0], "in1": v[1], "out0": 0, "out1": 0})
    expected = [float(exact[f"y1{j}"] / oracles.Fraction(r_col)) for j in range(2)]
    assert_close(found.i_out[0], expected, EXACT)
    taken = [float((oracles.Fraction(v[i]) - exact[f"x{i}0"]) / 2) for i in range(2)]
    assert_close(found.i_in[0], taken, EXACT, scale=max(np.abs(taken)))


@pytest.mark.parametrize("shape", [(17, 40), (40, 33)])
def test_larger_tiles_and_more_bridges_than_a_batch(shape):
    tile = with_random_defects(random_tile(*shape, 3), 4, 0.03, 5.0)
    assert len(tile.bridges) > 32
    assert_alike(tile, random_drive(tile, 5, batch=40))


def test_a_batch_may_mix_what_is_broken():
    tiles = [random_tile(6, 5, 1)]
    for seed, rate in ((2, 0.05), (3, 0.3)):
        tiles.append(with_random_defects(tiles[0], seed, rate, 0.0))
    tiles.append(bridged(tiles[0], bridge("row", 1, 1, 1.0)))
    together = effective_conductance(tiles)
    for one, tile in zip(together, tiles, strict=True):
        assert_close(one, effective_conductance(tile), EXACT)
    assert np.abs(together[3] - together[0]).max() > 1e-8


def test_defects_drawn_on_a_prepared_tile():
    tile = random_tile(12, 9, 1)
    prepared = prepare(tile)
    for changed in (
        bridged(tile, bridge("row", 3, 4, 1.0)),
        bridged(tile, open_col=[(3, 3)]),
        bridged(Tile(spec=tile.spec, g=np.asarray(tile.g)[::-1]), bridge("cell", 2, 2, 0.0)),
        bridged(tile),
    ):
        assert_close(prepared.operator_of(changed), effective_conductance(changed), OPERATOR)
    broken = bridged(tile, bridge("row", 3, 4, 1.0))
    assert_close(prepare(broken).operator_of(tile), effective_conductance(tile), OPERATOR)


def test_certificates_see_bridges():
    rng = np.random.default_rng(0)
    tile = bridged(random_tile(8, 7, 1), bridge("row", 3, 4, 1.0), bridge("column", 0, 5, 1e-3))
    operator, certificate = certified_conductance(tile, rng=rng)
    assert not certificate.solved_again and certificate.residual < 1e-11
    assert_close(operator, effective_conductance(tile), EXACT)
    wrong = prepare(tile)
    object.__setattr__(wrong, "linear", bridged(tile, bridge("row", 3, 4, 1.001)))
    assert operator_residual(wrong, np.eye(8)[3:4]) > 1e-7
    perfect = bridged(random_tile(8, 7, 1), bridge("row", 3, 4, 0.0))
    again, certificate = certified_conductance(perfect, rng=rng)
    assert certificate.solved_again
    assert_close(again, effective_conductance(perfect), OPERATOR)


@pytest.mark.parametrize(
    ("bridges", "places"),
    [
        # Two bridges to a row that only its cells hold: a loop of ohms beside one of megohms.
        ([("row", 2, 1, 1e-3), ("row", 2, 2, 1e-3), ("row", 2, 3, 1.0)], {"open_row": [(2, 0)]}),
        # A bridge that is all that an island hangs on.
        ([("row", 2, 5, 1.0)], {"open_row": [(2, 5)], "open_col": [(2, 5), (1, 5)]}),
    ],
)
def test_what_the_correction_cannot_do_goes_to_the_general_solver(bridges, places):
    tile = random_tile(6, 6, 1)
    tile = Tile(spec=tile.spec, g=np.full((6, 6), 1e-9))
    broken = bridged(tile, *(bridge(*each) for each in bridges), **places)
    with pytest.raises(NotStructuredError, match="cannot be told from rounding"):
        prepare(broken)
    assert "nodal" in solve(broken, random_drive(broken, 2)).solver
    assert_alike(broken, random_drive(broken, 2))
    assert certified_conductance(broken, rng=np.random.default_rng(0))[1].solver == "nodal"


@pytest.mark.ngspice
def test_newton_bends_over_the_general_solver_too():
    spec = TileSpec(
        rows=6,
        cols=6,
        wires=Wires(r_row_segment=2.0, r_col_segment=2.0),
        cell=OneR(rram=SinhRram()),
    )
    tile = Tile(spec=spec, g=np.full((6, 6), 1e-4))
    islands = {"open_row": [(2, 5)], "open_col": [(2, 5), (1, 5)]}
    for row in (0.0, 2.0):  # perfect rows as well
        wires = Wires(r_row_segment=row, r_col_segment=2.0)
        bent = Tile(spec=TileSpec(rows=6, cols=6, wires=wires, cell=spec.cell), g=tile.g)
        broken = bridged(bent, bridge("row", 2, 5, 5.0), bridge("column", 3, 1, 2.0), **islands)
        drive = Drive(v=np.linspace(0, 0.2, 12).reshape(2, 6))
        found, spice = solve(broken, drive, "newton"), solve(broken, drive, "ngspice")
        assert compare(found, spice).max_relative <= DEFECTS_LINEAR
        assert_close(found.i_in, spice.i_in, DEFECTS_LINEAR)
        assert found.outcome is spice.outcome
    perfect = bridged(bent, bridge("row", 2, 5, 0.0), **islands)
    perfect = Tile(spec=replace(bent.spec, wires=PERFECT), g=bent.g, defects=perfect.defects)
    with pytest.raises(InputError, match="small resistance"):
        solve(perfect, drive, "newton")


@pytest.mark.ngspice
def test_perfect_shorts_to_lines_that_are_cut_off():
    """A chain of three joins four rows; what each carries is Kirchhoff's to say."""
    spec = TileSpec(
        rows=6,
        cols=6,
        wires=Wires(r_row_segment=2.0, r_col_segment=2.0),
        cell=OneR(rram=SinhRram()),
    )
    g = 10 ** np.random.default_rng(0).uniform(-6, -4, (6, 6))
    chain = [bridge("row", i, 5, 0.0) for i in (1, 2, 3)]
    tile = bridged(
        Tile(spec=spec, g=g),
        *chain,
        bridge("column", 2, 4, 0.0),
        bridge("cell", 0, 0, 3.0),
        open_row=[(2, 5)],
        open_col=[(2, 5), (1, 5)],
    )
    with pytest.raises(NotStructuredError):
        prepare(tile)
    drive = Drive(v=np.linspace(-0.1, 0.2, 18).reshape(3, 6))
    found, spice = solve(tile, drive, "newton"), solve(tile, drive, "ngspice")
    assert found.outcome is spice.outcome is Outcome.SOLVED and found.kcl_residual <= KCL
    assert compare(found, spice).max_relative <= DEFECTS_LINEAR
    assert_close(found.i_in, spice.i_in, DEFECTS_LINEAR)
    assert_close(found.power, found.dissipation, 1e-9)
