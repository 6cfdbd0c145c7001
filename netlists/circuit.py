"""The one intermediate form: a node table and element groups as arrays.

`build` makes it from a tile, `spice` writes it as text, `check` inspects it, solvers consume it.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from netlists.arrays import BoolArray, FloatArray, IntArray
from netlists.cells import SubcktCell
from netlists.devices import Rram
from netlists.transistors import Nmos

GROUND = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Resistors:
    """names: n strings; a, b: node ids [n]; r: ohm [n], positive and finite."""

    names: tuple[str, ...]
    a: IntArray
    b: IntArray
    r: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class VoltageSources:
    """names: n strings; plus, minus: node ids [n]; v: volts [batch, n]."""

    names: tuple[str, ...]
    plus: IntArray
    minus: IntArray
    v: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Mosfets:
    """n-channel transistors sharing one card; bulk is ground. drain, gate, source: node ids [n]."""

    names: tuple[str, ...]
    drain: IntArray
    gate: IntArray
    source: IntArray
    card: Nmos


@dataclass(frozen=True, kw_only=True, eq=False)
class Memories:
    """Memories that bend, sharing one card. a, b: node ids [n]; g: states [n], S, positive."""

    names: tuple[str, ...]
    a: IntArray
    b: IntArray
    g: FloatArray
    card: Rram


@dataclass(frozen=True, kw_only=True, eq=False)
class Subckts:
    """Instances of one subcircuit from a file. ends: role -> node ids [n], for the card's nodes.

    parameters: what sets their states, by the names the card gives them, [n] each.
    """

    names: tuple[str, ...]
    ends: dict[str, IntArray]
    parameters: dict[str, FloatArray]
    card: SubcktCell


Group = TypeVar("Group", Resistors, Mosfets, Memories, Subckts)


def kept(group: Group, stay: BoolArray) -> Group:
    """The elements of a group for which `stay` [n] is true, in their order."""

    def chosen(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(name for name, stays in zip(value, stay.tolist(), strict=True) if stays)
        if isinstance(value, dict):
            return {key: chosen(each) for key, each in value.items()}
        return value[stay] if isinstance(value, np.ndarray) else value

    changed = {field.name: chosen(getattr(group, field.name)) for field in fields(group)}
    return replace(group, **changed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where the crossbar stands in the circuit.

    x, y: node ids [rows, cols] of the drive-line and sense-line side of each cell.
    inputs: source index [rows] that drives each row.  outputs: source index [cols] that senses.
    """

    x: IntArray
    y: IntArray
    inputs: IntArray
    outputs: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Circuit:
    """A circuit. nodes[0] is ground, named "0"; names are lower case and unique."""

    title: str
    nodes: tuple[str, ...]
    resistors: Resistors
    sources: VoltageSources
    mosfets: Mosfets | None
    layout: Layout
    memories: Memories | None = None
    subckts: Subckts | None = None

    @property
    def is_linear(self) -> bool:
        """Whether resistors and sources are all there is."""
        return self.mosfets is None and self.memories is None and self.subckts is None

    @property
    def osdi(self) -> Path | None:
        """The compiled Verilog-A library that the simulator must load first."""
        return None if self.subckts is None else self.subckts.card.osdi

    @property
    def batch(self) -> int:
        """Number of input vectors."""
        return int(self.sources.v.shape[0])
