"""What the circuit is: tiles, cells, faults, and their SPICE text."""

from netlists.bridges import Bridge
from netlists.build import build_circuit
from netlists.cells import Cell, OneR, OneTransistorOneR, OneTransistorTwoR, SubcktCell, is_linear
from netlists.checks import CheckReport, check, without_islands
from netlists.circuit import Circuit
from netlists.defect_rates import DefectRates
from netlists.defects import Defects, TransistorState
from netlists.devices import (
    Deviation,
    DeviceSpread,
    DynamicRram,
    OhmicRram,
    Rram,
    SinhRram,
    VteamRram,
    YakopcicRram,
)
from netlists.errors import InputError, MissingToolError
from netlists.fault_patterns import Clusters, Independent, Lines, Lognormal, Pattern, StuckStates
from netlists.faultmap_io import (
    read_defects,
    read_faultmap,
    read_faultmap_csv,
    write_defects,
    write_faultmap,
    write_faultmap_csv,
)
from netlists.faults import FaultKind, FaultMap, FaultRates
from netlists.pulse_deck import Pulse, write_deck
from netlists.sampling import sample_defects, sample_faults
from netlists.spice import to_spice, write_spice
from netlists.tile import Access, Drive, Tile, TileSpec, inject
from netlists.transistors import Bsim4Nmos, Level1Nmos, Nmos
from netlists.variation import (
    GaussianSpread,
    LognormalSpread,
    ProgrammingError,
    ResistanceError,
    RetentionDrift,
    Variation,
    vary,
)
from netlists.wires import Wires

__all__ = [
    "Access",
    "Bridge",
    "Bsim4Nmos",
    "Cell",
    "CheckReport",
    "Circuit",
    "Clusters",
    "DefectRates",
    "Defects",
    "Deviation",
    "DeviceSpread",
    "Drive",
    "DynamicRram",
    "FaultKind",
    "FaultMap",
    "FaultRates",
    "GaussianSpread",
    "Independent",
    "InputError",
    "Level1Nmos",
    "Lines",
    "Lognormal",
    "LognormalSpread",
    "MissingToolError",
    "Nmos",
    "OhmicRram",
    "OneR",
    "OneTransistorOneR",
    "OneTransistorTwoR",
    "Pattern",
    "ProgrammingError",
    "Pulse",
    "ResistanceError",
    "RetentionDrift",
    "Rram",
    "SinhRram",
    "StuckStates",
    "SubcktCell",
    "Tile",
    "TileSpec",
    "TransistorState",
    "Variation",
    "VteamRram",
    "Wires",
    "YakopcicRram",
    "build_circuit",
    "check",
    "inject",
    "is_linear",
    "read_defects",
    "read_faultmap",
    "read_faultmap_csv",
    "sample_defects",
    "sample_faults",
    "to_spice",
    "vary",
    "without_islands",
    "write_deck",
    "write_defects",
    "write_faultmap",
    "write_faultmap_csv",
    "write_spice",
]
