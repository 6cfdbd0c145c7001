"""A user's own network: mapped as it comes, weights included."""

import os

import numpy as np
import pytest
import torch

from netlists import InputError, TileSpec, Wires
from nnmap import MappingPlan, accuracy, load_checkpoint, map_network, mapping_table, resnet20
from nnmap.training.data import IMAGENET_MEAN, IMAGENET_STD, load
from tests.tolerances import assert_close

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)


def plan(**options):
    return MappingPlan(spec=TileSpec(rows=64, cols=64, wires=WIRES), **options)


def test_names_and_sizes_are_those_of_the_public_checkpoints():
    state = resnet20().state_dict()
    weights = sum(v.numel() for k, v in state.items() if v.ndim > 1)
    assert weights == 268_336  # 0.27 M
    for name in ("layer1.0.conv1.weight", "layer3.2.bn2.running_var", "linear.bias"):
        assert name in state


@pytest.mark.parametrize("fold", [False, True])
def test_it_maps_whole_and_keeps_its_logits(fold):
    torch.manual_seed(0)
    model, x = resnet20(width=0.25).eval(), torch.rand(2, 3, 32, 32)
    options = {"dac_bits": None, "adc_bits": None, "fold_batch_norm": fold}
    network = map_network(model, plan(**options), rng=np.random.default_rng(0), sample=x)
    chip = network.on()
    with torch.no_grad():
        assert_close(chip(x).numpy(), model(x).numpy(), 1e-5)
    table = mapping_table(network)
    assert len(table.rows) == 20 and "layer3.0.conv1" in str(table)
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in chip.modules())
    assert norms == (0 if fold else 19)


@pytest.mark.parametrize("kind, weights", [("1x1", 2_560), ("3x3", 9 * 2_560)])
def test_shortcuts_may_be_convolutions(kind, weights):
    def size(model):
        return sum(p.numel() for p in model.parameters() if p.ndim > 1)

    assert size(resnet20(shortcut=kind)) - size(resnet20()) == weights
    model, x = resnet20(width=0.25, shortcut=kind).eval(), torch.rand(2, 3, 32, 32)
    network = map_network(model, plan(digital_1x1=True), rng=np.random.default_rng(0), sample=x)
    assert len(mapping_table(network).rows) == 22
    on_tiles = [name for name in network.programmes if "shortcut" in name]
    assert len(on_tiles) == (0 if kind == "1x1" else 2)
    with pytest.raises(InputError, match="shortcut='5x5'"):
        resnet20(shortcut="5x5")


def test_checkpoints_load_with_or_without_wrapping(tmp_path):
    model = resnet20(width=0.25)
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": state, "best": 1.0}, tmp_path / "wrapped.th")
    found = load_checkpoint(resnet20(width=0.25), tmp_path / "wrapped.th")
    assert torch.equal(found.conv1.weight, model.conv1.weight) and not found.training


def test_checkpoints_that_do_not_fit_are_told(tmp_path):
    path = tmp_path / "x.th"
    torch.save(resnet20(width=0.25).state_dict(), path)
    with pytest.raises(InputError, match=r"ResNetCifar: conv1\.weight is \(4, 3, 3, 3\) in"):
        load_checkpoint(resnet20(width=0.5), path)
    torch.save({"conv1.weight": torch.full((4, 3, 3, 3), float("nan"))}, path)
    with pytest.raises(InputError, match=r"conv1\.weight holds NaN"):
        load_checkpoint(resnet20(width=0.25), path)
    path.write_text("nothing")
    with pytest.raises(InputError, match="is no checkpoint"):
        load_checkpoint(resnet20(), path)


@pytest.mark.data
def test_the_public_resnet20_keeps_its_answers_with_8_bit_weights():
    """On 200 images; `python -m benchmarks.networks` measures all 10,000."""
    path = os.environ.get("XBARVERIFY_RESNET20")
    if not path:
        pytest.skip("XBARVERIFY_RESNET20 names no checkpoint file")
    data = load("cifar10").normalised(IMAGENET_MEAN, IMAGENET_STD)
    model = load_checkpoint(resnet20(), path)
    x, y = data.test_x[:200], data.test_y[:200]
    bits = {"weight_bits": 8, "dac_bits": None, "adc_bits": None}
    chip = map_network(model, plan(**bits), rng=np.random.default_rng(0), sample=x[:8]).on()
    with torch.no_grad():
        same = (chip(x).argmax(1) == model(x).argmax(1)).float().mean().item()
    assert accuracy(model, x, y) > 0.88 and same > 0.97
