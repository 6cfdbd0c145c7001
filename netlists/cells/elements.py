"""What a cell is made of: elements in series between its drive line and its sense line.

`netlists.build` turns each into elements of the circuit, once per cell.
"""

from dataclasses import dataclass

from netlists.transistors import Nmos


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memories of the cell, all in parallel where there are several."""


@dataclass(frozen=True, kw_only=True)
class Transistor:
    """An access transistor, its gate on the cell's gate line."""

    nmos: Nmos


@dataclass(frozen=True, kw_only=True)
class Resistor:
    """A fixed resistance, ohm: a selector that is on, a contact; 0 is a perfect conductor."""

    r: float


@dataclass(frozen=True, kw_only=True)
class Instance:
    """The whole cell as one instance of its subcircuit, memory and gate included."""


Element = Memory | Transistor | Resistor | Instance
