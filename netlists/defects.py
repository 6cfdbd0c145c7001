"""Defects of everything that is not a memory: transistors, segments of lines, bridges between them.

Positions are those of cells. Segment (i, j) of a row arrives at cell (i, j) from the input side,
segment (i, j) of a column leaves it towards the sense side, as in `Wires`; segment (i, j) of a gate
line arrives at its gate from the driver, which stands beside column 0 of a row of gates and above
row 0 of a column of them.

A gate that no driver reaches floats. What it settles at is its leakage's to decide; here that is
ground, through a leak of R_GATE_LEAK, so its transistor is off: it conducts what the transistor's
model says at a gate of 0 V. Gates draw no current, so the leak's value has no effect, and a bridge
from a driven gate line brings an island of gates to the full gate voltage whatever it resists.

Shape and sampling follow `netlists.faults`: one uniform number decides one site, so that maps at
rising rates are nested. Whatever a defect does to elements stands in `netlists.build`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.cells import Cell, gate_line_of, has_gate, has_transistor
from netlists.defect_rates import R_SHORT, DefectRates
from netlists.errors import InputError
from netlists.faults import stream_name
from netlists.subckt_cell import GateLine, SubcktCell

if TYPE_CHECKING:
    from netlists.tile import TileSpec

R_GATE_LEAK = 1e9  # ohm; from an undriven gate line to ground

BridgeKind = Literal["row", "column", "gate", "cell"]
BRIDGE_KINDS: tuple[BridgeKind, ...] = get_args(BridgeKind)
BoolArray = NDArray[np.bool_]
Places = Sequence[tuple[int, int]]


class TransistorState(IntEnum):
    """State of one access transistor; the values are those stored in files.

    OPEN: no conducting path between drain and source, an ideal open whatever the gate does.
    SHORTED: a resistor between drain and source, whatever the gate does.
    """

    WORKS = 0
    OPEN = 1
    SHORTED = 2


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """A resistive short between two lines that pass each other at cell (row, col).

    kind: "row" joins row lines `row` and `row` + 1 there, "column" column lines `col` and
    `col` + 1, "gate" the gate lines of neighbouring rows or columns, whichever they serve, and
    "cell" the row line and the column line that cross.  r: ohm; 0 is a perfect short.

    Raises InputError on an unknown kind, a negative position or a resistance below 0.
    """

    kind: BridgeKind
    row: int
    col: int
    r: float

    def __post_init__(self) -> None:
        if self.kind not in BRIDGE_KINDS:
            raise InputError(f"Bridge: kind={self.kind!r} is not one of {', '.join(BRIDGE_KINDS)}.")
        if not 0 <= self.r < float("inf"):
            raise InputError(f"Bridge: r={self.r!r} ohm must be finite and at least 0.")
        if min(self.row, self.col) < 0:
            raise InputError(f"Bridge: ({self.row}, {self.col}) is no position in a tile.")
        # Plain numbers, so that equal bridges read and hash alike wherever they came from.
        object.__setattr__(self, "row", int(self.row))
        object.__setattr__(self, "col", int(self.col))
        object.__setattr__(self, "r", float(self.r))


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


def bridge_ends(bridge: Bridge, gate_line: GateLine) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two cells whose nodes a bridge joins; a "cell" bridge stays at one."""
    i, j = bridge.row, bridge.col
    along = gate_line if bridge.kind == "gate" else bridge.kind
    if along == "row":
        return (i, j), (i + 1, j)
    return (i, j), (i, j if along == "cell" else j + 1)


def gate_islands(defects: Defects, gate_line: GateLine) -> tuple[NDArray[np.int64], BoolArray]:
    """Which piece of gate line each gate hangs on, and which pieces a driver reaches.

    Pieces [rows, cols]: 0 .. lines - 1 are what stays with each driver, those above were cut off.
    driven [pieces]: true where a driver is, or is reached over bridges.
    """
    cut = np.asarray(defects.open_gate)
    cut = cut if gate_line == "row" else cut.T
    n_lines = len(cut)
    first = np.concatenate([[0], np.cumsum(cut.sum(axis=1))[:-1]])
    within = np.cumsum(cut, axis=1)
    lines = np.arange(n_lines)[:, None]
    pieces = np.where(within == 0, lines, n_lines + first[:, None] + within - 1)
    pieces = pieces if gate_line == "row" else pieces.T
    driven = np.arange(n_lines + int(cut.sum())) < n_lines
    joined = [
        tuple(int(pieces[end]) for end in bridge_ends(bridge, gate_line))
        for bridge in defects.bridges
        if bridge.kind == "gate"
    ]
    for _ in joined:
        for a, b in joined:
            driven[a] = driven[b] = driven[a] or driven[b]
    return pieces, driven


def require_sites(defects: Defects | DefectRates, cell: Cell) -> None:
    """Raise InputError where a cell lacks what is defective: its transistor or its gate line."""
    if isinstance(defects, Defects):
        transistors, gates = defects.of_transistors, defects.of_gate_lines
    else:
        transistors = bool(defects.transistor_open or defects.transistor_shorted)
        gates = bool(defects.open_gate or defects.bridge_gate)
    if transistors and not has_transistor(cell):
        why = (
            "the transistor of a subcircuit is out of reach; put the defect into the subcircuit"
            if isinstance(cell, SubcktCell)
            else f"{type(cell).__name__} has no transistor"
        )
        raise InputError(f"transistors cannot be open or shorted here: {why}.")
    if gates and not has_gate(cell):
        raise InputError(f"gate lines cannot be open or bridged: {type(cell).__name__} has none.")


def sample_defects(spec: "TileSpec", rates: DefectRates, *, rng: np.random.Generator) -> Defects:
    """Defects of one tile, each site hit independently at its rate.

    Every kind draws from a stream of its own, one number a site: a map at a higher rate holds all
    defects of the lower one, and raising one rate moves nothing else. A transistor is open from
    below and shorted from above.

    Raises InputError where the cell lacks what a rate is of.
    """
    require_sites(rates, spec.cell)
    rows, cols = spec.rows, spec.cols
    gate_line = gate_line_of(spec.cell) if has_gate(spec.cell) else "row"
    seed = stream_name(rng)
    transistor, row, col, gate, *bridged = (
        stream.random((rows, cols)) for stream in rng.spawn(4 + len(BRIDGE_KINDS))
    )
    states = np.zeros((rows, cols), dtype=np.int8)
    states[transistor < rates.transistor_open] = TransistorState.OPEN
    states[transistor >= 1.0 - rates.transistor_shorted] = TransistorState.SHORTED
    bridges = []
    for kind, drawn in zip(BRIDGE_KINDS, bridged, strict=True):
        rate = getattr(rates, f"bridge_{kind.removesuffix('umn')}")
        for i, j in np.argwhere(drawn < rate).tolist():
            bridge = Bridge(kind=kind, row=i, col=j, r=rates.r_bridge)
            last = bridge_ends(bridge, gate_line)[1]
            if last[0] < rows and last[1] < cols:  # no line beyond the border
                bridges.append(bridge)
    return Defects(
        rows=rows,
        cols=cols,
        transistor=states,
        open_row=row < rates.open_row,
        open_col=col < rates.open_col,
        open_gate=gate < rates.open_gate,
        bridges=tuple(bridges),
        r_short=rates.r_short,
        requested=rates,
        seed=seed,
    )
