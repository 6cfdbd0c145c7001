"""Where torch computes, by name."""

import torch

from netlists.errors import InputError


def torch_device(name: str) -> torch.device:
    """The device of this name; raises InputError for one that this machine or torch lacks."""
    try:
        place = torch.device(name)
        torch.zeros(1, device=place).item()
    except Exception as problem:  # torch raises RuntimeError, AssertionError and others
        first = str(problem).partition("\n")[0].rstrip(".")
        raise InputError(
            f"device={name!r} cannot be used: {first}; use 'cpu', or what torch finds here."
        ) from None
    return place
