"""Fidelities, and what each takes a cell's conductance to be."""

from enum import Enum

from nnmap.mapping.levels import Secant, secant
from nnmap.mapping.programme import Programme


class Fidelity(Enum):
    """What a column current is taken to be.

    IDEAL: G^T v on perfect wires, G being what cells show. With levels of cells that is each cell's
        conductance at the read voltage, its faults and the defects of its transistor included. With
        levels of memories it is the memories alone, as the papers do: one whose transistor is open
        or off contributes nothing, a shorted transistor leaves it as it is. Defects of lines that
        carry current have no meaning.
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


def cell_function(programme: Programme, fidelity: Fidelity) -> Secant:
    """Total memory conductance, S -> nominal cell conductance, S, by which currents are decoded.

    The decoder is digital and belongs to the chip, so that it is one for all fidelities that
    solve the circuit: each cell's secant at the read voltage. At IDEAL it is what cells show there,
    which differs with levels of memories alone.
    """
    if fidelity is Fidelity.IDEAL:
        return programme.cell_levels.shown
    return secant(programme.spec.cell, programme.spec.v_read)
