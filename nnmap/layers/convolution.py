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
        left, right, top, bottom = window.padding
        size = window.output_size(x.shape[2] + top + bottom, x.shape[3] + left + right)
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
            y, clips = compiled.convolve(window.pad(self._numbers(x)), window.padded)
            self._count(clips)
            return window.shaped(y.to(input.dtype))
        parts = [
            y.unflatten(1, (-1, *size)).transpose(0, 1).to(input.dtype)
            for y in self._products(input, len(x) * size[0] * size[1])
        ]
        return window.shaped(torch.cat(parts))
