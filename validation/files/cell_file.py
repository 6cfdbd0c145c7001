"""A cell to calibrate, from its TOML file."""

from typing import Annotated

from pydantic import Field

from circuitsim.verification import TILES
from validation.files.base import Section, Seed
from validation.files.cell_section import OneCell


class RangeSection(Section):
    """[range]: over what a cell is calibrated.

    v_low, v_high: V, of both lines.  v_gate: gate voltages, V; the cell's own where left out.
    levels: states of a multi-level cell, S, whose errors are reported one by one; or how many,
    evenly spaced in conductance from HRS to LRS.
    """

    v_low: float = 0.0
    v_high: float = 0.2
    v_gate: tuple[float, ...] = Field(default=(), max_length=64)
    levels: (
        Annotated[int, Field(ge=2, le=64)]
        | Annotated[tuple[float, ...], Field(min_length=1, max_length=64)]
    ) = 2


class VerifySection(Section):
    """[verify]: random tiles on which the surface is checked against ngspice, per gate
    voltage.
    """

    tiles: int = Field(default=TILES, ge=0, le=1000)
    seed: Seed = 0


class CellFile(OneCell):
    """A cell to calibrate: `xbarverify calibrate`."""

    range: RangeSection = RangeSection()
    verify: VerifySection = VerifySection()
