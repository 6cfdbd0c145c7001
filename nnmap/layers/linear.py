"""Linear layers on tiles."""

from collections.abc import Iterator

import torch
from torch import Tensor

from netlists.errors import InputError
from nnmap.layers.layer import CHUNK, MappedLayer


class MappedLinear(MappedLayer):
    """A linear layer on tiles."""

    def _vectors(self, x: Tensor) -> Tensor:
        return x.T

    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        yield from x.reshape(-1, x.shape[-1]).split(CHUNK)

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs], in the dtype of the input."""
        shape = self.programme.placement.shape
        inputs = shape.all_inputs
        if not input.ndim or input.shape[-1] != inputs:
            raise InputError(
                f"{self.shown}: x.shape={tuple(input.shape)} != (batch, inputs)=(*, {inputs})."
            )
        self.require_floating(input)
        size = (*input.shape[:-1], shape.all_outputs)
        if not input.numel():
            return input.new_empty(size)
        compiled = self._compiled(input)
        if compiled is not None:
            y, clips = compiled.linear(self._numbers(input).reshape(-1, inputs))
            self._count(clips)
            return y.to(input.dtype).view(size)
        vectors = input.numel() // inputs
        parts = [y.T.to(input.dtype) for y in self._products(input, vectors)]
        return torch.cat(parts).view(size)
