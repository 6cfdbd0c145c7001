"""Compiled DAC of a mapped layer: inputs -> row voltages."""

from typing import NamedTuple

import numba
import numpy as np

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")
"""How the kernels of reads are compiled."""

CONTINUOUS, TABLE, SERIAL = 0, 1, 2
"""How an input becomes a voltage: interpolated, by its code, or one bit of its code at a time."""


class Drive(NamedTuple):
    """Inputs -> row voltages, and the reads that serve them.

    table: V, at even steps of the input from 0 to x_max.
    numbers: (x_max, largest input that is not counted, levels or 0 without a DAC, 0, 1), of the
        type that the kernels compute in.
    bipolar: whether negative inputs enter as negative voltages.
    sources: what is staged: (bit, 1 for the negative part, 1 where inputs are counted) of each,
        [sources, 3].
    reads: (source of plain rows, source of flipped rows, 1 for the negative part), [reads, 3].
    factors: [reads], what the codes of a read are worth.
    active: [groups, 2], whether the positive and the negative part of the input drive any row.
    """

    mode: int
    table: np.ndarray
    numbers: np.ndarray
    bipolar: bool
    sources: np.ndarray
    reads: np.ndarray
    factors: np.ndarray
    active: np.ndarray


@compiled
def _sizes(x, x_at, count, volts, negative, drive):
    """What a source takes of inputs, at least 0, a NaN as 0; (how many exceed x_max, are NaN)."""
    _, limit, _, zero, one = drive.numbers
    sign = -one if negative else one
    beyond = unknown = 0
    if drive.bipolar:
        for i in range(count):
            value = abs(x[x_at + i] * one)
            beyond += value > limit
            unknown += value != value
            volts[i] = value if value > zero else zero
    else:
        for i in range(count):
            value = x[x_at + i] * sign
            beyond += value > limit
            unknown += value != value
            volts[i] = value if value > zero else zero
    return beyond, unknown


@compiled
def drive_rows(x, x_at, count, volts, source, drive):
    """volts[:count] of x[x_at : x_at + count] for one source; returns how many exceed x_max.

    Many short loops: each is made of vector instructions, all of it at once would not be.
    """
    x_max, _, levels, zero, one = drive.numbers
    plane, negative, first = drive.sources[source]
    beyond, unknown = _sizes(x, x_at, count, volts, negative, drive)
    if levels > zero:
        for i in range(count):
            size = volts[i] / x_max
            volts[i] = np.rint((size if size < one else one) * levels)
    table, pieces = drive.table, len(drive.table) - 1
    if drive.mode == TABLE:
        for i in range(count):
            volts[i] = table[np.uint32(volts[i])]
    elif drive.mode == SERIAL:
        for i in range(count):
            volts[i] = table[(np.uint32(volts[i]) >> np.uint32(plane)) & np.uint32(1)]
    else:
        last = table.dtype.type(pieces - 1)
        steps = table.dtype.type(pieces) / (levels if levels > zero else x_max)
        for i in range(count):
            at = volts[i] * steps
            piece = np.uint32(at if at < last else last)
            volts[i] = table[piece] + (at - piece) * (table[piece + 1] - table[piece])
    if drive.bipolar:
        for i in range(count):
            if (x[x_at + i] < zero) != negative:
                volts[i] = -volts[i]
    if unknown:
        for i in range(count):
            if x[x_at + i] != x[x_at + i]:
                volts[i] = x[x_at + i]
    return beyond if first else 0
