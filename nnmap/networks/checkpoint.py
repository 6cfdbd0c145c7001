"""Weights from files and to files."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.networks.packing import pack, unpack

NAMED = 3  # keys that a message names
WRAPPERS = ("state_dict", "model_state_dict", "state", "model", "net")  # keys of a state dict
PREFIXES = ("module.", "_orig_mod.")


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the weights of a file, in eval mode.

    The file is a `.safetensors` file, packed by `save_checkpoint` or not, or one that `torch.save`
    wrote: a state dict, or a dict with one under one of `WRAPPERS`. Keys may have the prefixes
    `module.` of data-parallel training and `_orig_mod.` of torch.compile. Quantised tensors are
    taken at their values. Only tensors are read, no code is run. The model itself is filled and
    returned.

    Raises InputError when the file cannot be read, does not fit the model, holds whole numbers
    where weights belong, or holds NaN.
    """
    content = _read_safetensors(path) if str(path).endswith(".safetensors") else _read_torch(path)
    wanted = model.state_dict()
    state = {_bare(name, wanted): value for name, value in content.items()}
    bad = [n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if bad:
        raise InputError(f"{path}: {bad[0]} holds NaN or infinite values; it cannot be mapped.")
    whole = [
        name
        for name, value in state.items()
        if name in wanted and wanted[name].is_floating_point() and not value.is_floating_point()
    ]
    if whole:
        kind = str(state[whole[0]].dtype).removeprefix("torch.")
        raise InputError(
            f"{path}: {whole[0]} holds {kind} numbers without the scale that makes them weights; "
            "save it multiplied by its scale, as floating-point numbers."
        )
    misfits = _misfits(state, wanted)
    if misfits:
        raise InputError(f"{path} does not fit {type(model).__name__}: {'; '.join(misfits)}.")
    model.load_state_dict(state)
    return model.eval()


def _bare(name: str, wanted: Mapping[str, Tensor]) -> str:
    """A key without the prefixes that training put before the model's own."""
    while name not in wanted:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None:
            break
        name = name.removeprefix(prefix)
    return name


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
        if _is_torchscript(path):
            raise InputError(
                f"{path} is a TorchScript program, of which no code is run; save its weights with "
                "torch.save(torch.jit.load(path).state_dict(), other) and give that file."
            )
        content = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as problem:
        if "Unsupported global" not in str(problem):
            raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None
        raise InputError(
            f"{path} holds pickled Python objects, such as a whole model, and reading them runs "
            "code; save tensors only, with torch.save(model.state_dict(), path)."
        ) from None
    except InputError:
        raise
    except Exception as problem:  # torch passes on what zipfile and pickle raise
        raise InputError(f"{path} is no checkpoint ({type(problem).__name__}).") from None
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds {type(content).__name__}, not a state dict; save one with "
            "torch.save(model.state_dict(), path)."
        )
    odd = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        packed = any("_packed_params" in str(name) for name in content)
        mend = (
            "torch's quantisation packed it; save the network as it was before, or dequantised."
            if packed
            else f"save the state dict alone, or under one of {', '.join(WRAPPERS)}."
        )
        raise InputError(
            f"{path} holds {type(content[odd[0]]).__name__} under {odd[0]!r}, not a tensor: {mend}"
        )
    return {n: v.dequantize() if v.is_quantized else v for n, v in content.items()}


def _is_torchscript(path: str | Path) -> bool:
    """Whether a file is an archive of TorchScript, which holds code beside its numbers."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


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
