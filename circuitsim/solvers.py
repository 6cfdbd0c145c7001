"""Tile and drive -> Solution: the front door of every solver."""

from collections.abc import Callable

from circuitsim.cells.calibrate_secant import secant_model
from circuitsim.cells.surface import CellSurface
from circuitsim.linear import nodal
from circuitsim.linear.linear_tile import NotStructuredError, prepare
from circuitsim.linear.resistor_tile import linearise
from circuitsim.nonlinear import newton
from circuitsim.solution import Solution
from circuitsim.spice import batch as ngspice
from netlists.build import build_circuit
from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import Drive, Tile


def _solve_nodal(tile: Tile, drive: Drive) -> Solution:
    return nodal.solve_circuit(build_circuit(linearise(tile), drive))


def _solve_dissection(tile: Tile, drive: Drive) -> Solution:
    linear = linearise(tile)
    try:
        prepared = prepare(linear)
    except NotStructuredError:
        return nodal.solve_circuit(build_circuit(linear, drive))
    return prepared.solve(drive)


def _solve_ngspice(tile: Tile, drive: Drive) -> Solution:
    return ngspice.solve_circuit(build_circuit(tile, drive))


def _solve_newton(tile: Tile, drive: Drive) -> Solution:
    # Where every cell obeys Ohm's law the first step is the solution.
    solver = _solve_dissection if is_linear(tile.spec.cell) else newton.solve_nonlinear
    return solver(tile, drive)


# A solver is a function from (tile, drive) to a Solution; add one here and it joins the tests.
SOLVERS: dict[str, Callable[[Tile, Drive], Solution]] = {
    "dissection": _solve_dissection,
    "nodal": _solve_nodal,
    "newton": _solve_newton,
    "ngspice": _solve_ngspice,
}


def solve(
    tile: Tile, drive: Drive, solver: str = "dissection", *, surface: CellSurface | None = None
) -> Solution:
    """Node voltages and output currents of a tile for every input of a drive.

    "dissection": exact for ohmic OneR; other cells enter at their calibrated secant conductance.
        Tiles with a perfect conductor, and bridges to cut-off lines, are handed to "nodal".
    "nodal": the same by a general sparse solver that shares no code with it.
    "newton": NONLINEAR, cells at their calibrated surface or their own equation.
    "ngspice": the emitted netlist, transistors included.

    surface: of transistor cells, in place of calibrating them; ngspice has no use for it.

    Raises InputError for an unknown solver, a drive that does not fit, or a surface of another
    cell.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver={solver!r} is not one of {', '.join(SOLVERS)}.")
    if surface is not None and solver == "newton":
        return newton.solve_nonlinear(tile, drive, surface=surface)
    if surface is not None and solver != "ngspice":
        tile = linearise(tile, model=secant_model(surface, tile.spec.v_read))
    return SOLVERS[solver](tile, drive)
