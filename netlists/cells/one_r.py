"""A memory without an access transistor."""

from dataclasses import dataclass, field
from typing import ClassVar

from netlists.cells.cell import Cell
from netlists.cells.elements import Element, Memory
from netlists.devices import OhmicRram, Rram


@dataclass(frozen=True, kw_only=True)
class OneR(Cell):
    """A bare resistive memory between the two lines: no transistor, so no calibration is needed."""

    n_rram: ClassVar[int] = 1
    rram: Rram = field(default_factory=OhmicRram)

    @property
    def series(self) -> tuple[Element, ...]:
        """The memory."""
        return (Memory(),)
