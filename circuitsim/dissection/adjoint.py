"""Exact gradients of the operator: a network can be trained through the circuit itself.

    dG_eff[n, m] / dg[i, j] = -(dl_n)[i, j] (du_m)[i, j]

with du and dl the voltage drops (row node minus column node) over a cell under 1 V at source m and
under 1 V at sense terminal n. Their contraction with dL/dG_eff is done inside the merge tree.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.dissection.adjoint_kernels import pull_back, seed_root
from circuitsim.dissection.operator import Factorisation, tables_of
from circuitsim.dissection.plan import MERGE, N_PORTS, SHARED, Plan, padded
from circuitsim.dissection.simd import LANES
from circuitsim.dissection.threads import core_count, run_together
from circuitsim.dissection.workspace import aligned
from netlists.arrays import FloatArray, IntArray
from netlists.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    """dL/d(conductance) of the cells and of both kinds of wire segments, each [rows, cols]."""

    g_cell: FloatArray
    g_row: FloatArray
    g_col: FloatArray


def _front_sizes(plan: Plan) -> tuple[int, int]:
    """Doubles that the widest merge needs for its two work arrays."""
    wide = [padded(int(s)) for s in plan.nodes[:, SHARED]]
    ports = [padded(int(p)) for p in plan.nodes[:, N_PORTS]]
    pairs = list(zip(wide, ports, strict=True))
    return max((w + p) * p for w, p in pairs), max((w + p) * w for w, p in pairs)


def operator_vjp(
    done: Factorisation, d_operator: ArrayLike, *, threads: int | None = None
) -> Gradient:
    """dL/dG_eff [cols, rows] -> dL/d(every conductance), in O(n^3) time and O(n^2) memory."""
    done.require_current()
    plan = done.plan
    seed = np.ascontiguousarray(d_operator, np.float64)
    if seed.shape != done.operator.shape:
        raise InputError(f"d_operator.shape={seed.shape} != operator.shape={done.operator.shape}")
    tables = tables_of(plan)
    adjoint = aligned(plan.schur_size)
    out = Gradient(**{k: np.empty((plan.rows, plan.cols)) for k in ("g_cell", "g_row", "g_col")})
    front_size, square_size = _front_sizes(plan)
    seed_root(tables, plan.root, seed, adjoint)

    def work(steps: IntArray) -> None:
        front, square = aligned(front_size), aligned(square_size)
        bars = aligned(LANES * (plan.max_slots + 4 * LANES * LANES))
        pull_back(
            steps,
            tables,
            done.factor,
            done.slots,
            adjoint,
            front,
            square,
            bars,
            out.g_row,
            out.g_col,
            out.g_cell,
        )

    if len(plan.top):
        work(np.stack([np.full_like(plan.top, MERGE), plan.top], axis=1))
    if (threads or core_count()) > 1:
        run_together([partial(work, steps) for steps in plan.tasks])
    else:
        for steps in plan.tasks:
            work(steps)
    return out
