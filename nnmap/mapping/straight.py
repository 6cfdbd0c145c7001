"""Rounding that gradients pass straight through (Bengio et al. 2013, arXiv:1308.3432)."""

from typing import Any

import torch
from torch import Tensor


class _Straight(torch.autograd.Function):
    """(x, value) -> value, whose gradient goes to x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight(x: Tensor, value: Tensor) -> Tensor:
    """`value`, to the last bit, with the gradient of x; shapes are equal."""
    result: Tensor = _Straight.apply(x, value)  # type: ignore[no-untyped-call]
    return result


def recorded(x: Tensor) -> bool:
    """Whether gradients will be asked of what is computed from x."""
    return torch.is_grad_enabled() and x.requires_grad


def rounded(x: Tensor) -> Tensor:
    """Nearest whole numbers, half to even, same shape; gradients pass straight through."""
    return straight(x, torch.round(x.detach())) if recorded(x) else torch.round(x)
