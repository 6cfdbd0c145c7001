"""Gate lines: what one serves, and the pieces that cuts and bridges leave of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from netlists.arrays import BoolArray, IntArray
from netlists.errors import InputError

GateLine = Literal["row", "column"]
Place = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What stands at the gate of a cell: its voltage, V, and what one gate line serves."""

    v: float
    line: GateLine


def require_gate_line(owner: str, value: str) -> None:
    """Raise InputError unless `value` says what a gate line serves."""
    if value not in ("row", "column"):
        raise InputError(f"{owner}: gate_line={value!r} must be 'row' or 'column'.")


def gate_islands(
    open_gate: BoolArray, bridged: Sequence[tuple[Place, Place]], gate_line: GateLine
) -> tuple[IntArray, BoolArray]:
    """Which piece of gate line each gate hangs on, and which pieces a driver reaches.

    open_gate: true where a segment is cut [rows, cols].  bridged: pairs of cells whose gates are
    joined. Pieces [rows, cols]: 0 .. lines - 1 are what stays with each driver, those above were
    cut off.  driven [pieces]: true where a driver is, or is reached over bridges.
    """
    cut = open_gate if gate_line == "row" else open_gate.T
    n_lines = len(cut)
    first = np.concatenate([[0], np.cumsum(cut.sum(axis=1))[:-1]])
    within = np.cumsum(cut, axis=1)
    lines = np.arange(n_lines)[:, None]
    pieces = np.where(within == 0, lines, n_lines + first[:, None] + within - 1)
    pieces = pieces if gate_line == "row" else pieces.T
    driven = np.arange(n_lines + int(cut.sum())) < n_lines
    joined = [(int(pieces[one]), int(pieces[other])) for one, other in bridged]
    for _ in joined:
        for a, b in joined:
            driven[a] = driven[b] = driven[a] or driven[b]
    return pieces, driven
