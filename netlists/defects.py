"""Defects of everything that is not a memory: transistors, segments of lines, bridges between them.

Positions are those of cells. Segment (i, j) of a row arrives at cell (i, j) from the input side,
segment (i, j) of a column leaves it towards the sense side, as in `Wires`; segment (i, j) of a gate
line arrives at its gate from the driver, which stands beside column 0 of a row of gates and above
row 0 of a column of them.

A gate that no driver reaches floats. What it settles at is its leakage's to decide; here that is
ground, through a leak of R_GATE_LEAK, so its transistor is off: it conducts what the transistor's
model says at a gate of 0 V. Gates draw no current, so the leak's value has no effect, and a bridge
from a driven gate line brings an island of gates to the full gate voltage whatever it resists.

What a defect does to elements stands in `netlists.build`; maps are drawn in `netlists.sampling`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.arrays import BoolArray, IntArray
from netlists.bridges import BRIDGE_KINDS, Bridge, bridge_ends
from netlists.cells import Cell, Instance
from netlists.defect_rates import R_SHORT, DefectRates
from netlists.errors import InputError
from netlists.gate_lines import GateLine, Place, gate_islands

R_GATE_LEAK = 1e9  # ohm; from an undriven gate line to ground

Places = Sequence[Place]


class TransistorState(IntEnum):
    """State of one access transistor; the values are those stored in files.

    OPEN: no conducting path between drain and source, an ideal open whatever the gate does.
    SHORTED: a resistor between drain and source, whatever the gate does.
    """

    WORKS = 0
    OPEN = 1
    SHORTED = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Defects:
    """What is broken in one tile beside its memories; None stands for none of a kind.

    transistor: `TransistorState` values, int8.  open_row, open_col, open_gate: true where a
    segment is open.  All [rows, cols].  bridges: shorts between lines, each place at most once.
    r_short: residual resistance of a shorted transistor, ohm; 0 is a perfect short.
    requested, seed: the rates and the random stream of a sampled map.

    Raises InputError on another shape, an unknown state, or a bridge that is not on the tile.
    """

    rows: int
    cols: int
    transistor: Any = None
    open_row: Any = None
    open_col: Any = None
    open_gate: Any = None
    bridges: tuple[Bridge, ...] = ()
    r_short: float = R_SHORT
    requested: DefectRates | None = None
    seed: str = ""
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.rows, self.cols)
        states = _plane("transistor", self.transistor, shape)
        if not np.isin(states, list(TransistorState)).all():
            where = tuple(np.argwhere(~np.isin(states, list(TransistorState)))[0].tolist())
            raise InputError(
                f"Defects: transistor{list(where)}={states[where]!r} is not one of "
                f"{', '.join(f'{int(k)} ({k.name})' for k in TransistorState)}."
            )
        if not 0 <= self.r_short < float("inf"):
            raise InputError(f"Defects: r_short={self.r_short!r} ohm must be finite, at least 0.")
        object.__setattr__(self, "r_short", float(self.r_short))
        planes = {"transistor": states.astype(np.int8)} | {
            name: _plane(name, getattr(self, name), shape).astype(np.bool_)
            for name in ("open_row", "open_col", "open_gate")
        }
        object.__setattr__(self, "bridges", tuple(self.bridges))
        content = f"{shape} {self.r_short!r} {self.bridges!r}".encode()
        for name, plane in planes.items():
            plane.flags.writeable = False
            object.__setattr__(self, name, plane)
            content += plane.tobytes()
        self._check_bridges()
        object.__setattr__(self, "sha256", hashlib.sha256(content).hexdigest())

    def _check_bridges(self) -> None:
        """The rule for "gate" bridges needs the cell; `Tile` applies it."""
        seen = set()
        for bridge in self.bridges:
            ends = bridge_ends(bridge, "row")
            if any(i >= self.rows or j >= self.cols for i, j in ends) and bridge.kind != "gate":
                raise InputError(
                    f"Defects: {bridge} ends at {ends[1]}, off a {self.rows}x{self.cols} tile."
                )
            place = (bridge.kind, bridge.row, bridge.col)
            if place in seen:
                raise InputError(f"Defects: two {bridge.kind} bridges at {place[1:]}; give one.")
            seen.add(place)

    @classmethod
    def at(
        cls,
        rows: int,
        cols: int,
        *,
        transistor_open: Places = (),
        transistor_shorted: Places = (),
        open_row: Places = (),
        open_col: Places = (),
        open_gate: Places = (),
        bridges: Sequence[Bridge] = (),
        r_short: float = R_SHORT,
    ) -> "Defects":
        """Defects by position, each list of (row, col).

        Raises InputError for one off the tile, or a transistor listed as open and as shorted.
        """

        def plane(name: str, places: Places) -> BoolArray:
            marked = np.zeros((rows, cols), dtype=np.bool_)
            for i, j in places:
                if not (0 <= i < rows and 0 <= j < cols):
                    raise InputError(f"{name}: ({i}, {j}) lies off a {rows}x{cols} tile.")
                marked[i, j] = True
            return marked

        opened = plane("transistor_open", transistor_open)
        shorted = plane("transistor_shorted", transistor_shorted)
        if (opened & shorted).any():
            where = tuple(np.argwhere(opened & shorted)[0].tolist())
            raise InputError(f"transistor {where} is listed as open and as shorted.")
        return cls(
            rows=rows,
            cols=cols,
            transistor=opened * TransistorState.OPEN + shorted * TransistorState.SHORTED,
            open_row=plane("open_row", open_row),
            open_col=plane("open_col", open_col),
            open_gate=plane("open_gate", open_gate),
            bridges=tuple(bridges),
            r_short=r_short,
        )

    def joined(self, other: "Defects") -> "Defects":
        """These defects and another's of the same tile; the other's win where both say something.

        Raises InputError where the tiles differ in size.
        """
        if (self.rows, self.cols) != (other.rows, other.cols):
            raise InputError(
                f"defects of {self.rows}x{self.cols} and {other.rows}x{other.cols} tiles do not "
                "join."
            )
        taken = {(bridge.kind, bridge.row, bridge.col) for bridge in other.bridges}
        ours = [b for b in self.bridges if (b.kind, b.row, b.col) not in taken]
        return replace(
            self,
            transistor=np.where(other.transistor, other.transistor, self.transistor),
            open_row=self.open_row | other.open_row,
            open_col=self.open_col | other.open_col,
            open_gate=self.open_gate | other.open_gate,
            bridges=(*ours, *other.bridges),
            r_short=other.r_short,
        )

    @property
    def of_transistors(self) -> bool:
        """Whether some transistor is stuck."""
        return bool(np.any(self.transistor))

    @property
    def of_gate_lines(self) -> bool:
        """Whether some gate line is cut or bridged."""
        return bool(np.any(self.open_gate)) or any(b.kind == "gate" for b in self.bridges)

    def gate_bridges(self, gate_line: GateLine) -> list[tuple[Place, Place]]:
        """Pairs of cells whose gates a bridge joins."""
        return [bridge_ends(one, gate_line) for one in self.bridges if one.kind == "gate"]

    def gate_islands(self, gate_line: GateLine) -> tuple[IntArray, BoolArray]:
        """See `gate_lines.gate_islands`."""
        return gate_islands(np.asarray(self.open_gate), self.gate_bridges(gate_line), gate_line)

    def counts(self) -> dict[str, int]:
        """How many defects of each kind there are, by the names that `DefectRates` uses."""
        states = np.asarray(self.transistor)
        return {
            "transistor_open": int(np.count_nonzero(states == TransistorState.OPEN)),
            "transistor_shorted": int(np.count_nonzero(states == TransistorState.SHORTED)),
            **{
                name: int(np.count_nonzero(getattr(self, name)))
                for name in ("open_row", "open_col", "open_gate")
            },
            **{
                f"bridge_{kind.removesuffix('umn')}": sum(b.kind == kind for b in self.bridges)
                for kind in BRIDGE_KINDS
            },
        }


def _plane(name: str, given: ArrayLike | None, shape: tuple[int, int]) -> NDArray[Any]:
    plane = np.zeros(shape, dtype=np.int8) if given is None else np.array(given)
    if plane.shape != shape:
        raise InputError(f"Defects: {name}.shape={plane.shape} != (rows, cols)={shape}.")
    return plane


def require_sites(defects: Defects | DefectRates, cell: Cell) -> None:
    """Raise InputError where a cell lacks what is defective: its transistor or its gate line."""
    if defects.of_transistors and cell.transistor is None:
        why = (
            "the transistor of a subcircuit is out of reach; put the defect into the subcircuit"
            if cell.series == (Instance(),)
            else f"{type(cell).__name__} has no transistor"
        )
        raise InputError(f"transistors cannot be open or shorted here: {why}.")
    if defects.of_gate_lines and cell.gate is None:
        raise InputError(f"gate lines cannot be open or bridged: {type(cell).__name__} has none.")
