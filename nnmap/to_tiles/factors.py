"""Which arguments of torch's operations are factors of a matrix product."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Matrix = tuple[int, int, int]  # (groups, inputs, outputs)

# Operations of two factors, and where they stand among the arguments.
PAIRS = {
    "mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "matmul": (0, 1),
    "linear": (0, 1),
    "addmm": (1, 2),
    "addmv": (1, 2),
    "addbmm": (1, 2),
    "baddbmm": (1, 2),
    "convolution": (0, 1),
    "embedding": (1, 0),
    "embedding_bag": (1, 0),
    "_embedding_bag": (1, 0),
    "_embedding_bag_forward_only": (1, 0),
}
TRANSPOSED = ("linear", "embedding", "embedding_bag", "_embedding_bag")
RECURRENT = ("mkldnn_rnn_layer", "lstm", "gru", "rnn_tanh", "rnn_relu", "quantized_lstm")
ATTENTION = "scaled_dot_product"


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Tensors that an operation multiplies by each other.

    matrices: their (groups, inputs, outputs) by the tensor that holds them, or by None for the
        products of attention, in which every factor is one of activations.
    """

    tensors: tuple[Tensor, ...]
    matrices: tuple[tuple[Tensor | None, Matrix], ...]


def factors(operation: str, args: tuple[Any, ...], batch: int) -> Factors | None:
    """The factors of an operation's call, or None where it multiplies no matrices.

    batch: inputs of the network; products that are computed for each of them count once.
    """
    if operation in PAIRS:
        first, second = (args[k] for k in PAIRS[operation])
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            return None
        return Factors(
            tensors=(first, second),
            matrices=(
                (second, _second(operation, second, args, batch)),
                (first, _first(first, batch)),
            ),
        )
    tensors = tuple(
        a for part in args for a in (part if isinstance(part, list | tuple) else [part])
    )
    tensors = tuple(a for a in tensors if isinstance(a, Tensor))
    if ATTENTION in operation and len(tensors) >= 3:
        q, k, v = tensors[:3]
        heads, width, length = q.shape[-3] if q.ndim > 3 else 1, q.shape[-1], k.shape[-2]
        products = ((heads, width, length), (heads, length, v.shape[-1]))
        return Factors(tensors=(q, k, v), matrices=tuple((None, m) for m in products))
    if operation in RECURRENT or operation.endswith("mm") or operation == "_trilinear":
        held = tuple((t, (1, t.shape[-1], t.shape[-2])) for t in tensors if t.ndim >= 2)
        return Factors(tensors=tensors, matrices=held)
    return None


def _first(x: Tensor, batch: int) -> Matrix:
    """Of a left factor [..., outputs, inputs]."""
    groups, x = _stacked(x, batch)
    return groups, x.shape[-1], x.shape[-2] if x.ndim > 1 else 1


def _second(operation: str, x: Tensor, args: tuple[Any, ...], batch: int) -> Matrix:
    """Of a right factor [..., inputs, outputs], or as an operation has it."""
    if operation == "convolution":
        groups, transposed = int(args[8]), bool(args[6])
        across = x.shape[0] // groups
        along = int(torch.tensor(x.shape[1:]).prod())
        return (groups, across, along) if transposed else (groups, along, across)
    if operation in TRANSPOSED:
        return 1, x.shape[-1], x.shape[0]
    groups, x = _stacked(x, batch)
    return groups, x.shape[0] if x.ndim == 1 else x.shape[-2], 1 if x.ndim == 1 else x.shape[-1]


def _stacked(x: Tensor, batch: int) -> tuple[int, Tensor]:
    if x.ndim < 3:
        return 1, x
    count = x.shape[:-2].numel()
    return (count // batch if batch and count % batch == 0 else count), x
