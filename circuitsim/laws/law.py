"""What all cells of one tile do, whatever they are."""

from dataclasses import dataclass
from typing import Protocol

from netlists.arrays import FloatArray

LEAST = 1e-18  # S; what ngspice is asked to keep in every transistor (gmin)


@dataclass(frozen=True, kw_only=True, eq=False)
class Iterate:
    """Where the balance between cells and wires stands, for some inputs at a time.

    v_row, v_col: node voltages, V [rows, cols, width].  g0: chord conductances, S [rows, cols].
    A law updates the rest in place: excess, what each cell draws beyond g0 times its drop, A
    [rows, cols, width]; i_out, the sums of cell currents, and change, how far the excess moved, A
    [cols, width] each. All contiguous.
    """

    v_row: FloatArray
    v_col: FloatArray
    g0: FloatArray
    excess: FloatArray
    i_out: FloatArray
    change: FloatArray


class CellLaw(Protocol):
    """What all cells of one tile do; voltages beyond a cell's range count as the range's end."""

    def step(self, now: Iterate) -> None:
        """Update excess, column currents and changes in place."""
        ...

    def slopes(self, v_row: FloatArray, v_col: FloatArray) -> FloatArray:
        """A symmetric slope [rows, cols], S, at node voltages that broadcast to that.

        Positive, or 0 where a cell carries nothing.
        """
        ...
