"""What the nonlinear solver iterates with: node voltages of a tile at fixed cell conductances."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from circuitsim.dissection import Crossbar, Factorisation, Injection
from circuitsim.linear.bridges import BridgeCorrection, ends_of
from circuitsim.linear.linear_tile import NotStructuredError, prepare
from circuitsim.linear.nodal import NodalFactorisation
from circuitsim.linear.tile_arrays import crossbar_of, has_perfect_conductor
from netlists.arrays import FloatArray
from netlists.build import build_circuit
from netlists.errors import InputError
from netlists.tile import Drive, Tile


class LinearSystem(Protocol):
    """Node voltages of the tile at fixed cell conductances, with currents in the cells."""

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """Fill v_row and v_col as `dissection.Injection.voltages` does.

        Returns what the tile's bridges carry, A [k, width].
        """
        ...


class DissectedSystem:
    """Substitution on one thread over a shared factorisation, bridges corrected for."""

    def __init__(self, done: Factorisation, correction: BridgeCorrection | None) -> None:
        self._injection = Injection(done)
        self._correction = correction

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """See LinearSystem."""
        self._injection.voltages(v_source, i_cell, v_row, v_col)
        if self._correction is None:
            return np.empty((0, v_source.shape[1]))
        return self._correction.apply(v_row, v_col)


class SparseSystem:
    """The general sparse solver in that place: for what is not structured, and as oracle.

    Raises InputError for a bridge of 0 ohm on wires of 0 ohm: what each carries is not defined.
    """

    def __init__(self, linear: Tile) -> None:
        self._ends = ends_of(linear.bridges)
        self._wires = None
        if not self._ends.r.all():
            if has_perfect_conductor(linear):
                raise InputError(
                    "a bridge of 0 ohm on wires of 0 ohm may carry anything; give the bridge or "
                    "the wires a small resistance such as 1e-3 ohm."
                )
            self._wires = crossbar_of([linear])
        circuit = build_circuit(linear, Drive(v=np.zeros(linear.spec.rows)))
        self._done = NodalFactorisation(circuit)
        self._n_sources = len(circuit.sources.names)
        self._layout = circuit.layout

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> FloatArray:
        """See LinearSystem; a floating node is given 0 V."""
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
        drops, r = self._ends.drops(v_row, v_col), self._ends.r[:, None]
        carried = np.divide(drops, r, out=np.zeros_like(drops), where=r > 0)
        if self._wires is not None:
            carried += self._over_shorts(self._wires, v_source, i_cell, v_row, v_col, carried)
        return carried

    def _over_shorts(
        self,
        wires: Crossbar,
        v_source: FloatArray,
        i_cell: FloatArray,
        v_row: FloatArray,
        v_col: FloatArray,
        carried: FloatArray,
    ) -> FloatArray:
        """What bridges of 0 ohm carry, by Kirchhoff's law at their ends; 0 for the others."""
        g_row, g_col, g_cell = (g[:, :, None] for g in wires.tile(0))
        cell = g_cell * (v_row - v_col) + i_cell
        along = g_row * (np.concatenate([v_source[:, None], v_row[:, :-1]], axis=1) - v_row)
        down = g_col * (v_col - np.concatenate([v_col[1:], np.zeros_like(v_col[:1])]))
        others = self._ends.drawn(carried, *v_row.shape[:2])
        excess = np.stack([along - cell, cell - down])
        excess[0, :, :-1] -= along[:, 1:]
        excess[1, 1:] += down[:-1]
        excess -= np.moveaxis(np.stack(others), 1, -1)
        shorts = self._ends.r == 0
        place = np.ravel_multi_index(
            (self._ends.plane[shorts], self._ends.row[shorts], self._ends.col[shorts]),
            excess.shape[:3],
        )
        nodes, at = np.unique(place, return_inverse=True)
        incidence = np.zeros((len(nodes), len(place)))
        each = np.arange(len(place))
        at = at.reshape(place.shape)
        incidence[at[:, 0], each] = 1.0
        incidence[at[:, 1], each] = -1.0
        found = np.zeros_like(carried)
        leaving = excess.reshape(-1, excess.shape[-1])[nodes]
        found[shorts] = np.linalg.lstsq(incidence, leaving)[0]
        return found


def linear_systems(linear: Tile) -> Callable[[], LinearSystem]:
    """Factorise a tile of resistors; each thread then asks for a system of its own."""
    try:
        prepared = prepare(linear)
    except NotStructuredError:
        shared = SparseSystem(linear)
        return lambda: shared
    return lambda: DissectedSystem(prepared.factorisation, prepared.correction)
