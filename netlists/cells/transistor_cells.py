"""Cells with an access transistor."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from netlists.cells.cell import Cell
from netlists.cells.elements import Element, Memory, Transistor
from netlists.devices import OhmicRram, Rram
from netlists.errors import InputError
from netlists.gate_lines import Gate, GateLine, require_gate_line
from netlists.transistors import Level1Nmos, Nmos


@dataclass(frozen=True, kw_only=True)
class _TransistorCell(Cell):
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

    @property
    def gate(self) -> Gate:
        """The word line."""
        return Gate(v=self.v_gate, line=self.gate_line)

    @property
    def series(self) -> tuple[Element, ...]:
        """Memory and transistor, the memory on the side of the bit line."""
        from_bit_line = Memory(), Transistor(nmos=self.nmos)
        return from_bit_line if self.drive_line == "BL" else from_bit_line[::-1]


@dataclass(frozen=True, kw_only=True)
class OneTransistorOneR(_TransistorCell):
    """1T1R: one memory in series with one transistor."""

    n_rram: ClassVar[int] = 1


@dataclass(frozen=True, kw_only=True)
class OneTransistorTwoR(_TransistorCell):
    """1T2R: two memories in parallel, in series with one transistor (bnn-1t2r, Fig. 2)."""

    n_rram: ClassVar[int] = 2
