"""Is a circuit solvable? Graph checks that run before any solver."""

from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np

from netlists.arrays import BoolArray
from netlists.circuit import GROUND, Circuit, Mosfets, kept
from netlists.errors import InputError


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


def _cut_off(circuit: Circuit, mosfets: Mosfets) -> BoolArray:
    """Transistors that certainly conduct nothing: some models below threshold are exactly that.

    A gate that no source holds is at ground, over its leak.
    """
    none = np.zeros(len(mosfets.names), dtype=bool)
    lowest = min(0.0, float(circuit.sources.v.min()))
    if not mosfets.card.blocks or -lowest >= mosfets.card.threshold:
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
    changed: dict[str, Any] = {"resistors": kept(circuit.resistors, ~floating[circuit.resistors.a])}
    if (m := circuit.mosfets) is not None:
        changed["mosfets"] = kept(m, ~(floating[m.drain] | floating[m.source]))
    if circuit.memories is not None:
        changed["memories"] = kept(circuit.memories, ~floating[circuit.memories.a])
    if circuit.subckts is not None:
        changed["subckts"] = kept(circuit.subckts, ~floating[circuit.subckts.ends["drive"]])
    return replace(circuit, **changed)
