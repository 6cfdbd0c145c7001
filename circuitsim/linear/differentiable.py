"""The exact operator as a torch function: a network can train through its wires.

    dG_eff[n, m] / dg[i, j] = -(dl_n)[i, j] (du_m)[i, j]

with du and dl the drops over a cell under 1 V at row m and under 1 V at sense terminal n.
"""

import torch
from torch import Tensor

from circuitsim.dissection.torch_backend import effective_operator_torch
from circuitsim.dissection.torch_function import exact_operator
from netlists.errors import InputError
from netlists.wires import Wires


def differentiable_conductance(g_cell: Tensor, wires: Wires) -> Tensor:
    """Cell conductances, S [tiles, rows, cols] -> operators, S [tiles, cols, rows].

    In main memory the compiled solver runs forwards and the adjoint formula backwards, in O(n^3)
    time and O(n^2) memory per tile, always in float64. On another device plain torch operations run
    there, in the dtype of `g_cell`: float32 is the caller's explicit choice.

    Raises InputError on another rank, on conductances that are negative or not finite, and on
    wires of 0 ohm or that do not fit.
    """
    if g_cell.ndim != 3 or 0 in g_cell.shape:
        raise InputError(f"g_cell.shape={tuple(g_cell.shape)} != (tiles, rows, cols).")
    if not bool(torch.isfinite(g_cell).all() & (g_cell >= 0).all()):
        raise InputError("g_cell holds conductances that are negative or not finite.")
    g_row, g_col = (part.to(g_cell) for part in _segments(wires, *g_cell.shape[1:]))
    if g_cell.device.type == "cpu":
        return exact_operator(g_cell, g_row, g_col)
    return effective_operator_torch(g_cell, g_row, g_col)


def _segments(wires: Wires, rows: int, cols: int) -> tuple[Tensor, Tensor]:
    """Conductances of all segments, S [1, rows, cols] each, drivers and senses folded in."""
    along, down = wires.in_series(rows, cols)
    if not (along.min() > 0 and down.min() > 0):
        raise InputError("a segment of 0 ohm merges two nodes; give it a resistance.")
    return torch.from_numpy(1 / along)[None], torch.from_numpy(1 / down)[None]
