"""Cell -> SecantModel, from an ngspice sweep of that very cell."""

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.cells.measure import measure_currents
from circuitsim.cells.secant import SecantModel
from circuitsim.cells.surface import CellSurface
from netlists.cells import Cell, SubcktCell
from netlists.errors import InputError

N_SAMPLES = 129
N_HELD_OUT = 256
STATE_STEPS = 65
MARGIN = 4.0  # calibrated range beyond [HRS, all memories LRS], as a factor on either side
WIDEST = MARGIN**10  # the same for memories that hold what no level is, as stuck ones may


def margin_for(cell: Cell, g: ArrayLike, *, slack: float) -> float:
    """The margin within which a cell's calibration covers states g, S over all memories; 0 S is.

    MARGIN where that does, else its least power that does: few ranges, few calibrations. MARGIN
    too where none up to WIDEST does, or where the cell's states end at those it was given with.
    slack: by which factor less 1 a calibration takes states beyond its ends.
    """
    states = np.asarray(g, dtype=np.float64)
    held = states[states != 0]
    if not held.size:
        return MARGIN
    least, most = float(held.min()), float(held.max())
    margin = MARGIN
    while margin <= WIDEST:
        low, high = cell.reach(margin)
        if low * (1 - slack) <= least and most <= high * (1 + slack):
            return margin
        margin *= MARGIN
    return MARGIN


def calibrate(cell: Cell, v_read: float, *, margin: float = MARGIN) -> SecantModel:
    """Calibrate a cell at a read voltage, V; repeated calls return the same model.

    margin: calibrated states beyond HRS and LRS, as a factor on either side.
    Raises InputError for a cell that needs no calibration, MissingToolError without ngspice.
    """
    return _calibrated(cell, v_read, margin)


@functools.lru_cache(maxsize=64)
def _calibrated(cell: Cell, v_read: float, margin: float) -> SecantModel:
    if cell.is_bare:
        raise InputError(
            f"{type(cell).__name__} is its memory alone; its conductance needs no calibration."
        )
    low, high = cell.reach(margin)
    g = np.geomspace(low, high, N_SAMPLES)
    held_out = np.exp(np.random.default_rng(0).uniform(np.log(low), np.log(high), size=N_HELD_OUT))
    sampled = np.concatenate([g, held_out])
    (current,), source = measure_currents(cell, [v_read], np.zeros(len(sampled)), sampled)
    fitted, truth = current[:N_SAMPLES], current[N_SAMPLES:]
    factor = cell.rram.secant_factor(v_read)
    model = SecantModel(
        cell=repr(cell),
        cell_id=cell.calibrated_as,
        v_read=v_read,
        g_memory=tuple(g.tolist()),
        r_series=tuple((v_read / fitted - 1.0 / (factor * g)).tolist()),
        held_out=N_HELD_OUT,
        held_out_max=0.0,
        held_out_p99=0.0,
        source=source,
        memory_factor=factor,
    )
    error = np.abs(model(held_out) * v_read - truth) / fitted.max()
    return replace(
        model,
        held_out_max=float(error.max()),
        held_out_p99=float(np.quantile(error, 0.99)),
    )


def measure_states(cell: SubcktCell) -> SubcktCell:
    """The cell with the conductances of its states, each at `v_state` volts between its lines.

    A cell whose states are conductances is returned as it is. Raises InputError when the
    conductance does not rise from "hrs" to "lrs"; MissingToolError without ngspice.
    """
    if not cell.by_parameters:
        return cell
    stand_in = replace(cell, curve=tuple(np.geomspace(1.0, 2.0, STATE_STEPS)))
    g = np.array(stand_in.curve)
    (current,), _ = measure_currents(stand_in, [cell.v_state], np.zeros(len(g)), g)
    if not (current > 0).all():
        raise InputError(
            f"SubcktCell: {cell.name} carries {current.min():.3g} A at {cell.v_state!r} V in one "
            "of its states; correct the states, the ports or the gate voltage."
        )
    return replace(cell, curve=tuple((current / cell.v_state).tolist()))


def secant_model(surface: CellSurface, v_read: float) -> SecantModel:
    """What `calibrate` would find, read off a calibrated surface.

    Raises InputError when the read voltage, V, lies outside the surface's range.
    """
    g = np.geomspace(surface.g_low, surface.g_high, N_SAMPLES)
    return SecantModel(
        cell=surface.cell,
        cell_id=surface.cell_id,
        v_read=v_read,
        g_memory=tuple(g.tolist()),
        r_series=tuple((v_read / surface(v_read, 0.0, g) - 1.0 / g).tolist()),
        held_out=surface.held_out,
        held_out_max=surface.held_out_max,
        held_out_p99=surface.held_out_p99,
        source=surface.source,
    )
