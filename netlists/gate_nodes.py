"""Gate lines of a tile: their pieces, and what holds each at its voltage."""

from dataclasses import dataclass

import numpy as np

from netlists.arrays import FloatArray, IntArray
from netlists.bridges import bridge_ends
from netlists.defects import R_GATE_LEAK, Defects
from netlists.tile import Tile


@dataclass(frozen=True, kw_only=True, eq=False)
class GateNodes:
    """Pieces of gate line as nodes to be.

    names: gate_k of line k, then gate_i_j of each piece that is cut off, after its first cell.
    of_cell: the piece at each cell [rows, cols].  n_lines: pieces with a driver of their own.
    labels, a, b, r: resistors between pieces (bridges) and from pieces to ground (leaks), b < 0
    for ground.
    """

    names: tuple[str, ...]
    of_cell: IntArray
    n_lines: int
    labels: tuple[str, ...]
    a: IntArray
    b: IntArray
    r: FloatArray


def gate_nodes(tile: Tile) -> GateNodes | None:
    """The gate lines of a tile, or None for cells without a gate.

    A piece that no driver reaches gets its leak to ground. A perfect bridge is written as 1 ohm:
    gates draw no current, so that changes no voltage and keeps drivers apart.
    """
    spec = tile.spec
    if spec.cell.gate is None:
        return None
    defects = tile.defects or Defects(rows=spec.rows, cols=spec.cols)
    gate_line = spec.cell.gate.line
    pieces, driven = defects.gate_islands(gate_line)
    n_lines = spec.rows if gate_line == "row" else spec.cols
    _, first = np.unique(pieces, return_index=True)
    at = dict(zip(pieces.ravel()[first].tolist(), first.tolist(), strict=True))
    names = [f"gate_{k}" for k in range(n_lines)]
    names += ["gate_{}_{}".format(*divmod(at[k], spec.cols)) for k in range(n_lines, len(driven))]
    elements = [
        (
            f"rbgate_{bridge.row}_{bridge.col}",
            *(int(pieces[end]) for end in bridge_ends(bridge, gate_line)),
            max(bridge.r, 1.0),
        )
        for bridge in defects.bridges
        if bridge.kind == "gate"
    ]
    elements += [
        (f"rleak{names[k].removeprefix('gate')}", k, -1, R_GATE_LEAK)
        for k in np.flatnonzero(~driven).tolist()
    ]
    labels, a, b, r = zip(*elements, strict=True) if elements else ((), (), (), ())
    return GateNodes(
        names=tuple(names),
        of_cell=pieces,
        n_lines=n_lines,
        labels=labels,
        a=np.array(a, dtype=np.int64),
        b=np.array(b, dtype=np.int64),
        r=np.array(r, dtype=np.float64),
    )
