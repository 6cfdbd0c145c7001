"""2-D convolutions on tiles: images -> patches -> the reads of any layer -> images."""

from collections.abc import Iterator

import torch
from torch import Tensor

from netlists.errors import InputError
from nnmap.layers.layer import CHUNK, MappedLayer
from nnmap.mapping.window import Window


class MappedConv2d(MappedLayer):
    """A 2-D convolution on tiles: every output position is one input vector of the matrix.

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
        return self.window.output_size(x.shape[2] + top + bottom, x.shape[3] + left + right)

    def _vectors(self, x: Tensor) -> Tensor:
        return self.window.patches(x)

    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        # Ranges of values do not depend on padding, so padding here serves the reads as well.
        padded = self.window.pad(x)
        rows, cols = self.window.output_size(*padded.shape[2:])
        yield from padded.split(max(1, CHUNK // max(1, rows * cols)))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, h, w] -> [batch, outputs, h', w'], in the dtype of x."""
        kernel = self.window.kernel[0] * self.window.kernel[1]
        channels = self.programme.placement.shape.all_inputs // kernel
        if x.ndim != 4 or x.shape[1] != channels:
            raise InputError(
                f"x.shape={tuple(x.shape)} != (batch, channels, height, width)"
                f"=(*, {channels}, *, *)."
            )
        size = self._output_size(x)
        if min(size) < 1:
            raise InputError(
                f"x.shape={tuple(x.shape)} is smaller than the {self.window.kernel} kernel."
            )
        compiled = self._compiled(x)
        if compiled is not None:
            numbers = self._numbers(x)
            y, clips = compiled.convolve(self.window.pad(numbers), self.window.padded)
            self._count(clips)
            return self._corrected(y, numbers).to(x.dtype)
        parts = [
            y.unflatten(1, (-1, *size)).transpose(0, 1).to(x.dtype)
            for y in self._products(x, self.vectors_of(x))
        ]
        return torch.cat(parts)

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
