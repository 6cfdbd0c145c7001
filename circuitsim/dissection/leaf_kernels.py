"""Compiled elimination of leaves: LANES of one class in lockstep, replaying a LeafProgram.

The lane is the contiguous last axis, so even a tiny elimination is nothing but whole vectors.
"""

from circuitsim.dissection.plan import (
    BRANCHES,
    CLASS,
    CLASS_PORTS,
    COL,
    FIRST,
    HEIGHT,
    INVERSE,
    LD,
    MEMBERS,
    N_SLOTS,
    N_STEPS,
    OUTPUTS,
    PAIR,
    ROW,
    SCHUR,
    TARGETS,
    WIDTH,
)
from circuitsim.dissection.simd import (
    LANES,
    add,
    compiled,
    fma,
    load,
    mul,
    reciprocal,
    splat,
    store,
    transpose,
)


@compiled
def eliminate_leaves(tables, group, conductances, schur, slots, at, places):
    """Eliminate the interior of LANES leaves; slot k of leaf l is slots[at + LANES k + l]."""
    nodes, _, groups, classes, words = tables
    g_row, g_col, g_cell = conductances
    kind = classes[groups[group, CLASS]]
    height, width = kind[HEIGHT], kind[WIDTH]
    cells = height * width
    for lane in range(LANES):
        node = groups[group, MEMBERS + lane]
        for i in range(height):
            row = nodes[node, ROW] + i
            for j in range(width):
                col = nodes[node, COL] + j
                k = at + (i * width + j) * LANES + lane
                slots[k] = g_row[row, col]
                slots[k + cells * LANES] = g_col[row, col]
                slots[k + 2 * cells * LANES] = g_cell[row, col]
    zero = splat(0.0)
    for k in range(3 * cells, kind[N_SLOTS]):
        store(slots, at + k * LANES, zero)

    for step in range(kind[N_STEPS]):
        first, last = words[kind[FIRST] + step], words[kind[FIRST] + step + 1]
        branches = kind[BRANCHES]
        whole = zero
        for k in range(first, last):
            whole = add(whole, load(slots, at + words[branches + k] * LANES))
        inverse = reciprocal(whole)
        store(slots, at + (kind[INVERSE] + step) * LANES, inverse)
        target = kind[TARGETS] + words[kind[PAIR] + step]
        for k in range(first, last):
            place = at + words[branches + k] * LANES
            share = mul(load(slots, place), inverse)
            store(slots, place, share)  # the voltage of this node is the sum of share * voltage
            for m in range(k + 1, last):
                other = load(slots, at + words[branches + m] * LANES)
                there = at + words[target] * LANES
                store(slots, there, fma(share, other, load(slots, there)))
                target += 1

    # Lane by lane in memory: LANES columns of one row of LANES blocks at a time.
    store(slots, at + kind[N_SLOTS] * LANES, zero)
    ports, output = kind[CLASS_PORTS], kind[OUTPUTS]
    for i in range(ports):
        for j in range(i // LANES * LANES, ports, LANES):
            for k in range(LANES):
                node = groups[group, MEMBERS + k]
                places[0, k] = at + words[output + k] * LANES
                places[1, k] = nodes[node, SCHUR] + i * nodes[node, LD] + j
            transpose(slots, places[0], schur, places[1])
            output += LANES
