"""Tile + Drive -> Circuit: the only place that knows the topology.

    V_i -- r_driver -- r_row -- x(i,0) -- r_row -- x(i,1) ...        (row i, inputs)
                                 cell        cell
    y(0,j) -- r_col -- y(1,j) ... y(rows-1,j) -- r_col -- r_sense -- 0 V source -- ground

A resistance of 0 ohm is no element: its two ends become one node. An open is no element either.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from netlists.cells import OneR
from netlists.circuit import (
    GROUND,
    Circuit,
    FloatArray,
    IntArray,
    Layout,
    Memories,
    Mosfets,
    Resistors,
    Subckts,
    VoltageSources,
)
from netlists.defects import bridge_ends
from netlists.devices import OhmicRram
from netlists.gates import GateLines, gate_lines
from netlists.subckt_cell import SubcktCell
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
    middle: IntArray  # [rows, cols] between memory and transistor, empty without transistors


def _number_nodes(rows: int, cols: int, *, gates: GateLines | None, middles: bool) -> _Nodes:
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
        middle=plane("mid") if middles else empty,
        names=names,
    )


def _grid(prefix: str, *shape: int) -> list[str]:
    return ["_".join((prefix, *map(str, index))) for index in np.ndindex(*shape)]


def _kept(names: list[str], keep: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, stays in zip(names, keep.tolist(), strict=True) if stays)


def _merge(n_nodes: int, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Give nodes joined by perfect conductors one id: (old -> new [n_nodes], kept old ids)."""
    joined: nx.Graph = nx.Graph()
    joined.add_edges_from(zip(a.tolist(), b.tolist(), strict=True))
    first = np.arange(n_nodes)
    for group in nx.connected_components(joined):
        first[list(group)] = min(group)
    kept = np.flatnonzero(first == np.arange(n_nodes))
    return np.searchsorted(kept, first), kept


def build_circuit(tile: Tile, drive: Drive) -> Circuit:
    """The circuit of a tile under the given inputs, faults included.

    Elements: rdrv_i, rrow_i_j, rcol_i_j, rsen_j (wires), rcell_i_j[_k] (memories; xrcell_i_j[_k]
    where they bend), mcell_i_j (transistors), rshort_i_j (shorted ones), xcell_i_j (subcircuits),
    rbrow_i_j, rbcolumn_i_j, rbcell_i_j, rbgate_i_j (bridges), rleak_i_j (of gates that float),
    vin_i, vout_j and vgate_k (sources).
    Nodes: in_i, entry_i, x_i_j, mid_i_j, y_i_j, exit_j, out_j, gate_k, gate_i_j (cut off).

    Raises InputError when the drive does not fit the tile.
    """
    spec, cell, wires = tile.spec, tile.spec.cell, tile.wires
    rows, cols = spec.rows, spec.cols
    v = drive.for_tile(spec)
    whole = isinstance(cell, OneR | SubcktCell)  # nothing of ours between memory and transistor
    gates = gate_lines(tile)
    n = _number_nodes(rows, cols, gates=gates, middles=not whole)

    # Each memory lies between its line and, where there is a transistor, the cell's middle node.
    if isinstance(cell, OneR | SubcktCell):
        memory_ends = (n.x, n.y)
    elif cell.drive_line == "BL":
        memory_ends = (n.x, n.middle)
    else:
        memory_ends = (n.middle, n.y)
    per_cell = (rows, cols, cell.n_rram)
    memory_names = _grid("rcell", *(per_cell if cell.n_rram > 1 else per_cell[:2]))
    with np.errstate(divide="ignore"):
        r_memory = 1.0 / tile.g_device

    names: list[str] = []
    ends_a: list[IntArray] = []
    ends_b: list[IntArray] = []
    ohms: list[FloatArray] = []

    def add(labels: list[str], a: IntArray, b: IntArray, r: FloatArray) -> None:
        names.extend(labels)
        ends_a.append(np.ravel(a))
        ends_b.append(np.ravel(b))
        ohms.append(np.ravel(r))

    add(_grid("rdrv", rows), n.driver, n.entry, np.asarray(wires.r_driver))
    before = np.column_stack([n.entry, n.x[:, :-1]])
    add(_grid("rrow", rows, cols), before, n.x, np.asarray(wires.r_row_segment))
    after = np.vstack([n.y[1:], n.exit[None, :]])
    add(_grid("rcol", rows, cols), n.y, after, np.asarray(wires.r_col_segment))
    add(_grid("rsen", cols), n.exit, n.sense, np.asarray(wires.r_sense))
    both = [np.repeat(np.ravel(end), cell.n_rram) for end in memory_ends]
    if isinstance(cell.rram, OhmicRram) and not isinstance(cell, SubcktCell):
        add(memory_names, both[0], both[1], r_memory)
    for bridge in tile.bridges:
        label = f"rb{bridge.kind}_{bridge.row}_{bridge.col}"
        first, second = bridge_ends(bridge, "row")
        one = (n.y if bridge.kind == "column" else n.x)[first]
        other = (n.x if bridge.kind == "row" else n.y)[second]
        add([label], one, other, np.asarray(bridge.r))
    if gates is not None:
        floor = np.where(gates.b < 0, GROUND, n.gate[gates.b])
        add(list(gates.labels), n.gate[gates.a], floor, gates.r)
    upper, lower, access = n.x, n.y, tile.access.ravel()
    if not whole:
        upper, lower = (n.middle, n.y) if memory_ends[0] is n.x else (n.x, n.middle)
        shorts = access == Access.SHORTED
        residual = np.full(np.count_nonzero(shorts), tile.defects.r_short if tile.defects else 0.0)
        shorted = _kept(_grid("rshort", rows, cols), shorts)
        add(list(shorted), upper.ravel()[shorts], lower.ravel()[shorts], residual)

    a, b, r = np.concatenate(ends_a), np.concatenate(ends_b), np.concatenate(ohms)
    new_id, kept = _merge(len(n.names), a[r == 0], b[r == 0])
    real = (r > 0) & np.isfinite(r)

    memories = None
    if not isinstance(cell.rram, OhmicRram):
        g = np.ravel(tile.g_device)
        on = g > 0
        memories = Memories(
            names=_kept([f"x{name}" for name in memory_names], on),
            a=new_id[both[0][on]],
            b=new_id[both[1][on]],
            g=g[on],
            card=cell.rram,
        )

    mosfets = subckts = None
    if isinstance(cell, SubcktCell):
        g = np.ravel(tile.g_device)
        on = g > 0
        lines = {"drive": n.x.ravel(), "sense": n.y.ravel()}
        if gates is not None:
            lines["gate"] = n.gate[gates.of_cell].ravel()
        cells = _grid("xcell", rows, cols)
        subckts = Subckts(
            names=_kept(cells, on),
            ends={role: new_id[ends[on]] for role, ends in lines.items()},
            parameters=cell.parameters_of(g[on]),
            card=cell,
        )
    elif not isinstance(cell, OneR):
        assert gates is not None
        there = (access == Access.GATED) | (access == Access.OFF)
        mosfets = Mosfets(
            names=_kept(_grid("mcell", rows, cols), there),
            drain=new_id[upper.ravel()[there]],
            gate=new_id[n.gate[gates.of_cell].ravel()[there]],
            source=new_id[lower.ravel()[there]],
            card=cell.nmos,
        )

    labels = [*_grid("vin", rows), *_grid("vout", cols)]
    terminals = np.concatenate([n.driver, n.sense])
    volts = np.hstack([v, np.zeros((len(v), cols))])
    if gates is not None:
        assert not isinstance(cell, OneR)
        labels += _grid("vgate", gates.n_lines)
        terminals = np.concatenate([terminals, n.gate[: gates.n_lines]])
        volts = np.hstack([volts, np.full((len(v), gates.n_lines), cell.v_gate)])

    return Circuit(
        title=f"{rows}x{cols} {type(cell).__name__} tile",
        nodes=tuple(n.names[k] for k in kept.tolist()),
        resistors=Resistors(
            names=_kept(names, real),
            a=new_id[a[real]],
            b=new_id[b[real]],
            r=r[real],
        ),
        sources=VoltageSources(
            names=tuple(labels),
            plus=new_id[terminals],
            minus=np.full(len(terminals), GROUND),
            v=volts,
        ),
        mosfets=mosfets,
        memories=memories,
        subckts=subckts,
        layout=Layout(
            x=new_id[n.x],
            y=new_id[n.y],
            inputs=np.arange(rows),
            outputs=np.arange(rows, rows + cols),
        ),
    )
