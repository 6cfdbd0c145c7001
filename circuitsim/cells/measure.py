"""One cell in ngspice: the currents that every calibration starts from.

What is measured is a one-row tile on perfect wires, one column per sample of (sense voltage, state)
and one input per sample of the drive voltage: exactly what the netlist writer emits for a tile.
"""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.spice.batch import solve_circuit
from netlists.arrays import FloatArray
from netlists.build import build_circuit
from netlists.cells import Cell
from netlists.defects import Defects
from netlists.spice import to_spice
from netlists.tile import Drive, Tile, TileSpec
from netlists.wires import Wires

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)


def _row_of(cell: Cell, cols: int) -> TileSpec:
    # No netlist holds the read voltage; it must only be one that the memory allows.
    return TileSpec(rows=1, cols=cols, wires=PERFECT, cell=cell, v_read=min(0.2, cell.rram.v_max))


def measure_currents(
    cell: Cell,
    v_drive: ArrayLike,
    v_sense: FloatArray,
    g_memory: FloatArray,
    *,
    defects: Defects | None = None,
) -> tuple[FloatArray, str]:
    """Currents, A [drives, columns], of one cell, and the simulator's name.

    v_drive: V [drives].  v_sense, g_memory: V and S [columns], g over all memories of the cell.
    defects: of the one-row tile of these columns. Raises MissingToolError without ngspice.
    """
    spec = _row_of(cell, len(g_memory))
    per_device = np.repeat(g_memory / cell.n_rram, cell.n_rram).reshape(spec.g_shape)
    tile = Tile(spec=spec, g=per_device, defects=defects)
    circuit = build_circuit(tile, Drive(v=np.reshape(v_drive, (-1, 1))))
    volts = circuit.sources.v.copy()
    volts[:, circuit.layout.outputs] = v_sense
    circuit = replace(circuit, sources=replace(circuit.sources, v=volts))
    solution = solve_circuit(circuit)
    return solution.i_out, solution.solver


def netlist_sha256(cell: Cell) -> str:
    """SHA-256 of the netlist of one such cell, LRS at 1 V, wherever its files lie."""
    spec = _row_of(cell, 1)
    tile = Tile(spec=spec, g=np.full(spec.g_shape, cell.rram.g_lrs))
    text = to_spice(build_circuit(tile, Drive(v=[1.0])))
    for path, content in cell.files.items():
        text = text.replace(path, content)
    return hashlib.sha256(text.encode()).hexdigest()
