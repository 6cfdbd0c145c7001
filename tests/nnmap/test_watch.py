"""What reaches layers when a network runs."""

import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap.watch import BATCH, first_inputs, input_of, peak_currents, watch
from tests.nnmap.making import layer_of, mapped
from tests.tolerances import EXACT, assert_close


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.tied = nn.Linear(6, 6)

    def forward(self, x):
        return self.tied(2 * self.tied(x))


def test_every_layer_is_seen_at_every_use_in_batches():
    model, x, seen = Twice(), torch.rand(BATCH + 7, 6), []
    watch(model, {"a": model.tied}, lambda name, _, inputs: seen.append((name, len(inputs))), x)
    assert seen == [("a", BATCH), ("a", BATCH), ("a", 7), ("a", 7)]
    assert not model.tied._forward_pre_hooks


def test_first_inputs_are_those_of_all_inputs_and_of_the_first_use():
    model, x = Twice(), torch.rand(2 * BATCH + 7, 6)
    assert torch.equal(first_inputs(model, {"a": model.tied}, x)["a"], x)


def test_inputs_that_never_reach_a_layer_are_told():
    model, x = Twice(), torch.rand(3, 6)
    layers = {"tied": model.tied, "other": nn.ReLU()}
    assert torch.equal(input_of(model, layers, "tied", x), x)
    with pytest.raises(InputError, match=r"never reach other; .* digital=\('other',\)"):
        input_of(model, layers, "other", x)


def test_peaks_grow_with_every_batch():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 5).double(), torch.rand(3 * BATCH, 20).double()
    chip = mapped(layer, x).on()
    (peaks,) = peak_currents(chip, x).values()
    whole = layer_of(chip).peak_currents(x)
    for one, other in zip(peaks, whole, strict=True):
        assert_close(one.numpy(), other.numpy(), EXACT)
    (less,) = peak_currents(chip, x[:5]).values()
    assert all((a <= b).all() and (a < b).any() for a, b in zip(less, peaks, strict=True))
