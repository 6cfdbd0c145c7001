"""Answers that share no code with the toolkit."""

import warnings
from fractions import Fraction

import numpy as np


def ladder_currents(n, *, r, g, v):
    """One row of n cells of g siemens each to ground, segments of r ohm, driven by v: closed form.

    The voltage of node k on a ladder with an open end is v cosh((n - k + 1/2) t) /
    cosh((n + 1/2) t) with 2 cosh t = 2 + r g.
    """
    t = np.arccosh(1 + r * g / 2)
    k = np.arange(1, n + 1)
    return g * v * np.cosh((n - k + 0.5) * t) / np.cosh((n + 0.5) * t)


def single_cell_current(*, r_driver, r_row, r_cell, r_col, r_sense, v):
    """One cell: five resistors in series."""
    return v / (r_driver + r_row + r_cell + r_col + r_sense)


def two_by_two(*, r_row, r_col, r_cell, v):
    """2x2 tile in exact rational arithmetic, Kirchhoff's current law written out node by node."""
    p, q = Fraction(1) / r_row, Fraction(1) / r_col
    (a, b), (c, d) = [[Fraction(1) / r for r in row] for row in r_cell]
    # Unknowns: x00 x01 x10 x11 y00 y01 y10 y11; each line is one node's balance.
    lines = [
        [p + p + a, -p, 0, 0, -a, 0, 0, 0, p * v[0]],
        [-p, p + b, 0, 0, 0, -b, 0, 0, 0],
        [0, 0, p + p + c, -p, 0, 0, -c, 0, p * v[1]],
        [0, 0, -p, p + d, 0, 0, 0, -d, 0],
        [-a, 0, 0, 0, a + q, 0, -q, 0, 0],
        [0, -b, 0, 0, 0, b + q, 0, -q, 0],
        [0, 0, -c, 0, -q, 0, c + q + q, 0, 0],
        [0, 0, 0, -d, 0, -q, 0, d + q + q, 0],
    ]
    lines = [[Fraction(entry) for entry in line] for line in lines]
    for k in range(8):
        lines[k] = [entry / lines[k][k] for entry in lines[k]]
        for other in range(8):
            if other != k:
                factor = lines[other][k]
                lines[other] = [e - factor * w for e, w in zip(lines[other], lines[k], strict=True)]
    solved = [line[8] for line in lines]
    return np.array([float(q * solved[6]), float(q * solved[7])])


def badcrossbar_solution(g, *, r_row, r_col, v):
    """(i_out [batch, cols], v_row, v_col [batch, rows, cols]) from badcrossbar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that its plots lack cairo
        import badcrossbar

        found = badcrossbar.compute(
            np.asarray(v).T, 1.0 / np.asarray(g), r_i_word_line=r_row, r_i_bit_line=r_col
        )
    stacked = [np.asarray(a).reshape(*np.shape(g), -1) for a in found.voltages]
    return np.asarray(found.currents.output), *(np.moveaxis(a, 2, 0) for a in stacked)


def dense_operator(tile):
    """Operator of a OneR tile by dense elimination over an own assembly, S [cols, rows]."""
    rows, cols = tile.spec.rows, tile.spec.cols
    g = np.asarray(tile.g_device)
    wires = tile.spec.wires
    n = 2 * rows * cols
    y = np.zeros((n, n))
    feed = np.zeros((n, rows))
    sense = np.zeros((cols, n))

    def link(a, b, conductance):
        y[a, a] += conductance
        y[b, b] += conductance
        y[a, b] -= conductance
        y[b, a] -= conductance

    for i in range(rows):
        for j in range(cols):
            x, z = i * cols + j, rows * cols + i * cols + j
            link(x, z, g[i, j])
            along = float(wires.r_row_segment[i, j])
            down = float(wires.r_col_segment[i, j])
            if j == 0:
                entry = 1.0 / (float(wires.r_driver[i]) + along)
                y[x, x] += entry
                feed[x, i] = entry
            else:
                link(x, x - 1, 1.0 / along)
            if i == rows - 1:
                leave = 1.0 / (down + float(wires.r_sense[j]))
                y[z, z] += leave
                sense[j, z] = leave
            else:
                link(z, z + cols, 1.0 / down)
    return sense @ np.linalg.solve(y, feed)


def series_sinh_current(*, r, g, v0, v):
    """Current through r in series with I = g v0 sinh(drop / v0), by bisection on the drop."""
    low, high = 0.0, v
    for _ in range(200):
        drop = (low + high) / 2
        if drop + r * g * v0 * np.sinh(drop / v0) > v:
            high = drop
        else:
            low = drop
    return (v - drop) / r


def exact_voltages(branches, held):
    """Node voltages of resistors (a, b, ohm) with some nodes held, in exact rational arithmetic.

    branches: node names and resistances of integers, fractions or doubles (taken as they are).
    held: {node: volts}. Kirchhoff's current law at every other node, by elimination.
    """
    nodes = sorted({end for a, b, _ in branches for end in (a, b)} - set(held))
    at = {node: k for k, node in enumerate(nodes)}
    lines = [[Fraction(0)] * (len(nodes) + 1) for _ in nodes]
    for a, b, ohm in branches:
        g = 1 / Fraction(ohm)
        for one, other in ((a, b), (b, a)):
            if one in at:
                lines[at[one]][at[one]] += g
                if other in at:
                    lines[at[one]][at[other]] -= g
                else:
                    lines[at[one]][-1] += g * Fraction(held[other])
    for k in range(len(nodes)):
        pivot = next(line for line in range(k, len(nodes)) if lines[line][k] != 0)
        lines[k], lines[pivot] = lines[pivot], lines[k]
        lines[k] = [entry / lines[k][k] for entry in lines[k]]
        for other in range(len(nodes)):
            if other != k and lines[other][k] != 0:
                factor = lines[other][k]
                lines[other] = [e - factor * w for e, w in zip(lines[other], lines[k], strict=True)]
    return {**held, **{node: lines[at[node]][-1] for node in nodes}}
