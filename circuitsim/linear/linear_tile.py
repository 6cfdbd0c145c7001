"""A tile factorised once: its operator, any number of inputs, and changed cells for little."""

import time
from dataclasses import dataclass

import numpy as np

from circuitsim.cells.secant import SecantModel
from circuitsim.dissection import Factorisation, factorise, node_voltages, updated_operator
from circuitsim.linear.bridges import BridgeCorrection, correct_for
from circuitsim.linear.nodal import effective_conductance_sparse
from circuitsim.linear.resistor_tile import linearise
from circuitsim.linear.tile_arrays import crossbar_of, has_perfect_conductor
from circuitsim.linear.tile_solution import solution_of_tile
from circuitsim.solution import Solution
from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.tile import Drive, Tile
from netlists.wires import Wires

SOLVER = "dissection"


class NotStructuredError(InputError):
    """A tile that the structured solver does not take, and the general one does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearTile:
    """The factorisation of a (linearised) tile by nested dissection.

    linear: the tile as resistors.  correction: what its bridges change, None without bridges.
    wires: of the spec it was prepared from, before open segments.
    model: what linearised it, for tiles compared with it later.
    """

    linear: Tile
    factorisation: Factorisation
    correction: BridgeCorrection | None
    wires: Wires
    seconds: float
    model: SecantModel | None = None

    @property
    def operator(self) -> FloatArray:
        """i_out = operator @ v; S [cols, rows]."""
        of = self.factorisation if self.correction is None else self.correction
        return of.operator

    def solve(self, drive: Drive) -> Solution:
        """Node voltages and currents for every input of a drive; no new factorisation."""
        v = drive.for_tile(self.linear.spec)
        start = time.perf_counter()
        v_row, v_col = node_voltages(self.factorisation, v)
        drawn = None
        if self.correction is not None:
            carried = self.correction.apply(*(np.moveaxis(u, 0, -1) for u in (v_row, v_col)))
            drawn = self.correction.ends.drawn(carried, *v_row.shape[1:])
        timings = {"factorise": self.seconds, "solve": time.perf_counter() - start}
        return solution_of_tile(
            self.factorisation.circuit.tile(0),
            v,
            v_row,
            v_col,
            operator=self.operator,
            solver=SOLVER,
            timings=timings,
            bridges=self.linear.bridges,
            drawn=drawn,
        )

    def operator_of(self, changed: Tile) -> FloatArray:
        """Operator of a tile of the same spec with other faults, defects or states, S [cols, rows].

        A fault map drawn on a programmed tile is such a change. Few changed cells cost a low-rank
        correction, many a new extraction; measured limits decide. Open segments and bridges are
        extracted anew, save for bridges alone. Raises InputError where the wires of the spec are
        not the prepared tile's.
        """
        if changed.spec.wires is not self.wires:
            raise InputError("operator_of: the changed tile must share the prepared tile's wires.")
        linear = linearise(changed, model=self.model)
        old, new = self.linear.g_device, linear.g_device
        cells = np.argwhere(new != old)
        same_wires = linear.spec.wires is self.linear.spec.wires
        if same_wires and not linear.bridges:
            return updated_operator(self.factorisation, cells, new[cells[:, 0], cells[:, 1]])
        if same_wires and not len(cells):
            correction = correct_for(self.factorisation, linear.bridges)
            if correction is not None:
                return correction.operator
        return linear_operator(linear)


def linear_operator(linear: Tile) -> FloatArray:
    """Operator of one tile of resistors, S [cols, rows], by whichever solver takes it."""
    try:
        return prepare(linear).operator
    except NotStructuredError:
        return effective_conductance_sparse(linear)


def prepare(tile: Tile, *, model: SecantModel | None = None) -> LinearTile:
    """Factorise a tile; transistor cells enter at their calibrated secant conductance.

    Raises InputError (NotStructuredError) when a wire has 0 ohm, which makes two nodes one, and
    when bridges end at a node that floats without them or would lose digits (`correct_for`); only
    the general solver handles those.
    """
    linear = linearise(tile, model=model)
    if has_perfect_conductor(linear):
        raise NotStructuredError(
            "prepare: a segment of 0 ohm merges two nodes; give it a resistance or "
            "use solve(..., solver='nodal')."
        )
    start = time.perf_counter()
    factorisation = factorise(crossbar_of([linear]))
    correction = None
    if linear.bridges:
        correction = correct_for(factorisation, linear.bridges)
        if correction is None:
            raise NotStructuredError(
                "prepare: bridges to a line that is cut off cannot be told from rounding; "
                "use solve(..., solver='nodal')."
            )
    return LinearTile(
        linear=linear,
        factorisation=factorisation,
        correction=correction,
        wires=tile.spec.wires,
        seconds=time.perf_counter() - start,
        model=model,
    )
