"""Random changes to training images."""

import torch
from torch import Tensor
from torch.nn import functional


def crop_and_flip(images: Tensor, *, pad: int = 4) -> Tensor:
    """Each image shifted by up to `pad` pixels, zeros moving in, and mirrored half of the time.

    images: [n, channels, height, width], same shape returned (He et al. 2016, Section 4.2). Draws
    from torch's global generator.
    """
    n, channels, height, width = images.shape
    padded = functional.pad(images, (pad, pad, pad, pad))
    rows = torch.randint(2 * pad + 1, (n, 1)) + torch.arange(height)
    cols = torch.randint(2 * pad + 1, (n, 1)) + torch.arange(width)
    cols = torch.where(torch.rand(n, 1) < 0.5, cols.flip(1), cols)
    image = torch.arange(n)[:, None, None, None]
    channel = torch.arange(channels)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], cols[:, None, None, :]]
