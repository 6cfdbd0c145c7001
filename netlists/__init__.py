"""What the circuit is: tiles, cells, faults, and their SPICE text."""

from netlists.build import build_circuit
from netlists.cells import Cell, OneR, OneTransistorOneR, OneTransistorTwoR
from netlists.check import CheckReport, check, without_islands
from netlists.circuit import Circuit
from netlists.devices import Level1Nmos, OhmicRram
from netlists.errors import InputError, MissingToolError
from netlists.faultmap_io import (
    read_faultmap,
    read_faultmap_csv,
    write_faultmap,
    write_faultmap_csv,
)
from netlists.faults import FaultKind, FaultMap, FaultRates, sample_faults
from netlists.spice import to_spice, write_spice
from netlists.tile import Drive, Tile, TileSpec, Wires, inject
from netlists.variation import (
    GaussianSpread,
    LognormalSpread,
    ProgrammingError,
    ResistanceError,
    RetentionDrift,
    Variation,
    vary,
)

__all__ = [
    "Cell",
    "CheckReport",
    "Circuit",
    "Drive",
    "FaultKind",
    "FaultMap",
    "FaultRates",
    "GaussianSpread",
    "InputError",
    "Level1Nmos",
    "LognormalSpread",
    "MissingToolError",
    "OhmicRram",
    "OneR",
    "OneTransistorOneR",
    "OneTransistorTwoR",
    "ProgrammingError",
    "ResistanceError",
    "RetentionDrift",
    "Tile",
    "TileSpec",
    "Variation",
    "Wires",
    "build_circuit",
    "check",
    "inject",
    "read_faultmap",
    "read_faultmap_csv",
    "sample_faults",
    "to_spice",
    "vary",
    "without_islands",
    "write_faultmap",
    "write_faultmap_csv",
    "write_spice",
]
