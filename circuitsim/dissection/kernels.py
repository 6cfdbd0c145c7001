"""Compiled bottom-up elimination: merges of blocks as blocked dense elimination.

A block is stored by the branches between its ports (W >= 0, upper triangle, no diagonal). To
eliminate a node is star-mesh: w_ij += w_si w_sj / sum_k w_sk. Nothing is ever subtracted, so every
branch keeps its full relative accuracy whatever the conductance ratio, and a node without
neighbours is recognised by a sum that is exactly 0.

Eliminating the shared ports S of a merge is blocked like a Cholesky factorisation. A pivot needs
the sum over all of its row; `excess`, the row sum over the ports that stay, is eliminated along as
one more column, so that S x S can be finished before the wide S x P part is touched.
"""

from circuitsim.dissection.leaf_kernels import eliminate_leaves
from circuitsim.dissection.plan import (
    AT_BOTTOM,
    AT_LEFT,
    CHILD_A,
    CHILD_B,
    DOWN,
    FACTOR,
    FACTOR_LD,
    LD,
    LEAF_GROUP,
    N_BOTTOM,
    N_LEFT,
    N_PORTS,
    N_RIGHT,
    N_TOP,
    SCHUR,
    SHARED,
    SLOTS,
)
from circuitsim.dissection.simd import (
    LANES,
    TILE_ROWS,
    TILE_VECTORS,
    add,
    compiled,
    eliminate_within,
    load,
    padded,
    rank_update_narrow,
    rank_update_wide,
    splat,
    store,
    total,
    transpose,
)

WIDE = TILE_VECTORS * LANES


@compiled
def update_strip(c, c_at, c_ld, height, a, a_at, a_step, a_ld, b, b_at, b_ld, width, depth):
    """C[i, j] += sum_k A[k, i] B[k, j] over height x width, both multiples of LANES."""
    for j in range(0, width - WIDE + 1, WIDE):
        for i in range(0, height, TILE_ROWS):
            rank_update_wide(
                c,
                c_at + i * c_ld + j,
                c_ld,
                a,
                a_at + i * a_step,
                a_step,
                a_ld,
                b,
                b_at + j,
                b_ld,
                depth,
            )
    for j in range(width // WIDE * WIDE, width, LANES):
        for i in range(0, height, TILE_ROWS):
            rank_update_narrow(
                c,
                c_at + i * c_ld + j,
                c_ld,
                a,
                a_at + i * a_step,
                a_step,
                a_ld,
                b,
                b_at + j,
                b_ld,
                depth,
            )


@compiled
def copy_run(target, to, source, start, count):
    """target[to : to + count] = source[start : start + count], rounded up to whole vectors.

    What lies beyond the run in the target is overwritten: fill rows from left to right.
    """
    for k in range(0, count, LANES):
        store(target, to + k, load(source, start + k))


@compiled
def clear_run(target, to, count):
    """target[to : to + count] = 0, rounded up to whole vectors like copy_run."""
    zero = splat(0.0)
    for k in range(0, count, LANES):
        store(target, to + k, zero)


@compiled
def shared_starts(nodes, node):
    """First shared port within child a and within child b."""
    a, b = nodes[node, CHILD_A], nodes[node, CHILD_B]
    if nodes[node, DOWN]:
        return (
            nodes[a, N_LEFT] + nodes[a, N_RIGHT] + nodes[a, N_TOP],
            nodes[b, N_LEFT] + nodes[b, N_RIGHT],
        )
    return nodes[a, N_LEFT], 0


@compiled
def gather_panel(tables, node, schur, panel, places):
    """Rows of the shared ports: columns S at the end of padded(S), then the staying ports."""
    nodes, pieces = tables[0], tables[1]
    s, p, ld = nodes[node, SHARED], nodes[node, N_PORTS], nodes[node, FACTOR_LD]
    wide = padded(s)
    offset = wide - s
    end = wide + padded(p)
    starts = shared_starts(nodes, node)
    children = (nodes[node, CHILD_A], nodes[node, CHILD_B])
    column = wide
    for q in range(6):
        child, start, count = pieces[node, q, 0], pieces[node, q, 1], pieces[node, q, 2]
        place, step = nodes[children[child], SCHUR], nodes[children[child], LD]
        shared = starts[child]
        if start > shared:
            for k in range(s):
                source = place + (shared + k) * step + start
                copy_run(panel, (offset + k) * ld + column, schur, source, count)
        else:
            for k0 in range(0, s, LANES):
                for m0 in range(0, count, LANES):
                    for k in range(LANES):
                        places[0, k] = place + (start + m0 + k) * step + shared + k0
                        places[1, k] = (offset + k0 + k) * ld + column + m0
                    transpose(schur, places[0], panel, places[1])
        column += count
    if p < end - wide:
        for k in range(offset, wide):
            for m in range(wide + p, end):
                panel[k * ld + m] = 0.0
    # A run that is cut off late reaches into the next row's S part, so that part comes last.
    for row in range(offset):
        clear_run(panel, row * ld, end)
    for k in range(s):
        row = (offset + k) * ld
        clear_run(panel, row, offset + k + 1)
        a = nodes[children[0], SCHUR] + (starts[0] + k) * nodes[children[0], LD] + starts[0]
        b = nodes[children[1], SCHUR] + (starts[1] + k) * nodes[children[1], LD] + starts[1]
        whole = k + 1 + (s - k - 1) // LANES * LANES
        for m in range(k + 1, whole, LANES):
            store(panel, row + offset + m, add(load(schur, a + m), load(schur, b + m)))
        for m in range(whole, s):
            panel[row + offset + m] = schur[a + m] + schur[b + m]


@compiled
def gather_rest(tables, node, schur):
    """Branches between staying ports: those of the same child, and none between the children."""
    nodes, pieces = tables[0], tables[1]
    p, ld, at = nodes[node, N_PORTS], nodes[node, LD], nodes[node, SCHUR]
    end = padded(p)
    children = (nodes[node, CHILD_A], nodes[node, CHILD_B])
    row = 0
    for q in range(6):
        child, start, count = pieces[node, q, 0], pieces[node, q, 1], pieces[node, q, 2]
        place, step = nodes[children[child], SCHUR], nodes[children[child], LD]
        for k in range(count):
            target = at + (row + k) * ld + row
            source = place + (start + k) * step
            for r in range(q, 6):
                size = pieces[node, r, 2]
                if pieces[node, r, 0] == child:
                    copy_run(schur, target, schur, source + pieces[node, r, 1], size)
                else:
                    clear_run(schur, target, size)
                target += size
            for m in range(target, at + (row + k) * ld + end):
                schur[m] = 0.0
        row += count
    for k in range(p, end):
        clear_run(schur, at + k * ld, end)


@compiled
def finish_pivots(panel, ld, first, offset, wide, excess, factors, inverses, beyond):
    """Eliminate rows first .. first + LANES among themselves; their updates from above are done.

    factors[first * LANES ...] becomes the [LANES, LANES] array that `eliminate_within` wants.
    """
    at = first * LANES
    for r in range(LANES):
        inverses[first + r] = 0.0
        whole = splat(0.0)
        for c in range(first + LANES, wide, LANES):
            whole = add(whole, load(panel, (first + r) * ld + c))
        beyond[r] = total(whole) + excess[first + r]
        for c in range(LANES):
            factors[at + r * LANES + c] = panel[(first + r) * ld + first + c]
    for r in range(max(0, offset - first), LANES):  # the rows before `offset` are padding: all 0
        row = at + r * LANES
        whole = beyond[r]
        for c in range(r + 1, LANES):
            whole += factors[row + c]
        inverse = 1.0 / whole if whole > 0.0 else 0.0
        for c in range(r + 1, LANES):
            share = factors[row + c] * inverse
            for d in range(c + 1, LANES):
                factors[at + c * LANES + d] += share * factors[row + d]
            beyond[c] += share * beyond[r]
            excess[first + c] += share * excess[first + r]
            factors[row + c] = share
        factors[row + r] = inverse
        inverses[first + r] = inverse


@compiled
def eliminate_shared(tables, node, panel, scaled, at, small):
    """Finish the S x S part of a panel; `scaled[at:]` receives the rows divided by their pivots."""
    nodes = tables[0]
    s, p, ld = nodes[node, SHARED], nodes[node, N_PORTS], nodes[node, FACTOR_LD]
    wide = padded(s)
    offset, end = wide - s, wide + padded(p)
    excess, beyond, factors = small[:wide], small[wide : wide + LANES], small[wide + LANES :]
    inverses = scaled[at + wide * ld : at + wide * ld + wide]
    for r in range(wide):
        whole = splat(0.0)
        for c in range(wide, end, LANES):
            whole = add(whole, load(panel, r * ld + c))
        excess[r] = total(whole)
    for first in range(0, wide, LANES):
        if first > 0:
            depth = first - offset
            above = at + offset * ld
            update_strip(
                panel,
                first * ld + first,
                ld,
                LANES,
                scaled,
                above + first,
                1,
                ld,
                panel,
                offset * ld + first,
                ld,
                wide - first,
                depth,
            )
            for k in range(offset, first):
                for r in range(first, first + LANES):
                    excess[r] += scaled[at + k * ld + r] * excess[k]
        finish_pivots(panel, ld, first, offset, wide, excess, factors, inverses, beyond)
        eliminate_within(
            panel,
            first * ld + first,
            ld,
            scaled,
            at + first * ld + first,
            ld,
            factors[first * LANES : (first + LANES) * LANES],
            wide - first,
        )


@compiled
def eliminate_columns(tables, node, panel, scaled, at, small, begin, end):
    """Apply the finished pivots to the panel's columns begin .. end."""
    nodes = tables[0]
    wide, ld = padded(nodes[node, SHARED]), nodes[node, FACTOR_LD]
    offset = wide - nodes[node, SHARED]
    factors = small[wide + LANES :]
    for first in range(0, wide, LANES):
        if first > 0:
            update_strip(
                panel,
                first * ld + begin,
                ld,
                LANES,
                scaled,
                at + offset * ld + first,
                1,
                ld,
                panel,
                offset * ld + begin,
                ld,
                end - begin,
                first - offset,
            )
        eliminate_within(
            panel,
            first * ld + begin,
            ld,
            scaled,
            at + first * ld + begin,
            ld,
            factors[first * LANES : (first + LANES) * LANES],
            end - begin,
        )


@compiled
def update_rest(tables, node, schur, panel, scaled, at, begin, end):
    """Add the eliminated ports' share to columns begin .. end of the branches that stay.

    Branches between two sources or two sense terminals are never asked for and not computed.
    """
    nodes = tables[0]
    s, ld = nodes[node, SHARED], nodes[node, FACTOR_LD]
    wide = padded(s)
    offset = wide - s
    c_at, c_ld, ports = nodes[node, SCHUR], nodes[node, LD], nodes[node, N_PORTS]
    sources = nodes[node, N_LEFT] // LANES * LANES if nodes[node, AT_LEFT] else 0
    rows = ports - nodes[node, N_BOTTOM] if nodes[node, AT_BOTTOM] else ports
    a_at, b_at = at + offset * ld + wide, offset * ld + wide
    for j in range(begin, end, WIDE):
        width = min(WIDE, end - j)
        if j + width <= sources:
            continue
        for i in range(0, min(padded(rows), j + width), LANES):
            skip = LANES if i >= j + LANES else 0  # left of the diagonal
            update_strip(
                schur,
                c_at + i * c_ld + j + skip,
                c_ld,
                LANES,
                scaled,
                a_at + i,
                1,
                ld,
                panel,
                b_at + j + skip,
                ld,
                width - skip,
                s,
            )


@compiled
def merge(tables, node, schur, scaled, at, panel, small, places):
    """Merge the children of a node: one elimination of their shared ports."""
    nodes = tables[0]
    wide, ports = padded(nodes[node, SHARED]), padded(nodes[node, N_PORTS])
    gather_panel(tables, node, schur, panel, places)
    gather_rest(tables, node, schur)
    eliminate_shared(tables, node, panel, scaled, at, small)
    eliminate_columns(tables, node, panel, scaled, at, small, wide, wide + ports)
    update_rest(tables, node, schur, panel, scaled, at, 0, ports)


@compiled
def run_steps(steps, tables, conductances, schur, factor, slots, panel, small, places, keep):
    """Eliminate bottom-up. With keep = 0 factor and slots are scratch for one step at a time."""
    nodes, groups = tables[0], tables[2]
    for k in range(len(steps)):
        index = steps[k, 1]
        if steps[k, 0] == LEAF_GROUP:
            at = keep * groups[index, SLOTS]
            eliminate_leaves(tables, index, conductances, schur, slots, at, places)
        else:
            at = keep * nodes[index, FACTOR]
            merge(tables, index, schur, factor, at, panel, small, places)


@compiled
def read_operator(tables, node, schur, out):
    """out[n, m]: the branch between source m and sense terminal n of the root, in S."""
    nodes = tables[0]
    rows, cols = nodes[node, N_LEFT], nodes[node, N_BOTTOM]
    for m in range(rows):
        for n in range(cols):
            out[n, m] = schur[nodes[node, SCHUR] + m * nodes[node, LD] + rows + n]
