"""Cells: what stands between a drive line and a sense line at one crossing.

A cell is data. `netlists.build` turns it into elements, `circuitsim` calibrates it.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from netlists.devices import OhmicRram, Rram
from netlists.errors import InputError
from netlists.subckt_cell import GateLine, SubcktCell, require_gate_line
from netlists.transistors import Level1Nmos, Nmos


@dataclass(frozen=True, kw_only=True)
class OneR:
    """A bare resistive memory between the two lines: no transistor, so no calibration is needed."""

    n_rram: ClassVar[int] = 1
    rram: Rram = field(default_factory=OhmicRram)


@dataclass(frozen=True, kw_only=True)
class _TransistorCell:
    """What the cells with an access transistor share.

    rram: the memory.  nmos: the access transistor.  v_gate: word-line voltage, V.
    drive_line: which of the two other lines carries the inputs. The memory sits on the bit line and
    the transistor on the source line, so "BL" puts the memory next to the input and "SL" the
    transistor.
    gate_line: what one gate line serves, a row of cells or a column; driven from the side of the
    inputs or from the top. Of no effect on what a cell is, hence on its calibration, before a gate
    line breaks.
    """

    n_rram: ClassVar[int]
    rram: Rram = field(default_factory=OhmicRram)
    nmos: Nmos = field(default_factory=Level1Nmos)
    v_gate: float = 1.2
    drive_line: Literal["BL", "SL"] = "BL"
    gate_line: GateLine = field(default="row", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.v_gate > self.nmos.threshold:
            raise InputError(
                f"{type(self).__name__}: v_gate={self.v_gate!r} V does not exceed the threshold "
                f"{self.nmos.threshold!r} V, so no cell would conduct; raise the gate voltage."
            )
        if self.drive_line not in ("BL", "SL"):
            raise InputError(
                f"{type(self).__name__}: drive_line={self.drive_line!r} must be 'BL' or 'SL'."
            )
        require_gate_line(type(self).__name__, self.gate_line)


@dataclass(frozen=True, kw_only=True)
class OneTransistorOneR(_TransistorCell):
    """1T1R: one memory in series with one transistor."""

    n_rram: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class OneTransistorTwoR(_TransistorCell):
    """1T2R: two memories in parallel, in series with one transistor (bnn-1t2r, Fig. 2)."""

    n_rram: ClassVar[int] = 2


def is_linear(cell: "Cell") -> bool:
    """Whether the cell obeys Ohm's law, so that its conductance is its memory's."""
    return isinstance(cell, OneR) and isinstance(cell.rram, OhmicRram)


def has_transistor(cell: "Cell") -> bool:
    """Whether the cell has an access transistor of ours: a subcircuit's own is out of reach."""
    return isinstance(cell, _TransistorCell)


def has_gate(cell: "Cell") -> bool:
    """Whether gate lines lead to the cell."""
    return "gate" in cell.ports if isinstance(cell, SubcktCell) else has_transistor(cell)


def gate_line_of(cell: "Cell") -> GateLine:
    """What one gate line serves; raises InputError for a cell without a gate."""
    if isinstance(cell, OneR) or not has_gate(cell):
        raise InputError(f"{type(cell).__name__} has no gate line.")
    return cell.gate_line


Cell = OneR | OneTransistorOneR | OneTransistorTwoR | SubcktCell
