"""What the circuit does: ngspice, exact solvers, and cells calibrated between the two.

`circuitsim.linear.differentiable` (torch) is imported by name where gradients are wanted.
"""

from circuitsim.calibration import Calibration, calibrate_cell, verify
from circuitsim.cells.calibrate_secant import calibrate, measure_states
from circuitsim.cells.calibrate_surface import calibrate_surface
from circuitsim.cells.secant import SecantModel
from circuitsim.cells.surface import CellSurface, StateError
from circuitsim.compare_solutions import Agreement, compare, converter_steps
from circuitsim.linear.certificate import Certificate, certified_conductance
from circuitsim.linear.linear_tile import LinearTile, prepare
from circuitsim.linear.operator import effective_conductance, operator_memory
from circuitsim.linear.resistor_tile import cell_conductance, linearise
from circuitsim.nonlinear.newton import NonlinearTile, prepare_nonlinear
from circuitsim.solution import Outcome, Solution
from circuitsim.solvers import SOLVERS, solve
from circuitsim.spice.session import NgspiceError, NgspiceSession, default_session
from circuitsim.verification import TileCheck, verify_surface
from circuitsim.writing.programming import Programmed, WriteScheme, Writing, program
from circuitsim.writing.pulse_ngspice import NgspicePulses, PulseAgreement, pulse_agreement
from circuitsim.writing.pulse_twin import PulseTwin

__all__ = [
    "SOLVERS",
    "Agreement",
    "Calibration",
    "CellSurface",
    "Certificate",
    "LinearTile",
    "NgspiceError",
    "NgspicePulses",
    "NgspiceSession",
    "NonlinearTile",
    "Outcome",
    "Programmed",
    "PulseAgreement",
    "PulseTwin",
    "SecantModel",
    "Solution",
    "StateError",
    "TileCheck",
    "WriteScheme",
    "Writing",
    "calibrate",
    "calibrate_cell",
    "calibrate_surface",
    "cell_conductance",
    "certified_conductance",
    "compare",
    "converter_steps",
    "default_session",
    "effective_conductance",
    "linearise",
    "measure_states",
    "operator_memory",
    "prepare",
    "prepare_nonlinear",
    "program",
    "pulse_agreement",
    "solve",
    "verify",
    "verify_surface",
]
