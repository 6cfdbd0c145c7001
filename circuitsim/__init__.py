"""What the circuit does: ngspice, exact nodal analysis, and cells calibrated between the two."""

from circuitsim.agree import Agreement, compare
from circuitsim.calibrate import calibrate
from circuitsim.cellmodel import SecantModel
from circuitsim.ngspice import NgspiceError, NgspiceSession, default_session
from circuitsim.solution import Outcome, Solution
from circuitsim.solve import (
    SOLVERS,
    cell_conductance,
    effective_conductance,
    linearise,
    solve,
)

__all__ = [
    "SOLVERS",
    "Agreement",
    "NgspiceError",
    "NgspiceSession",
    "Outcome",
    "SecantModel",
    "Solution",
    "calibrate",
    "cell_conductance",
    "compare",
    "default_session",
    "effective_conductance",
    "linearise",
    "solve",
]
