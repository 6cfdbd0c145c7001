"""The exact operator as a torch operation: forward and backward by the compiled solver."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from circuitsim.dissection.adjoint import operator_vjp
from circuitsim.dissection.crossbar_circuit import Crossbar
from circuitsim.dissection.operator import Factorisation, factorisation_bytes, factorise

KEEP_BYTES = 2**30
"""Factorisations kept from forward to backward, at most; those of further tiles are made again."""


def _circuit(g_cell: Tensor, g_row: Tensor, g_col: Tensor) -> Crossbar:
    arrays = (
        np.ascontiguousarray(t.detach().to("cpu", torch.float64).numpy())
        for t in (g_cell, g_row, g_col)
    )
    return Crossbar(**dict(zip(("g_cell", "g_row", "g_col"), arrays, strict=True)))


class _ExactOperator(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g_cell: Tensor, g_row: Tensor, g_col: Tensor) -> Tensor:
        circuit = _circuit(g_cell, g_row, g_col)
        tiles, rows, cols = circuit.shape
        room = KEEP_BYTES // max(1, factorisation_bytes(rows, cols))
        kept: list[Factorisation] = []
        out = np.empty((tiles, cols, rows))
        for k in range(tiles):
            done = factorise(circuit, k)
            out[k] = done.operator
            if k < room:
                kept.append(done)
        ctx.circuit, ctx.kept = circuit, kept
        return torch.from_numpy(out).to(g_cell)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_operator: Tensor) -> tuple[Tensor, ...]:
        circuit, kept = ctx.circuit, ctx.kept
        seed = d_operator.detach().to("cpu", torch.float64).numpy()
        out = [np.zeros_like(a) for a in (circuit.g_cell, circuit.g_row, circuit.g_col)]
        for k in range(len(seed)):
            done = kept[k] if k < len(kept) else factorise(circuit, k)
            gradient = operator_vjp(done, seed[k])
            for total, part in zip(
                out, (gradient.g_cell, gradient.g_row, gradient.g_col), strict=True
            ):
                total[k if len(total) > 1 else 0] += part  # wires shared by all tiles add up
        return tuple(torch.from_numpy(a).to(d_operator) for a in out)


def exact_operator(g_cell: Tensor, g_row: Tensor, g_col: Tensor) -> Tensor:
    """Conductances [tiles, rows, cols] in S (wires may be [1, rows, cols]) -> [tiles, cols, rows].

    Differentiable once in all three. Computed in float64 whatever the dtype of the arguments.
    """
    operator: Tensor = _ExactOperator.apply(g_cell, g_row, g_col)
    return operator
