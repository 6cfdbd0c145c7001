"""Compiled top-down pull-back: dL/d(root block) -> dL/d(every branch conductance).

Merging maps a block's nodal matrix Y to T' Y T, where T extends port voltages to the shared nodes.
Its adjoint therefore maps dL/dY of the ports to T (dL/dY) T': the same substitution that finds
voltages, applied from both sides. It costs O(n^3), like the elimination, whatever the rank of
dL/dG, where one solve per input and sense terminal would cost O(n^4) in the end.
"""

from circuitsim.dissection.kernels import shared_starts
from circuitsim.dissection.plan import (
    BRANCHES,
    CHILD_A,
    CLASS,
    CLASS_PORTS,
    COL,
    FACTOR,
    FACTOR_LD,
    FIRST,
    HEIGHT,
    INVERSE,
    LD,
    LEAF_GROUP,
    MEMBERS,
    N_PORTS,
    N_SLOTS,
    N_STEPS,
    NEIGHBOURS,
    ORDER,
    OUTPUTS,
    PAIR,
    PORTS,
    ROW,
    SCHUR,
    SHARED,
    SLOTS,
    TARGETS,
    WIDTH,
)
from circuitsim.dissection.simd import LANES, compiled, fma, load, mul, padded, splat, store
from circuitsim.dissection.voltage_kernels import copy_rows, shared_voltages


@compiled
def transpose(source, source_at, source_ld, rows, cols, target, target_at, target_ld):
    """target[j, i] = source[i, j] in square pieces that stay in cache."""
    for i0 in range(0, rows, LANES):
        for j0 in range(0, cols, LANES):
            for i in range(i0, min(i0 + LANES, rows)):
                for j in range(j0, min(j0 + LANES, cols)):
                    target[target_at + j * target_ld + i] = source[source_at + i * source_ld + j]


@compiled
def pull_back_merge(tables, node, factor, adjoint, front, square):
    """dL/dY of a node's ports (full, symmetric, at SCHUR) -> the same for both children."""
    nodes, pieces = tables[0], tables[1]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide, batch = padded(s), padded(p)
    offset = wide - s
    at, ld = nodes[node, SCHUR], nodes[node, LD]
    share_at, share_ld = nodes[node, FACTOR], nodes[node, FACTOR_LD]
    for k in range(p):
        copy_rows(front, (wide + k) * batch, adjoint, at + k * ld, batch)
    shared_voltages(factor, share_at, share_ld, s, p, batch, front)  # rows S: T_S (dL/dY)
    transpose(front, 0, batch, wide, p, square, wide * wide, wide)
    shared_voltages(factor, share_at, share_ld, s, p, wide, square)  # rows S: T_S (dL/dY) T_S'

    starts = shared_starts(nodes, node)
    for child in range(2):
        index = nodes[node, CHILD_A + child]
        to, to_ld, shared = nodes[index, SCHUR], nodes[index, LD], starts[child]
        ports = nodes[index, N_PORTS]
        for k in range(s):
            row = to + (shared + k) * to_ld + shared
            for m in range(s):
                adjoint[row + m] = square[(offset + k) * wide + offset + m]
        row = 0
        for q in range(6):
            start, count = pieces[node, q, 1], pieces[node, q, 2]
            if pieces[node, q, 0] == child:
                for k in range(count):
                    target = to + (start + k) * to_ld
                    source = (wide + row + k) * batch
                    col = 0
                    for r in range(6):
                        if pieces[node, r, 0] == child:
                            begin = target + pieces[node, r, 1]
                            for m in range(pieces[node, r, 2]):
                                adjoint[begin + m] = front[source + col + m]
                        col += pieces[node, r, 2]
                    source = (wide + row + k) * wide + offset
                    for m in range(s):
                        adjoint[target + shared + m] = square[source + m]
                for k in range(s):
                    target = to + (shared + k) * to_ld + start
                    source = (offset + k) * batch + row
                    for m in range(count):
                        adjoint[target + m] = front[source + m]
            row += count
        for k in range(ports):
            for m in range(ports, padded(ports)):
                adjoint[to + k * to_ld + m] = 0.0


@compiled
def pull_back_leaves(tables, group, slots, adjoint, bars, d_row, d_col, d_cell):
    """dL/dY of the ports of LANES leaves -> dL/d(conductance) of their wires and cells.

    bars[LANES k + l] is dL/dY between the ends of branch k of leaf l; after all branches follow
    the diagonal entries of the nodes, in the node order of LeafProgram.
    """
    nodes, _, groups, classes, words = tables
    kind = classes[groups[group, CLASS]]
    height, width, ports = kind[HEIGHT], kind[WIDTH], kind[CLASS_PORTS]
    cells, diagonal = height * width, kind[INVERSE]
    at = groups[group, SLOTS]
    output = kind[OUTPUTS]
    for i in range(ports):
        own = (diagonal + words[kind[PORTS] + i]) * LANES
        for lane in range(LANES):
            node = groups[group, MEMBERS + lane]
            bars[own + lane] = adjoint[nodes[node, SCHUR] + i * nodes[node, LD] + i]
        for j in range(i // LANES * LANES, padded(ports)):
            slot = words[output]
            output += 1
            if slot < kind[N_SLOTS]:
                for lane in range(LANES):
                    node = groups[group, MEMBERS + lane]
                    place = nodes[node, SCHUR] + i * nodes[node, LD] + j
                    bars[slot * LANES + lane] = adjoint[place]

    for step in range(kind[N_STEPS] - 1, -1, -1):
        first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
        branches = kind[BRANCHES]
        for k in range(first, last):
            slot = words[branches + k] * LANES
            other = (diagonal + words[kind[NEIGHBOURS] + k]) * LANES
            store(bars, slot, mul(load(slots, at + slot), load(bars, other)))
        target = kind[TARGETS] + words[kind[PAIR] + step]
        for k in range(first, last):
            mine = words[branches + k] * LANES
            share, sum_k = load(slots, at + mine), load(bars, mine)
            for m in range(k + 1, last):
                other = words[branches + m] * LANES
                bar = load(bars, words[target] * LANES)
                sum_k = fma(load(slots, at + other), bar, sum_k)
                store(bars, other, fma(share, bar, load(bars, other)))
                target += 1
            store(bars, mine, sum_k)
        whole = splat(0.0)
        for k in range(first, last):
            slot = words[branches + k] * LANES
            whole = fma(load(slots, at + slot), load(bars, slot), whole)
        store(bars, (diagonal + words[kind[ORDER] + step]) * LANES, whole)

    for lane in range(LANES):
        node = groups[group, MEMBERS + lane]
        for i in range(height):
            for j in range(width):
                k = i * width + j
                left = k - 1 if j > 0 else 2 * cells + i
                below = cells + k + width if i < height - 1 else 2 * cells + height + j
                x = bars[(diagonal + k) * LANES + lane]
                y = bars[(diagonal + cells + k) * LANES + lane]
                x_left = bars[(diagonal + left) * LANES + lane]
                y_below = bars[(diagonal + below) * LANES + lane]
                row, col = nodes[node, ROW] + i, nodes[node, COL] + j
                d_row[row, col] = x_left + x - 2.0 * bars[k * LANES + lane]
                d_col[row, col] = y + y_below - 2.0 * bars[(cells + k) * LANES + lane]
                d_cell[row, col] = x + y - 2.0 * bars[(2 * cells + k) * LANES + lane]


@compiled
def pull_back(steps, tables, factor, slots, adjoint, front, square, bars, d_row, d_col, d_cell):
    """Walk the steps backwards; the block of the last node is filled in."""
    for k in range(len(steps) - 1, -1, -1):
        index = steps[k, 1]
        if steps[k, 0] == LEAF_GROUP:
            pull_back_leaves(tables, index, slots, adjoint, bars, d_row, d_col, d_cell)
        else:
            pull_back_merge(tables, index, factor, adjoint, front, square)


@compiled
def seed_root(tables, node, d_operator, adjoint):
    """dL/dY of the root's ports: G_eff[n, m] is -Y between source m and sense terminal n."""
    nodes = tables[0]
    cols, rows = d_operator.shape
    at, ld = nodes[node, SCHUR], nodes[node, LD]
    for i in range(padded(rows + cols)):
        for j in range(padded(rows + cols)):
            adjoint[at + i * ld + j] = 0.0
    for n in range(cols):
        for m in range(rows):
            adjoint[at + m * ld + rows + n] = -0.5 * d_operator[n, m]
            adjoint[at + (rows + n) * ld + m] = -0.5 * d_operator[n, m]
