"""The operator in plain torch operations: any device, batched over tiles and over blocks.

The same elimination without subtraction as the compiled solver, so float32 gives an operator that
is good to float32's own precision. Every step is out of place, so autograd can run through it; for
tiles in main memory `adjoint_torch.exact_operator` is faster and needs far less memory.

All blocks of a level have one size: a tile is padded with open wires and empty cells to
(blocks x base), base <= BASE, blocks a power of two, and a floating node carries nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

BASE = 4
"""Largest height and width in cells of the blocks that are built cell by cell."""
CHUNK = 32
"""Nodes eliminated one by one before the other nodes are updated by one matrix product."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Branches between ports, [.., p, p] in S (symmetric, the diagonal means nothing).

    `counts` are the ports on the left, right, top and bottom, in this order.
    """

    branches: Tensor
    counts: tuple[int, int, int, int]

    def ports(self, side: int) -> range:
        """Port numbers of one side."""
        start = sum(self.counts[:side])
        return range(start, start + self.counts[side])


LEFT, RIGHT, TOP, BOTTOM = range(4)


def _reciprocal(values: Tensor) -> Tensor:
    """1 / values, and 0 where they are 0."""
    found = values > 0
    return torch.where(found, 1.0 / torch.where(found, values, torch.ones_like(values)), 0.0)


def _pivots(within: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    """Eliminate s nodes among themselves; excess [.., s] is what connects them to all others.

    Returns (shares [.., s, s] strictly upper, inverse pivots [.., s]).
    """
    size = within.shape[-1]
    rest = torch.cat([within, excess[..., None]], dim=-1)
    shares, inverses = [], []
    for k in range(size):
        row = rest[..., 0, 1:]
        inverse = _reciprocal(row.sum(-1))
        share = row[..., :-1] * inverse[..., None]
        rest = rest[..., 1:, 1:] + share[..., :, None] * row[..., None, :]
        shares.append(pad(share, (k + 1, 0)))
        inverses.append(inverse)
    return torch.stack(shares, -2), torch.stack(inverses, -1)


def eliminate(branches: Tensor, count: int) -> Tensor:
    """Eliminate the first `count` nodes of branches [.., p, p]; return the branches of the rest."""
    while count > CHUNK:
        branches, count = eliminate(branches, CHUNK), count - CHUNK
    outward = branches[..., :count, count:]
    shares, inverses = _pivots(branches[..., :count, :count], outward.sum(-1))
    lower = torch.eye(count, dtype=branches.dtype, device=branches.device) - shares.mT
    reached = torch.linalg.solve_triangular(lower, outward, upper=False, unitriangular=True)
    scaled = reached * inverses[..., None]
    rest: Tensor = branches[..., count:, count:] + reached.mT @ scaled
    return rest


def drop(block: Block, side: int) -> Block:
    """Eliminate the ports of a side that nothing outside touches."""
    gone = block.ports(side)
    order = [*gone, *(k for k in range(sum(block.counts)) if k not in gone)]
    index = torch.tensor(order, device=block.branches.device)
    branches = block.branches[..., index, :][..., :, index]
    counts = tuple(0 if k == side else n for k, n in enumerate(block.counts))
    return Block(branches=eliminate(branches, len(gone)), counts=counts)  # type: ignore[arg-type]


def merge(a: Block, b: Block, down: bool) -> Block:
    """Join a to b, its right neighbour or (down) the one below, over the ports they share."""
    shared_a, shared_b = (BOTTOM, TOP) if down else (RIGHT, LEFT)
    if down:
        order = [(a, LEFT), (b, LEFT), (a, RIGHT), (b, RIGHT), (a, TOP), (b, BOTTOM)]
    else:
        order = [(a, LEFT), (b, RIGHT), (a, TOP), (b, TOP), (a, BOTTOM), (b, BOTTOM)]
    shared = a.counts[shared_a]
    size = shared + sum(block.counts[side] for block, side in order)
    joint = torch.zeros(
        (*a.branches.shape[:-2], size, size), dtype=a.branches.dtype, device=a.branches.device
    )
    places: dict[int, list[int]] = {id(a): [0] * sum(a.counts), id(b): [0] * sum(b.counts)}
    for block, side in ((a, shared_a), (b, shared_b)):
        for k, port in enumerate(block.ports(side)):
            places[id(block)][port] = k
    at = shared
    for block, side in order:
        for port in block.ports(side):
            places[id(block)][port] = at
            at += 1
    for block in (a, b):
        index = torch.tensor(places[id(block)], device=joint.device)
        wide = torch.zeros_like(joint[..., index, :]).index_copy(-1, index, block.branches)
        joint = joint.index_add(-2, index, wide)
    left, bottom = a.counts[LEFT], b.counts[BOTTOM]
    counts = (
        (left + b.counts[LEFT], a.counts[RIGHT] + b.counts[RIGHT], a.counts[TOP], bottom)
        if down
        else (left, b.counts[RIGHT], a.counts[TOP] + b.counts[TOP], a.counts[BOTTOM] + bottom)
    )
    return Block(branches=eliminate(joint, shared), counts=counts)


def _cell(g_row: Tensor, g_col: Tensor, g_cell: Tensor) -> Block:
    """One cell with its two segments: left node, row node, column node, node below."""
    zero = torch.zeros_like(g_cell)
    entries = [
        zero, g_row, zero, zero,
        g_row, zero, g_cell, zero,
        zero, g_cell, zero, g_col,
        zero, zero, g_col, zero,
    ]  # fmt: skip
    return Block(branches=torch.stack(entries, -1).unflatten(-1, (4, 4)), counts=(1, 1, 1, 1))


def _doublings(n: int) -> int:
    """How often a base block of at most BASE cells doubles until it spans n cells."""
    return max(0, -(-n // BASE) - 1).bit_length()


def effective_operator_torch(g_cell: Tensor, g_row: Tensor, g_col: Tensor) -> Tensor:
    """Conductances [tiles, rows, cols] in S (see Crossbar) -> G_eff [tiles, cols, rows] in S."""
    tiles, rows, cols = g_cell.shape
    downs, sides = _doublings(rows), _doublings(cols)
    height, width = -(-rows // 2**downs), -(-cols // 2**sides)
    # Empty rows go on top and empty columns to the right, where the wires end anyway.
    margin = (0, (width << sides) - cols, (height << downs) - rows, 0)

    def blocks(values: Tensor) -> Tensor:
        whole = pad(values.expand(tiles, rows, cols), margin)
        cut: Tensor = whole.unflatten(2, (2**sides, width)).unflatten(1, (2**downs, height))
        return cut

    parts = [blocks(values) for values in (g_row, g_col, g_cell)]
    block: Block | None = None
    for i in range(height):
        strip: Block | None = None
        for j in range(width):
            cell = _cell(*(part[:, :, i, :, j] for part in parts))
            strip = cell if strip is None else merge(strip, cell, down=False)
        assert strip is not None
        block = strip if block is None else merge(block, strip, down=True)
    assert block is not None

    # Double the shorter side first: merging square blocks is cheapest. The last doubling of each
    # direction is left to `_join`, which knows the borders of the tile.
    while downs > 1 or sides > 1:
        w, counts = block.branches, block.counts
        if sides > 1 and (downs <= 1 or sides >= downs):
            halves = (w[:, :, 0::2], w[:, :, 1::2])
            down, sides = False, sides - 1
        else:
            halves = (w[:, 0::2], w[:, 1::2])
            down, downs = True, downs - 1
        a, b = (Block(branches=half, counts=counts) for half in halves)
        block = merge(a, b, down)
    return _join(block, rows, cols)


def _join(block: Block, rows: int, cols: int) -> Tensor:
    """Up to 2 x 2 blocks [tiles, 1 | 2, 1 | 2, p, p] -> the operator of the whole tile."""
    downs, sides = block.branches.shape[1:3]
    bands = []
    for i in range(downs):
        band: Block | None = None
        for j in range(sides):
            part = Block(branches=block.branches[:, i, j], counts=block.counts)
            if i == 0:
                part = drop(part, TOP)
            if j == sides - 1:
                part = drop(part, RIGHT)
            band = part if band is None else merge(band, part, down=False)
        assert band is not None
        bands.append(band)
    whole = bands[0] if downs == 1 else merge(bands[0], bands[1], down=True)
    sources, senses = whole.ports(LEFT), whole.ports(BOTTOM)
    corner = whole.branches[..., senses.start : senses.stop, sources.start : sources.stop]
    return corner[..., :cols, -rows:]
