"""The exact operator and the exact node voltages of crossbars, by nested dissection."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from circuitsim.dissection.crossbar_circuit import Crossbar
from circuitsim.dissection.kernels import (
    eliminate_columns,
    eliminate_shared,
    gather_panel,
    gather_rest,
    merge,
    read_operator,
    run_steps,
    update_rest,
)
from circuitsim.dissection.plan import (
    CHILD_A,
    FACTOR,
    GROUP,
    LEAF_GROUP,
    MERGE,
    N_PORTS,
    SHARED,
    VALUE,
    Plan,
    make_plan,
    padded,
)
from circuitsim.dissection.simd import LANES
from circuitsim.dissection.threads import core_count, run_together, shares
from circuitsim.dissection.voltage_kernels import descend
from circuitsim.dissection.workspace import Scratch, aligned, scratch, scratch_bytes
from netlists.arrays import FloatArray, IntArray
from netlists.errors import InputError

Tables = tuple[IntArray, IntArray, IntArray, IntArray, IntArray]
WORTH_SPLITTING = 96
"""Shared ports from which a merge above the tasks is split between threads."""
BATCH = 32
"""Input vectors that one thread substitutes together."""


def tables_of(plan: Plan) -> Tables:
    """The plan as the kernels take it."""
    return plan.nodes, plan.pieces, plan.groups, plan.classes, plan.words


@dataclass(frozen=True, kw_only=True, eq=False)
class Factorisation:
    """One eliminated tile: enough to find every node voltage for any input.

    `operator` [cols, rows] in S maps source voltages to sense currents. `schur` is kept only on
    request (`keep_blocks`) and is what an update of some cells starts from.
    """

    plan: Plan
    circuit: Crossbar
    operator: FloatArray
    factor: FloatArray = field(repr=False)
    slots: FloatArray = field(repr=False)
    schur: FloatArray | None = field(repr=False, default=None)
    owner: list[int] = field(repr=False, default_factory=lambda: [0])
    turn: int = 0

    def require_current(self) -> None:
        """An update hands the arrays on to its result: refuse to read them through the old one."""
        if self.owner[0] != self.turn:
            raise InputError("this factorisation is spent: an update took over its arrays")

    @property
    def nbytes(self) -> int:
        """Bytes that this factorisation keeps."""
        kept = self.factor.nbytes + self.slots.nbytes + self.operator.nbytes
        return kept + (self.schur.nbytes if self.schur is not None else 0)


def _merge_together(
    plan: Plan,
    node: int,
    schur: FloatArray,
    scaled: FloatArray,
    at: int,
    mine: Scratch,
    threads: int,
) -> None:
    """One merge on several threads: pivots, then the panel by columns, then the rest by columns."""
    tables = tables_of(plan)
    wide, ports = padded(int(plan.nodes[node, SHARED])), padded(int(plan.nodes[node, N_PORTS]))
    panel, small = mine.panel, mine.small

    def pivots() -> None:
        gather_panel(tables, node, schur, panel, mine.places)
        eliminate_shared(tables, node, panel, scaled, at, small)

    run_together([pivots, partial(gather_rest, tables, node, schur)])
    run_together(
        [
            partial(eliminate_columns, tables, node, panel, scaled, at, small, wide + a, wide + b)
            for a, b in shares(ports, threads, LANES)
        ]
    )
    # Column j of the upper triangle is j long: equal areas need square-root cuts.
    cuts = [round(ports * (k / threads) ** 0.5 / (2 * LANES)) * 2 * LANES for k in range(threads)]
    run_together(
        [
            partial(update_rest, tables, node, schur, panel, scaled, at, a, b)
            for a, b in zip(cuts, [*cuts[1:], ports], strict=True)
        ]
    )


def _eliminate(
    plan: Plan,
    conductances: tuple[FloatArray, FloatArray, FloatArray],
    schur: FloatArray,
    kept: tuple[FloatArray, FloatArray] | None,
    threads: int,
    tasks: Sequence[IntArray] | None = None,
) -> None:
    """Run tasks (all of the plan's), then the merges above; `kept` is (factor, slots) to fill."""
    tables = tables_of(plan)

    def run(steps: IntArray) -> None:
        with scratch(plan) as mine:
            factor, slots = kept or (mine.scaled, mine.slots)
            run_steps(
                steps,
                tables,
                conductances,
                schur,
                factor,
                slots,
                mine.panel,
                mine.small,
                mine.places,
                kept is not None,
            )

    run_together([partial(run, steps) for steps in (tasks or plan.tasks)])
    if len(plan.top) == 0:
        return
    with scratch(plan) as mine:
        for node in plan.top.tolist():
            scaled, at = (kept[0], int(plan.nodes[node, FACTOR])) if kept else (mine.scaled, 0)
            if threads > 1 and plan.nodes[node, SHARED] >= WORTH_SPLITTING:
                _merge_together(plan, node, schur, scaled, at, mine, threads)
            else:
                merge(tables, node, schur, scaled, at, mine.panel, mine.small, mine.places)


def effective_operator(circuit: Crossbar, *, threads: int | None = None) -> FloatArray:
    """G_eff [tiles, cols, rows] in S: i_sense[t, n] = sum over m of G_eff[t, n, m] v_source[t, m].

    Many tiles are shared out between threads; one tile is cut into subtrees. Working memory is
    `operator_bytes` and does not grow with the number of tiles.
    """
    threads = threads or core_count()
    tiles, rows, cols = circuit.shape
    out = np.empty((tiles, cols, rows))

    def work(begin: int, end: int, parts: int) -> None:
        plan = make_plan(rows, cols, parts)
        with scratch(plan) as mine:
            for k in range(begin, end):
                _eliminate(plan, circuit.tile(k), mine.schur, None, parts)
                read_operator(tables_of(plan), plan.root, mine.schur, out[k])

    whole = tiles // threads * threads
    if whole:
        run_together([partial(work, a, b, 1) for a, b in shares(whole, threads)])
    work(whole, tiles, threads)  # what does not divide evenly: all threads on one tile at a time
    return out


def operator_bytes(rows: int, cols: int, tiles: int = 1, threads: int | None = None) -> int:
    """Bytes that `effective_operator` needs for its result and its scratch."""
    threads = threads or core_count()
    return 8 * tiles * rows * cols + (threads + 1) * scratch_bytes(make_plan(rows, cols, threads))


def factorise(
    circuit: Crossbar, tile: int = 0, *, keep_blocks: bool = False, threads: int | None = None
) -> Factorisation:
    """Eliminate one tile and keep what substitution needs (and, on request, what updates need)."""
    threads = threads or core_count()
    _, rows, cols = circuit.shape
    plan = make_plan(rows, cols, threads, keep_blocks)
    g_row, g_col, g_cell = circuit.tile(tile)
    one = Crossbar(g_cell=g_cell[None], g_row=g_row[None], g_col=g_col[None])
    factor, slots = aligned(plan.factor_size), aligned(plan.slots_size)
    operator = np.empty((cols, rows))
    with scratch(plan) as mine:
        schur = aligned(plan.schur_size) if keep_blocks else mine.schur
        _eliminate(plan, one.tile(0), schur, (factor, slots), threads)
        read_operator(tables_of(plan), plan.root, schur, operator)
    return Factorisation(
        plan=plan,
        circuit=one,
        operator=operator,
        factor=factor,
        slots=slots,
        schur=schur if keep_blocks else None,
    )


def eliminate_again(
    done: Factorisation, circuit: Crossbar, touched: IntArray, *, threads: int | None = None
) -> Factorisation:
    """Redo only the `touched` nodes (children before parents), in the arrays of `done`."""
    assert done.schur is not None
    plan, threads = done.plan, threads or core_count()
    leaves = touched[plan.nodes[touched, CHILD_A] < 0]
    groups = np.unique(plan.nodes[leaves, GROUP])
    merges = touched[plan.nodes[touched, CHILD_A] >= 0]
    merges = merges[~np.isin(merges, plan.top)]
    steps = np.concatenate(
        [
            np.stack([np.full_like(some, kind), some], axis=1)
            for kind, some in ((LEAF_GROUP, groups), (MERGE, merges))
        ]
    )
    kept = done.factor, done.slots
    _eliminate(plan, circuit.tile(0), done.schur, kept, threads, tasks=(steps,))
    operator = np.empty_like(done.operator)
    read_operator(tables_of(plan), plan.root, done.schur, operator)
    done.owner[0] += 1
    return replace(done, circuit=circuit, operator=operator, turn=done.owner[0])


def factorisation_bytes(rows: int, cols: int, *, keep_blocks: bool = False) -> int:
    """Bytes that one Factorisation keeps."""
    plan = make_plan(rows, cols, core_count(), keep_blocks)
    blocks = plan.schur_size if keep_blocks else 0
    return 8 * (plan.factor_size + plan.slots_size + rows * cols + blocks)


def node_voltages(
    done: Factorisation, v_source: ArrayLike, *, threads: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """v_source [batch, rows] -> (v_row, v_col), each [batch, rows, cols], in V.

    The batch is the last axis in memory: both results are transposed views, 16 bytes per node and
    input together. Split large batches; every input costs the same.
    """
    done.require_current()
    plan, v = done.plan, np.asarray(v_source, np.float64)
    if v.ndim != 2 or v.shape[1] != plan.rows:
        raise InputError(f"v_source.shape={v.shape} is not [batch, rows={plan.rows}]")
    batch = len(v)
    stride = padded(batch)
    v_row, v_col = (np.empty((plan.rows, plan.cols, stride)) for _ in range(2))
    tables, root = tables_of(plan), int(plan.nodes[plan.root, VALUE])

    def work(begin: int, end: int) -> None:
        values = aligned(plan.value_rows * BATCH)
        front = aligned(plan.max_front * BATCH)
        local = aligned(4 * LANES * LANES * BATCH)
        for start in range(begin, end, BATCH):
            width = padded(min(BATCH, end - start))
            ports = values[root * width :][: (plan.rows + plan.cols) * width].reshape(-1, width)
            some = v[start : min(start + width, batch)]
            ports[:] = 0.0
            ports[: plan.rows, : len(some)] = some.T
            descend(
                plan.steps,
                tables,
                done.factor,
                done.slots,
                values,
                width,
                front,
                local,
                v_row,
                v_col,
                stride,
                start,
            )

    run_together([partial(work, a, b) for a, b in shares(stride, threads or core_count(), LANES)])
    return np.moveaxis(v_row[..., :batch], -1, 0), np.moveaxis(v_col[..., :batch], -1, 0)
