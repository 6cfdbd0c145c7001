"""2-D convolutions on tiles: images -> patches -> the reads of any layer -> images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.converters import Adc, Dac
from nnmap.layers import CHUNK, MappedLayer
from nnmap.matrix import Matrix
from nnmap.operator import Fidelity
from nnmap.readers import Reader


@dataclass(frozen=True, kw_only=True)
class Window:
    """Geometry of a 2-D convolution; pairs are (height, width).

    padding: (left, right, top, bottom) pixels, filled as `padding_mode` says ("constant" is 0).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    padding_mode: str

    @classmethod
    def of(cls, layer: nn.Conv2d) -> "Window":
        """The window of a torch layer."""
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        return cls(
            kernel=(layer.kernel_size[0], layer.kernel_size[1]),
            stride=(layer.stride[0], layer.stride[1]),
            dilation=(layer.dilation[0], layer.dilation[1]),
            padding=(left, right, top, bottom),
            padding_mode=mode,
        )

    def pad(self, x: Tensor) -> Tensor:
        """The images with their padding."""
        if not any(self.padding):
            return x
        return nn.functional.pad(x, self.padding, mode=self.padding_mode)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output for a padded image."""
        size = [
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(
                (height, width), self.kernel, self.stride, self.dilation, strict=True
            )
        ]
        return size[0], size[1]

    def patches(self, x: Tensor) -> Tensor:
        """Padded images [n, channels, h, w] -> [channels * kernel, n * positions], contiguous.

        Row c * kh * kw + a * kw + b holds what kernel element (a, b) of channel c sees, so that a
        row tile's inputs are neighbouring rows.
        """
        n, channels, height, width = x.shape
        rows, cols = self.output_size(height, width)
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        s = x.stride()
        windows = x.as_strided(
            (channels, kh, kw, n, rows, cols),
            (s[1], s[2] * dh, s[3] * dw, s[0], s[2] * sh, s[3] * sw),
            x.storage_offset(),
        )
        return windows.reshape(channels * kh * kw, n * rows * cols)


class MappedConv2d(MappedLayer):
    """A 2-D convolution on tiles: every output position is one input vector of the matrix.

    Stride, padding, dilation and groups are those of the torch layer.
    """

    def __init__(
        self,
        matrix: Matrix,
        fidelity: Fidelity,
        *,
        window: Window,
        dac: Dac,
        adc: Adc,
        bias: Tensor | None,
        sample: Tensor | None = None,
        reader: Reader | None = None,
    ) -> None:
        super().__init__(
            matrix, fidelity, dac=dac, adc=adc, bias=bias, sample=sample, reader=reader
        )
        self.window = window

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "window": self.window}

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
        channels = self.matrix.placement.groups * self.matrix.placement.inputs // kernel
        if x.ndim != 4 or x.shape[1] != channels:
            raise InputError(
                f"x.shape={tuple(x.shape)} != (batch, channels, height, width)"
                f"=(*, {channels}, *, *)."
            )
        left, right, top, bottom = self.window.padding
        size = self.window.output_size(x.shape[2] + top + bottom, x.shape[3] + left + right)
        if min(size) < 1:
            raise InputError(
                f"x.shape={tuple(x.shape)} is smaller than the {self.window.kernel} kernel."
            )
        parts = [
            y.unflatten(1, (-1, *size)).transpose(0, 1).to(x.dtype)
            for y in self._products(x, len(x) * size[0] * size[1])
        ]
        return torch.cat(parts)
