"""Sparse nodal analysis of any circuit of resistors and grounded voltage sources.

The general solver and the oracle of faster ones. Known voltages (ground and sources) are moved to
the right-hand side; what is left is symmetric positive definite, factorised once for all inputs.
"""

import time

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from circuitsim.solution import Solution, solution_of_circuit
from netlists.arrays import FloatArray
from netlists.build import build_circuit
from netlists.cells import is_linear
from netlists.circuit import GROUND, Circuit
from netlists.errors import InputError
from netlists.tile import Drive, Tile

SOLVER = f"nodal (scipy {scipy.__version__} SuperLU)"


class NodalFactorisation:
    """The conductance matrix of a circuit, factorised.

    Raises InputError for anything but resistors (linearise the tile first) and for sources that
    are not grounded or that share a node.
    """

    def __init__(self, circuit: Circuit) -> None:
        if not circuit.is_linear:
            raise InputError("nodal analysis is linear: linearise the tile's cells first.")
        if (circuit.sources.minus != GROUND).any():
            raise InputError("nodal analysis takes grounded voltage sources only.")
        plus = circuit.sources.plus
        if len(np.unique(plus)) != len(plus) or (plus == GROUND).any():
            raise InputError(
                "two voltage sources share a node or one is shorted to ground; "
                "a wire, driver or sense resistance above 0 ohm would separate them."
            )
        self.circuit = circuit
        n = len(circuit.nodes)
        r = circuit.resistors
        g = 1.0 / r.r
        rows = np.concatenate([r.a, r.b, r.a, r.b])
        cols = np.concatenate([r.a, r.b, r.b, r.a])
        laplacian = coo_matrix((np.concatenate([g, g, -g, -g]), (rows, cols)), shape=(n, n)).tocsr()
        self._laplacian = laplacian

        known = np.zeros(n, dtype=bool)
        known[GROUND] = True
        known[plus] = True
        _, island = connected_components(laplacian, directed=False)
        self.floating: NDArray[np.bool_] = ~np.isin(island, island[known])
        self._known = np.flatnonzero(known)
        self._free = np.flatnonzero(~known & ~self.floating)
        self._coupling = laplacian[self._free][:, self._known]
        self._lu = _factorise(laplacian[self._free][:, self._free].tocsc())

    def voltages(self, v_source: FloatArray, i_node: FloatArray | None = None) -> FloatArray:
        """Node voltages [batch, nodes] for source voltages [batch, sources]; NaN where floating.

        i_node: currents fed into nodes from elsewhere, A [batch, nodes].
        """
        v = np.full((len(v_source), len(self.circuit.nodes)), np.nan)
        v[:, GROUND] = 0.0
        v[:, self.circuit.sources.plus] = v_source
        if self._lu is not None:
            fed = -(self._coupling @ v[:, self._known].T)
            if i_node is not None:
                fed += i_node[:, self._free].T
            v[:, self._free] = self._lu.solve(fed).T
        return v

    def source_currents(self, v_node: FloatArray) -> FloatArray:
        """Current that each source feeds into its node, A [batch, sources]."""
        plus = self.circuit.sources.plus
        return np.asarray((self._laplacian[plus] @ np.nan_to_num(v_node).T).T)


def _factorise(matrix: csc_matrix) -> SuperLU | None:
    if matrix.shape[0] == 0:
        return None
    return splu(
        matrix,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


def solve_circuit(circuit: Circuit) -> Solution:
    """Every input of a linear circuit, one factorisation for all of them."""
    start = time.perf_counter()
    factorised = NodalFactorisation(circuit)
    ready = time.perf_counter()
    v_node = factorised.voltages(circuit.sources.v)
    i_source = factorised.source_currents(v_node)
    timings = {"factorise": ready - start, "solve": time.perf_counter() - ready}
    return solution_of_circuit(circuit, v_node, i_source, solver=SOLVER, timings=timings)


def effective_conductance_sparse(tile: Tile) -> FloatArray:
    """The exact operator of a linear tile, S [cols, rows]: one adjoint solve per column.

    Reciprocity makes a column's row of the operator the currents that a unit voltage at its sense
    terminal would drive out of the row terminals.

    Raises InputError for cells that do not obey Ohm's law.
    """
    spec = tile.spec
    if not is_linear(spec.cell):
        raise InputError("the operator of a cell that bends needs its secant conductances.")
    factorised = NodalFactorisation(build_circuit(tile, Drive(v=np.zeros(spec.rows))))
    layout = factorised.circuit.layout
    unit = np.zeros((spec.cols, len(factorised.circuit.sources.names)))
    unit[np.arange(spec.cols), layout.outputs] = 1.0
    currents = factorised.source_currents(factorised.voltages(unit))
    return -currents[:, layout.inputs]
