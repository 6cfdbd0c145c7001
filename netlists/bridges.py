"""Bridges: resistive shorts between two lines that pass each other."""

from dataclasses import dataclass
from typing import Literal, get_args

from netlists.errors import InputError
from netlists.gate_lines import GateLine, Place

BridgeKind = Literal["row", "column", "gate", "cell"]
SMALLEST = 1e-12  # ohm; what is not a perfect short
BRIDGE_KINDS: tuple[BridgeKind, ...] = get_args(BridgeKind)


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """A resistive short between two lines that pass each other at cell (row, col).

    kind: "row" joins row lines `row` and `row` + 1 there, "column" column lines `col` and
    `col` + 1, "gate" the gate lines of neighbouring rows or columns, whichever they serve, and
    "cell" the row line and the column line that cross.  r: ohm; 0 is a perfect short.

    Raises InputError on an unknown kind, a negative position or a resistance below 0.
    """

    kind: BridgeKind
    row: int
    col: int
    r: float

    def __post_init__(self) -> None:
        if self.kind not in BRIDGE_KINDS:
            raise InputError(f"Bridge: kind={self.kind!r} is not one of {', '.join(BRIDGE_KINDS)}.")
        if not 0 <= self.r < float("inf"):
            raise InputError(f"Bridge: r={self.r!r} ohm must be finite and at least 0.")
        if 0 < self.r < SMALLEST:
            raise InputError(
                f"Bridge: r={self.r!r} ohm is less than {SMALLEST:g}; write 0 for a perfect short."
            )
        if min(self.row, self.col) < 0:
            raise InputError(f"Bridge: ({self.row}, {self.col}) is no position in a tile.")
        # Plain numbers, so that equal bridges read and hash alike wherever they came from.
        object.__setattr__(self, "row", int(self.row))
        object.__setattr__(self, "col", int(self.col))
        object.__setattr__(self, "r", float(self.r))


def bridge_ends(bridge: Bridge, gate_line: GateLine) -> tuple[Place, Place]:
    """The two cells whose nodes a bridge joins; a "cell" bridge stays at one."""
    i, j = bridge.row, bridge.col
    along = gate_line if bridge.kind == "gate" else bridge.kind
    if along == "row":
        return (i, j), (i + 1, j)
    return (i, j), (i, j if along == "cell" else j + 1)
