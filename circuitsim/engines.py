"""What the nonlinear solver iterates with: node voltages of a tile at fixed cell conductances."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from circuitsim.bridges import BridgeCorrection, ends_of
from circuitsim.dissection import Factorisation, Injection
from circuitsim.nodal import NodalFactorisation
from circuitsim.prepared import NotStructuredError, prepare
from circuitsim.solution import FloatArray
from netlists.build import build_circuit
from netlists.errors import InputError
from netlists.tile import Drive, Tile


class LinearEngine(Protocol):
    """Node voltages of the tile at fixed cell conductances, with currents in the cells."""

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """Fill v_row and v_col as `dissection.Injection.voltages` does.

        Returns what the tile's bridges carry, A [k, width].
        """
        ...


class StructuredEngine:
    """Substitution on one thread over a shared factorisation, bridges corrected for."""

    def __init__(self, done: Factorisation, correction: BridgeCorrection | None) -> None:
        self._injection = Injection(done)
        self._correction = correction

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """See LinearEngine."""
        self._injection.voltages(v_source, i_cell, v_row, v_col)
        if self._correction is None:
            return np.empty((0, v_source.shape[1]))
        return self._correction.apply(v_row, v_col)


class SparseEngine:
    """The general sparse solver in that place: for what is not structured, and as oracle.

    Raises InputError for a bridge of 0 ohm, whose current node voltages do not tell.
    """

    def __init__(self, linear: Tile) -> None:
        self._ends = ends_of(linear.bridges)
        if not self._ends.r.all():
            raise InputError(
                "a bridge of 0 ohm on wires of 0 ohm, or to a line that is cut off, is beyond this "
                "solver; give the bridge a small resistance such as 1e-3 ohm."
            )
        circuit = build_circuit(linear, Drive(v=np.zeros(linear.spec.rows)))
        self._done = NodalFactorisation(circuit)
        self._n_sources = len(circuit.sources.names)
        self._layout = circuit.layout

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """See LinearEngine; a floating node is given 0 V."""
        width, layout = v_source.shape[1], self._layout
        sources = np.zeros((width, self._n_sources))
        sources[:, layout.inputs] = v_source.T
        fed = np.zeros((width, len(self._done.circuit.nodes)))
        flat = i_cell.reshape(-1, width).T
        for k in range(width):
            np.subtract.at(fed[k], layout.x.ravel(), flat[k])
            np.add.at(fed[k], layout.y.ravel(), flat[k])
        v_node = np.nan_to_num(self._done.voltages(sources, fed))
        v_row[:] = np.moveaxis(v_node[:, layout.x], 0, -1)
        v_col[:] = np.moveaxis(v_node[:, layout.y], 0, -1)
        return self._ends.drops(v_row, v_col) / self._ends.r[:, None]


def engines(linear: Tile) -> Callable[[], LinearEngine]:
    """Factorise a tile of resistors; each thread then asks for an engine of its own."""
    try:
        prepared = prepare(linear)
    except NotStructuredError:
        shared = SparseEngine(linear)
        return lambda: shared
    return lambda: StructuredEngine(prepared.factorisation, prepared.correction)
