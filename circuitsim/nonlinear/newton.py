"""Nonlinear tiles: one factorisation for every step and every input.

With a fixed conductance g0 in each cell, what the cells draw beyond g0 times their drop (their
*excess*) is a current source:  v <- A(g0)^-1 (sources - excess(v)).  g0 is the middle of the slopes
that a cell goes through, so a step shrinks the error by the bend of the cell times the share of the
voltage that the wires take: a chord method whose matrix never changes. An input for which that
stalls is solved alone by damped Newton steps, each with its own factorisation.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from circuitsim.cells.surface import CellSurface
from circuitsim.dissection.operator import BATCH
from circuitsim.dissection.simd import LANES
from circuitsim.dissection.threads import core_count, run_together, shares
from circuitsim.laws.law import CellLaw, Iterate
from circuitsim.laws.of_tile import cell_law
from circuitsim.linear.bridges import BridgeEnds, ends_of
from circuitsim.linear.resistor_tile import as_resistors
from circuitsim.linear.tile_arrays import conductances_of
from circuitsim.linear.tile_solution import solution_of_tile
from circuitsim.nonlinear.linear_system import LinearSystem, linear_systems
from circuitsim.solution import Outcome, Solution
from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.tile import Drive, Tile

SOLVER = "newton"
TOLERANCE = 1e-10  # column currents, of the largest of the same input
CHORD_STEPS, NEWTON_STEPS, HALVINGS = 30, 100, 12
STALL = 0.7  # a chord step that shrinks the mismatch less than this gives way to Newton


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """Some inputs solved: voltages [rows, cols, width], currents [cols, width], done [width].

    i_bridge: what the bridges carry [k, width].
    """

    v_row: FloatArray
    v_col: FloatArray
    i_cell: FloatArray
    i_bridge: FloatArray
    i_out: FloatArray
    converged: np.ndarray
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class NonlinearTile:
    """A tile with cells that bend, factorised once at the chord conductances g0 [rows, cols], S."""

    tile: Tile
    law: CellLaw
    g0: FloatArray
    v_low: float
    v_high: float
    tolerance: float
    make: Callable[[], LinearSystem]
    seconds: float

    @cached_property
    def _ends(self) -> BridgeEnds:
        return ends_of(self.tile.bridges)

    def _volts(self, drive: Drive) -> FloatArray:
        v = drive.for_tile(self.tile.spec)
        if v.min() < self.v_low or v.max() > self.v_high:
            raise InputError(
                f"inputs from {v.min():.6g} V to {v.max():.6g} V leave the prepared range "
                f"[{self.v_low:.6g}, {self.v_high:.6g}] V; prepare the tile for a wider one."
            )
        return v

    def _run(self, v: FloatArray) -> list[tuple[slice, _Found]]:
        """All inputs [batch, rows], in chunks shared out between threads."""
        found: list[tuple[slice, _Found]] = []

        def work(begin: int, end: int) -> None:
            system = self.make()
            for start in range(begin, end, BATCH):
                some = slice(start, min(start + BATCH, end))
                found.append((some, self._chunk(v[some], system)))

        run_together([partial(work, a, b) for a, b in shares(len(v), core_count(), LANES)])
        return sorted(found, key=lambda one: one[0].start)

    def _chunk(self, v: FloatArray, system: LinearSystem) -> _Found:
        n, (rows, cols) = len(v), self.g0.shape
        width = -(-n // LANES) * LANES
        source = np.zeros((rows, width))
        source[:, :n] = v.T
        v_row, v_col = np.empty((rows, cols, width)), np.empty((rows, cols, width))
        excess = np.zeros((rows, cols, width))
        i_out, change = np.empty((cols, width)), np.empty((cols, width))
        now = Iterate(
            v_row=v_row, v_col=v_col, g0=self.g0, excess=excess, i_out=i_out, change=change
        )
        floor = float(self.g0.max()) * np.abs(source).max(axis=0)
        before = np.full(width, np.inf)
        for step in range(1, CHORD_STEPS + 1):
            i_bridge = system.voltages(source, excess, v_row, v_col)
            self.law.step(now)
            moved = change.max(axis=0)
            converged = moved <= self.tolerance * np.maximum(floor, np.abs(i_out).max(axis=0))
            stalled = ~converged & (moved > STALL * before)
            if (converged | stalled).all() or (step > 3 and stalled.any()):
                break
            before = moved
        i_cell = excess + self.g0[:, :, None] * (v_row - v_col)
        i_out += self._ends.into_columns(i_bridge, cols)
        for k in np.flatnonzero(~converged[:n]).tolist():
            alone = self._newton(source[:, k])
            i_bridge[:, k] = alone.i_bridge[:, 0]
            v_row[..., k], v_col[..., k] = alone.v_row[..., 0], alone.v_col[..., 0]
            i_cell[..., k], i_out[:, k] = alone.i_cell[..., 0], alone.i_out[:, 0]
            converged[k] = alone.converged[0]
        return _Found(
            v_row=v_row[..., :n],
            v_col=v_col[..., :n],
            i_cell=i_cell[..., :n],
            i_bridge=i_bridge[:, :n],
            i_out=i_out[:, :n],
            converged=converged[:n],
            steps=step,
        )

    def _currents(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """Cell currents [rows, cols, width] at node voltages."""
        rows, cols, width = v_row.shape
        now = Iterate(
            v_row=v_row,
            v_col=v_col,
            g0=np.zeros((rows, cols)),  # the excess over nothing is the current
            excess=np.zeros(v_row.shape),
            i_out=np.empty((cols, width)),
            change=np.empty((cols, width)),
        )
        self.law.step(now)
        return now.excess

    def _newton(self, v_source: FloatArray) -> _Found:
        """One input [rows]: damped Newton on the mismatch of cell currents.

        (v, j) always balances at every node, j being what the wires think the cells carry; any
        mixture of two such pairs does too, so a step can be shortened until the mismatch falls.
        """
        rows, cols = self.g0.shape
        source = np.repeat(v_source[:, None], LANES, axis=1)
        shape = (rows, cols, LANES)
        excess, g = np.zeros(shape), self.g0
        v = np.zeros((2, *shape))
        carried = np.zeros(shape)
        bridged = np.zeros((len(self._ends.r), LANES))
        start = True
        current = carried
        mismatch, converged = np.inf, False
        for step in range(1, NEWTON_STEPS + 1):  # noqa: B007  (reported)
            new = np.empty((2, *shape))
            over = linear_systems(as_resistors(self.tile, g))().voltages(
                source, excess, new[0], new[1]
            )
            thought = excess + g[:, :, None] * (new[0] - new[1])
            share = 1.0
            for _ in range(1 if start else HALVINGS):
                trial = v + share * (new - v)
                trial_carried = carried + share * (thought - carried)
                trial_current = self._currents(*trial)
                off = float(np.abs(trial_current - trial_carried)[..., 0].sum(axis=0).max())
                if off < (1 - 1e-3 * share) * mismatch or off == 0.0:
                    break
                share /= 2
            else:
                break  # no shorter step helps: rounding, or no balance near
            v, carried, current, mismatch = trial, trial_carried, trial_current, off
            bridged = bridged + share * (over - bridged)
            start = False
            i_out = current[..., 0].sum(axis=0)
            scale = max(float(np.abs(i_out).max()), float(g.max() * np.abs(v_source).max()))
            converged = mismatch <= self.tolerance * scale
            if converged:
                break
            g = self.law.slopes(v[0, ..., 0], v[1, ..., 0])
            excess = current - g[:, :, None] * (v[0] - v[1])
        return _Found(
            v_row=v[0],
            v_col=v[1],
            i_cell=current,
            i_bridge=bridged,
            i_out=current.sum(axis=0) + self._ends.into_columns(bridged, cols),
            converged=np.array([converged]),
            steps=step,
        )

    def currents(self, drive: Drive) -> FloatArray:
        """Output currents alone, A [batch, cols].

        Raises InputError when an input leaves the prepared range or finds no balance.
        """
        found = self._run(self._volts(drive))
        if not all(part.converged.all() for _, part in found):
            raise InputError(f"newton: {Outcome.NOT_CONVERGED.value}.")
        return np.concatenate([part.i_out.T for _, part in found])

    def solve(self, drive: Drive) -> Solution:
        """Node voltages and currents for every input of a drive; no new factorisation.

        Raises InputError when an input leaves the prepared range.
        """
        v = self._volts(drive)
        start = time.perf_counter()
        found = self._run(v)
        seconds = {"factorise": self.seconds, "solve": time.perf_counter() - start}
        v_row, v_col, i_cell = (
            np.moveaxis(np.concatenate([getattr(part, name) for _, part in found], axis=2), -1, 0)
            for name in ("v_row", "v_col", "i_cell")
        )
        outcome = Outcome.SOLVED
        if not all(part.converged.all() for _, part in found):
            outcome = Outcome.NOT_CONVERGED
        i_bridge = np.concatenate([part.i_bridge for _, part in found], axis=1)
        drawn = self._ends.drawn(i_bridge, *v_row.shape[1:]) if self.tile.bridges else None
        linear = as_resistors(self.tile, self.g0)
        return solution_of_tile(
            conductances_of(linear),
            v,
            v_row,
            v_col,
            solver=SOLVER,
            timings=seconds,
            i_cell=i_cell,
            outcome=outcome,
            bridges=self.tile.bridges,
            drawn=drawn,
        )


def prepare_nonlinear(
    tile: Tile,
    *,
    v_low: float = 0.0,
    v_high: float | None = None,
    surface: CellSurface | None = None,
    tolerance: float = TOLERANCE,
) -> NonlinearTile:
    """Factorise a tile of cells that bend, for inputs between v_low and v_high (v_read), V.

    Transistor cells follow their calibrated surface, calibrated on first use where none is given;
    bare memories follow their own equation. tolerance: mismatch between cells and wires at which
    an input is done, of its largest column current.

    Raises InputError for cells that obey Ohm's law, a surface of another cell, or a range beyond
    what the surface or the memory was fitted to.
    """
    v_high = tile.spec.v_read if v_high is None else v_high
    law = cell_law(tile, v_low=min(v_low, 0.0), v_high=max(v_high, 0.0), surface=surface)
    start = time.perf_counter()
    widest = v_high if abs(v_high) >= abs(v_low) else v_low
    rest = np.zeros((1, 1))
    g0 = (law.slopes(rest, rest) + law.slopes(rest + widest, rest)) / 2
    make = linear_systems(as_resistors(tile, g0))
    return NonlinearTile(
        tile=tile,
        law=law,
        g0=g0,
        v_low=v_low,
        v_high=v_high,
        tolerance=tolerance,
        make=make,
        seconds=time.perf_counter() - start,
    )


def solve_nonlinear(tile: Tile, drive: Drive, *, surface: CellSurface | None = None) -> Solution:
    """Solve a tile of cells that bend once, prepared for the inputs it gets."""
    v = drive.for_tile(tile.spec)
    low, high = min(0.0, float(v.min())), max(0.0, float(v.max()))
    return prepare_nonlinear(tile, v_low=low, v_high=high, surface=surface).solve(drive)
