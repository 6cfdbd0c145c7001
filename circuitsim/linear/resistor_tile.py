"""Tile with any cells -> tile of resistors."""

from dataclasses import replace

import numpy as np

from circuitsim.cells.calibrate_secant import calibrate, margin_for
from circuitsim.cells.secant import SLACK, SecantModel
from circuitsim.cells.stuck_transistors import off_surface, shorted_current
from circuitsim.cells.surface import SLACK as SURFACE_SLACK
from netlists.arrays import FloatArray
from netlists.cells import OneR, is_linear
from netlists.defects import Defects
from netlists.devices import OhmicRram
from netlists.errors import InputError
from netlists.tile import Access, Tile


def cell_conductance(tile: Tile, *, model: SecantModel | None = None) -> FloatArray:
    """Conductance of each cell between its two lines, S [rows, cols], faults and defects applied.

    For cells that bend this is the secant at the spec's read voltage; `model` is calibrated on
    first use where none is given. Raises InputError when `model` belongs to another cell.
    """
    spec = tile.spec
    g = tile.g_device
    if g.ndim == 3:
        g = g.sum(axis=2)
    if spec.cell.is_bare:
        return g * spec.cell.rram.secant_factor(spec.v_read)
    gated = g if tile.defects is None else np.where(tile.access == Access.GATED, g, 0.0)
    if model is None:  # over all that the tile holds: stuck memories may hold what no level is
        margin = margin_for(spec.cell, gated, slack=SLACK)
        model = calibrate(spec.cell, spec.v_read, margin=margin)
    if (model.cell_id, model.v_read) != (spec.cell.calibrated_as, spec.v_read):
        raise InputError(
            f"the cell model was calibrated for {model.cell} at {model.v_read} V, "
            f"the tile has {spec.cell!r} at {spec.v_read} V; recalibrate."
        )
    if tile.defects is None:
        return model(gated)
    access = tile.access
    found = model(gated)
    off, shorted = access == Access.OFF, access == Access.SHORTED
    if off.any():
        margin = margin_for(spec.cell, g[off], slack=SURFACE_SLACK)
        leak = off_surface(spec.cell, 0.0, spec.v_read, margin=margin)(spec.v_read, 0.0, g[off])
        found[off] = np.maximum(leak / spec.v_read, 0.0)
    if shorted.any():
        r = tile.defects.r_short + spec.cell.r_fixed
        i = shorted_current(spec.cell.rram, g[shorted], r, spec.v_read)
        found[shorted] = i / spec.v_read
    return found


def as_resistors(tile: Tile, g: FloatArray) -> Tile:
    """The tile with a resistor of conductance g [rows, cols], S, for every cell.

    Faults, stuck transistors and gate lines are taken as absorbed by g, open segments are absorbed
    by the wires; bridges stay what they are.
    """
    spec, rram = tile.spec, tile.spec.cell.rram
    ohmic = OneR(rram=OhmicRram(r_lrs=rram.r_lrs, r_hrs=rram.r_hrs))
    left = None
    if tile.bridges:
        left = Defects(rows=spec.rows, cols=spec.cols, bridges=tile.bridges)
    return Tile(spec=replace(spec, cell=ohmic, wires=tile.wires), g=g, defects=left)


def linearise(tile: Tile, *, model: SecantModel | None = None) -> Tile:
    """The tile with every cell replaced by a resistor of its conductance; see `as_resistors`."""
    if is_linear(tile.spec.cell) and tile.faults is None and tile.wires is tile.spec.wires:
        return tile
    return as_resistors(tile, cell_conductance(tile, model=model))
