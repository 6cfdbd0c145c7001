"""What a solver returns: voltages, currents, and how far they satisfy Kirchhoff."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from netlists.arrays import FloatArray
from netlists.circuit import GROUND, Circuit


class Outcome(Enum):
    """How a solve ended; the value is the advice."""

    SOLVED = "all node voltages are defined"
    FLOATING = (
        "some nodes have no path to ground (open segments or 0 S cells around them); "
        "their voltages are NaN and they carry no current"
    )
    NOT_CONVERGED = (
        "some inputs found no balance between cells and wires within the step limit, and their "
        "currents are the last estimate; lower the input voltages or raise the gate voltage"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """Node voltages and currents of a tile, for every input of a drive.

    v_row, v_col: drive-line and sense-line node voltages, V [batch, rows, cols].
    i_out: current into each virtual ground, A [batch, cols].
    i_in: current that each row source delivers, A [batch, rows].
    kcl_residual: largest net current into a node, relative to the largest source current.
    power: power delivered by all sources, W [batch].
    dissipation: power lost in all resistors, W [batch]; below `power` where transistors or bending
    memories take some.
    solver: its name and version.  timings: seconds per stage.
    i_cell: current of each cell from its drive to its sense line, A [batch, rows, cols], where the
    solver knows it.
    """

    v_row: FloatArray
    v_col: FloatArray
    i_out: FloatArray
    i_in: FloatArray
    kcl_residual: float
    power: FloatArray
    dissipation: FloatArray
    outcome: Outcome
    solver: str
    timings: dict[str, float] = field(default_factory=dict)
    i_cell: FloatArray | None = None


def assemble_solution(
    circuit: Circuit,
    v_node: FloatArray,
    i_source: FloatArray,
    *,
    solver: str,
    timings: dict[str, float],
) -> Solution:
    """Read a Solution off raw results.

    v_node: [batch, nodes], NaN where undefined.  i_source: current out of each source's plus
    terminal into the circuit, A [batch, sources].
    """
    r, s, layout = circuit.resistors, circuit.sources, circuit.layout
    drop = v_node[:, r.a] - v_node[:, r.b]
    i_resistor = np.nan_to_num(drop / r.r)
    return Solution(
        v_row=v_node[:, layout.x],
        v_col=v_node[:, layout.y],
        i_out=-i_source[:, layout.outputs],
        i_in=i_source[:, layout.inputs],
        kcl_residual=_kcl_residual(circuit, i_resistor, i_source),
        power=np.einsum("bs,bs->b", s.v, i_source),
        dissipation=np.einsum("br,br->b", i_resistor, np.nan_to_num(drop)),
        outcome=Outcome.FLOATING if np.isnan(v_node).any() else Outcome.SOLVED,
        solver=solver,
        timings=timings,
    )


def _kcl_residual(circuit: Circuit, i_resistor: FloatArray, i_source: FloatArray) -> float:
    """Largest net current into any node that touches resistors and sources only."""
    r, s, m = circuit.resistors, circuit.sources, circuit.mosfets
    n_nodes = len(circuit.nodes)
    judged = np.ones(n_nodes, dtype=bool)
    judged[GROUND] = False
    if m is not None:
        judged[m.drain] = judged[m.source] = False
    if circuit.memories is not None:
        judged[circuit.memories.a] = judged[circuit.memories.b] = False
    if circuit.subckts is not None:
        for ends in circuit.subckts.ends.values():
            judged[ends] = False
    worst = 0.0
    for through, fed in zip(i_resistor, i_source, strict=True):
        net = (
            np.bincount(r.b, through, n_nodes)
            - np.bincount(r.a, through, n_nodes)
            + np.bincount(s.plus, fed, n_nodes)
        )
        scale = float(np.abs(fed).max())
        if scale > 0 and judged.any():
            worst = max(worst, float(np.abs(net[judged]).max()) / scale)
    return worst
