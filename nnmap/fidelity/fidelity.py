"""Fidelities, and what each takes a cell's conductance to be."""

from collections.abc import Callable
from enum import Enum

import numpy as np

from circuitsim.cells.calibrate_secant import calibrate
from netlists.arrays import FloatArray
from netlists.cells import is_linear
from netlists.tile import TileSpec


class Fidelity(Enum):
    """What a column current is taken to be.

    IDEAL: G^T v with memory conductances alone, as the papers do: no wires, no transistor. A memory
    whose transistor is open or off contributes nothing, a shorted transistor leaves the memory as
    it is, and defects of lines that carry current have no meaning.
    LINEAR: one matrix a tile: the exact nodal solution with wires, cells that bend as resistors
        fitted to NONLINEAR (see `linear_fit`).
    NONLINEAR: every read balanced between wires and cells on their calibrated surface or own
        equation. Where cells obey Ohm's law it is LINEAR.
    SPICE: ngspice on the emitted netlist, for a few inputs.
    """

    IDEAL = "ideal"
    LINEAR = "linear"
    NONLINEAR = "nonlinear"
    SPICE = "spice"


def cell_function(spec: TileSpec, fidelity: Fidelity) -> Callable[[FloatArray], FloatArray]:
    """Total memory conductance, S -> nominal cell conductance, S, by which currents are decoded.

    The decoder is digital and belongs to the chip, so that it is one for all fidelities that
    solve the circuit: each cell's secant at the read voltage.
    """
    if fidelity is Fidelity.IDEAL or is_linear(spec.cell):
        return np.asarray
    if spec.cell.is_bare:
        factor = spec.cell.rram.secant_factor(spec.v_read)
        return lambda g: factor * np.asarray(g)
    return calibrate(spec.cell, spec.v_read)
