"""Cells: what stands between a drive line and a sense line at one crossing."""

from netlists.cells.cell import Cell, gate_of, is_linear
from netlists.cells.elements import Element, Instance, Memory, Resistor, Transistor
from netlists.cells.one_r import OneR
from netlists.cells.subckt_cell import SubcktCell
from netlists.cells.transistor_cells import OneTransistorOneR, OneTransistorTwoR

__all__ = [
    "Cell",
    "Element",
    "Instance",
    "Memory",
    "OneR",
    "OneTransistorOneR",
    "OneTransistorTwoR",
    "Resistor",
    "SubcktCell",
    "Transistor",
    "gate_of",
    "is_linear",
]
