"""Is a circuit solvable? Graph checks that run before any solver."""

from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from netlists.circuit import GROUND, Circuit, Mosfets
from netlists.errors import InputError
from netlists.transistors import Level1Nmos


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the graph shows.

    islands: groups of node names with no conducting path to ground; their voltage is undefined.
    shorted: pairs of source names that fight over one node, or a source with both ends on one node.
    missing: what the circuit lacks altogether.
    """

    islands: tuple[tuple[str, ...], ...] = ()
    shorted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def floating(self) -> tuple[str, ...]:
        """Every node without a path to ground."""
        return tuple(node for island in self.islands for node in island)

    @property
    def solvable(self) -> bool:
        """Whether all voltages that matter are defined; floating islands carry no current."""
        return not self.shorted and not self.missing

    def require_solvable(self) -> None:
        """Raise InputError with everything that stands in the way."""
        if not self.solvable:
            raise InputError("circuit cannot be solved: " + "; ".join(self.missing + self.shorted))


def _cut_off(circuit: Circuit, mosfets: Mosfets) -> NDArray[np.bool_]:
    """Transistors that certainly conduct nothing: level 1 below threshold is exactly that.

    A gate that no source holds is at ground, over its leak.
    """
    none = np.zeros(len(mosfets.names), dtype=bool)
    lowest = min(0.0, float(circuit.sources.v.min()))
    if not isinstance(mosfets.card, Level1Nmos) or -lowest >= mosfets.card.threshold:
        return none
    leaking = set(mosfets.gate.tolist()) - set(circuit.sources.plus.tolist())
    if not leaking:
        return none
    r = circuit.resistors
    held: nx.Graph = nx.Graph()
    held.add_nodes_from(range(1, len(circuit.nodes)))
    held.add_edges_from(
        (a, b) for a, b in zip(r.a.tolist(), r.b.tolist(), strict=True) if GROUND not in (a, b)
    )
    sources = set(circuit.sources.plus.tolist())
    free = {gate for gate in leaking if not sources & nx.node_connected_component(held, gate)}
    return np.isin(mosfets.gate, list(free))


def _conducting_graph(circuit: Circuit) -> nx.MultiGraph:
    graph: nx.MultiGraph = nx.MultiGraph()
    graph.add_nodes_from(range(len(circuit.nodes)))
    pairs = [(circuit.resistors.a, circuit.resistors.b)]
    pairs.append((circuit.sources.plus, circuit.sources.minus))
    if circuit.mosfets is not None:
        on = ~_cut_off(circuit, circuit.mosfets)
        pairs.append((circuit.mosfets.drain[on], circuit.mosfets.source[on]))
    if circuit.memories is not None:
        pairs.append((circuit.memories.a, circuit.memories.b))
    if circuit.subckts is not None:
        pairs.append((circuit.subckts.ends["drive"], circuit.subckts.ends["sense"]))
    for a, b in pairs:
        graph.add_edges_from(zip(a.tolist(), b.tolist(), strict=True))
    return graph


def _shorts(circuit: Circuit) -> tuple[str, ...]:
    """Sources that close a loop of sources; each such loop has no unique current."""
    forest: nx.Graph = nx.Graph()
    forest.add_nodes_from(range(len(circuit.nodes)))
    found = []
    owner = nx.utils.UnionFind(forest.nodes)
    sources = circuit.sources
    for name, plus, minus in zip(
        sources.names, sources.plus.tolist(), sources.minus.tolist(), strict=True
    ):
        if owner[plus] == owner[minus]:
            found.append(f"source {name} is shorted (node {circuit.nodes[plus]})")
        else:
            owner.union(plus, minus)
    return tuple(found)


def check(circuit: Circuit) -> CheckReport:
    """Floating nodes, islands, shorted or missing sources of a circuit."""
    missing = []
    if not len(circuit.layout.inputs):
        missing.append("no input source")
    if not len(circuit.layout.outputs):
        missing.append("no sense source")
    groups = nx.connected_components(_conducting_graph(circuit))
    islands = tuple(
        tuple(circuit.nodes[k] for k in sorted(group)) for group in groups if GROUND not in group
    )
    return CheckReport(islands=islands, shorted=_shorts(circuit), missing=tuple(missing))


def without_islands(circuit: Circuit, report: CheckReport) -> Circuit:
    """The same circuit with the elements of floating islands left out; node ids stay valid."""
    if not report.islands:
        return circuit
    index = {name: k for k, name in enumerate(circuit.nodes)}
    floating = np.zeros(len(circuit.nodes), dtype=bool)
    floating[[index[name] for name in report.floating]] = True
    resistors, mosfets = circuit.resistors, circuit.mosfets
    keep = ~floating[resistors.a]
    resistors = replace(
        resistors,
        names=tuple(n for n, k in zip(resistors.names, keep.tolist(), strict=True) if k),
        a=resistors.a[keep],
        b=resistors.b[keep],
        r=resistors.r[keep],
    )
    if mosfets is not None:
        stay = ~(floating[mosfets.drain] | floating[mosfets.source])
        mosfets = replace(
            mosfets,
            names=tuple(n for n, k in zip(mosfets.names, stay.tolist(), strict=True) if k),
            drain=mosfets.drain[stay],
            gate=mosfets.gate[stay],
            source=mosfets.source[stay],
        )
    memories = circuit.memories
    if memories is not None:
        stay = ~floating[memories.a]
        memories = replace(
            memories,
            names=tuple(n for n, k in zip(memories.names, stay.tolist(), strict=True) if k),
            a=memories.a[stay],
            b=memories.b[stay],
            g=memories.g[stay],
        )
    cells = circuit.subckts
    if cells is not None:
        stay = ~floating[cells.ends["drive"]]
        cells = replace(
            cells,
            names=tuple(n for n, k in zip(cells.names, stay.tolist(), strict=True) if k),
            ends={role: ends[stay] for role, ends in cells.ends.items()},
            parameters={name: values[stay] for name, values in cells.parameters.items()},
        )
    return replace(circuit, resistors=resistors, mosfets=mosfets, memories=memories, subckts=cells)
