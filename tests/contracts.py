"""What every solver must satisfy; a new entry in SOLVERS joins by itself."""

import numpy as np

from circuitsim import solve
from netlists import Drive, OneR, Tile, TileSpec, Wires
from tests.strategies import random_drive, random_tile
from tests.tolerances import EXACT, KCL, NGSPICE_LINEAR, assert_close


class SolverContract:
    """Physics that holds for any linear tile, whatever solves it."""

    solver = ""

    def solve(self, tile, drive):
        return solve(tile, drive, self.solver)

    def test_shapes_and_kirchhoff(self):
        tile = random_tile(5, 7, 1)
        found = self.solve(tile, random_drive(tile, 2, batch=4))
        assert found.i_out.shape == (4, 7)
        assert found.i_in.shape == (4, 5)
        assert found.v_row.shape == found.v_col.shape == (4, 5, 7)
        assert found.kcl_residual <= KCL
        assert_close(found.i_in.sum(1), found.i_out.sum(1), KCL, scale=np.abs(found.i_in).max())

    def test_power_is_what_the_resistors_dissipate(self):
        tile = random_tile(6, 4, 3, stuck=0.2)
        found = self.solve(tile, random_drive(tile, 4))
        assert_close(found.power, found.dissipation, 1e-10)

    def test_superposition(self):
        tile = random_tile(4, 5, 5)
        a, b = np.random.default_rng(6).uniform(-0.2, 0.2, (2, 4))
        found = self.solve(tile, Drive(v=[a, b, a + b])).i_out
        assert_close(found[0] + found[1], found[2], NGSPICE_LINEAR)

    def test_zero_wires_are_an_ideal_matrix(self):
        rng = np.random.default_rng(7)
        wires = Wires(r_row_segment=0.0, r_col_segment=0.0)
        g = 10 ** rng.uniform(-6, -4, (4, 6))
        tile = Tile(spec=TileSpec(rows=4, cols=6, wires=wires, cell=OneR()), g=g)
        drive = random_drive(tile, 8)
        assert_close(self.solve(tile, drive).i_out, drive.v @ g, EXACT)

    def test_rows_on_perfect_columns_can_be_permuted(self):
        rng = np.random.default_rng(9)
        order = rng.permutation(5)
        g, v = 10 ** rng.uniform(-6, -4, (5, 3)), rng.uniform(0, 0.2, 5)
        spec = TileSpec(rows=5, cols=3, wires=Wires(r_row_segment=2.0, r_col_segment=0.0))
        plain = self.solve(Tile(spec=spec, g=g), Drive(v=v)).i_out
        mixed = self.solve(Tile(spec=spec, g=g[order]), Drive(v=v[order])).i_out
        assert_close(mixed, plain, NGSPICE_LINEAR)

    def test_a_cell_cut_off_by_opens_is_reported_and_carries_nothing(self):
        r_row = np.ones((2, 2))
        r_col = np.ones((2, 2))
        r_row[0, 1] = r_col[0, 1] = np.inf  # x(0,1), its cell and y(0,1) hang free
        wires = Wires(r_row_segment=r_row, r_col_segment=r_col)
        tile = Tile(spec=TileSpec(rows=2, cols=2, wires=wires), g=np.full((2, 2), 1e-4))
        found = self.solve(tile, Drive(v=[0.2, 0.1]))
        assert found.outcome.name == "FLOATING"
        assert np.isnan(found.v_row[0, 0, 1]) and np.isnan(found.v_col[0, 0, 1])
        assert np.isfinite(found.i_out).all()
        assert found.kcl_residual <= KCL
