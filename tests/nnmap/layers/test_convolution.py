import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from circuitsim import solve
from netlists import Drive, FaultRates, InputError, OneR, OneTransistorOneR
from nnmap import (
    Chip,
    Fidelity,
    MappedConvolution,
    faults_as_weights,
    map_network,
    mapped_layers,
    mapping_table,
)
from tests.nnmap.making import WIRED, layer_of, mapped, only, plan, rng
from tests.tolerances import assert_close


def mapped_like(layer, x, **options):
    expected = layer(x).detach().numpy()
    return mapped(layer, x, **options), expected, max(1.0, np.abs(expected).max())


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 9),
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
    bias=st.booleans(),
    encoding=st.sampled_from(["pair", "offset"]),
)
def test_any_convolution_tiles_to_the_same_answer(
    groups, inputs, outputs, kernel, stride, padding, dilation, mode, bias, encoding
):
    torch.manual_seed(0)
    layer = nn.Conv2d(
        groups * inputs,
        groups * outputs,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding_mode=mode,
    ).double()
    x = torch.randn(2, groups * inputs, 7, 8, dtype=torch.float64)
    network, expected, scale = mapped_like(layer, x, encoding=encoding)
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = network.on(fidelity=fidelity)(x).numpy()
        assert_close(found, expected, 1e-9, scale=scale)


@settings(max_examples=25, deadline=None)
@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 3),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.one_of(st.integers(0, 3), st.just("same")),
    dilation=st.integers(1, 2),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    encoding=st.sampled_from(["pair", "offset"]),
)
def test_any_1d_convolution_tiles_to_the_same_answer(
    groups, inputs, outputs, kernel, stride, padding, dilation, mode, encoding
):
    torch.manual_seed(0)
    layer = nn.Conv1d(
        groups * inputs,
        groups * outputs,
        kernel,
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
    ).double()
    x = torch.randn(3, groups * inputs, 9, dtype=torch.float64)
    network, expected, scale = mapped_like(layer, x, encoding=encoding)
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = network.on(fidelity=fidelity)(x).numpy()
        assert_close(found, expected, 1e-9, scale=scale)
    assert_close(faults_as_weights(network)(x).numpy(), expected, 1e-9, scale=scale)
    assert_close(network.trainable()(x).detach().numpy(), expected, 1e-9, scale=scale)
    (row,) = mapping_table(network).rows
    assert (row.kind, row.matrix) == ("Conv1d", (groups, inputs * kernel, outputs))


def test_1d_inputs_of_another_shape_are_refused():
    chip = mapped(nn.Conv1d(2, 3, 3), torch.rand(2, 2, 6)).on()
    for shape in ((2, 6), (1, 3, 6), (1, 2, 6, 6)):
        with pytest.raises(InputError, match=r"!= \(batch, channels, width\)=\(\*, 2, \*\)"):
            chip(torch.rand(shape))
    with pytest.raises(InputError, match=r"smaller than the \(3,\) kernel"):
        chip(torch.rand(1, 2, 2))


def test_padding_may_be_named_same():
    layer = nn.Conv2d(2, 3, (3, 5), padding="same").double()
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    network, expected, scale = mapped_like(layer, x)
    assert_close(network.on()(x).numpy(), expected, 1e-9, scale=scale)


def test_a_batch_beyond_one_chunk_gives_the_same_answer(monkeypatch):
    layer, x = nn.Conv2d(2, 3, 3).double(), torch.randn(5, 2, 6, 6, dtype=torch.float64)
    network, expected, scale = mapped_like(layer, x)
    chip, heard = network.on(), []
    monkeypatch.setattr("nnmap.layers.convolution.CHUNK", 20)
    monkeypatch.setattr(MappedConvolution, "_compiled", lambda self, x: None)  # which has no chunks
    real = MappedConvolution._multiply
    monkeypatch.setattr(
        MappedConvolution,
        "_multiply",
        lambda self, part: heard.append(len(part)) or real(self, part),
    )
    assert_close(chip(x).numpy(), expected, 1e-9, scale=scale)
    assert heard == [1] * 5  # 16 positions per image


def test_the_voltages_of_a_layer_are_its_patches():
    layer, x = nn.Conv2d(2, 3, 3, padding=1).double(), torch.rand(2, 2, 4, 4, dtype=torch.float64)
    chip = layer_of(mapped(layer, x).on())
    v = chip.row_voltages(x)
    unfolded = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(32, 18)
    assert [volts.shape for volts in v] == [(32, 16)] * 2
    found = torch.cat([v[0], v[1][:, :2]], dim=1)
    assert_close(found.numpy(), (unfolded / x.max() * 0.2).numpy(), 1e-12)
    assert (v[1][:, 2:] == 0).all()
    p = chip.programme.placement
    assert p.tiles == 2 and [chip.currents_of(k, v[k]).shape for k in range(2)] == [(32, 6)] * 2


def test_depthwise_groups_share_tiles_and_utilisation_is_stated():
    layer = nn.Conv2d(16, 16, 3, groups=16)
    network = mapped(layer, torch.rand(1, 16, 5, 5), rows=64, cols=64)
    p = only(network.programmes).placement
    assert [int((row >= 0).sum()) // 9 for row in p.row_input] == [7, 7, 2]  # groups on 3 tiles
    (row,) = mapping_table(network).rows
    assert row.devices == 2 * 9 * 16
    assert row.utilisation == pytest.approx(2 * 9 * 16 / (3 * 64 * 64))


def test_off_block_places_of_a_pair_carry_as_little_current_as_they_can():
    layer = nn.Conv2d(3, 3, 3, groups=3)
    network = mapped(layer, torch.rand(1, 3, 5, 5), rows=64, cols=64)
    g = only(network.programmes).target[0]
    assert (g[9:, :2] == OneR().rram.g_hrs).all() and (g[:9, 2:6] == OneR().rram.g_hrs).all()


def test_faulty_chips_keep_their_windows():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 4, 3, stride=2, padding=1), torch.rand(2, 2, 8, 8)
    network = mapped(layer, x)
    chip = network.on(Chip(rates=FaultRates.from_ocr(0.2, 1.0), seed=1))
    assert isinstance(chip, MappedConvolution) and chip.window == layer_of(network.on()).window
    assert chip.window.stride == (2, 2) and chip.window.padding == (1, 1, 1, 1)
    assert (chip(x) - network.on()(x)).abs().max() > 0.05


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = self.a

    def forward(self, x):
        return self.b(self.a(x))


def test_a_layer_used_twice_is_mapped_once_and_everywhere():
    x = torch.rand(3, 4)
    model = Tied()
    network = mapped(model, x)
    chip = network.on()
    assert chip.a is chip.b and list(mapped_layers(chip)) == list(network.programmes) == ["a"]
    assert_close(chip(x).detach().numpy(), model(x).detach().numpy(), 1e-6)


def small_cnn():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 5),
    )
    for _ in range(5):
        model(torch.rand(32, 1, 6, 6))
    return model.eval()


def test_layers_are_chosen_by_pattern_and_left_digital_by_name_or_rule():
    model, x = small_cnn(), torch.rand(4, 1, 6, 6)

    def chosen(**options):
        return list(mapped(model, x, **options).programmes)

    assert chosen() == ["0", "3", "7"]
    assert chosen(digital_1x1=True) == ["0", "7"]
    assert chosen(digital=("0",)) == ["3", "7"]
    assert chosen(layers=("[0-3]",)) == ["0", "3"]


def test_a_module_stands_for_all_layers_in_it():
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), nn.Linear(6, 2))
    x = torch.rand(4, 6)
    assert list(mapped(model, x, layers=("0",)).programmes) == ["0.0", "0.1"]
    assert list(mapped(model, x, digital=("0",)).programmes) == ["1"]


def test_batch_norms_fold_and_the_answer_stays():
    model, x = small_cnn(), torch.rand(8, 1, 6, 6)
    chip = mapped(model, x, fold_batch_norm=True).on()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in chip.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 2
    assert_close(chip(x).detach().numpy(), model(x).detach().numpy(), 1e-5)


def test_one_layer_alone_can_change_its_fidelity():
    model, x = small_cnn(), torch.rand(2, 1, 6, 6)
    mixed = mapped(model, x, wires=WIRED).on(fidelity={"3": Fidelity.LINEAR})
    found = [layer.fidelity for layer in mapped_layers(mixed).values()]
    assert found == [Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.IDEAL]


def test_single_precision_is_the_users_choice():
    layer, x = nn.Conv2d(3, 4, 3), torch.rand(4, 3, 8, 8)
    network, expected, scale = mapped_like(layer, x)
    single = network.on().float()
    assert single.reader.operator(0).dtype == torch.float32
    assert_close(single(x).numpy(), expected, 1e-4, scale=scale)


class Odd(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize(
    "model, options, words",
    [
        (nn.Sequential(nn.Linear(6, 6), nn.LSTM(6, 6)), {}, "1: LSTM"),
        (nn.Sequential(Odd(6, 6)), {}, "0: Odd"),
        (nn.Linear(6, 6), {"layers": ("conv*",)}, r"'conv\*' matches none"),
        (nn.Sequential(nn.Linear(6, 6)), {"digital": ("0",)}, "to map among 0"),
    ],
)
def test_what_cannot_be_mapped_is_named(model, options, words):
    with pytest.raises(InputError, match=words):
        map_network(model, plan(**options), rng=rng(), sample=torch.rand(2, 6))


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 3, 6, 6), (1, 2, 2, 2)])
def test_images_of_another_shape_are_refused(shape):
    x = torch.rand(2, 2, 6, 6)
    chip = mapped(nn.Conv2d(2, 3, 3), x).on()
    with pytest.raises(InputError, match=r"x\.shape"):
        chip(torch.rand(shape))


@pytest.mark.ngspice
@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_a_convolution_at_linear_fidelity_is_the_solved_circuit(encoding):
    """Sliced, grouped, faulty, with transistors: every read is the tile's exact solution."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, 3, groups=2).double(), torch.rand(1, 4, 4, 4).double()
    bits = {"weight_bits": 6, "device_bits": 3, "fit_inputs": 0}
    network = mapped(layer, x, wires=WIRED, cell=OneTransistorOneR(), encoding=encoding, **bits)
    faults = Chip(rates=FaultRates.from_ocr(0.2, 1.0), seed=9)
    chip = network.on(faults, Fidelity.LINEAR)
    p = chip.programme.placement
    volts = chip.row_voltages(x)
    assert len(p.row_groups) == 4  # two groups of 18 inputs on two row tiles each
    for k in range(p.tiles):
        v = volts[p.group_of[k]]
        solved = solve(chip.on_chip.tile(k), Drive(v=v.numpy())).i_out
        assert_close(chip.currents_of(k, v).numpy(), solved[:, p.col_slot[k] >= 0], 1e-11)
