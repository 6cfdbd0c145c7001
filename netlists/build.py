"""Tile + Drive -> Circuit: the only place that knows the topology.

    V_i -- r_driver -- r_row -- x(i,0) -- r_row -- x(i,1) ...        (row i, inputs)
                                 cell        cell
    y(0,j) -- r_col -- y(1,j) ... y(rows-1,j) -- r_col -- r_sense -- 0 V source -- ground

A resistance of 0 ohm is no element: its two ends become one node. An open is no element either.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray, IntArray
from netlists.bridges import bridge_ends
from netlists.cells import Instance, Memory, Resistor, SubcktCell, Transistor, gate_of
from netlists.circuit import (
    GROUND,
    Circuit,
    Layout,
    Memories,
    Mosfets,
    Resistors,
    Subckts,
    VoltageSources,
    kept,
)
from netlists.errors import InputError
from netlists.gate_nodes import GateNodes, gate_nodes
from netlists.tile import Access, Drive, Tile


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Node ids before merging, in the order in which a merged node takes its name."""

    names: list[str]
    driver: IntArray  # [rows] source terminals
    sense: IntArray  # [cols]
    gate: IntArray  # [pieces of gate line], empty without gate lines
    x: IntArray  # [rows, cols]
    y: IntArray
    entry: IntArray  # [rows] between r_driver and the first segment
    exit: IntArray  # [cols] between the last segment and r_sense
    middle: list[IntArray]  # [rows, cols] each, between the elements of a cell


def _number_nodes(rows: int, cols: int, *, gates: GateNodes | None, middles: int) -> _Nodes:
    names = ["0"]

    def added(new: Iterable[str]) -> IntArray:
        first = len(names)
        names.extend(new)
        return np.arange(first, len(names))

    def line(prefix: str, n: int) -> IntArray:
        return added(f"{prefix}_{k}" for k in range(n))

    def plane(prefix: str) -> IntArray:
        return added(_grid(prefix, rows, cols)).reshape(rows, cols)

    empty = np.empty(0, dtype=np.int64)
    return _Nodes(
        driver=line("in", rows),
        sense=line("out", cols),
        gate=added(gates.names) if gates else empty,
        x=plane("x"),
        y=plane("y"),
        entry=line("entry", rows),
        exit=line("exit", cols),
        middle=[plane(f"mid{k or ''}") for k in range(middles)],
        names=names,
    )


def _grid(prefix: str, *shape: int) -> list[str]:
    return ["_".join((prefix, *map(str, index))) for index in np.ndindex(*shape)]


def _merge(n_nodes: int, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Give nodes joined by perfect conductors one id: (old -> new [n_nodes], kept old ids)."""
    joined: nx.Graph = nx.Graph()
    joined.add_edges_from(zip(a.tolist(), b.tolist(), strict=True))
    first = np.arange(n_nodes)
    for group in nx.connected_components(joined):
        first[list(group)] = min(group)
    stay = np.flatnonzero(first == np.arange(n_nodes))
    return np.searchsorted(stay, first), stay


@dataclass(frozen=True, eq=False)
class _Branches:
    """Two-terminal elements that are resistors, in the order in which they are written."""

    names: list[str] = field(default_factory=list)
    a: list[IntArray] = field(default_factory=list)
    b: list[IntArray] = field(default_factory=list)
    r: list[FloatArray] = field(default_factory=list)

    def add(self, names: Iterable[str], a: IntArray, b: IntArray, r: ArrayLike) -> None:
        """Resistors of r ohm from node a to node b, all of one size [n] or [rows, cols]."""
        self.names.extend(names)
        self.a.append(np.ravel(a))
        self.b.append(np.ravel(b))
        self.r.append(np.ravel(np.broadcast_to(r, np.shape(a))))

    def joined(self) -> tuple[IntArray, IntArray, FloatArray]:
        """(a, b, ohm) of all of them, [n]."""
        return np.concatenate(self.a), np.concatenate(self.b), np.concatenate(self.r)


def build_circuit(tile: Tile, drive: Drive) -> Circuit:
    """The circuit of a tile under the given inputs, faults included.

    Elements: rdrv_i, rrow_i_j, rcol_i_j, rsen_j (wires), rcell_i_j[_k] (memories; xrcell_i_j[_k]
    where they bend), mcell_i_j (transistors), rshort_i_j (shorted ones), rseries_i_j (fixed
    resistances), xcell_i_j (subcircuits), rbrow_i_j, rbcolumn_i_j, rbcell_i_j, rbgate_i_j
    (bridges), rleak_i_j (of gates that float), vin_i, vout_j and vgate_k (sources).
    Nodes: in_i, entry_i, x_i_j, mid_i_j (mid1_i_j ... within longer cells), y_i_j, exit_j, out_j,
    gate_k, gate_i_j (cut off).

    Raises InputError when the drive does not fit the tile.
    """
    spec, cell = tile.spec, tile.spec.cell
    v = drive.for_tile(spec)
    gates = gate_nodes(tile)
    n = _number_nodes(spec.rows, spec.cols, gates=gates, middles=len(cell.series) - 1)
    branches = _Branches()
    _add_wires(branches, tile, n)
    chain = [n.x, *n.middle, n.y]
    spans = {
        type(one): (upper.ravel(), lower.ravel())
        for one, upper, lower in zip(cell.series, chain[:-1], chain[1:], strict=True)
    }
    if len(spans) < len(cell.series):
        raise InputError(
            f"{type(cell).__name__}: series={cell.series!r} names a kind of element twice; a cell "
            "has one of each."
        )
    if Memory in spans and cell.rram.is_ohmic:
        with np.errstate(divide="ignore"):
            r_memory = 1.0 / tile.g_device
        a, b = (np.repeat(end, cell.n_rram) for end in spans[Memory])
        branches.add(_memory_names(tile), a, b, r_memory.ravel())
    _add_bridges(branches, tile, n)
    if gates is not None:
        floor = np.where(gates.b < 0, GROUND, n.gate[gates.b])
        branches.add(gates.labels, n.gate[gates.a], floor, gates.r)
    if Transistor in spans:
        _add_shorts(branches, tile, *spans[Transistor])
    if Resistor in spans:
        names = _grid("rseries", spec.rows, spec.cols)
        branches.add(names, *spans[Resistor], cell.r_fixed)

    a, b, r = branches.joined()
    new_id, kept_nodes = _merge(len(n.names), a[r == 0], b[r == 0])
    resistors = Resistors(names=tuple(branches.names), a=new_id[a], b=new_id[b], r=r)
    at = {kind: (new_id[upper], new_id[lower]) for kind, (upper, lower) in spans.items()}
    gate = None if gates is None else new_id[n.gate[gates.of_cell].ravel()]
    bends = Memory in at and not cell.rram.is_ohmic
    return Circuit(
        title=f"{spec.rows}x{spec.cols} {type(cell).__name__} tile",
        nodes=tuple(n.names[k] for k in kept_nodes.tolist()),
        resistors=kept(resistors, (r > 0) & np.isfinite(r)),
        sources=_sources(tile, v, n, gates, new_id),
        layout=Layout(
            x=new_id[n.x],
            y=new_id[n.y],
            inputs=np.arange(spec.rows),
            outputs=np.arange(spec.rows, spec.rows + spec.cols),
        ),
        memories=_memories(tile, *at[Memory]) if bends else None,
        mosfets=_mosfets(tile, *at[Transistor], gate) if Transistor in at else None,
        subckts=_subckts(tile, *at[Instance], gate) if Instance in at else None,
    )


def _add_wires(branches: _Branches, tile: Tile, n: _Nodes) -> None:
    rows, cols = tile.spec.rows, tile.spec.cols
    wires = tile.wires
    branches.add(_grid("rdrv", rows), n.driver, n.entry, wires.r_driver)
    before = np.column_stack([n.entry, n.x[:, :-1]])
    branches.add(_grid("rrow", rows, cols), before, n.x, wires.r_row_segment)
    after = np.vstack([n.y[1:], n.exit[None, :]])
    branches.add(_grid("rcol", rows, cols), n.y, after, wires.r_col_segment)
    branches.add(_grid("rsen", cols), n.exit, n.sense, wires.r_sense)


def _add_bridges(branches: _Branches, tile: Tile, n: _Nodes) -> None:
    for bridge in tile.bridges:
        first, second = bridge_ends(bridge, "row")
        one = (n.y if bridge.kind == "column" else n.x)[first]
        other = (n.x if bridge.kind == "row" else n.y)[second]
        branches.add([f"rb{bridge.kind}_{bridge.row}_{bridge.col}"], one, other, bridge.r)


def _add_shorts(branches: _Branches, tile: Tile, upper: IntArray, lower: IntArray) -> None:
    shorts = np.flatnonzero(tile.access == Access.SHORTED)
    names = [_grid("rshort", tile.spec.rows, tile.spec.cols)[k] for k in shorts.tolist()]
    r_short = tile.defects.r_short if tile.defects else 0.0
    branches.add(names, upper[shorts], lower[shorts], r_short)


def _memory_names(tile: Tile) -> list[str]:
    spec = tile.spec
    several = (spec.cell.n_rram,) if spec.cell.n_rram > 1 else ()
    return _grid("rcell", spec.rows, spec.cols, *several)


def _memories(tile: Tile, upper: IntArray, lower: IntArray) -> Memories:
    """Those that bend; a state of 0 S is no element."""
    g, count = np.ravel(tile.g_device), tile.spec.cell.n_rram
    every = Memories(
        names=tuple(f"x{name}" for name in _memory_names(tile)),
        a=np.repeat(upper, count),
        b=np.repeat(lower, count),
        g=g,
        card=tile.spec.cell.rram,
    )
    return kept(every, g > 0)


def _mosfets(tile: Tile, upper: IntArray, lower: IntArray, gate: IntArray | None) -> Mosfets:
    """Transistors that are neither open nor shorted."""
    access, element = tile.access.ravel(), tile.spec.cell.transistor
    if element is None or gate is None:
        raise InputError(f"{tile.spec.cell!r} has a transistor and does not say its gate.")
    every = Mosfets(
        names=tuple(_grid("mcell", tile.spec.rows, tile.spec.cols)),
        drain=upper,
        gate=gate,
        source=lower,
        card=element.nmos,
    )
    return kept(every, (access == Access.GATED) | (access == Access.OFF))


def _subckts(tile: Tile, upper: IntArray, lower: IntArray, gate: IntArray | None) -> Subckts:
    """Subcircuits; one in a state of 0 S is left out."""
    cell = tile.spec.cell
    assert isinstance(cell, SubcktCell)
    g = np.ravel(tile.g_device)
    on = g > 0
    ends = {"drive": upper, "sense": lower} | ({} if gate is None else {"gate": gate})
    names = np.array(_grid("xcell", tile.spec.rows, tile.spec.cols))[on]
    return Subckts(
        names=tuple(names.tolist()),
        ends={role: nodes[on] for role, nodes in ends.items()},
        parameters=cell.parameters_of(g[on]),
        card=cell,
    )


def _sources(
    tile: Tile, v: FloatArray, n: _Nodes, gates: GateNodes | None, new_id: IntArray
) -> VoltageSources:
    """Inputs, virtual grounds, and drivers of gate lines; v: [batch, rows]."""
    spec = tile.spec
    names = [*_grid("vin", spec.rows), *_grid("vout", spec.cols)]
    terminals = np.concatenate([n.driver, n.sense])
    volts = np.hstack([v, np.zeros((len(v), spec.cols))])
    if gates is not None:
        names += _grid("vgate", gates.n_lines)
        terminals = np.concatenate([terminals, n.gate[: gates.n_lines]])
        v_gate = np.full((len(v), gates.n_lines), gate_of(spec.cell).v)
        volts = np.hstack([volts, v_gate])
    return VoltageSources(
        names=tuple(names),
        plus=new_id[terminals],
        minus=np.full(len(terminals), GROUND),
        v=volts,
    )
