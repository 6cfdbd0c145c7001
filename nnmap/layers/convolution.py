"""Convolutions on tiles: images -> patches -> the reads of any layer -> images."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from netlists.errors import InputError
from nnmap.layers.layer import CHUNK, MappedLayer
from nnmap.mapping.window import Window


class MappedConvolution(MappedLayer):
    """A 1-D or 2-D convolution on tiles: every output position is one input vector of the matrix.

    Stride, padding, dilation and groups are those of the torch layer.
    """

    @property
    def window(self) -> Window:
        """Geometry of the convolution."""
        assert self.periphery.window is not None
        return self.periphery.window

    def vectors_of(self, x: Tensor) -> int:
        """See `MappedLayer.vectors_of`."""
        rows, cols = self._output_size(x)
        return len(x) * rows * cols

    def _output_size(self, x: Tensor) -> tuple[int, int]:
        left, right, top, bottom = self.window.padding
        height, width = self.window.images(x).shape[2:]
        return self.window.output_size(height + top + bottom, width + left + right)

    def _vectors(self, x: Tensor) -> Tensor:
        return self.window.patches(x)

    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        # Ranges of values do not depend on padding, so padding here serves the reads as well.
        padded = self.window.pad(self.window.images(x))
        rows, cols = self.window.output_size(*padded.shape[2:])
        yield from padded.split(max(1, CHUNK // max(1, rows * cols)))

    def forward(self, input: Tensor) -> Tensor:
        """[batch, channels, *axes] -> [batch, outputs, *axes'], in the dtype of the input."""
        window = self.window
        channels = self.programme.placement.shape.all_inputs // math.prod(window.kernel)
        if input.ndim != 2 + window.axes or input.shape[1] != channels:
            axes = ("height", "width")[2 - window.axes :]
            raise InputError(
                f"{self.shown}: x.shape={tuple(input.shape)} != (batch, channels, "
                f"{', '.join(axes)})=(*, {channels}{', *' * window.axes})."
            )
        self.require_floating(input)
        x = window.images(input)
        size = self._output_size(input)
        if min(size) < 1:
            raise InputError(
                f"{self.shown}: x.shape={tuple(input.shape)} is smaller than the "
                f"{window.kernel_shape} kernel."
            )
        if not len(x):
            outputs = self.programme.placement.shape.all_outputs
            return window.shaped(x.new_empty(0, outputs, *size))
        compiled = self._compiled(input)
        if compiled is not None:
            numbers = self._numbers(x)
            y, clips = compiled.convolve(window.pad(numbers), window.padded)
            self._count(clips)
            return window.shaped(self._corrected(y, self._numbers(input)).to(input.dtype))
        parts = [
            y.unflatten(1, (-1, *size)).transpose(0, 1).to(input.dtype)
            for y in self._products(input, self.vectors_of(input))
        ]
        return window.shaped(torch.cat(parts))

    def _corrected(self, y: Tensor, x: Tensor) -> Tensor:
        """Images y [batch, outputs, h', w'] with the branches of the correction."""
        if self._branches is None:
            return y
        chunks = list(self._chunks(x))
        parts = [
            self._with_branches(part.transpose(0, 1).flatten(1), chunk)
            .unflatten(1, (-1, *y.shape[2:]))
            .transpose(0, 1)
            for part, chunk in zip(y.split([len(c) for c in chunks]), chunks, strict=True)
        ]
        return torch.cat(parts)
