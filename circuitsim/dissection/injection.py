"""Node voltages of a factorised tile into whose nodes currents flow from elsewhere."""

from functools import lru_cache

import numpy as np

from circuitsim.dissection.injection_kernels import lower_voltages, raise_currents
from circuitsim.dissection.operator import BATCH, Factorisation, tables_of
from circuitsim.dissection.plan import CHILD_A, CLASS, GROUP, N_STEPS, SHARED, VALUE, Plan, padded
from circuitsim.dissection.simd import LANES
from circuitsim.dissection.workspace import aligned
from netlists.arrays import FloatArray, IntArray
from netlists.errors import InputError


@lru_cache(maxsize=32)
def _kept_rows(plan: Plan) -> tuple[IntArray, int]:
    """Where each node keeps its currents, and how many rows there are."""
    kind = plan.groups[plan.nodes[:, GROUP], CLASS]
    leaf = plan.nodes[:, CHILD_A] < 0
    shared = np.array([padded(int(s)) for s in plan.nodes[:, SHARED]])
    rows = np.where(leaf, plan.classes[kind, N_STEPS], shared)
    return np.concatenate([[0], np.cumsum(rows)[:-1]]).astype(np.int64), int(rows.sum())


class Injection:
    """Substitution on one thread, for up to BATCH inputs at a time, with its own scratch."""

    def __init__(self, done: Factorisation) -> None:
        plan = done.plan
        self._done = done
        self._tables = tables_of(plan)
        self._steps = plan.steps
        self._root = int(plan.nodes[plan.root, VALUE])
        self._kept_at, n_kept = _kept_rows(plan)
        self._values = aligned(plan.value_rows * BATCH)
        self._front = aligned((plan.max_front + LANES) * BATCH)
        self._local = aligned(4 * LANES * LANES * BATCH)
        self._kept = aligned(n_kept * BATCH)

    def voltages(
        self, v_source: FloatArray, i_cell: FloatArray, v_row: FloatArray, v_col: FloatArray
    ) -> None:
        """Fill v_row and v_col for sources and extra cell currents at once.

        v_source: V [rows, width].  i_cell: A [rows, cols, width], drawn from each cell's row node
        and delivered to its column node on top of g_cell times the drop.  v_row, v_col: V [rows,
        cols, width], written. All contiguous, width a multiple of LANES and at most BATCH.

        Raises InputError on any other shape.
        """
        self.voltages_of_nodes(v_source, i_cell, i_cell, v_row, v_col)

    def voltages_of_nodes(
        self,
        v_source: FloatArray,
        drawn: FloatArray,
        fed: FloatArray,
        v_row: FloatArray,
        v_col: FloatArray,
    ) -> None:
        """Fill v_row and v_col for sources and currents at the nodes, as `voltages` does.

        drawn: A [rows, cols, width] out of each row node.  fed: into each column node. A current at
        a node that floats is lost.
        """
        self._done.require_current()
        plan = self._done.plan
        rows, cols, width = plan.rows, plan.cols, v_source.shape[-1]
        for name, array, shape in (
            ("v_source", v_source, (rows, width)),
            ("drawn", drawn, (rows, cols, width)),
            ("fed", fed, (rows, cols, width)),
            ("v_row", v_row, (rows, cols, width)),
            ("v_col", v_col, (rows, cols, width)),
        ):
            fits = array.shape == shape and array.flags.c_contiguous
            if not fits or width % LANES or width > BATCH:
                raise InputError(
                    f"{name}.shape={array.shape} is not {shape}, contiguous, in whole vectors of "
                    f"{LANES} up to {BATCH}"
                )
        values = self._values
        same = (
            self._tables,
            self._done.factor,
            self._done.slots,
            values,
            width,
            self._front,
            self._local,
            self._kept,
            self._kept_at,
        )
        raise_currents(self._steps, *same, drawn, fed, width, 0)
        ports = values[self._root * width :][: (rows + cols) * width].reshape(-1, width)
        ports[rows:] = 0.0
        ports[:rows] = v_source
        lower_voltages(self._steps, *same, v_row, v_col, width, 0)
