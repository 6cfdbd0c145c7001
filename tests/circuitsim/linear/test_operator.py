import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitsim import (
    certified_conductance,
    effective_conductance,
    operator_memory,
    prepare,
    solve,
)
from circuitsim.linear.certificate import operator_residual, random_drives
from circuitsim.linear.nodal import effective_conductance_sparse
from netlists import (
    Drive,
    FaultRates,
    InputError,
    OneR,
    OneTransistorOneR,
    Tile,
    TileSpec,
    Wires,
    inject,
    sample_faults,
)
from tests.circuitsim.dissection.oracles import nodal_voltages
from tests.circuitsim.dissection.parts import random_parts
from tests.strategies import random_tile, small_tiles
from tests.tolerances import EXACT, NGSPICE_LINEAR, OPERATOR, assert_close


def tile_of(parts):
    wires = Wires(
        r_row_segment=parts.r_row,
        r_col_segment=parts.r_col,
        r_driver=parts.r_driver,
        r_sense=parts.r_sense,
    )
    rows, cols = parts.g_cell.shape
    return Tile(spec=TileSpec(rows=rows, cols=cols, wires=wires), g=parts.g_cell)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 200),
    cols=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
    ratio=st.floats(0, 7),
    low=st.floats(-3, 3),
    high=st.floats(-3, 3),
)
def test_operator_over_shapes_ratios_and_wires(rows, cols, seed, ratio, low, high):
    """Ratios up to 1e7, segments from 1 mohm to 1 kohm, against refined sparse analysis."""
    rng = np.random.default_rng(seed)
    wires = 10.0 ** np.array(sorted((low, high)))
    parts = random_parts(rng, rows, cols, (1e-3 / 10**ratio, 1e-3), tuple(wires), binary=False)
    operator = effective_conductance(tile_of(parts))
    assert operator.shape == (cols, rows) and (operator >= 0).all()
    some = rng.choice(rows, min(rows, 4), replace=False)
    unit = np.zeros((rows, len(some)))
    unit[some, np.arange(len(some))] = 1.0
    expected = nodal_voltages(parts, unit)[2].astype(np.float64)
    assert_close(operator[:, some], expected, OPERATOR)


@given(tile=small_tiles(max_side=20, opens=0.1, stuck=0.3))
def test_operator_against_the_general_solver(tile):
    found, expected = effective_conductance(tile), effective_conductance_sparse(tile)
    assert_close(found, expected, OPERATOR, scale=expected.max() or 1.0)


@pytest.mark.ngspice
@pytest.mark.parametrize("n", [64, 128])
def test_operator_against_ngspice(n):
    tile = random_tile(n, n, seed=3, stuck=0.1)
    v = np.random.default_rng(4).uniform(0, 0.2, (1, n))
    spice = solve(tile, Drive(v=v), solver="ngspice").i_out
    assert_close(v @ effective_conductance(tile).T, spice, NGSPICE_LINEAR)


def test_a_batch_is_its_tiles_one_by_one():
    wires = Wires(r_row_segment=1.0, r_col_segment=2.0)
    spec = TileSpec(rows=9, cols=7, wires=wires)
    rng = np.random.default_rng(0)
    tiles = [Tile(spec=spec, g=10 ** rng.uniform(-6, -4, (9, 7))) for _ in range(5)]
    tiles.append(random_tile(9, 7, 1))  # on other wires
    batch = effective_conductance(tiles)
    assert batch.shape == (6, 7, 9)
    for tile, operator in zip(tiles, batch, strict=True):
        assert_close(operator, effective_conductance(tile), EXACT)


def test_batches_that_are_none_are_refused():
    with pytest.raises(InputError, match="empty"):
        effective_conductance([])
    with pytest.raises(InputError, match="share a shape"):
        effective_conductance([random_tile(2, 3, 1), random_tile(3, 2, 1)])


def test_memory_does_not_grow_with_the_batch_but_for_the_result():
    one, many = operator_memory(64, 64), operator_memory(64, 64, tiles=1001)
    assert many - one == 1000 * 64 * 64 * 8
    assert operator_memory(512, 512) < 2**31


@settings(max_examples=15)
@given(tile=small_tiles(max_side=10, stuck=0.2), seed=st.integers(0, 1000))
def test_raising_a_conductance_never_lowers_the_power(tile, seed):
    """Rayleigh's monotonicity law at fixed drives."""
    rng = np.random.default_rng(seed)
    drive = Drive(v=rng.uniform(-1, 1, (3, tile.spec.rows)))
    g = np.array(tile.g_device)
    cell = tuple(rng.integers(g.shape))
    g[cell] *= 1 + rng.uniform(0.1, 10)
    before = solve(tile, drive).power
    after = solve(Tile(spec=tile.spec, g=g), drive).power
    assert (after >= before * (1 - 1e-12)).all()


@given(tile=small_tiles(max_side=12, opens=0.05), seed=st.integers(0, 100))
def test_certificates_hold_for_any_tile(tile, seed):
    operator, certificate = certified_conductance(tile, rng=np.random.default_rng(seed))
    assert certificate.residual <= 1e-10 and not certificate.solved_again
    assert_close(operator, effective_conductance(tile), EXACT, scale=operator.max() or 1.0)


@pytest.mark.parametrize("wires", [(1e-3, 1e-3), (1e3, 1e3), (1e-3, 1e3)])
@pytest.mark.parametrize("cells", [(1e-8, 1e-1), (1e-10, 1e-3)])
def test_certificates_hold_at_the_extremes(wires, cells):
    rng = np.random.default_rng(1)
    tile = tile_of(random_parts(rng, 40, 30, cells, wires))
    assert certified_conductance(tile, rng=rng)[1].residual <= 1e-10


def test_a_certificate_notices_what_is_wrong():
    tile, other = random_tile(12, 12, 1), random_tile(12, 12, 1)
    g = np.array(tile.g)
    g[5, 6] *= 1 + 1e-6
    prepared, changed = prepare(tile), prepare(Tile(spec=other.spec, g=g))
    object.__setattr__(changed, "linear", prepared.linear)
    v = random_drives(12, 1, np.random.default_rng(0))
    assert operator_residual(prepared, v) < 1e-12 < 1e-10 < operator_residual(changed, v)


@pytest.mark.parametrize("shape", [(1, 1), (23, 14), (64, 96)])
@pytest.mark.parametrize("how", ["entry", "row", "column", "NaN", "inf", "swapped", "zero"])
def test_a_certificate_notices_a_wrong_entry_anywhere(shape, how):
    """Any place, near or far from the terminals, and a part in a million of its column."""
    tile = random_tile(*shape, 1, opens=0.01)
    prepared = prepare(tile)
    right = prepared.operator
    rng = np.random.default_rng(2)
    assert operator_residual(prepared, random_drives(shape[0], 1, rng)) < 1e-12
    for _ in range(40):
        col, row = (int(rng.integers(n)) for n in right.shape)
        wrong = right.copy()
        if how in ("NaN", "inf"):
            wrong[col, row] = float(how)
        elif how == "entry":
            wrong[col, row] += 1e-6 * right[col].max()
        elif how == "row":
            wrong[:, row] *= 0.999
        elif how == "column":
            wrong[col] *= 1 + 1e-6
        elif how == "zero":
            wrong[:] = 0.0
        else:
            other = (row + 1) % shape[0]
            wrong[:, [row, other]] = wrong[:, [other, row]]
        if np.array_equal(wrong, right):
            continue
        v = random_drives(shape[0], 1, rng)
        assert operator_residual(prepared, v, operator=wrong) > 1e-10, (col, row)


def test_floating_tiles_have_no_residual():
    open_wires = Wires(r_row_segment=np.inf, r_col_segment=1.0)
    tile = Tile(spec=TileSpec(rows=3, cols=2, wires=open_wires), g=np.full((3, 2), 1e-4))
    v = random_drives(3, 1, np.random.default_rng(0))
    assert operator_residual(prepare(tile), v) == 0.0
    assert operator_residual(prepare(tile), v, operator=np.full((2, 3), 1e-9)) == np.inf


def test_a_rejected_operator_is_solved_again_and_said_so():
    tile = random_tile(6, 6, 1)
    operator, certificate = certified_conductance(tile, rng=np.random.default_rng(0), limit=-1.0)
    assert certificate.solved_again and certificate.solver == "nodal"
    assert_close(operator, effective_conductance(tile), OPERATOR)
    perfect = Wires(r_row_segment=0.0, r_col_segment=1.0)
    tile = Tile(spec=TileSpec(rows=3, cols=3, wires=perfect), g=np.full((3, 3), 1e-4))
    assert certified_conductance(tile, rng=np.random.default_rng(0))[1].solved_again


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.05, 0.5])
def test_faults_drawn_on_a_prepared_tile(rate):
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    spec = TileSpec(rows=40, cols=33, wires=wires, cell=OneR())
    rng = np.random.default_rng(8)
    tile = Tile(spec=spec, g=rng.choice([1e-4, 1e-6], spec.g_shape))
    prepared = prepare(tile)
    faulty = inject(tile, sample_faults(spec, FaultRates.from_ocr(rate, 1.0), rng=rng))
    assert_close(prepared.operator_of(faulty), effective_conductance(faulty), OPERATOR)
    assert_close(prepared.operator, effective_conductance(tile), EXACT)


@pytest.mark.ngspice
def test_a_prepared_transistor_tile_serves_many_drives_and_faults():
    tile = random_tile(10, 8, 2, cell=OneTransistorOneR())
    prepared = prepare(tile)
    rng = np.random.default_rng(3)
    for batch in (1, 7, 40):
        drive = Drive(v=rng.uniform(0, 0.2, (batch, 10)))
        found, expected = prepared.solve(drive), solve(tile, drive, solver="nodal")
        assert_close(found.i_out, expected.i_out, OPERATOR)
        assert_close(found.v_row, expected.v_row, OPERATOR)
        assert_close(found.v_col, expected.v_col, OPERATOR, scale=0.2)
    faulty = inject(tile, sample_faults(tile.spec, FaultRates(stuck_lrs=0.1), rng=rng))
    assert_close(prepared.operator_of(faulty), effective_conductance(faulty), OPERATOR)


def test_preparation_refuses_what_it_cannot_do():
    perfect = Wires(r_row_segment=0.0, r_col_segment=1.0)
    tile = Tile(spec=TileSpec(rows=2, cols=2, wires=perfect), g=np.full((2, 2), 1e-4))
    with pytest.raises(InputError, match="0 ohm"):
        prepare(tile)
    with pytest.raises(InputError, match="share the prepared tile's wires"):
        prepare(random_tile(2, 2, 1)).operator_of(random_tile(2, 2, 1))
