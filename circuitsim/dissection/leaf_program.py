"""Symbolic elimination of one small block of cells: done once per shape, replayed on numbers.

A leaf is at most LEAF x LEAF cells with the wire segments that arrive from the left and leave
downwards. Its ports are the row nodes left of it (L), its last row nodes (R), its first column
nodes (T) and the column nodes below it (B). At the tile's right border R has no neighbour outside
and at the top border T has none, so there they are eliminated with the interior.

The program works on *slots*, one per branch of the block: first the row segments, the column
segments and the cells, each [height, width], then the branches that elimination creates (fill).
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from circuitsim.dissection.simd import LANES
from netlists.arrays import IntArray

LEAF = 8
"""Largest height and width of a leaf, in cells."""


@dataclass(frozen=True, kw_only=True)
class LeafProgram:
    """How to eliminate the interior of a leaf; nodes are x row-major, y row-major, L, B.

    Step k eliminates node `order[k]`; its branches are `branches[first[k] : first[k + 1]]`, which
    lead to `neighbours[...]`. Every pair of them, in the order (0,1), (0,2) ... (1,2) ..., adds
    to the slot `targets[pair[k] + ...]`. `inverse + k` is the slot that keeps 1 / (sum of the
    branches). `outputs` is the slot of each pair of ports, by rows from the vector that holds the
    diagonal on; where there is no branch, or none is wanted, it is `n_slots`, one slot of zeros.
    """

    height: int
    width: int
    n_left: int
    n_right: int
    n_top: int
    n_bottom: int
    order: IntArray
    first: IntArray
    branches: IntArray
    neighbours: IntArray
    pair: IntArray
    targets: IntArray
    outputs: IntArray
    ports: IntArray
    inverse: int
    n_slots: int

    @property
    def n_ports(self) -> int:
        """Ports on all sides together."""
        return len(self.ports)


@cache
def leaf_program(height: int, width: int, at_right: bool, at_top: bool) -> LeafProgram:
    """Eliminate by minimum degree: on so few nodes that is within a few percent of the best."""
    cells = height * width
    left = [2 * cells + i for i in range(height)]
    bottom = [2 * cells + height + j for j in range(width)]

    def x(i: int, j: int) -> int:
        return i * width + j if j >= 0 else left[i]

    def y(i: int, j: int) -> int:
        return cells + i * width + j if i < height else bottom[j]

    grid = [(i, j) for i in range(height) for j in range(width)]
    pairs = [(x(i, j - 1), x(i, j)) for i, j in grid]
    pairs += [(y(i, j), y(i + 1, j)) for i, j in grid]
    pairs += [(x(i, j), y(i, j)) for i, j in grid]
    slots = {frozenset(pair): slot for slot, pair in enumerate(pairs)}

    right = [] if at_right else [x(i, width - 1) for i in range(height)]
    top = [] if at_top else [y(0, j) for j in range(width)]
    ports = left + right + top + bottom
    adjacent: dict[int, set[int]] = {node: set() for node in range(2 * cells + height + width)}
    for a, b in pairs:
        adjacent[a].add(b)
        adjacent[b].add(a)

    waiting = set(range(2 * cells)) - set(ports)
    order: list[int] = []
    first, branches, neighbours = [0], list[int](), list[int]()
    pair_at, targets = list[int](), list[int]()
    while waiting:
        node = min(waiting, key=lambda n: (len(adjacent[n]), n))
        waiting.remove(node)
        around = sorted(adjacent.pop(node))
        order.append(node)
        pair_at.append(len(targets))
        neighbours += around
        branches += [slots[frozenset((node, other))] for other in around]
        first.append(len(branches))
        for a, b in combinations(around, 2):
            targets.append(slots.setdefault(frozenset((a, b)), len(slots)))
            adjacent[a].add(b)
            adjacent[b].add(a)
        for other in around:
            adjacent[other].remove(node)

    empty = len(slots) + len(order)
    outputs: list[int] = []
    for i, a in enumerate(ports):
        for j in range(i // LANES * LANES, -(-len(ports) // LANES) * LANES):
            pair = frozenset((a, ports[j])) if i < j < len(ports) else None
            outputs.append(slots.get(pair, empty) if pair else empty)

    def index(values: list[int]) -> IntArray:
        return np.array(values, dtype=np.int64)

    return LeafProgram(
        height=height,
        width=width,
        n_left=height,
        n_right=len(right),
        n_top=len(top),
        n_bottom=width,
        order=index(order),
        first=index(first),
        branches=index(branches),
        neighbours=index(neighbours),
        pair=index(pair_at),
        targets=index(targets),
        outputs=index(outputs),
        ports=index(ports),
        inverse=len(slots),
        n_slots=len(slots) + len(order),
    )
