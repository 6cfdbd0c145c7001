"""Compiled bottom-up substitution of unit currents that enter cells; only touched blocks are read.

Column c of a right-hand side is +1 A into the row node and -1 A into the column node of cell c with
all terminals at 0 V. What arrives at source m is, by reciprocity, the voltage drop over the cell
under 1 V at source m; the eliminated nodes add up to the drops over the cells themselves.

Cells are sorted so that those of any block are one run first .. last of the columns; a block works
on the whole vectors around its run and leaves the other columns alone.
"""

from circuitsim.dissection.kernels import shared_starts, update_strip
from circuitsim.dissection.plan import (
    BRANCHES,
    CHILD_A,
    CLASS,
    CLASS_PORTS,
    COL,
    FACTOR,
    FACTOR_LD,
    FIRST,
    GROUP,
    HEIGHT,
    INVERSE,
    MEMBERS,
    N_PORTS,
    N_STEPS,
    NEIGHBOURS,
    ORDER,
    PORTS,
    ROW,
    SHARED,
    SLOTS,
    VALUE,
    WIDTH,
)
from circuitsim.dissection.simd import LANES, add, compiled, fma, load, mul, padded, splat, store


@compiled
def ascend_leaf(tables, node, slots, cells, run, values, batch, local, drops):
    """Currents into the cells of one leaf -> currents at its ports."""
    nodes, _, groups, classes, words = tables
    group = nodes[node, GROUP]
    kind = classes[groups[group, CLASS]]
    height, width = kind[HEIGHT], kind[WIDTH]
    begin, end = run[0] // LANES * LANES, padded(run[1])
    lane = 0
    while groups[group, MEMBERS + lane] != node:
        lane += 1
    at = groups[group, SLOTS] + lane
    zero = splat(0.0)
    for k in range(2 * height * width + height + width):
        for b in range(begin, end, LANES):
            store(local, k * batch + b, zero)
    for c in range(run[0], run[1]):
        own = (cells[c, 0] - nodes[node, ROW]) * width + cells[c, 1] - nodes[node, COL]
        local[own * batch + c] = 1.0
        local[(height * width + own) * batch + c] = -1.0
    for step in range(kind[N_STEPS]):
        first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
        own = words[kind[ORDER] + step] * batch
        for k in range(first, last):
            share = splat(slots[at + words[kind[BRANCHES] + k] * LANES])
            other = words[kind[NEIGHBOURS] + k] * batch
            for b in range(begin, end, LANES):
                value = fma(share, load(local, own + b), load(local, other + b))
                store(local, other + b, value)
        inverse = slots[at + (kind[INVERSE] + step) * LANES]
        for c in range(run[0], run[1]):
            share = splat(inverse * local[own + c])
            for b in range(begin, end, LANES):
                to = c * batch + b
                store(drops, to, fma(share, load(local, own + b), load(drops, to)))
    for k in range(kind[CLASS_PORTS]):
        to, source = (nodes[node, VALUE] + k) * batch, words[kind[PORTS] + k] * batch
        for b in range(begin, end, LANES):
            store(values, to + b, load(local, source + b))


@compiled
def gather_currents(tables, node, runs, values, batch, front):
    """Front rows [padded(S) + P] of a node from the ports of its touched children."""
    nodes, pieces = tables[0], tables[1]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide = padded(s)
    zero = splat(0.0)
    for k in range(wide + padded(p)):
        for b in range(runs[node, 0] // LANES * LANES, padded(runs[node, 1]), LANES):
            store(front, k * batch + b, zero)
    starts = shared_starts(nodes, node)
    for child in range(2):
        index = nodes[node, CHILD_A + child]
        begin, end = runs[index, 0] // LANES * LANES, padded(runs[index, 1])
        if runs[index, 0] == runs[index, 1]:
            continue
        for k in range(s):
            to, source = (wide - s + k) * batch, (nodes[index, VALUE] + starts[child] + k) * batch
            for b in range(begin, end, LANES):
                store(front, to + b, add(load(front, to + b), load(values, source + b)))
        row = wide
        for q in range(6):
            count = pieces[node, q, 2]
            if pieces[node, q, 0] == child:
                for k in range(count):
                    to = (row + k) * batch
                    source = (nodes[index, VALUE] + pieces[node, q, 1] + k) * batch
                    for b in range(begin, end, LANES):
                        store(front, to + b, add(load(front, to + b), load(values, source + b)))
            row += count


@compiled
def ascend_merge(tables, node, factor, runs, values, batch, front, scaled, drops):
    """Currents at the ports of the touched children of a node -> currents at its own ports."""
    nodes = tables[0]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide = padded(s)
    at, ld = nodes[node, FACTOR], nodes[node, FACTOR_LD]
    begin, end = runs[node, 0] // LANES * LANES, padded(runs[node, 1])
    gather_currents(tables, node, runs, values, batch, front)
    inverses = at + wide * ld
    for first in range(0, wide, LANES):
        below = first + LANES
        for r in range(first, below):
            inverse = splat(factor[inverses + r])
            for b in range(begin, end, LANES):
                value = load(front, r * batch + b)
                store(scaled, r * batch + b, mul(inverse, value))
                for c in range(r + 1, below):
                    to = c * batch + b
                    share = splat(factor[at + r * ld + c])
                    store(front, to, fma(share, value, load(front, to)))
        update_strip(
            front,
            below * batch + begin,
            batch,
            wide + padded(p) - below,
            factor,
            at + first * ld + below,
            1,
            ld,
            front,
            first * batch + begin,
            batch,
            end - begin,
            LANES,
        )
    update_strip(
        drops,
        begin * batch + begin,
        batch,
        end - begin,
        scaled,
        begin,
        1,
        batch,
        front,
        begin,
        batch,
        end - begin,
        wide,
    )
    for k in range(p):
        to = (nodes[node, VALUE] + k) * batch
        for b in range(begin, end, LANES):
            store(values, to + b, load(front, (wide + k) * batch + b))


@compiled
def ascend(order, tables, factor, slots, cells, runs, values, batch, front, scaled, local, drops):
    """Go up the touched nodes, children before parents; the last one is the root."""
    nodes = tables[0]
    for node in order:
        if nodes[node, CHILD_A] < 0:
            ascend_leaf(tables, node, slots, cells, runs[node], values, batch, local, drops)
        else:
            ascend_merge(tables, node, factor, runs, values, batch, front, scaled, drops)


@compiled
def invert(matrix, inverse):
    """inverse = matrix^-1 by Gauss-Jordan with row pivoting; False where matrix is singular.

    Both [k, k] with k a multiple of LANES; matrix is destroyed. Here, and not by LAPACK, because a
    threaded BLAS that finds the other core busy takes a hundred times as long on such sizes.
    """
    size = len(matrix)
    flat, flat_inverse = matrix.reshape(-1), inverse.reshape(-1)
    inverse[:] = 0.0
    for c in range(size):
        inverse[c, c] = 1.0
    for c in range(size):
        best = c
        for r in range(c + 1, size):
            if abs(matrix[r, c]) > abs(matrix[best, c]):
                best = r
        if not abs(matrix[best, c]) > 0.0:
            return False
        start = c // LANES * LANES
        for m in range(size):
            matrix[c, m], matrix[best, m] = matrix[best, m], matrix[c, m]
            inverse[c, m], inverse[best, m] = inverse[best, m], inverse[c, m]
        scale = splat(1.0 / matrix[c, c])
        for m in range(start, size, LANES):
            store(flat, c * size + m, mul(scale, load(flat, c * size + m)))
        for m in range(0, size, LANES):
            store(flat_inverse, c * size + m, mul(scale, load(flat_inverse, c * size + m)))
        for r in range(size):
            if r != c and matrix[r, c] != 0.0:
                share = splat(-matrix[r, c])
                for m in range(start, size, LANES):
                    to = r * size + m
                    store(flat, to, fma(share, load(flat, c * size + m), load(flat, to)))
                for m in range(0, size, LANES):
                    to = r * size + m
                    value = fma(share, load(flat_inverse, c * size + m), load(flat_inverse, to))
                    store(flat_inverse, to, value)
    return True


@compiled
def multiply(a, b, out):
    """out += a @ b; all contiguous, every size a multiple of LANES. On one thread, see invert."""
    height, depth = a.shape
    width = b.shape[1]
    update_strip(
        out.reshape(-1),
        0,
        width,
        height,
        a.reshape(-1),
        0,
        depth,
        1,
        b.reshape(-1),
        0,
        width,
        width,
        depth,
    )
