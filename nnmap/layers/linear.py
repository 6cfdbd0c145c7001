"""Linear layers on tiles."""

from collections.abc import Iterator

import torch
from torch import Tensor

from netlists.errors import InputError
from nnmap.layers.layer import CHUNK, MappedLayer


class MappedLinear(MappedLayer):
    """A linear layer on tiles."""

    def vectors_of(self, x: Tensor) -> int:
        """See `MappedLayer.vectors_of`."""
        return x.numel() // self.programme.placement.shape.all_inputs

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
            numbers = self._numbers(input).reshape(-1, inputs)
            y, clips = compiled.linear(numbers)
            self._count(clips)
            return self._with_branches(y.T, numbers).T.to(input.dtype).reshape(size)
        parts = [y.T.to(input.dtype) for y in self._products(input, self.vectors_of(input))]
        return torch.cat(parts).view(size)
