"""Compiled cell currents for a whole tile and some inputs at a time.

Both kernels turn node voltages into each cell's *excess*, its current minus g0 times its drop: what
the linear system of the tile does not know. They also add up the column currents and how far the
excess moved, column by column. Voltages and excess are [rows, cols, width] and the sums
[cols, width], all contiguous, with whole vectors of inputs as the last axis. Voltages outside the
range of the cell count as the nearest one inside while iterating.
"""

import math

from circuitsim.dissection.simd import (
    LANES,
    add,
    by_sign,
    compiled,
    fma,
    load,
    maximum,
    minimum,
    mul,
    splat,
    store,
    sub,
)


@compiled
def clear(array):
    """array[:] = 0."""
    flat = array.reshape(-1)
    zero = splat(0.0)
    for k in range(0, flat.size, LANES):
        store(flat, k, zero)


@compiled
def horner(coefficients, at, degree, u, t):
    """The sum of coefficient u^a t^b over a + b <= degree, in the order of `term_powers`."""
    total = splat(0.0)
    for a in range(degree, -1, -1):
        inner = splat(coefficients[at])
        at += 1
        for _ in range(degree - a):
            inner = fma(inner, t, splat(coefficients[at]))
            at += 1
        total = fma(total, u, inner)
    return total


@compiled
def surface_step(v_row, v_col, polynomials, degree, low, high, g0, excess, i_out, change):
    """Cells by calibrated surface: polynomials [cells, 2, terms], see CellSurface."""
    rows, cols, width = v_row.shape
    flat_row, flat_col = v_row.reshape(-1), v_col.reshape(-1)
    flat, sums, moves = excess.reshape(-1), i_out.reshape(-1), change.reshape(-1)
    coefficients, chord = polynomials.reshape(-1), g0.reshape(-1)
    terms = polynomials.shape[2]
    clear(i_out)
    clear(change)
    scale = 2.0 / (high - low)
    least, most, one = splat(low), splat(high), splat(-1.0)
    slope, offset = splat(scale), splat(-1.0 - scale * low)
    zero = splat(0.0)
    for cell in range(rows * cols):
        column = cell % cols * width
        at = cell * 2 * terms
        g = splat(-chord[cell])
        for b in range(0, width, LANES):
            k = cell * width + b
            x = minimum(maximum(load(flat_row, k), least), most)
            y = minimum(maximum(load(flat_col, k), least), most)
            d = sub(x, y)
            u = fma(maximum(d, sub(zero, d)), slope, one)
            t = fma(minimum(x, y), slope, offset)
            forward = horner(coefficients, at, degree, u, t)
            backward = horner(coefficients, at + terms, degree, u, t)
            current = mul(d, by_sign(d, forward, backward))
            new = fma(g, d, current)
            moved = sub(new, load(flat, k))
            store(flat, k, new)
            store(sums, column + b, add(load(sums, column + b), current))
            moved = maximum(moved, sub(zero, moved))
            store(moves, column + b, add(load(moves, column + b), moved))


@compiled
def sinh_step(v_row, v_col, g, v0, backward, v_max, g0, excess, i_out, change):
    """Bare memories that bend: I = g v0 sinh(drop / v0), g [rows, cols],
    and `backward` times that where the drop is negative.
    """
    rows, cols, width = v_row.shape
    clear(i_out)
    clear(change)
    for i in range(rows):
        for j in range(cols):
            for b in range(width):
                d = min(max(v_row[i, j, b] - v_col[i, j, b], -v_max), v_max)
                bent = v0 * math.sinh(d / v0)
                current = g[i, j] * (bent if d >= 0 else backward * bent)
                new = current - g0[i, j] * d
                change[j, b] += abs(new - excess[i, j, b])
                excess[i, j, b] = new
                i_out[j, b] += current
