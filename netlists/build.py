"""Tile + Drive -> Circuit: the only place that knows the topology.

    V_i -- r_driver -- r_row -- x(i,0) -- r_row -- x(i,1) ...        (row i, inputs)
                                 cell        cell
    y(0,j) -- r_col -- y(1,j) ... y(rows-1,j) -- r_col -- r_sense -- 0 V source -- ground

A resistance of 0 ohm is no element: its two ends become one node. An open is no element either.
"""

from dataclasses import dataclass

import networkx as nx
import numpy as np

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
from netlists.devices import OhmicRram
from netlists.subckt_cell import SubcktCell
from netlists.tile import Drive, Tile


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Node ids before merging, in the order in which a merged node takes its name."""

    names: list[str]
    driver: IntArray  # [rows] source terminals
    sense: IntArray  # [cols]
    gate: IntArray  # [rows], empty without gate lines
    x: IntArray  # [rows, cols]
    y: IntArray
    entry: IntArray  # [rows] between r_driver and the first segment
    exit: IntArray  # [cols] between the last segment and r_sense
    middle: IntArray  # [rows, cols] between memory and transistor, empty without transistors


def _number_nodes(rows: int, cols: int, *, gates: bool, middles: bool) -> _Nodes:
    names = ["0"]

    def line(prefix: str, n: int) -> IntArray:
        first = len(names)
        names.extend(f"{prefix}_{k}" for k in range(n))
        return np.arange(first, first + n)

    def plane(prefix: str) -> IntArray:
        first = len(names)
        names.extend(f"{prefix}_{i}_{j}" for i in range(rows) for j in range(cols))
        return np.arange(first, first + rows * cols).reshape(rows, cols)

    empty = np.empty(0, dtype=np.int64)
    return _Nodes(
        driver=line("in", rows),
        sense=line("out", cols),
        gate=line("gate", rows) if gates else empty,
        x=plane("x"),
        y=plane("y"),
        entry=line("entry", rows),
        exit=line("exit", cols),
        middle=plane("mid") if middles else empty,
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
    kept = np.flatnonzero(first == np.arange(n_nodes))
    return np.searchsorted(kept, first), kept


def build_circuit(tile: Tile, drive: Drive) -> Circuit:
    """The circuit of a tile under the given inputs, faults included.

    Elements: rdrv_i, rrow_i_j, rcol_i_j, rsen_j (wires), rcell_i_j[_k] (memories; xrcell_i_j[_k]
    where they bend), mcell_i_j (transistors), xcell_i_j (subcircuits), vin_i, vout_j and vgate_i
    (sources).
    Nodes: in_i, entry_i, x_i_j, mid_i_j, y_i_j, exit_j, out_j, gate_i.

    Raises InputError when the drive does not fit the tile.
    """
    spec, cell, wires = tile.spec, tile.spec.cell, tile.spec.wires
    rows, cols = spec.rows, spec.cols
    v = drive.for_tile(spec)
    whole = isinstance(cell, OneR | SubcktCell)  # nothing of ours between memory and transistor
    gated = "gate" in cell.ports if isinstance(cell, SubcktCell) else not whole
    n = _number_nodes(rows, cols, gates=gated, middles=not whole)

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

    a, b, r = np.concatenate(ends_a), np.concatenate(ends_b), np.concatenate(ohms)
    new_id, kept = _merge(len(n.names), a[r == 0], b[r == 0])
    real = (r > 0) & np.isfinite(r)

    memories = None
    if not isinstance(cell.rram, OhmicRram):
        g = np.ravel(tile.g_device)
        on = g > 0
        memories = Memories(
            names=tuple(
                f"x{name}" for name, keep in zip(memory_names, on.tolist(), strict=True) if keep
            ),
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
        if gated:
            lines["gate"] = np.repeat(n.gate, cols)
        cells = _grid("xcell", rows, cols)
        subckts = Subckts(
            names=tuple(name for name, keep in zip(cells, on.tolist(), strict=True) if keep),
            ends={role: new_id[ends[on]] for role, ends in lines.items()},
            g=g[on],
            card=cell,
        )
    elif not isinstance(cell, OneR):
        upper, lower = (n.middle, n.y) if cell.drive_line == "BL" else (n.x, n.middle)
        mosfets = Mosfets(
            names=tuple(_grid("mcell", rows, cols)),
            drain=new_id[upper.ravel()],
            gate=new_id[np.repeat(n.gate, cols)],
            source=new_id[lower.ravel()],
            card=cell.nmos,
        )

    labels = [*_grid("vin", rows), *_grid("vout", cols)]
    terminals = np.concatenate([n.driver, n.sense])
    volts = np.hstack([v, np.zeros((len(v), cols))])
    if gated:
        assert not isinstance(cell, OneR)
        labels += _grid("vgate", rows)
        terminals = np.concatenate([terminals, n.gate])
        volts = np.hstack([volts, np.full((len(v), rows), cell.v_gate)])

    return Circuit(
        title=f"{rows}x{cols} {type(cell).__name__} tile",
        nodes=tuple(n.names[k] for k in kept.tolist()),
        resistors=Resistors(
            names=tuple(name for name, keep in zip(names, real.tolist(), strict=True) if keep),
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
