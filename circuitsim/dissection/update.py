"""After some cells changed: the new operator, or the new factorisation, without starting over.

Two ways, both exact. *Low rank*: k changed cells change the operator by a rank-k matrix that one
bottom-up pass of k unit currents gives; it leaves the factorisation alone. *Paths*: only the blocks
above a changed cell are merged again, which needs the blocks kept. Starting over wins when many
cells changed; the limits below were measured from 64 x 64 to 512 x 512 on two cores.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.dissection.crossbar_circuit import Crossbar
from circuitsim.dissection.operator import (
    Factorisation,
    effective_operator,
    eliminate_again,
    factorise,
    tables_of,
)
from circuitsim.dissection.plan import CHILD_A, CHILD_B, PARENT, VALUE, Plan, padded
from circuitsim.dissection.simd import LANES
from circuitsim.dissection.update_kernels import ascend, invert, multiply
from circuitsim.dissection.workspace import aligned, aligned_zeros
from netlists.arrays import FloatArray, IntArray
from netlists.errors import InputError

LOW_RANK_UP_TO = 0.45
"""Changed cells over sqrt(rows cols) up to which a low-rank update beats a full extraction."""
PATHS_UP_TO = 1 / 16
"""Touched leaves over sqrt(rows cols) up to which paths beat a full factorisation."""
WORST_LOSS = 1e3
"""Growth of rounding errors in the k x k system above which a low-rank update is refused."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Touched:
    """The blocks above some cells: `order` lists them, children before parents.

    Sorted by `rank`, the cells below any node are the run runs[node, 0] .. runs[node, 1].
    """

    order: IntArray
    rank: IntArray
    runs: IntArray


def touched_nodes(plan: Plan, cells: IntArray) -> Touched:
    """Find the leaves of cells [k, 2] and all their ancestors."""
    parent, child = plan.nodes[:, PARENT], plan.nodes[:, [CHILD_A, CHILD_B]]
    members: dict[int, list[int]] = {}
    for k, leaf in enumerate(plan.leaf_of_cell[cells[:, 0], cells[:, 1]].tolist()):
        members.setdefault(leaf, []).append(k)
    found: set[int] = set()
    for node in members:
        while node >= 0 and node not in found:
            found.add(node)
            node = int(parent[node])
    order: list[int] = []
    rank: list[int] = []
    runs = np.zeros((len(plan.nodes), 2), np.int64)

    def visit(node: int) -> None:
        start = len(rank)
        rank.extend(members.get(node, ()))
        for below in child[node].tolist():
            if below in found:
                visit(below)
        runs[node] = start, len(rank)
        order.append(node)

    if found:
        visit(plan.root)
    return Touched(order=np.array(order, np.int64), rank=np.array(rank, np.int64), runs=runs)


def _checked(
    done: Factorisation, cells: ArrayLike, g_new: ArrayLike
) -> tuple[IntArray, FloatArray]:
    done.require_current()
    where = np.ascontiguousarray(cells, np.int64)
    new = np.ascontiguousarray(g_new, np.float64)
    if where.ndim != 2 or where.shape[1:] != (2,) or new.shape != where.shape[:1]:
        raise InputError(f"cells.shape={where.shape}, g_new.shape={new.shape} are not (k, 2), (k,)")
    limit = (done.plan.rows, done.plan.cols)
    if len(where) and (where.min() < 0 or (where >= limit).any()):
        raise InputError(f"cells reach from {where.min(0)} to {where.max(0)}, outside {limit}")
    if len(np.unique(where, axis=0)) != len(where):
        raise InputError("a cell is listed twice")
    if not (np.isfinite(new).all() and (new >= 0).all()):
        raise InputError(f"g_new in [{new.min()}, {new.max()}] is not finite and >= 0")
    return where, new


def with_cells(circuit: Crossbar, cells: IntArray, g_new: FloatArray) -> Crossbar:
    """A copy of a one-tile circuit with some cells replaced."""
    g = circuit.g_cell.copy()
    g[0, cells[:, 0], cells[:, 1]] = g_new
    return replace(circuit, g_cell=g)


def _ascend(done: Factorisation, cells: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """(rank [k], ports [rows + cols, K], drops [K, K]), with K = k padded and columns by rank."""
    plan, batch = done.plan, padded(len(cells))
    touched = touched_nodes(plan, cells)
    values = aligned(plan.value_rows * batch)
    drops = aligned_zeros(batch * batch)
    ascend(
        touched.order,
        tables_of(plan),
        done.factor,
        done.slots,
        cells[touched.rank],
        touched.runs,
        values,
        batch,
        aligned((plan.max_front + LANES) * batch),
        aligned(plan.max_front * batch),
        aligned(4 * LANES * LANES * batch),
        drops,
    )
    at = int(plan.nodes[plan.root, VALUE]) * batch
    ports = values[at : at + (plan.rows + plan.cols) * batch].reshape(-1, batch)
    return touched.rank, ports, drops.reshape(batch, batch)


def unit_currents(
    done: Factorisation, cells: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(du [rows, k], dl [cols, k], drops [k, k]) of some cells [k, 2].

    du[m, c] and dl[n, c] are the drops over cell c under 1 V at source m and at sense terminal n;
    drops[c, d] in ohm is the drop over cell c when 1 A goes into cell d.
    """
    rank, ports, drops = _ascend(done, cells)
    back = np.argsort(rank)  # to the caller's order of the cells
    rows = done.plan.rows
    return ports[:rows, back], ports[rows:, back], drops[np.ix_(back, back)]


def low_rank_operator(done: Factorisation, cells: ArrayLike, g_new: ArrayLike) -> FloatArray | None:
    """The operator after a change, or None where the k x k system would lose digits.

    With A the nodal matrix, E the k cells' incidence and D their change, this is
    (A + E D E')^-1 = A^-1 - A^-1 E (1 + D E' A^-1 E)^-1 D E' A^-1 seen from the terminals.
    """
    where, new = _checked(done, cells, g_new)
    if len(where) == 0:
        return done.operator.copy()
    rank, ports, drops = _ascend(done, where)
    k, size, rows, cols = len(where), len(drops), done.plan.rows, done.plan.cols
    change = np.zeros(size)
    change[:k] = (new - done.circuit.g_cell[0, where[:, 0], where[:, 1]])[rank]
    coupling = change[:, None] * drops
    inverse = np.empty_like(coupling)
    if not invert(np.eye(size) + coupling, inverse):
        return None
    growth = np.abs(inverse) * (1.0 + np.abs(coupling).sum(axis=1))
    if not growth.sum(axis=1).max() < WORST_LOSS:
        return None
    right = np.zeros((size, padded(rows)))
    right[:, :rows] = change[:, None] * ports[:rows].T
    left = np.zeros((padded(cols), size))
    left[:cols] = ports[rows:]
    middle, total = np.zeros_like(right), np.zeros((padded(cols), padded(rows)))
    multiply(inverse, right, middle)
    multiply(left, middle, total)
    # No branch is negative: what rounding leaves below 0 is 0.
    return np.maximum(done.operator - total[:cols, :rows], 0.0)


def low_rank_pays(plan: Plan, changed: int) -> bool:
    """Whether `changed` cells are few enough to beat a full extraction of the operator."""
    return changed <= LOW_RANK_UP_TO * math.sqrt(plan.rows * plan.cols)


def paths_pay(plan: Plan, cells: IntArray) -> bool:
    """Whether the leaves of the cells are few enough to beat a full factorisation."""
    leaves = len(np.unique(plan.leaf_of_cell[cells[:, 0], cells[:, 1]]))
    return leaves <= max(1.0, PATHS_UP_TO * math.sqrt(plan.rows * plan.cols))


def updated_operator(
    done: Factorisation, cells: ArrayLike, g_new: ArrayLike, *, threads: int | None = None
) -> FloatArray:
    """The operator [cols, rows] after cells [k, 2] became g_new [k] (S); `done` is not changed."""
    where, new = _checked(done, cells, g_new)
    if low_rank_pays(done.plan, len(where)):
        operator = low_rank_operator(done, where, new)
        if operator is not None:
            return operator
    whole = effective_operator(with_cells(done.circuit, where, new), threads=threads)
    return np.asarray(whole[0])


def updated_factorisation(
    done: Factorisation, cells: ArrayLike, g_new: ArrayLike, *, threads: int | None = None
) -> Factorisation:
    """The factorisation after a change. Needs `keep_blocks`, and takes over the arrays of `done`.

    If few leaves are touched their paths are merged again, otherwise everything is. Either way
    `done` must not be used afterwards: copying what did not change would cost what it saves.
    """
    if done.schur is None:
        raise InputError("schur=None: factorise with keep_blocks=True to update")
    where, new = _checked(done, cells, g_new)
    circuit = with_cells(done.circuit, where, new)
    if len(where) == 0:
        return done
    if not paths_pay(done.plan, where):
        return factorise(circuit, keep_blocks=True, threads=threads)
    return eliminate_again(done, circuit, touched_nodes(done.plan, where).order, threads=threads)
