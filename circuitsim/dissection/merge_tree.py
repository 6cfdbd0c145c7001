"""Which blocks of a crossbar merge, in which order: the cheapest tree of halvings.

A block of cells is a multi-port whose ports are, in this order, the row nodes to its left (L), its
last row nodes (R), its first column nodes (T) and the column nodes below it (B). On the tile's
left border L are the sources and on the bottom border B are the sense terminals (0 V); ports that
nothing else touches (R at the right border, T at the top border) are eliminated inside the leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from circuitsim.dissection.leaf_program import LEAF


@dataclass(frozen=True)
class Block:
    """A rectangle of leaves of the tile; `a` and `b` are the halves it is merged from."""

    row: int
    col: int
    height: int
    width: int
    n_left: int
    n_right: int
    n_top: int
    n_bottom: int
    at_left: bool
    at_bottom: bool
    down: bool = False
    a: "Block | None" = None
    b: "Block | None" = None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Ports on each side, in port order."""
        return self.n_left, self.n_right, self.n_top, self.n_bottom

    @property
    def n_ports(self) -> int:
        """Ports on all sides together."""
        return sum(self.counts)

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """The cells it covers: a name for the block within its tile."""
        return self.row, self.col, self.height, self.width

    def leaves(self) -> Iterator["Block"]:
        """The leaves below it, or itself."""
        if self.a is None or self.b is None:
            yield self
        else:
            yield from self.a.leaves()
            yield from self.b.leaves()

    @property
    def shared(self) -> int:
        """Nodes that merging the two halves eliminates."""
        if self.a is None:
            return 0
        return self.a.n_bottom if self.down else self.a.n_right

    @property
    def merge_work(self) -> float:
        """Multiply-adds of the merge alone, source-source and sense-sense pairs left out."""
        s, p = self.shared, self.n_ports
        pairs = p * p - self.at_left * self.n_left**2 - self.at_bottom * self.n_bottom**2
        # The last terms are the copies and the fixed cost of a merge, in units of a multiply-add.
        return s * s * (s / 3 + p) + s * pairs / 2 + 8 * (p * p / 2 + s * p) + 5e3

    @cached_property
    def work(self) -> float:
        """Multiply-adds of the whole subtree."""
        if self.a is None or self.b is None:
            return 400.0
        return self.merge_work + self.a.work + self.b.work


def arithmetic(rows: int, cols: int) -> float:
    """Floating-point operations of all merges of a tile, two for each multiply-add."""

    def flops(block: Block) -> float:
        if block.a is None or block.b is None:
            return 0.0
        s, p = block.shared, block.n_ports
        pairs = p * p - block.at_left * block.n_left**2 - block.at_bottom * block.n_bottom**2
        return s * s * (s / 3 + p) + s * pairs + flops(block.a) + flops(block.b)

    return flops(merge_tree(rows, cols))


def _chunks(n: int) -> list[int]:
    """Borders of ceil(n / LEAF) pieces whose sizes differ by one at most."""
    count = -(-n // LEAF)
    return [k * n // count for k in range(count + 1)]


def merge_tree(rows: int, cols: int) -> Block:
    """The cheapest tree of halvings, found by trying both directions for every kind of block."""
    row_cuts, col_cuts = _chunks(rows), _chunks(cols)
    better: dict[tuple[int, ...], bool] = {}

    def build(i0: int, i1: int, j0: int, j1: int) -> Block:
        row, col = row_cuts[i0], col_cuts[j0]
        height, width = row_cuts[i1] - row, col_cuts[j1] - col
        at_right, at_top = j1 == len(col_cuts) - 1, i0 == 0
        at_left, at_bottom = j0 == 0, i1 == len(row_cuts) - 1

        def block(down: bool = False, a: Block | None = None, b: Block | None = None) -> Block:
            return Block(
                row,
                col,
                height,
                width,
                height,
                0 if at_right else height,
                0 if at_top else width,
                width,
                at_left,
                at_bottom,
                down,
                a,
                b,
            )

        def split(down: bool) -> Block:
            if down:
                i = (i0 + i1) // 2
                return block(True, build(i0, i, j0, j1), build(i, i1, j0, j1))
            j = (j0 + j1) // 2
            return block(False, build(i0, i1, j0, j), build(i0, i1, j, j1))

        if i1 - i0 == 1 and j1 - j0 == 1:
            return block()
        if i1 - i0 == 1 or j1 - j0 == 1:
            return split(i1 - i0 > 1)
        # Blocks of one size and one set of borders are alike: decide once for all of them.
        kind = (height, width, i1 - i0, j1 - j0, at_left, at_right, at_top, at_bottom)
        if kind not in better:
            if i1 - i0 >= 2 * (j1 - j0) or j1 - j0 >= 2 * (i1 - i0):
                better[kind] = i1 - i0 > j1 - j0  # never make a strip longer than it is
            else:
                better[kind] = split(True).work < split(False).work
        return split(better[kind])

    return build(0, len(row_cuts) - 1, 0, len(col_cuts) - 1)
