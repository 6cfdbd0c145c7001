"""Tile with any cells -> tile of resistors."""

from dataclasses import replace

from circuitsim.calibrate import calibrate
from circuitsim.cellmodel import SecantModel
from circuitsim.solution import FloatArray
from netlists.cells import OneR, is_linear
from netlists.devices import OhmicRram
from netlists.errors import InputError
from netlists.tile import Tile


def cell_conductance(tile: Tile, *, model: SecantModel | None = None) -> FloatArray:
    """Conductance of each cell between its two lines, S [rows, cols], faults applied.

    For cells that bend this is the secant at the spec's read voltage; `model` is calibrated on
    first use where none is given. Raises InputError when `model` belongs to another cell.
    """
    spec = tile.spec
    g = tile.g_device
    if g.ndim == 3:
        g = g.sum(axis=2)
    if isinstance(spec.cell, OneR):
        return g * spec.cell.rram.secant_factor(spec.v_read)
    model = model or calibrate(spec.cell, spec.v_read)
    if (model.cell, model.v_read) != (repr(spec.cell), spec.v_read):
        raise InputError(
            f"the cell model was calibrated for {model.cell} at {model.v_read} V, "
            f"the tile has {spec.cell!r} at {spec.v_read} V; recalibrate."
        )
    return model(g)


def linearise(tile: Tile, *, model: SecantModel | None = None) -> Tile:
    """The tile with every cell replaced by a resistor of its conductance; faults are absorbed."""
    if is_linear(tile.spec.cell) and tile.faults is None:
        return tile
    rram = tile.spec.cell.rram
    ohmic = OhmicRram(r_lrs=rram.r_lrs, r_hrs=rram.r_hrs)
    linear = replace(tile.spec, cell=OneR(rram=ohmic))
    return Tile(spec=linear, g=cell_conductance(tile, model=model))
