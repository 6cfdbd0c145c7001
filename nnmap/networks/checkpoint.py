"""Weights from files and to files."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.networks.packing import pack, unpack

NAMED = 3  # keys that a message names


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the weights of a file, in eval mode.

    The file is a `.safetensors` file, packed by `save_checkpoint` or not, or one that `torch.save`
    wrote: a state dict, or a dict with one under "state_dict" or "state". Keys may have the
    prefix `module.` of data-parallel training. Only tensors are read, no code is run. The model
    itself is filled and returned.

    Raises InputError when the file cannot be read, does not fit the model or holds NaN.
    """
    content = _read_safetensors(path) if str(path).endswith(".safetensors") else _read_torch(path)
    state = {name.removeprefix("module."): value for name, value in content.items()}
    bad = [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise InputError(f"{path}: {bad[0]} holds NaN or infinite values; it cannot be mapped.")
    misfits = _misfits(state, model.state_dict())
    if misfits:
        raise InputError(f"{path} does not fit {type(model).__name__}: {'; '.join(misfits)}.")
    model.load_state_dict(state)
    return model.eval()


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write the network's weights, packed (see `packing`), as safetensors.

    Raises InputError when the file cannot be written.
    """
    try:
        path.write_bytes(save(pack(model)))
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror}.") from None


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    try:
        return unpack(load_file(path))
    except (OSError, SafetensorError) as problem:
        raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None


def _read_torch(path: str | Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as problem:  # torch passes on what zipfile and pickle raise
        raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None
    for key in ("state_dict", "state"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} holds {type(content).__name__}, not a state dict.")
    return content


def _misfits(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps a state from filling a model, named; batch counters may be missing."""
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in wanted]
    shapes = [
        f"{k} is {tuple(state[k].shape)} in the file and {tuple(wanted[k].shape)} in the model"
        for k in wanted
        if k in state and state[k].shape != wanted[k].shape
    ]
    findings = _few(shapes)
    if missing:
        findings.append(f"the file lacks {', '.join(_few(missing))}")
    if unknown:
        findings.append(f"the model has no {', '.join(_few(unknown))}")
    return findings


def _few(names: list[str]) -> list[str]:
    more = len(names) - NAMED
    return names if more <= 0 else [*names[:NAMED], f"{more} more"]
