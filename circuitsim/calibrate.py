"""Cell -> SecantModel, from an ngspice sweep of that very cell.

The sweep is a one-row tile on perfect wires whose cells hold the sampled conductances, so what is
calibrated is exactly what the netlist writer emits for a tile.
"""

import functools
from dataclasses import replace

import numpy as np

from circuitsim import ngspice
from circuitsim.cellmodel import FloatArray, SecantModel
from netlists.build import build_circuit
from netlists.cells import Cell, OneR
from netlists.errors import InputError
from netlists.tile import Drive, Tile, TileSpec, Wires

N_SAMPLES = 129
N_HELD_OUT = 256
MARGIN = 4.0  # calibrated range beyond [HRS, all memories LRS], as a factor on either side


def measure_cell(cell: Cell, v_read: float, g_memory: FloatArray) -> tuple[FloatArray, str]:
    """Currents, A [n], of one cell at each memory conductance, S [n], and the simulator's name."""
    n = len(g_memory)
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    spec = TileSpec(rows=1, cols=n, wires=perfect, cell=cell, v_read=v_read)
    per_device = np.repeat(g_memory / cell.n_rram, cell.n_rram).reshape(spec.g_shape)
    circuit = build_circuit(Tile(spec=spec, g=per_device), Drive(v=[v_read]))
    solution = ngspice.solve_circuit(circuit)
    return solution.i_out[0], solution.solver


@functools.lru_cache(maxsize=64)
def calibrate(cell: Cell, v_read: float) -> SecantModel:
    """Calibrate a transistor cell at a read voltage, V; repeated calls return the same model.

    Raises InputError for a cell that needs no calibration, MissingToolError without ngspice.
    """
    if isinstance(cell, OneR):
        raise InputError("OneR has no transistor; its conductance needs no calibration.")
    low = cell.rram.g_hrs / MARGIN
    high = cell.rram.g_lrs * cell.n_rram * MARGIN
    g = np.geomspace(low, high, N_SAMPLES)
    held_out = np.exp(np.random.default_rng(0).uniform(np.log(low), np.log(high), size=N_HELD_OUT))
    current, source = measure_cell(cell, v_read, np.concatenate([g, held_out]))
    fitted, truth = current[:N_SAMPLES], current[N_SAMPLES:]
    factor = cell.rram.secant_factor(v_read)
    model = SecantModel(
        cell=repr(cell),
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
