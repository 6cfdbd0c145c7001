"""What every cell is, and what callers ask of it.

A cell is data. `netlists.build` turns it into elements, `circuitsim` calibrates it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from netlists.cells.elements import Element, Memory, Resistor, Transistor
from netlists.devices import OhmicRram, Rram
from netlists.errors import InputError
from netlists.gate_lines import Gate
from netlists.identity import digest, version_of

G_SHORT = 1e4  # S; a memory that leaves a transistor all but 1e-7 of the voltage


@dataclass(frozen=True, kw_only=True)
class Cell(ABC):
    """What stands between a drive line and a sense line at one crossing.

    A new kind is a frozen dataclass with its memory in the field `rram`, `n_rram` memories in
    parallel, and `series`. One with a transistor says what stands at its `gate`, whose voltage is
    its field `v_gate`.
    """

    n_rram: ClassVar[int] = 1

    if TYPE_CHECKING:  # a field of most cells, computed by those whose file holds the memory

        @property
        def rram(self) -> Rram:
            """The memory."""
            ...

    @property
    @abstractmethod
    def series(self) -> tuple[Element, ...]:
        """Elements in series from the drive line to the sense line, one `Memory` among them."""

    @property
    def gate(self) -> Gate | None:
        """What stands at its gate; None where no gate line leads to it."""
        return None

    @property
    def is_bare(self) -> bool:
        """Whether it is its memory alone, whose own equation says all: nothing to calibrate."""
        return self.series == (Memory(),)

    @property
    def transistor(self) -> Transistor | None:
        """Its access transistor; None where it has none, or one inside a subcircuit."""
        return next((one for one in self.series if isinstance(one, Transistor)), None)

    @property
    def r_fixed(self) -> float:
        """Fixed resistance in series, ohm."""
        return float(sum(one.r for one in self.series if isinstance(one, Resistor)))

    @property
    def memory_sides(self) -> tuple[bool, ...]:
        """Where its memory may stand, as far as a calibration by parts has to know.

        True for the drive line's side of the transistor. Empty where a cell is not memories with a
        current of known form beside one transistor.
        """
        if self.rram.bend is None or {type(one) for one in self.series} != {Memory, Transistor}:
            return ()
        return (isinstance(self.series[0], Memory),)

    @property
    def files(self) -> Mapping[str, str]:
        """Paths that its netlist names, each with what stands for the file's content."""
        return {}

    def changed_file(self) -> Path | None:
        """A file that its netlist names and that is no longer what it was; None without one."""
        return None

    def require_unchanged(self) -> None:
        """Raise InputError where a file that its netlist names is not what it was."""
        file = self.changed_file()
        if file is not None:
            raise InputError(
                f"{file} has changed or gone since the cell was read from it; put it back, or "
                "start anew with the cell as it is now."
            )

    @property
    def calibrated_as(self) -> str:
        """Digest of what a calibration depends on: the fields that make cells equal.

        A moved file is the same cell, a changed one another.
        """
        counted = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        return digest(type(self).__name__, version_of(type(self)), counted)

    def reach(self, margin: float) -> tuple[float, float]:
        """States that it can take, S over all memories: a factor `margin` beyond its two."""
        return self.rram.g_hrs / margin, self.rram.g_lrs * self.n_rram * margin

    def with_memory_shorted(self) -> tuple["Cell", float]:
        """The cell and a state, S, in which next to all of the voltage is on the other elements."""
        ohmic: dict[str, Any] = {"rram": OhmicRram(r_lrs=1 / G_SHORT, r_hrs=self.rram.r_hrs)}
        return replace(self, **ohmic), G_SHORT

    def at_gate(self, v_gate: float) -> "Cell":
        """The cell at a gate voltage, V; one without a gate is what it is."""
        if self.gate is None or v_gate == self.gate.v:
            return self
        changed: dict[str, Any] = {"v_gate": v_gate}
        return replace(self, **changed)


def is_linear(cell: Cell) -> bool:
    """Whether the cell obeys Ohm's law, so that its conductance is its memory's."""
    return cell.is_bare and cell.rram.is_ohmic


def gate_of(cell: Cell) -> Gate:
    """What stands at the gate of a cell; raises InputError for a cell without a gate."""
    if cell.gate is None:
        raise InputError(f"{type(cell).__name__} has no gate line.")
    return cell.gate
