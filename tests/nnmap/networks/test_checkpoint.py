"""Weights to files and back, packed as the devices hold them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netlists import InputError
from nnmap import (
    bnn_mlp,
    bnn_vgg,
    lenet,
    load_checkpoint,
    mlp,
    plain,
    quantise_aware,
    save_checkpoint,
)


@pytest.mark.parametrize("bits", [None, 2, 8, 12, 20])
def test_what_is_stored_is_what_the_network_computes_with(bits, tmp_path):
    torch.manual_seed(0)
    model = lenet(width=0.5)
    aware = model if bits is None else quantise_aware(model, bits)
    save_checkpoint(aware, tmp_path / "x.safetensors")
    found = load_checkpoint(lenet(width=0.5), tmp_path / "x.safetensors")
    for name, value in plain(aware).state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert not found.training


def test_weights_take_no_more_room_than_on_devices(tmp_path):
    torch.manual_seed(0)
    binary = bnn_mlp((784, 128, 10)).eval()
    save_checkpoint(binary, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").stat().st_size < 784 * 128 / 8 + 8000
    found, x = (
        load_checkpoint(bnn_mlp((784, 128, 10)), tmp_path / "b.safetensors"),
        torch.rand(3, 784),
    )
    with torch.no_grad():
        assert torch.equal(found(x), binary(x))
    save_checkpoint(quantise_aware(mlp((784, 128, 10)), 8), tmp_path / "q.safetensors")
    assert (tmp_path / "q.safetensors").stat().st_size < 784 * 128 + 1280 + 4000


def test_binary_convolutions_come_back(tmp_path):
    torch.manual_seed(0)
    model, x = bnn_vgg(width=1 / 32).eval(), torch.rand(2, 3, 32, 32)
    save_checkpoint(model, tmp_path / "v.safetensors")
    with torch.no_grad():
        assert torch.equal(
            load_checkpoint(bnn_vgg(width=1 / 32), tmp_path / "v.safetensors")(x), model(x)
        )


def test_ordinary_safetensors_load_as_files_of_torch_do(tmp_path):
    state = {f"module.{k}": v for k, v in mlp((4, 3, 2)).state_dict().items()}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pt")
    one = load_checkpoint(mlp((4, 3, 2)), tmp_path / "x.safetensors")
    two = load_checkpoint(mlp((4, 3, 2)), str(tmp_path / "x.pt"))
    assert torch.equal(one[0].weight, two[0].weight)


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_misfits_are_named(ending, tmp_path):
    path = tmp_path / f"x.{ending}"

    def write(state):
        (save_file if ending == "safetensors" else torch.save)(state, path)

    def told(words):
        with pytest.raises(InputError, match=words) as caught:
            load_checkpoint(mlp((4, 3, 2)), path)
        assert str(caught.value).count("\n") == 0

    write(mlp((4, 5, 2)).state_dict())
    told(r"0\.weight is \(5, 4\) in the file and \(3, 4\) in the model")
    write({k: v for k, v in mlp((4, 3, 2)).state_dict().items() if k != "2.bias"})
    told(r"does not fit Sequential: the file lacks 2\.bias\.$")
    write({f"{k}x": v for k, v in mlp((4, 3, 2)).state_dict().items()})
    told(r"lacks 0\.weight, 0\.bias, 2\.weight, 1 more; the model has no 0\.biasx|0\.weightx")
    write({"0.weight": torch.full((3, 4), float("nan"))})
    told(r"0\.weight holds NaN")
    path.write_bytes(b"nothing")
    told("is no checkpoint")
    path.unlink()
    told("is no checkpoint")


def test_half_a_packed_weight_is_told(tmp_path):
    save_file(
        {"0.weight:integers": torch.zeros(3, 4, dtype=torch.int8)}, tmp_path / "x.safetensors"
    )
    with pytest.raises(InputError, match=r"without 0\.weight:step"):
        load_checkpoint(mlp((4, 3)), tmp_path / "x.safetensors")


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "state", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrapped_states_and_prefixed_keys_load(key, prefix, tmp_path):
    model = mlp((4, 3, 2))
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "x.pt")
    found = load_checkpoint(mlp((4, 3, 2)), tmp_path / "x.pt")
    assert torch.equal(found[2].weight, model[2].weight)


def test_a_model_whose_own_part_is_called_module_keeps_its_keys(tmp_path):
    model = nn.Sequential()
    model.add_module("module", nn.Linear(3, 2))
    torch.save(model.state_dict(), tmp_path / "x.pt")
    model.module.weight.data.zero_()
    assert load_checkpoint(model, tmp_path / "x.pt").module.weight.abs().min() > 0


def test_whole_numbers_without_a_scale_are_refused_and_quantised_tensors_taken(tmp_path):
    state = mlp((4, 3, 2)).state_dict()
    state["2.weight"] = (100 * state["2.weight"]).to(torch.int8)
    for path, save in ((tmp_path / "x.pt", torch.save), (tmp_path / "x.safetensors", save_file)):
        save(state, path)
        with pytest.raises(InputError, match=r"2\.weight holds int8 numbers without the scale"):
            load_checkpoint(mlp((4, 3, 2)), path)
    real = mlp((4, 3, 2)).state_dict()["2.weight"]
    state["2.weight"] = torch.quantize_per_tensor(real, 0.01, 0, torch.qint8)
    torch.save(state, tmp_path / "q.pt")
    found = load_checkpoint(mlp((4, 3, 2)), tmp_path / "q.pt")
    assert torch.equal(found[2].weight, state["2.weight"].dequantize())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_that_hold_code_are_refused_with_the_mend(tmp_path):
    model, path, other = mlp((4, 3, 2)), tmp_path / "x.pt", tmp_path / "y.pt"

    def told(words):
        with pytest.raises(InputError, match=words) as caught:
            load_checkpoint(mlp((4, 3, 2)), path)
        assert "\n" not in str(caught.value)

    torch.save(model, path)
    told(r"a whole model, .*torch\.save\(model\.state_dict\(\), path\)\.$")
    torch.jit.save(torch.jit.trace(model, torch.rand(1, 4)), path)
    told(r"TorchScript program.*torch\.save\(torch\.jit\.load\(path\)\.state_dict\(\), other\)")
    torch.save(torch.jit.load(path).state_dict(), other)  # as the sentence says
    assert torch.equal(load_checkpoint(mlp((4, 3, 2)), other)[0].weight, model[0].weight)
    torch.save(torch.ao.quantization.quantize_dynamic(model).state_dict(), path)
    told("quantisation packed it; save the network as it was before|holds pickled Python objects")
    torch.save([1, 2], path)
    told("holds list, not a state dict; save one")
    torch.save({"weights": {"a": torch.ones(2)}}, path)
    told("holds dict under 'weights', not a tensor: .*model_state_dict")


class _Runs:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_is_numbers_and_runs_nothing(tmp_path):
    torch.save({"state_dict": {"w": _Runs(tmp_path / "pwned")}}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="pickled Python objects"):
        load_checkpoint(lenet(), tmp_path / "x.pt")
    assert not (tmp_path / "pwned").exists()
