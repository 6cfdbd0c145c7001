"""Compiled substitution with currents at all nodes: up with the currents, down with voltages.

A = L D L' with the stored shares in L and the stored inverses of D. Going up, a node hands its
current on to its neighbours by the shares and keeps it times its inverse; going down, a node's
voltage is the weighted mean of its neighbours' plus what it kept. `kept` holds, from kept_at[node]
on, one row per step of a leaf or padded(S) rows of a merge. Batches are as in `voltage_kernels`.
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
    INVERSE,
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
from circuitsim.dissection.simd import LANES, add, compiled, fma, load, mul, padded, splat, store
from circuitsim.dissection.voltage_kernels import copy_rows


@compiled
def raise_leaves(
    tables, group, slots, values, batch, local, kept, kept_at, drawn, fed, stride, begin
):
    """Currents drawn from row nodes and fed to column nodes, to the ports of LANES leaves.

    Both are [rows, cols, stride], the batch at begin of the last axis; the same array where every
    cell hands on what it draws.
    """
    nodes, _, groups, classes, words = tables
    kind = classes[groups[group, CLASS]]
    height, width = kind[HEIGHT], kind[WIDTH]
    cols = drawn.shape[1]
    flat_drawn, flat_fed = drawn.reshape(-1), fed.reshape(-1)
    zero, minus = splat(0.0), splat(-1.0)
    for lane in range(LANES):
        node = groups[group, MEMBERS + lane]
        if lane > 0 and node == groups[group, MEMBERS + lane - 1]:
            break  # the rest of the group repeats this leaf
        ports, end = 2 * height * width, 2 * height * width + height + width
        for k in range(ports * batch, end * batch, LANES):
            store(local, k, zero)
        for i in range(height):
            for j in range(width):
                source = ((nodes[node, ROW] + i) * cols + nodes[node, COL] + j) * stride + begin
                own = (i * width + j) * batch
                other = (height * width + i * width + j) * batch
                for b in range(0, batch, LANES):
                    store(local, own + b, mul(minus, load(flat_drawn, source + b)))
                    store(local, other + b, load(flat_fed, source + b))
        at = groups[group, SLOTS] + lane
        for step in range(kind[N_STEPS]):
            first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
            own = words[kind[ORDER] + step] * batch
            inverse = splat(slots[at + (kind[INVERSE] + step) * LANES])
            to = (kept_at[node] + step) * batch
            for b in range(0, batch, LANES):
                value = load(local, own + b)
                store(kept, to + b, mul(inverse, value))
                for k in range(first, last):
                    share = splat(slots[at + words[kind[BRANCHES] + k] * LANES])
                    other = words[kind[NEIGHBOURS] + k] * batch + b
                    store(local, other, fma(share, value, load(local, other)))
        for k in range(kind[CLASS_PORTS]):
            to = (nodes[node, VALUE] + k) * batch
            copy_rows(values, to, local, words[kind[PORTS] + k] * batch, batch)


@compiled
def raise_merge(tables, node, factor, values, batch, front, kept, kept_at):
    """Currents at the ports of a node's children -> currents at its own ports."""
    nodes, pieces = tables[0], tables[1]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide = padded(s)
    at, ld = nodes[node, FACTOR], nodes[node, FACTOR_LD]
    zero = splat(0.0)
    for k in range(0, (wide - s) * batch, LANES):
        store(front, k, zero)
    starts = shared_starts(nodes, node)
    a = (nodes[nodes[node, CHILD_A], VALUE] + starts[0]) * batch
    b = (nodes[nodes[node, CHILD_B], VALUE] + starts[1]) * batch
    for k in range(0, s * batch, LANES):
        store(front, (wide - s) * batch + k, add(load(values, a + k), load(values, b + k)))
    row = wide
    for q in range(6):
        child, start, count = pieces[node, q, 0], pieces[node, q, 1], pieces[node, q, 2]
        source = (nodes[nodes[node, CHILD_A + child], VALUE] + start) * batch
        copy_rows(front, row * batch, values, source, count * batch)
        row += count
    for k in range((wide + p) * batch, (wide + padded(p)) * batch, LANES):
        store(front, k, zero)
    inverses = at + wide * ld
    for first in range(0, wide, LANES):
        below = first + LANES
        for r in range(first, below):
            inverse = splat(factor[inverses + r])
            to = (kept_at[node] + r) * batch
            for c in range(0, batch, LANES):
                value = load(front, r * batch + c)
                store(kept, to + c, mul(inverse, value))
                for m in range(r + 1, below):
                    share = splat(factor[at + r * ld + m])
                    other = m * batch + c
                    store(front, other, fma(share, value, load(front, other)))
        update_strip(
            front,
            below * batch,
            batch,
            wide + padded(p) - below,
            factor,
            at + first * ld + below,
            1,
            ld,
            front,
            first * batch,
            batch,
            batch,
            LANES,
        )
    copy_rows(values, nodes[node, VALUE] * batch, front, wide * batch, p * batch)


@compiled
def lower_merge(tables, node, factor, values, batch, front, kept, kept_at):
    """Voltages of a node's ports -> voltages of its children's ports."""
    nodes, pieces = tables[0], tables[1]
    s, p = nodes[node, SHARED], nodes[node, N_PORTS]
    wide = padded(s)
    at, ld = nodes[node, FACTOR], nodes[node, FACTOR_LD]
    copy_rows(front, wide * batch, values, nodes[node, VALUE] * batch, p * batch)
    copy_rows(front, 0, kept, kept_at[node] * batch, wide * batch)
    end = wide + p
    for first in range(wide - LANES, -1, -LANES):
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
    column = wide
    for q in range(6):
        child, start, count = pieces[node, q, 0], pieces[node, q, 1], pieces[node, q, 2]
        to = (nodes[nodes[node, CHILD_A + child], VALUE] + start) * batch
        copy_rows(values, to, front, column * batch, count * batch)
        column += count
    starts = shared_starts(nodes, node)
    for child in range(2):
        to = (nodes[nodes[node, CHILD_A + child], VALUE] + starts[child]) * batch
        copy_rows(values, to, front, (wide - s) * batch, s * batch)


@compiled
def lower_leaves(
    tables, group, slots, values, batch, local, kept, kept_at, v_row, v_col, stride, begin
):
    """Voltages of the ports of LANES leaves -> v_row and v_col [rows, cols, stride] at begin."""
    nodes, _, groups, classes, words = tables
    kind = classes[groups[group, CLASS]]
    height, width = kind[HEIGHT], kind[WIDTH]
    cols = v_row.shape[1]
    flat_row, flat_col = v_row.reshape(-1), v_col.reshape(-1)
    for lane in range(LANES):
        node = groups[group, MEMBERS + lane]
        if lane > 0 and node == groups[group, MEMBERS + lane - 1]:
            break
        for k in range(kind[CLASS_PORTS]):
            to = words[kind[PORTS] + k] * batch
            copy_rows(local, to, values, (nodes[node, VALUE] + k) * batch, batch)
        at = groups[group, SLOTS] + lane
        for step in range(kind[N_STEPS] - 1, -1, -1):
            first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
            to = words[kind[ORDER] + step] * batch
            own = (kept_at[node] + step) * batch
            for b in range(0, batch, LANES):
                value = load(kept, own + b)
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
def raise_currents(
    steps,
    tables,
    factor,
    slots,
    values,
    batch,
    front,
    local,
    kept,
    kept_at,
    drawn,
    fed,
    stride,
    begin,
):
    """Walk the steps forwards: children before parents, the last one is the root."""
    for k in range(len(steps)):
        index = steps[k, 1]
        if steps[k, 0] == LEAF_GROUP:
            raise_leaves(
                tables, index, slots, values, batch, local, kept, kept_at, drawn, fed, stride, begin
            )
        else:
            raise_merge(tables, index, factor, values, batch, front, kept, kept_at)


@compiled
def lower_voltages(
    steps,
    tables,
    factor,
    slots,
    values,
    batch,
    front,
    local,
    kept,
    kept_at,
    v_row,
    v_col,
    stride,
    begin,
):
    """Walk the steps backwards; `values` holds the voltages of the root's ports."""
    for k in range(len(steps) - 1, -1, -1):
        index = steps[k, 1]
        if steps[k, 0] == LEAF_GROUP:
            lower_leaves(
                tables,
                index,
                slots,
                values,
                batch,
                local,
                kept,
                kept_at,
                v_row,
                v_col,
                stride,
                begin,
            )
        else:
            lower_merge(tables, index, factor, values, batch, front, kept, kept_at)
