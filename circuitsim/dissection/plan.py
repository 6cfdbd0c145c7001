"""What the kernels need to know about a shape: node tables, storage offsets and tasks.

Two neighbours merge over their shared ports S. All port orders keep L < R < T < B, so the upper
triangle of a child is copied into its parent in straight row pieces. Nothing here depends on a
conductance: a plan is made once per shape and shared by all tiles of that shape.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from circuitsim.dissection.leaf_program import LeafProgram, leaf_program
from circuitsim.dissection.merge_tree import Block, merge_tree
from circuitsim.dissection.simd import LANES
from netlists.arrays import IntArray
from netlists.errors import InputError

GROVE = 64 * 64
"""Cells of a subtree whose leaves are computed together before any of them is merged."""
WORTH_A_THREAD = 4e5
"""Multiply-adds below which a tile is left to one thread."""

# Columns of the node table. SCHUR, FACTOR and VALUE are offsets; FACTOR_LD is a row length.
(
    SCHUR,
    LD,
    N_LEFT,
    N_RIGHT,
    N_TOP,
    N_BOTTOM,
    AT_LEFT,
    AT_BOTTOM,
    CHILD_A,
    CHILD_B,
    DOWN,
    SHARED,
    FACTOR,
    FACTOR_LD,
    VALUE,
    ROW,
    COL,
    PARENT,
    N_PORTS,
    GROUP,
) = range(20)
# Columns of the leaf group table: class, offset of its slots, and the LANES leaves in lockstep.
CLASS, SLOTS, MEMBERS = 0, 1, 2
# Columns of the class table: sizes, then offsets into `words` (see LeafProgram).
(
    HEIGHT,
    WIDTH,
    N_STEPS,
    N_SLOTS,
    INVERSE,
    CLASS_PORTS,
    FIRST,
    BRANCHES,
    NEIGHBOURS,
    PAIR,
    TARGETS,
    OUTPUTS,
    PORTS,
    ORDER,
) = range(14)
LEAF_GROUP, MERGE = 0, 1
"""Kinds of steps."""


def padded(n: int) -> int:
    """n rounded up to whole vectors."""
    return -(-n // LANES) * LANES


def stride(n: int) -> int:
    """Row length for n columns: whole vectors, and never all rows in the same cache set."""
    wide = padded(n)
    return wide + LANES if wide % (4 * LANES) == 0 else wide


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The tables of one shape; sizes are numbers of doubles.

    `tasks` are runs of steps [n, 2] for one thread each, children before parents: (LEAF_GROUP,
    group) or (MERGE, node). `top` are the nodes merged after all tasks are done.
    """

    rows: int
    cols: int
    nodes: IntArray = field(repr=False)
    pieces: IntArray = field(repr=False)
    groups: IntArray = field(repr=False)
    classes: IntArray = field(repr=False)
    words: IntArray = field(repr=False)
    tasks: tuple[IntArray, ...] = field(repr=False)
    top: IntArray = field(repr=False)
    leaf_of_cell: IntArray = field(repr=False)
    schur_size: int
    factor_size: int
    slots_size: int
    value_rows: int
    panel_size: int
    max_front: int
    max_slots: int
    work: float

    @property
    def root(self) -> int:
        """The last node: the whole tile."""
        return len(self.nodes) - 1

    @property
    def steps(self) -> IntArray:
        """All steps in one run, for one thread."""
        top = np.stack([np.full_like(self.top, MERGE), self.top], axis=1)
        return np.concatenate([*self.tasks, top])


class _Places:
    """Storage claimed under keys; a key claimed twice is one place of the larger size."""

    def __init__(self) -> None:
        self.sizes: dict[Hashable, int] = {}

    def claim(self, key: Hashable, size: int) -> None:
        self.sizes[key] = max(self.sizes.get(key, 0), size)

    def offsets(self) -> tuple[dict[Hashable, int], int]:
        offsets, total = {}, 0
        for key, size in self.sizes.items():
            offsets[key] = total
            total += size
        return offsets, total


def _pieces(block: Block) -> list[tuple[int, int, int]]:
    """(child, first port in the child, number) of the ports of a merged block, in its order."""
    a, b = block.a, block.b
    assert a is not None and b is not None
    if block.down:
        sides = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 3)]
    else:
        sides = [(0, 0), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    pieces = []
    for child, side in sides:  # side: 0 L, 1 R, 2 T, 3 B
        counts = (a, b)[child].counts
        pieces.append((child, sum(counts[:side]), counts[side]))
    return pieces


class _Builder:
    """Walks a tree once and collects the tables."""

    def __init__(self, rows: int, cols: int, keep_schur: bool) -> None:
        self.keep_schur = keep_schur
        self.nodes: list[list[int]] = []
        self.pieces: list[list[tuple[int, int, int]]] = []
        self.groups: list[list[int]] = []
        self.classes: dict[tuple[int, int, bool, bool], int] = {}
        self.programs: list[LeafProgram] = []
        self.schur, self.values = _Places(), _Places()
        self.keys: list[tuple[Hashable, Hashable]] = []
        self.steps: list[tuple[int, int]] = []
        self.factor_size = self.slots_size = self.panel_size = self.max_front = 0
        self.leaf_of_cell = np.zeros((rows, cols), np.int64)

    def add(self, block: Block, place: Hashable, children: tuple[int, int] = (-1, -1)) -> int:
        """Append a node that lives at `place`; the place may be reused by later nodes."""
        index, ports, shared = len(self.nodes), block.n_ports, block.shared
        kept = ("node", index) if self.keep_schur else place
        self.keys.append((kept, place))
        self.schur.claim(kept, padded(ports) * stride(ports) + LANES)  # + a run cut off late
        self.values.claim(place, padded(ports))
        front = padded(shared) + padded(ports)
        self.nodes.append(
            [
                0,
                stride(ports),
                *block.counts,
                block.at_left,
                block.at_bottom,
                *children,
                block.down,
                shared,
                self.factor_size,
                stride(front),
                0,
                block.row,
                block.col,
                -1,
                ports,
                -1,
            ]
        )
        self.pieces.append(_pieces(block) if block.a else [(0, 0, 0)] * 6)
        for child in children:
            if child >= 0:
                self.nodes[child][PARENT] = index
        if block.a:
            size = padded(shared) * (stride(front) + 1)  # + 1: the inverse pivots
            self.factor_size += size
            self.panel_size = max(self.panel_size, size)
            self.max_front = max(self.max_front, front)
        return index

    def leaves(self, task: int, grove: Block) -> dict[tuple[int, int], int]:
        """Add all leaves of a grove in lockstep groups of one class; nodes by (row, column)."""
        by_class: dict[int, list[int]] = {}
        found: dict[tuple[int, int], int] = {}
        for count, leaf in enumerate(grove.leaves()):
            node = self.add(leaf, (task, "leaf", count))
            found[leaf.row, leaf.col] = node
            key = (leaf.height, leaf.width, leaf.n_right == 0, leaf.n_top == 0)
            if key not in self.classes:
                self.classes[key] = len(self.programs)
                self.programs.append(leaf_program(*key))
            by_class.setdefault(self.classes[key], []).append(node)
            rows = slice(leaf.row, leaf.row + leaf.height)
            self.leaf_of_cell[rows, leaf.col : leaf.col + leaf.width] = node
        for kind, members in by_class.items():
            for start in range(0, len(members), LANES):
                some = members[start : start + LANES]
                for node in some:
                    self.nodes[node][GROUP] = len(self.groups)
                self.steps.append((LEAF_GROUP, len(self.groups)))
                # A group that is not full repeats its last leaf; the copies agree.
                some += [some[-1]] * (LANES - len(some))
                self.groups.append([kind, self.slots_size, *some])
                self.slots_size += LANES * (self.programs[kind].n_slots + 1)
        return found

    def subtree(
        self,
        task: int,
        block: Block,
        place: Hashable,
        depth: int = 0,
        grove: dict[tuple[int, int], int] | None = None,
    ) -> int:
        """Append the steps of a subtree, depth first: at each depth two places are alive."""
        if grove is None and (block.a is None or block.height * block.width <= GROVE):
            grove = self.leaves(task, block)
        if block.a is None or block.b is None:
            assert grove is not None
            return grove[block.row, block.col]
        children = [
            self.subtree(task, child, (task, depth + 1, half), depth + 1, grove)
            for half, child in enumerate((block.a, block.b))
        ]
        node = self.add(block, place, (children[0], children[1]))
        self.steps.append((MERGE, node))
        return node

    def top(self, block: Block, done: dict[tuple[int, ...], int], steps: list[int]) -> int:
        """Append the merges above the tasks, whose root nodes are `done`."""
        if block.extent in done:
            return done[block.extent]
        assert block.a is not None and block.b is not None
        a, b = self.top(block.a, done, steps), self.top(block.b, done, steps)
        steps.append(self.add(block, ("top", *block.extent), (a, b)))
        return steps[-1]


def _share_out(root: Block, parts: int) -> list[list[Block]]:
    """Cut the tree into subtrees and deal them to `parts` tasks, largest first."""
    if parts < 2 or root.work < WORTH_A_THREAD:
        return [[root]]
    pieces = [root]
    while len(pieces) < parts:
        largest = max(pieces, key=lambda block: block.work)
        if largest.a is None or largest.b is None:
            break
        pieces.remove(largest)
        pieces += [largest.a, largest.b]
    deal: list[list[Block]] = [[] for _ in range(min(parts, len(pieces)))]
    for piece in sorted(pieces, key=lambda block: -block.work):
        min(deal, key=lambda some: sum(block.work for block in some)).append(piece)
    return deal


def _program_tables(programs: list[LeafProgram]) -> tuple[IntArray, IntArray]:
    """(class table, words): all leaf programs in one array."""
    table, words, at = [], [], 0
    for program in programs:
        row = [
            program.height,
            program.width,
            len(program.order),
            program.n_slots,
            program.inverse,
            program.n_ports,
        ]
        for part in (
            program.first,
            program.branches,
            program.neighbours,
            program.pair,
            program.targets,
            program.outputs,
            program.ports,
            program.order,
        ):
            row.append(at)
            words.append(part)
            at += len(part)
        table.append(row)
    return np.array(table, np.int64), np.concatenate(words)


@lru_cache(maxsize=32)
def make_plan(rows: int, cols: int, parts: int = 1, keep_schur: bool = False) -> Plan:
    """Plan a rows x cols tile for `parts` threads; `keep_schur` keeps every block for updates."""
    if rows < 1 or cols < 1:
        raise InputError(f"rows={rows}, cols={cols}: a crossbar has at least one of each")
    root = merge_tree(rows, cols)
    builder = _Builder(rows, cols, keep_schur)
    tasks: list[IntArray] = []
    done: dict[tuple[int, ...], int] = {}
    for task, blocks in enumerate(_share_out(root, parts)):
        builder.steps = []
        for block in blocks:
            done[block.extent] = builder.subtree(task, block, ("root", *block.extent))
        tasks.append(np.array(builder.steps, np.int64).reshape(-1, 2))
    top: list[int] = []
    builder.top(root, done, top)

    nodes = np.array(builder.nodes, np.int64)
    schur, schur_size = builder.schur.offsets()
    values, value_rows = builder.values.offsets()
    nodes[:, SCHUR] = [schur[key] for key, _ in builder.keys]
    nodes[:, VALUE] = [values[key] for _, key in builder.keys]
    # Vectors may reach past the end of a row, and square pieces past the last row.
    slack = LANES * (stride(int(nodes[:, N_PORTS].max())) + 2 * LANES)
    slack += LANES * stride(builder.max_front)
    classes, words = _program_tables(builder.programs)
    return Plan(
        rows=rows,
        cols=cols,
        nodes=nodes,
        pieces=np.array(builder.pieces, np.int64),
        groups=np.array(builder.groups, np.int64),
        classes=classes,
        words=words,
        tasks=tuple(tasks),
        top=np.array(top, np.int64),
        leaf_of_cell=builder.leaf_of_cell,
        schur_size=schur_size + slack,
        factor_size=builder.factor_size,
        slots_size=builder.slots_size,
        value_rows=value_rows,
        panel_size=builder.panel_size + slack,
        max_front=builder.max_front,
        max_slots=1 + max(program.n_slots for program in builder.programs),
        work=root.work,
    )
