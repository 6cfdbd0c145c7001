"""LINEAR at the operating point: each cell's secant where the circuit really puts it."""

import numpy as np

from circuitsim.linear.resistor_tile import as_resistors, cell_conductance
from circuitsim.nonlinear.newton import prepare_nonlinear
from circuitsim.solution import Outcome
from netlists.arrays import FloatArray
from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import Drive, Tile


def operating_conductance(tile: Tile, inputs: Drive) -> FloatArray:
    """Conductance of each cell, S [rows, cols], that fits its currents best over some inputs.

    The NONLINEAR solution of the inputs gives each cell's drops d and currents i; its conductance
    is sum(i d) / sum(d^2), so that the drops that carry the current decide. The inputs should be
    like those that the operator will meet: a few tens do. Cells that obey Ohm's law keep theirs,
    and a cell that never sees a voltage gets its secant at the read voltage.

    Raises InputError when an input finds no balance or leaves the range of the cell.
    """
    if is_linear(tile.spec.cell):
        return cell_conductance(tile)
    v = inputs.for_tile(tile.spec)
    low, high = min(0.0, float(v.min())), max(0.0, float(v.max()))
    found = prepare_nonlinear(tile, v_low=low, v_high=high).solve(inputs)
    if found.outcome is Outcome.NOT_CONVERGED:
        raise InputError(f"operating_conductance: {found.outcome.value}.")
    assert found.i_cell is not None
    drop = np.nan_to_num(found.v_row - found.v_col)
    power = np.einsum("brc,brc->rc", found.i_cell, drop)
    square = np.einsum("brc,brc->rc", drop, drop)
    seen = square > 0
    g = np.array(cell_conductance(tile))
    g[seen] = power[seen] / square[seen]
    return g


def linearise_at(tile: Tile, inputs: Drive) -> Tile:
    """The tile with a resistor of its operating conductance for every cell; faults are absorbed.

    `effective_conductance`, `prepare` and `solve` take the result as any other tile. Raises
    InputError as `operating_conductance` does.
    """
    return as_resistors(tile, operating_conductance(tile, inputs))
