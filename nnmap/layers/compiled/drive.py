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
    planes, parts: bits that enter one by one; 2 where also -x drives rows. A *source* is a part of
        a plane: plane * parts + part.
    reads: (source of plain rows, source of flipped rows, 1 for the negative part), [reads, 3].
    factors: [reads], what the codes of a read are worth.
    active: [groups, 2], whether the positive and the negative part of the input drive any row.
    """

    mode: int
    table: np.ndarray
    numbers: np.ndarray
    bipolar: bool
    planes: int
    parts: int
    reads: np.ndarray
    factors: np.ndarray
    active: np.ndarray


@compiled
def _sizes(x, volts, drive):
    """Magnitudes of inputs, a NaN as 0; (how many exceed x_max, how many are NaN)."""
    _, limit, _, zero, one = drive.numbers
    beyond = unknown = 0
    for i in range(len(x)):
        value = abs(x[i] * one)
        beyond += value > limit
        unknown += value != value
        volts[i] = value if value > zero else zero
    return beyond, unknown


@compiled
def drive_rows(x, volts, plane, drive):
    """Voltages of the magnitudes of x, for one bit where serial; `volts` is at least as long.

    Returns how many exceed x_max, at the first bit. Many short loops: each is made of vector
    instructions, all of it at once would not be.
    """
    x_max, _, levels, zero, one = drive.numbers
    beyond, unknown = _sizes(x, volts, drive)
    if levels > zero:
        for i in range(len(x)):
            size = volts[i] / x_max
            volts[i] = np.rint((size if size < one else one) * levels)
    table, pieces = drive.table, len(drive.table) - 1
    if drive.mode == TABLE:
        for i in range(len(x)):
            volts[i] = table[np.uint32(volts[i])]
    elif drive.mode == SERIAL:
        for i in range(len(x)):
            volts[i] = table[(np.uint32(volts[i]) >> np.uint32(plane)) & np.uint32(1)]
    else:
        last = table.dtype.type(pieces - 1)
        steps = table.dtype.type(pieces) / (levels if levels > zero else x_max)
        for i in range(len(x)):
            at = volts[i] * steps
            piece = np.uint32(at if at < last else last)
            volts[i] = table[piece] + (at - piece) * (table[piece + 1] - table[piece])
    if unknown:
        for i in range(len(x)):
            if x[i] != x[i]:
                volts[i] = x[i]
    return beyond if plane == 0 else 0


@compiled
def take_part(x, volts, part, negative, drive):
    """What rows are driven by: `part` of the voltages of x, or of -x where `negative`."""
    zero = drive.numbers[3]
    if drive.bipolar:
        for i in range(len(x)):
            volt = volts[i]
            part[i] = -volt if (x[i] < zero) != negative else volt
    elif negative:
        for i in range(len(x)):
            volt = volts[i]  # read in any case: a choice between two numbers is no branch
            part[i] = zero if x[i] > zero else volt
    elif drive.parts > 1:
        for i in range(len(x)):
            volt = volts[i]
            part[i] = zero if x[i] < zero else volt
    else:
        for i in range(len(x)):
            part[i] = volts[i]
