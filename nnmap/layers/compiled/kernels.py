"""Compiled loops of a mapped layer's reads: DAC, rows gathered, products, ADC, outputs.

Work is cut into blocks of input vectors that stay in cache from the DAC to the outputs. A block's
input voltages are *staged* with vectors along the lanes; the rows of a row group are gathered from
there into a *panel*, and `read_columns` takes panels to sums. Threads claim blocks from a counter;
no result depends on how vectors fall into blocks.
"""

from typing import NamedTuple

import numpy as np

from nnmap.layers.compiled.columns import (
    COLUMNS,
    REGISTER,
    VECTORS,
    claim,
    copy_vector,
    read_one,
    read_two,
    read_wide,
)
from nnmap.layers.compiled.drive import compiled, drive_rows, take_part

NOWHERE = 0
"""The place of columns that serve no output; what fills up panels may be NaN where inputs are."""

WRITTEN_AT_ONCE = 32  # outputs of one vector
STAGED_AT_ONCE = 1024  # inputs of one vector converted before they are laid across the lanes


class Columns(NamedTuple):
    """Row groups one after the other; columns in panels of COLUMNS, the last filled up with 0.

    rows: [groups + 1], where a group begins in `inputs` and `flip`.  panels: the same for panels.
    operator: flat, panel by panel [rows, COLUMNS], in codes per volt.  operator_at: [groups].
    weight: [columns], output per code.  place: [columns], the sum it is added to: NOWHERE, then
        the outputs, then sums that several outputs share.
    shared_at, shared_outputs, shared_weight: outputs that each shared sum goes to, as CSR.
    start: [outputs], what the sums begin with.
    """

    rows: np.ndarray
    inputs: np.ndarray
    flip: np.ndarray
    panels: np.ndarray
    operator: np.ndarray
    operator_at: np.ndarray
    weight: np.ndarray
    place: np.ndarray
    shared_at: np.ndarray
    shared_outputs: np.ndarray
    shared_weight: np.ndarray
    start: np.ndarray


@compiled
def _aligned(size, like):
    """An array whose vectors cross no cache line; its values are whatever memory holds."""
    room = np.empty(size + 2 * REGISTER, like.dtype)
    skipped = -(room.ctypes.data // like.itemsize) % (REGISTER // like.itemsize)
    return room[skipped : skipped + size]


@compiled
def _padded(count, lanes):
    return (count + lanes - 1) // lanes * lanes


@compiled
def _gather(stage, at, panel, to, segments, step):
    """One row of a panel: runs (to, from, length) of staged values, `step` apart."""
    lanes = REGISTER // stage.itemsize
    for s in range(len(segments)):
        target, source = to + segments[s, 0], at + segments[s, 1]
        if step == 1:  # whole vectors; what is too much is overwritten by what follows
            for i in range(0, segments[s, 2], lanes):
                copy_vector(panel, target + i, stage, source + i)
        else:
            for i in range(segments[s, 2]):
                panel[target + i] = stage[source + i * step]


@compiled
def _read_group(panel, depth, stride, whole, columns, group, limits, converted, sums, beyond):
    """Add what the columns of one row group read of a panel to the sums of a block."""
    lanes = REGISTER // panel.itemsize
    weight, place = columns.weight, columns.place
    operator, a = columns.operator, columns.operator_at[group]
    for p in range(columns.panels[group], columns.panels[group + 1]):
        c, at = p * COLUMNS, 0
        while at + VECTORS * lanes <= whole:
            read_wide(
                panel, at, stride, operator, a, depth, weight, place, c, sums, at, stride,
                limits, converted, beyond,
            )  # fmt: skip
            at += VECTORS * lanes
        if whole - at == 2 * lanes:
            read_two(
                panel, at, stride, operator, a, depth, weight, place, c, sums, at, stride,
                limits, converted, beyond,
            )  # fmt: skip
        elif whole - at == lanes:
            read_one(
                panel, at, stride, operator, a, depth, weight, place, c, sums, at, stride,
                limits, converted, beyond,
            )  # fmt: skip
        a += depth * COLUMNS


@compiled
def _read_block(
    stage, source_size, row_at, segments, step, count, stride, columns, drive, codes, room, beyond
):
    """All reads of one block of `count` vectors; sums of `room` are then [places, stride].

    row_at: where in a source the input of each row begins.  segments, step: see `_gather`.
    """
    panel, sums = room
    whole = _padded(count, REGISTER // panel.itemsize)
    outputs, shared = len(columns.start), len(columns.shared_at) - 1
    sums[:] = 0
    for o in range(outputs):
        sums[(1 + o) * stride : (1 + o) * stride + whole] = columns.start[o]
    limits = codes.copy()
    for read in range(len(drive.reads)):
        limits[2] = drive.factors[read]
        for group in range(len(columns.operator_at)):
            if not drive.active[group, drive.reads[read, 2]]:
                continue
            first = columns.rows[group]
            depth = columns.rows[group + 1] - first
            for k in range(depth):
                source = drive.reads[read, columns.flip[first + k]]
                at = source * source_size + row_at[first + k]
                _gather(stage, at, panel, k * stride, segments, step)
                if count < whole:
                    panel[k * stride + count : k * stride + whole] = 0
            converted = limits[0] < limits[1]
            _read_group(
                panel, depth, stride, whole, columns, group, limits, converted, sums, beyond
            )
    for s in range(shared):
        start = (1 + outputs + s) * stride
        for j in range(columns.shared_at[s], columns.shared_at[s + 1]):
            to, weight = (1 + columns.shared_outputs[j]) * stride, columns.shared_weight[j]
            for i in range(whole):
                sums[to + i] += weight * sums[start + i]


@compiled
def _room(stride, columns):
    """(panel, sums) of a block."""
    depth = 0
    for group in range(len(columns.operator_at)):
        depth = max(depth, columns.rows[group + 1] - columns.rows[group])
    places = 1 + len(columns.start) + len(columns.shared_at) - 1
    return _aligned(depth * stride, columns.operator), _aligned(places * stride, columns.operator)


@compiled
def _collect(beyond):
    """Clamped codes counted by lane, which start anew at 0."""
    total = 0
    for lane in range(len(beyond)):
        total += beyond[lane]
        beyond[lane] = 0
    return total


@compiled
def read_vectors(x, y, block, stride, counter, columns, drive, codes, beyond):
    """Sums of outputs y [vectors, outputs] for inputs x [vectors, inputs].

    Returns how many inputs exceed x_max and how many codes were clamped.
    block: vectors that are claimed at a time.  stride: at least `block`, whole vectors.
    codes: (lowest, highest, any number); both are 0 where there is no converter.
    beyond: one 0 per lane, integers as wide as the numbers of `columns`.
    """
    vectors, inputs = x.shape
    outputs = y.shape[1]
    sources = drive.planes * drive.parts
    flat = x.reshape(-1)
    source_size = inputs * stride
    stage = _aligned(sources * source_size, columns.operator)
    volts, part = np.empty((2, STAGED_AT_ONCE), columns.operator.dtype)
    row_at = columns.inputs * stride
    room = _room(stride, columns)
    segments = np.zeros((1, 3), np.int64)
    inputs_beyond, codes_beyond = 0, 0
    while True:
        first = claim(counter) * block
        if first >= vectors:
            return inputs_beyond, codes_beyond
        count = min(block, vectors - first)
        for v in range(count):
            for i in range(0, inputs, STAGED_AT_ONCE):
                at, width = (first + v) * inputs + i, min(STAGED_AT_ONCE, inputs - i)
                for source in range(sources):
                    plane, negative = divmod(source, drive.parts)
                    if not negative:
                        inputs_beyond += drive_rows(flat[at : at + width], volts, plane, drive)
                    take_part(flat[at : at + width], volts, part, negative, drive)
                    to = source * source_size + i * stride + v
                    for k in range(width):
                        stage[to + k * stride] = part[k]
        segments[0, 2] = count
        _read_block(
            stage, source_size, row_at, segments, 1, count, stride, columns, drive, codes, room,
            beyond,
        )  # fmt: skip
        codes_beyond += _collect(beyond)
        sums = room[1]
        for o in range(0, outputs, WRITTEN_AT_ONCE):
            for v in range(count):
                for k in range(o, min(o + WRITTEN_AT_ONCE, outputs)):
                    y[first + v, k] = sums[(1 + k) * stride + v]


@compiled
def _segments(first, count, positions, width, image_size, line_size, step):
    """Runs (to, from, length) of a block's patches that lie in one line of an image each."""
    runs = np.empty((count // width + 2, 3), np.int64)
    found, done = 0, 0
    while done < count:
        image, position = divmod(first + done, positions)
        line, column = divmod(position, width)
        length = min(width - column, count - done)
        runs[found, 0] = done
        runs[found, 1] = image * image_size + line * line_size + column * step
        runs[found, 2] = length
        found += 1
        done += length
    return runs[:found]


@compiled
def read_images(x, y, window, images, block, stride, counter, columns, drive, codes, beyond):
    """Sums of outputs y [n, outputs, h', w'] for images x [n, channels, h, w].

    window: (kernel, stride, dilation, top left padding), each (height, width), int64 [4, 2], and
        the padded size in a fifth row; padding is 0 V.
    images: how many are claimed at a time.  The rest is as in `read_vectors`.
    """
    n, channels, height, width = x.shape
    outputs, out_height, out_width = y.shape[1:]
    positions = out_height * out_width
    (kh, kw), (sh, sw), (dh, dw), (top, left), (tall, wide) = window
    # Lines of positions without a gap between them are one.
    run = positions if out_width == wide and sh == 1 and sw == 1 else out_width
    flat, result = x.reshape(-1), y.reshape(-1)
    image_size = channels * tall * wide
    source_size = images * image_size
    sources = drive.planes * drive.parts
    stage = _aligned(sources * source_size, columns.operator)
    stage[:] = 0
    lines = max(1, STAGED_AT_ONCE // width)  # of an image, converted before they are spread
    volts, part = np.empty((2, lines * width), columns.operator.dtype)
    row_at = np.empty_like(columns.inputs)
    for k in range(len(row_at)):
        channel, element = divmod(columns.inputs[k], kh * kw)
        a, b = divmod(element, kw)
        row_at[k] = (channel * tall + a * dh) * wide + b * dw
    room = _room(stride, columns)
    inputs_beyond, codes_beyond = 0, 0
    while True:
        image = claim(counter) * images
        if image >= n:
            return inputs_beyond, codes_beyond
        here = min(images, n - image)
        for line in range(0, here * channels * height, lines):
            some = min(lines, here * channels * height - line)
            at, count = (image * channels * height + line) * width, some * width
            for source in range(sources):
                plane, negative = divmod(source, drive.parts)
                if not negative:
                    inputs_beyond += drive_rows(flat[at : at + count], volts, plane, drive)
                take_part(flat[at : at + count], volts, part, negative, drive)
                for k in range(some):
                    channel, row = divmod(line + k, height)
                    to = source * source_size + (channel * tall + row + top) * wide + left
                    for i in range(width):
                        stage[to + i] = part[k * width + i]
        vectors = here * positions
        for first in range(0, vectors, block):
            count = min(block, vectors - first)
            segments = _segments(first, count, positions, run, image_size, sh * wide, sw)
            _read_block(
                stage, source_size, row_at, segments, sw, count, stride, columns, drive, codes,
                room, beyond,
            )  # fmt: skip
            codes_beyond += _collect(beyond)
            sums = room[1]
            done = 0
            while done < count:
                which, position = divmod(first + done, positions)
                length = min(positions - position, count - done)
                for o in range(outputs):
                    to = ((image + which) * outputs + o) * positions + position
                    for i in range(length):
                        result[to + i] = sums[(1 + o) * stride + done + i]
                done += length
