"""Compiled top-down substitution: port voltages -> the voltage of every node.

An eliminated node's voltage is a weighted mean of its neighbours' (weights: the stored shares,
never negative), so no voltage can leave the range of the terminals. A batch of inputs is the
contiguous last axis of everything here and a multiple of LANES.
"""

from circuitsim.dissection.kernels import shared_starts, update_strip
from circuitsim.dissection.plan import (
    BRANCHES,
    CHILD_A,
    CHILD_B,
    CLASS,
    CLASS_PORTS,
    COL,
    FACTOR,
    FACTOR_LD,
    FIRST,
    HEIGHT,
    LEAF_GROUP,
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
from circuitsim.dissection.simd import LANES, compiled, fma, load, padded, splat, store


@compiled
def copy_rows(target, to, source, start, count):
    """target[to : to + count] = source[start : start + count], in whole vectors."""
    for k in range(0, count, LANES):
        store(target, to + k, load(source, start + k))


@compiled
def shared_voltages(factor, at, ld, s, p, batch, front):
    """Fill the shared rows of front [padded(s) + p, batch] from the staying ports' rows."""
    wide = padded(s)
    end = wide + p
    zero = splat(0.0)
    for first in range(wide - LANES, -1, -LANES):
        for k in range(first * batch, (first + LANES) * batch, LANES):
            store(front, k, zero)
        below = first + LANES
        update_strip(
            front,
            first * batch,
            batch,
            LANES,
            factor,
            at + first * ld + below,
            ld,
            1,
            front,
            below * batch,
            batch,
            batch,
            end - below,
        )
        for r in range(below - 2, first - 1, -1):
            for b in range(0, batch, LANES):
                value = load(front, r * batch + b)
                for c in range(r + 1, below):
                    share = splat(factor[at + r * ld + c])
                    value = fma(share, load(front, c * batch + b), value)
                store(front, r * batch + b, value)


@compiled
def descend_merge(tables, node, factor, values, batch, front):
    """Voltages of a node's ports -> voltages of its children's ports."""
    nodes, pieces = tables[0], tables[1]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide = padded(s)
    copy_rows(front, wide * batch, values, nodes[node, VALUE] * batch, p * batch)
    shared_voltages(factor, nodes[node, FACTOR], nodes[node, FACTOR_LD], s, p, batch, front)
    children = (nodes[node, CHILD_A], nodes[node, CHILD_B])
    column = wide
    for q in range(6):
        child, start, count = pieces[node, q, 0], pieces[node, q, 1], pieces[node, q, 2]
        to = (nodes[children[child], VALUE] + start) * batch
        copy_rows(values, to, front, column * batch, count * batch)
        column += count
    starts = shared_starts(nodes, node)
    for child in range(2):
        to = (nodes[children[child], VALUE] + starts[child]) * batch
        copy_rows(values, to, front, (wide - s) * batch, s * batch)


@compiled
def descend_leaves(tables, group, slots, values, batch, local, v_row, v_col, stride, begin):
    """Voltages of the ports of LANES leaves -> v_row and v_col [rows, cols, stride] at begin."""
    nodes, _, groups, classes, words = tables
    kind = classes[groups[group, CLASS]]
    height, width = kind[HEIGHT], kind[WIDTH]
    cols = v_row.shape[1]
    flat_row, flat_col = v_row.reshape(-1), v_col.reshape(-1)
    for lane in range(LANES):
        node = groups[group, MEMBERS + lane]
        if lane > 0 and node == groups[group, MEMBERS + lane - 1]:
            break  # the rest of the group repeats this leaf
        for k in range(kind[CLASS_PORTS]):
            to = words[kind[PORTS] + k] * batch
            copy_rows(local, to, values, (nodes[node, VALUE] + k) * batch, batch)
        at = groups[group, SLOTS] + lane
        for step in range(kind[N_STEPS] - 1, -1, -1):
            first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
            to = words[kind[ORDER] + step] * batch
            for b in range(0, batch, LANES):
                value = splat(0.0)
                for k in range(first, last):
                    share = splat(slots[at + words[kind[BRANCHES] + k] * LANES])
                    value = fma(share, load(local, words[kind[NEIGHBOURS] + k] * batch + b), value)
                store(local, to + b, value)
        for i in range(height):
            for j in range(width):
                cell = (nodes[node, ROW] + i) * cols + nodes[node, COL] + j
                to, own = cell * stride + begin, i * width + j
                copy_rows(flat_row, to, local, own * batch, batch)
                copy_rows(flat_col, to, local, (height * width + own) * batch, batch)


@compiled
def descend(steps, tables, factor, slots, values, batch, front, local, v_row, v_col, stride, begin):
    """Walk the steps backwards; `values` holds the voltages of the root's ports."""
    for k in range(len(steps) - 1, -1, -1):
        index = steps[k, 1]
        if steps[k, 0] == LEAF_GROUP:
            descend_leaves(tables, index, slots, values, batch, local, v_row, v_col, stride, begin)
        else:
            descend_merge(tables, index, factor, values, batch, front)
