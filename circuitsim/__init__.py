"""What the circuit does: ngspice, exact solvers, and cells calibrated between the two.

`circuitsim.differentiable` (torch) is imported by name where gradients are wanted.
"""

from circuitsim.agree import Agreement, compare
from circuitsim.calibrate import calibrate, measure_states
from circuitsim.calibration import Calibration, calibrate_cell, verify
from circuitsim.cellmodel import SecantModel
from circuitsim.cellsurface import CellSurface, StateError
from circuitsim.certificate import Certificate, certified_conductance
from circuitsim.characterise import calibrate_surface
from circuitsim.linearise import cell_conductance, linearise
from circuitsim.newton import NonlinearTile, prepare_nonlinear
from circuitsim.ngspice import NgspiceError, NgspiceSession, default_session
from circuitsim.operating_point import linearise_at, operating_conductance
from circuitsim.operator import effective_conductance, operator_memory
from circuitsim.prepared import PreparedTile, prepare
from circuitsim.programming import Programmed, WriteScheme, Writing, program
from circuitsim.pulse_ngspice import NgspicePulses, PulseAgreement, pulse_agreement
from circuitsim.pulse_twin import PulseTwin
from circuitsim.solution import Outcome, Solution
from circuitsim.solve import SOLVERS, solve
from circuitsim.verification import TileCheck, verify_surface

__all__ = [
    "SOLVERS",
    "Agreement",
    "Calibration",
    "CellSurface",
    "Certificate",
    "NgspiceError",
    "NgspicePulses",
    "NgspiceSession",
    "NonlinearTile",
    "Outcome",
    "PreparedTile",
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
    "default_session",
    "effective_conductance",
    "linearise",
    "linearise_at",
    "measure_states",
    "operating_conductance",
    "operator_memory",
    "prepare",
    "prepare_nonlinear",
    "program",
    "pulse_agreement",
    "solve",
    "verify",
    "verify_surface",
]
