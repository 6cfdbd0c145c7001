"""A tile factorised once: its operator, any number of inputs, and changed cells for little."""

import time
from dataclasses import dataclass

import numpy as np

from circuitsim.cellmodel import SecantModel
from circuitsim.crossbar_tile import crossbar_of, has_perfect_conductor, solution_of
from circuitsim.dissection import Factorisation, factorise, node_voltages, updated_operator
from circuitsim.linearise import linearise
from circuitsim.solution import FloatArray, Solution
from netlists.errors import InputError
from netlists.tile import Drive, Tile

SOLVER = "dissection"


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTile:
    """The factorisation of a (linearised) tile by nested dissection.

    linear: the tile as resistors.  model: what linearised it, for tiles compared with it later.
    """

    linear: Tile
    factorisation: Factorisation
    seconds: float
    model: SecantModel | None = None

    @property
    def operator(self) -> FloatArray:
        """i_out = operator @ v; S [cols, rows]."""
        return self.factorisation.operator

    def solve(self, drive: Drive) -> Solution:
        """Node voltages and currents for every input of a drive; no new factorisation."""
        v = drive.for_tile(self.linear.spec)
        start = time.perf_counter()
        v_row, v_col = node_voltages(self.factorisation, v)
        timings = {"factorise": self.seconds, "solve": time.perf_counter() - start}
        circuit = self.factorisation.circuit
        return solution_of(circuit, v, v_row, v_col, self.operator, solver=SOLVER, timings=timings)

    def operator_of(self, changed: Tile) -> FloatArray:
        """Operator of a tile on the same wires that differs in some cells, S [cols, rows].

        A fault map drawn on a programmed tile is such a change. Few changed cells cost a low-rank
        correction, many a new extraction; measured limits decide. Raises InputError where the
        wires are not the prepared tile's.
        """
        linear = linearise(changed, model=self.model)
        if linear.spec.wires is not self.linear.spec.wires:
            raise InputError("operator_of: the changed tile must share the prepared tile's wires.")
        old, new = self.linear.g_device, linear.g_device
        cells = np.argwhere(new != old)
        return updated_operator(self.factorisation, cells, new[cells[:, 0], cells[:, 1]])


def prepare(tile: Tile, *, model: SecantModel | None = None) -> PreparedTile:
    """Factorise a tile; transistor cells enter at their calibrated secant conductance.

    Raises InputError when a wire has 0 ohm: two nodes are then one, which only the general solver
    handles.
    """
    linear = linearise(tile, model=model)
    if has_perfect_conductor(linear.spec.wires):
        raise InputError(
            "prepare: a segment of 0 ohm merges two nodes; give it a resistance or "
            "use solve(..., solver='nodal')."
        )
    start = time.perf_counter()
    factorisation = factorise(crossbar_of([linear]))
    return PreparedTile(
        linear=linear,
        factorisation=factorisation,
        seconds=time.perf_counter() - start,
        model=model,
    )
