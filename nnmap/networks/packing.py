"""Weights as small as the devices hold them: one bit a binary weight, whole numbers and a step for
fixed-point ones, float32 for the rest.

In a packed state, a tensor `NAME` is stored as `NAME`, or as `NAME:integers` and `NAME:step`, or as
`NAME:bits` (most significant first) and `NAME:shape`. Unpacking gives back exactly the weights
that the network computes with.
"""

import numpy as np
import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.networks.perceptrons import Binarise
from nnmap.training.parametrised import weight_form
from nnmap.training.quantise import fixed_point

STORED = "parametrizations.weight.original"


def pack(model: nn.Module) -> dict[str, Tensor]:
    """The state of a network with binary, quantisation-aware or ordinary layers, packed.

    Quantisation-aware layers are stored as the ordinary layers that `plain` makes of them.
    """
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    for name, layer in model.named_modules():
        prefix = f"{name}." if name else ""
        state.pop(f"{prefix}input_quantiser.x_max", None)
        form = fixed_point(layer)
        if form is not None:
            original = state.pop(prefix + STORED)
            whole, step = form.integers(original)
            bits = form.slicing.weight_bits
            kind = torch.int8 if bits <= 8 else torch.int16 if bits <= 16 else torch.int32
            state[f"{prefix}weight:integers"] = whole.to(kind)
            state[f"{prefix}weight:step"] = torch.tensor(step, dtype=torch.float64)
        elif isinstance(weight_form(layer), Binarise):
            original = state.pop(prefix + STORED)
            bits_of = np.packbits((original >= 0).numpy().ravel())
            state[f"{prefix}{STORED}:bits"] = torch.from_numpy(bits_of)
            state[f"{prefix}{STORED}:shape"] = torch.tensor(original.shape, dtype=torch.int32)
    return state


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that was packed; a state that is not packed stays as it is.

    Raises InputError for a packed tensor whose other half is missing.
    """
    state: dict[str, Tensor] = {}
    for key, value in packed.items():
        name, _, part = key.partition(":")
        if not part:
            state[key] = value
        elif part in ("integers", "bits"):
            other = f"{name}:step" if part == "integers" else f"{name}:shape"
            if other not in packed:
                raise InputError(f"{key} is stored without {other}.")
            state[name] = (_fixed if part == "integers" else _binary)(value, packed[other])
    return state


def _fixed(whole: Tensor, step: Tensor) -> Tensor:
    return (whole.double() * step).float()


def _binary(bits: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    values = np.unpackbits(bits.numpy(), count=int(np.prod(sizes)))
    return torch.from_numpy(values.astype(np.float32) * 2 - 1).view(sizes)
