"""What must not break a solver: it converges or says why, and only floating nodes are NaN."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from circuitsim import Outcome, compare, prepare_nonlinear, solve
from circuitsim.nonlinear import newton as newton_module
from netlists import (
    Bridge,
    Bsim4Nmos,
    Defects,
    Drive,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    SinhRram,
    Tile,
    TileSpec,
    Wires,
    inject,
)
from tests.tolerances import (
    DEFECTS_LINEAR,
    DEFECTS_NONLINEAR,
    KCL,
    NONLINEAR_MAX,
    assert_close,
)

N = 8
LOADED = OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3))
NEAR_SATURATION = OneTransistorOneR(v_gate=0.7)
ALL = [OneR(), OneR(rram=SinhRram(v0=0.05)), OneTransistorOneR(), LOADED]


def uniform(cell, g, *, segment=5.0, n=N):
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    spec = TileSpec(rows=n, cols=n, wires=wires, cell=cell)
    return Tile(spec=spec, g=np.full(spec.g_shape, g))


def ramp(n=N, v=0.2):
    return Drive(v=v * np.vstack([np.ones(n), np.arange(n) / n, np.zeros(n)]))


def assert_sound(solution):
    """Finite currents that balance; NaN only where the outcome says that something floats."""
    assert np.isfinite(solution.i_out).all() and np.isfinite(solution.i_in).all()
    nan = np.isnan(solution.v_row).any() or np.isnan(solution.v_col).any()
    assert nan == (solution.outcome is Outcome.FLOATING)
    if solution.outcome is not Outcome.NOT_CONVERGED:
        assert solution.kcl_residual <= KCL


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", [*ALL, NEAR_SATURATION], ids=lambda c: f"{c!r:.60}")
@pytest.mark.parametrize("state", ["g_lrs", "g_hrs"])
def test_all_lrs_and_all_hrs(cell, state):
    tile = uniform(cell, getattr(cell.rram, state))
    found, spice = (solve(tile, ramp(), name) for name in ("newton", "ngspice"))
    assert found.outcome is Outcome.SOLVED
    assert_sound(found)
    assert compare(found, spice).max_relative <= NONLINEAR_MAX
    assert (found.i_out[2] == 0).all()


class Saturating:
    """A cell that carries at most g v_s, with next to no slope beyond: I = g v_s tanh(d / v_s)."""

    def __init__(self, g, v_s):
        self.g, self.v_s = g, v_s

    def current(self, d):
        return self.g * self.v_s * np.tanh(d / self.v_s)

    def step(self, now):
        d = now.v_row - now.v_col
        current = self.current(d)
        new = current - now.g0[:, :, None] * d
        now.change[:] = np.abs(new - now.excess).sum(axis=0)
        now.excess[:] = new
        now.i_out[:] = current.sum(axis=0)

    def slopes(self, v_row, v_col):
        d = np.broadcast_to(v_row - v_col, (N, N))
        return self.g / np.cosh(d / self.v_s) ** 2


@pytest.mark.parametrize("v_s", [0.5, 0.1, 0.02, 0.005])
@pytest.mark.parametrize("segment", [1.0, 100.0])
def test_cells_that_saturate(monkeypatch, v_s, segment):
    law = Saturating(1e-3, v_s)
    monkeypatch.setattr(newton_module, "cell_law", lambda *_, **__: law)
    tile = inject(
        uniform(OneR(rram=SinhRram()), 1e-3, segment=segment),
        Defects.at(N, N, bridges=[Bridge(kind="row", row=2, col=3, r=1.0)]),
    )
    found = prepare_nonlinear(tile).solve(ramp())
    assert_sound(found)
    assert found.outcome is Outcome.SOLVED
    carried = law.current(found.v_row - found.v_col)
    assert_close(found.i_cell, carried, 1e-8)


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", [ALL[0], ALL[1], LOADED], ids=["1R", "1R sinh", "1T1R"])
@pytest.mark.parametrize("r", [0.0, 1e-3])
@pytest.mark.parametrize("kind", ["row", "cell", "column"])
def test_a_dead_short_across_lines(cell, r, kind):
    """Between a driven row and one at 0 V; between a row and a column, a shorted cell."""
    for place in ((3, 0), (3, N - 2)):
        short = Defects.at(N, N, bridges=[Bridge(kind=kind, row=place[0], col=place[1], r=r)])
        tile = inject(uniform(cell, cell.rram.g_lrs), short)
        drive = Drive(v=0.2 * (np.arange(N) == 3))
        spice = solve(tile, drive, "ngspice")
        for solver in ("newton", "dissection", "nodal"):
            found = solve(tile, drive, solver)
            assert_sound(found)
            if cell is ALL[0] or solver == "newton":
                limit = DEFECTS_LINEAR if isinstance(cell, OneR) else DEFECTS_NONLINEAR
                assert compare(found, spice).max_relative <= limit
                assert_close(found.i_in, spice.i_in, limit)


@pytest.mark.ngspice
def test_a_short_between_ideal_sources_is_refused_by_all():
    wires = Wires(r_row_segment=0.0, r_col_segment=1.0)
    tile = Tile(spec=TileSpec(rows=2, cols=2, wires=wires), g=np.full((2, 2), 1e-4))
    tile = inject(tile, Defects.at(2, 2, bridges=[Bridge(kind="row", row=0, col=0, r=0.0)]))
    for solver in ("dissection", "nodal", "newton", "ngspice"):
        with pytest.raises(InputError, match=r"share a node|shorted"):
            solve(tile, Drive(v=[0.1, 0.2]), solver)


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", ALL, ids=lambda c: f"{c!r:.60}")
def test_floating_islands(cell):
    """A corner cut off by its wires, and one that only transistors without a gate hold."""
    cases = [{"open_row": [(1, 4)], "open_col": [(0, j) for j in range(4, N)]}]
    cases[0]["open_col"] += [(1, j) for j in range(4, N)]
    if isinstance(cell, OneTransistorOneR):
        cases.append({"open_row": [(2, 3)], "transistor_open": [(2, j) for j in range(3, N)]})
    for places in cases:
        tile = inject(uniform(cell, cell.rram.g_lrs), Defects.at(N, N, **places))
        found, spice = (solve(tile, ramp(), name) for name in ("newton", "ngspice"))
        assert found.outcome is spice.outcome is Outcome.FLOATING
        assert_sound(found)
        assert np.array_equal(np.isnan(found.v_row), np.isnan(spice.v_row))
        assert compare(found, spice).max_relative <= DEFECTS_NONLINEAR


@pytest.mark.ngspice
def test_a_tile_with_nothing_left_reads_nothing():
    dead = {
        "transistor_open": list(itertools.product(range(N), range(N))),
        "bridges": [Bridge(kind="row", row=0, col=0, r=10.0)],
    }
    tile = inject(uniform(OneTransistorOneR(), 1e-4), Defects.at(N, N, **dead))
    for solver in ("newton", "dissection", "nodal", "ngspice"):
        found = solve(tile, ramp(), solver)
        assert (np.abs(found.i_out) <= 1e-16).all() and np.isfinite(found.v_row).all()
        assert_close(found.i_in[1, :2], [-0.0025 / 2, 0.0025 / 2], 1e-9)
    cut = replace(tile.defects, bridges=(), open_row=np.eye(N, N, dtype=bool))
    found = solve(inject(tile, cut), ramp(), "newton")
    assert found.outcome is Outcome.FLOATING and (found.i_out == 0).all()
