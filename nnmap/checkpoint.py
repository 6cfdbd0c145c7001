"""Weights from files."""

from pathlib import Path

import torch
from torch import nn

from netlists.errors import InputError


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the weights of a file that `torch.save` wrote, in eval mode.

    The file holds a state dict, or a dict with one under "state_dict" or "state"; keys may have
    the prefix `module.` of data-parallel training. Only tensors are read, no code is run. The
    model itself is filled and returned.

    Raises InputError when the file cannot be read, does not fit the model or holds NaN.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as problem:  # torch passes on what zipfile and pickle raise
        raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None
    for key in ("state_dict", "state"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, not a state dict.")
    state = {name.removeprefix("module."): value for name, value in content.items()}
    bad = [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise InputError(f"{path}: {bad[0]} holds NaN or infinite values; it cannot be mapped.")
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        first = next(line.strip() for line in str(problem).splitlines()[1:] if line.strip())
        raise InputError(f"{path} does not fit {type(model).__name__}: {first}") from None
    return model.eval()
