"""What a solver returns: voltages, currents, and how far they satisfy Kirchhoff."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from netlists.arrays import BoolArray, FloatArray
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
    kcl_residual: largest net current into a node, relative to the largest source current of the
    same input; nodes that a perfect conductor joins count as one.
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


def assemble(
    *,
    v_row: FloatArray,
    v_col: FloatArray,
    i_in: FloatArray,
    i_out: FloatArray,
    net: Sequence[FloatArray],
    scale: FloatArray,
    power: FloatArray,
    dissipation: FloatArray,
    outcome: Outcome,
    solver: str,
    timings: dict[str, float],
    i_cell: FloatArray | None = None,
) -> Solution:
    """The one place where a Solution is made: what is left over at nodes becomes its residual.

    net: net currents into judged nodes, A [batch, ...] each.  scale: largest source current of
    each input, A [batch]; an input without any current has no residual.
    """
    worst = np.zeros(len(scale))
    for left in net:
        at_nodes = tuple(range(1, left.ndim))
        np.maximum(worst, np.abs(left).max(axis=at_nodes, initial=0.0), out=worst)
    carries = scale > 0
    floats = bool(np.isnan(v_row).any() or np.isnan(v_col).any())
    return Solution(
        v_row=v_row,
        v_col=v_col,
        i_out=i_out,
        i_in=i_in,
        kcl_residual=float((worst[carries] / scale[carries]).max(initial=0.0)),
        power=power,
        dissipation=dissipation,
        outcome=Outcome.FLOATING if floats and outcome is Outcome.SOLVED else outcome,
        solver=solver,
        timings=timings,
        i_cell=i_cell,
    )


def solution_of_circuit(
    circuit: Circuit,
    v_node: FloatArray,
    i_source: FloatArray,
    *,
    solver: str,
    timings: dict[str, float],
) -> Solution:
    """A Solution from the raw results of any circuit.

    v_node: [batch, nodes], NaN where undefined.  i_source: current out of each source's plus
    terminal into the circuit, A [batch, sources].
    """
    r, s, layout = circuit.resistors, circuit.sources, circuit.layout
    drop = v_node[:, r.a] - v_node[:, r.b]
    i_resistor = np.nan_to_num(drop / r.r)
    judged = _judged(circuit)
    n_nodes = len(circuit.nodes)
    net = [
        np.bincount(r.b, through, n_nodes)
        - np.bincount(r.a, through, n_nodes)
        + np.bincount(s.plus, fed, n_nodes)
        for through, fed in zip(i_resistor, i_source, strict=True)
    ]
    return assemble(
        v_row=v_node[:, layout.x],
        v_col=v_node[:, layout.y],
        i_in=i_source[:, layout.inputs],
        i_out=-i_source[:, layout.outputs],
        net=[np.stack(net)[:, judged]],
        scale=np.abs(i_source).max(axis=1),
        power=np.einsum("bs,bs->b", s.v, i_source),
        dissipation=np.einsum("br,br->b", i_resistor, np.nan_to_num(drop)),
        outcome=Outcome.FLOATING if np.isnan(v_node).any() else Outcome.SOLVED,
        solver=solver,
        timings=timings,
    )


def _judged(circuit: Circuit) -> BoolArray:
    """Nodes that touch resistors and sources only: currents of other elements are not known."""
    judged = np.ones(len(circuit.nodes), dtype=bool)
    judged[GROUND] = False
    if circuit.mosfets is not None:
        judged[circuit.mosfets.drain] = judged[circuit.mosfets.source] = False
    if circuit.memories is not None:
        judged[circuit.memories.a] = judged[circuit.memories.b] = False
    if circuit.subckts is not None:
        for ends in circuit.subckts.ends.values():
            judged[ends] = False
    return judged
