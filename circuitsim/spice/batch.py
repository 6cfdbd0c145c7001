"""Circuit -> Solution by ngspice: one load for all inputs."""

import time

import numpy as np

from circuitsim.solution import Solution, solution_of_circuit
from circuitsim.spice.session import NgspiceError, NgspiceSession, default_session
from netlists.checks import check, without_islands
from netlists.circuit import GROUND, Circuit
from netlists.spice import to_spice_deck


def solve_circuit(
    circuit: Circuit, *, session: NgspiceSession | None = None, timeout: float | None = None
) -> Solution:
    """Every input of a circuit in ngspice, one load for all of them.

    Raises InputError when the circuit cannot be solved or a file of its cells is not what it was
    when they were read, NgspiceError when ngspice fails.
    """
    session = session or default_session()
    if circuit.subckts is not None:
        circuit.subckts.card.require_unchanged()
    report = check(circuit)
    report.require_solvable()
    circuit = without_islands(circuit, report)
    start = time.perf_counter()
    inputs = [circuit.sources.names[k] for k in circuit.layout.inputs.tolist()]
    deck = to_spice_deck(circuit, klu=session.has_klu)
    written = time.perf_counter()
    v_in = circuit.sources.v[:, circuit.layout.inputs]
    reply = session.sweep(deck, inputs, v_in, osdi=circuit.osdi, timeout=timeout)
    if session.has_klu and not reply["klu"]:
        raise NgspiceError("ngspice was asked for KLU and did not use it.")
    timings = {"write": written - start, "ngspice": time.perf_counter() - written}
    vectors = reply["vectors"]
    v_node = np.full((circuit.batch, len(circuit.nodes)), np.nan)
    v_node[:, GROUND] = 0.0
    for k, name in enumerate(circuit.nodes):
        if name in vectors:
            v_node[:, k] = vectors[name]
    # SPICE counts a source's current from plus to minus inside the source.
    i_source = -np.stack([vectors[f"{name}#branch"] for name in circuit.sources.names], axis=1)
    solver = f"ngspice {session.version} ({'KLU' if session.has_klu else 'Sparse 1.3'})"
    return solution_of_circuit(circuit, v_node, i_source, solver=solver, timings=timings)
