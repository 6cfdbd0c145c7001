"""Tile -> voltages, currents and operator: the front door of every solver."""

from collections.abc import Callable
from dataclasses import replace

from circuitsim import ngspice, nodal
from circuitsim.calibrate import calibrate
from circuitsim.cellmodel import SecantModel
from circuitsim.solution import FloatArray, Solution
from netlists.build import build_circuit
from netlists.cells import OneR
from netlists.errors import InputError
from netlists.tile import Drive, Tile


def cell_conductance(tile: Tile, *, model: SecantModel | None = None) -> FloatArray:
    """Conductance of each cell between its two lines, S [rows, cols], faults applied.

    For transistor cells this is the secant at the spec's read voltage; `model` is calibrated on
    first use where none is given. Raises InputError when `model` belongs to another cell.
    """
    spec = tile.spec
    g = tile.g_device
    if g.ndim == 3:
        g = g.sum(axis=2)
    if isinstance(spec.cell, OneR):
        return g
    model = model or calibrate(spec.cell, spec.v_read)
    if (model.cell, model.v_read) != (repr(spec.cell), spec.v_read):
        raise InputError(
            f"the cell model was calibrated for {model.cell} at {model.v_read} V, "
            f"the tile has {spec.cell!r} at {spec.v_read} V; recalibrate."
        )
    return model(g)


def linearise(tile: Tile, *, model: SecantModel | None = None) -> Tile:
    """The tile with every cell replaced by a resistor of its conductance; faults are absorbed."""
    if isinstance(tile.spec.cell, OneR) and tile.faults is None:
        return tile
    linear = replace(tile.spec, cell=OneR(rram=tile.spec.cell.rram))
    return Tile(spec=linear, g=cell_conductance(tile, model=model))


def effective_conductance(tile: Tile, *, model: SecantModel | None = None) -> FloatArray:
    """The exact operator of the (linearised) tile: i_out = operator @ v. S [cols, rows]."""
    return nodal.effective_conductance_sparse(linearise(tile, model=model))


def _solve_nodal(tile: Tile, drive: Drive) -> Solution:
    return nodal.solve_circuit(build_circuit(linearise(tile), drive))


def _solve_ngspice(tile: Tile, drive: Drive) -> Solution:
    return ngspice.solve_circuit(build_circuit(tile, drive))


# A solver is a function from (tile, drive) to a Solution; add one here and it joins the tests.
SOLVERS: dict[str, Callable[[Tile, Drive], Solution]] = {
    "nodal": _solve_nodal,
    "ngspice": _solve_ngspice,
}


def solve(tile: Tile, drive: Drive, solver: str = "nodal") -> Solution:
    """Node voltages and output currents of a tile for every input of a drive.

    "nodal": exact for OneR; transistor cells enter at their calibrated secant conductance.
    "ngspice": the emitted netlist, transistors included.

    Raises InputError for an unknown solver or a drive that does not fit.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver={solver!r} is not one of {', '.join(SOLVERS)}.")
    return SOLVERS[solver](tile, drive)
