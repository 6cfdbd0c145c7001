"""Tile with any cells -> tile of resistors."""

from dataclasses import replace

from circuitsim.calibrate import calibrate
from circuitsim.cellmodel import SecantModel
from circuitsim.solution import FloatArray
from netlists.cells import OneR
from netlists.errors import InputError
from netlists.tile import Tile


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
