"""Geometry of a convolution: images -> the vectors that enter its matrix."""

from dataclasses import dataclass, replace

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Window:
    """Geometry of a convolution; pairs are (height, width).

    padding: (left, right, top, bottom) pixels, filled as `padding_mode` says ("constant" is 0).
    axes: how many of (height, width) the torch layer has; a 1-D convolution sees images of one
        row, and all its heights are 1.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    padding_mode: str
    axes: int = 2

    @classmethod
    def of(cls, layer: nn.Conv1d | nn.Conv2d) -> "Window":
        """The window of a torch layer."""
        left, right, top, bottom = [*layer._reversed_padding_repeated_twice, 0, 0][:4]
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        return cls(
            kernel=_pair(layer.kernel_size),
            stride=_pair(layer.stride),
            dilation=_pair(layer.dilation),
            padding=(left, right, top, bottom),
            padding_mode=mode,
            axes=len(layer.kernel_size),
        )

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """The kernel's sizes as torch shapes them, [axes]."""
        return self.kernel[2 - self.axes :]

    def images(self, x: Tensor) -> Tensor:
        """A layer input [n, channels, *axes] as images [n, channels, h, w]."""
        return x.unsqueeze(2) if self.axes == 1 else x

    def shaped(self, y: Tensor) -> Tensor:
        """Images [n, channels, h, w] as the torch layer gives them, [n, channels, *axes]."""
        return y.squeeze(2) if self.axes == 1 else y

    @property
    def padded(self) -> "Window":
        """The window on images that have their padding already."""
        return replace(self, padding=(0, 0, 0, 0))

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


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Sizes along (width,) or (height, width) as a pair."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
