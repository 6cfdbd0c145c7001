import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from circuitsim import solve
from netlists import (
    Drive,
    FaultRates,
    InputError,
    OneR,
    OneTransistorOneR,
    TileSpec,
    Wires,
)
from nnmap import (
    Fidelity,
    MappedConv2d,
    MappingPlan,
    at_fidelity,
    inject_faults,
    map_network,
    mapped_layers,
    mapping_table,
)
from tests.tolerances import assert_close

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
WIRED = Wires(r_row_segment=1.0, r_col_segment=1.0)


def plan(*, rows=16, cols=12, wires=PERFECT, **options):
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=OneR())
    return MappingPlan(spec=spec, **{"dac_bits": None, "adc_bits": None, **options})


def rng(seed=0):
    return np.random.default_rng(seed)


def mapped_like(layer, x, **options):
    mapped = map_network(layer, plan(**options), rng=rng(), sample=x)
    expected = layer(x).detach().numpy()
    return mapped, expected, max(1.0, np.abs(expected).max())


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
    mapped, expected, scale = mapped_like(layer, x, encoding=encoding)
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = at_fidelity(mapped, fidelity)(x).numpy()
        assert_close(found, expected, 1e-9, scale=scale)


def test_padding_may_be_named_same():
    layer = nn.Conv2d(2, 3, (3, 5), padding="same").double()
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    mapped, expected, scale = mapped_like(layer, x)
    assert_close(mapped(x).numpy(), expected, 1e-9, scale=scale)


def test_a_batch_beyond_one_chunk_gives_the_same_answer(monkeypatch):
    layer, x = nn.Conv2d(2, 3, 3).double(), torch.randn(5, 2, 6, 6, dtype=torch.float64)
    mapped, expected, scale = mapped_like(layer, x)
    monkeypatch.setattr("nnmap.convolution.CHUNK", 20)
    assert_close(mapped(x).numpy(), expected, 1e-9, scale=scale)


def test_the_voltages_of_a_layer_are_its_patches():
    layer, x = nn.Conv2d(2, 3, 3, padding=1).double(), torch.rand(2, 2, 4, 4, dtype=torch.float64)
    mapped = map_network(layer, plan(), rng=rng(), sample=x)
    v = mapped.voltages(x)
    unfolded = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(32, 18)
    assert v.shape == (2, 32, 16)
    found = torch.cat([v[0], v[1, :, :2]], dim=1)
    assert_close(found.numpy(), (unfolded / x.max() * 0.2).numpy(), 1e-12)
    read = mapped.currents(v)
    assert read.shape == (2, 32, mapped.matrix.placement.col_tiles, 12)


def test_depthwise_groups_share_tiles_and_utilisation_is_stated():
    layer = nn.Conv2d(16, 16, 3, groups=16)
    mapped = map_network(layer, plan(rows=64, cols=64), rng=rng(), sample=torch.rand(1, 16, 5, 5))
    placement = mapped.matrix.placement
    assert (placement.bundle, placement.bundles, placement.tiles) == (7, 3, 3)
    (row,) = mapping_table(mapped).rows
    assert row.devices == 2 * 9 * 16
    assert row.utilisation == pytest.approx(2 * 9 * 16 / (3 * 64 * 64))


def test_off_block_places_of_a_pair_carry_as_little_current_as_they_can():
    layer = nn.Conv2d(3, 3, 3, groups=3)
    mapped = map_network(layer, plan(rows=64, cols=64), rng=rng(), sample=torch.rand(1, 3, 5, 5))
    g = mapped.matrix.g[0]
    assert (g[9:, :2] == OneR().rram.g_hrs).all() and (g[:9, 2:6] == OneR().rram.g_hrs).all()


def test_faulty_chips_keep_their_windows():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 4, 3, stride=2, padding=1), torch.rand(2, 2, 8, 8)
    mapped = map_network(layer, plan(), rng=rng(), sample=x)
    chip = inject_faults(mapped, FaultRates.from_ocr(0.2, 1.0), rng=rng(1))
    assert isinstance(chip, MappedConv2d) and chip.window == mapped.window
    assert (chip(x) - mapped(x)).abs().max() > 0.05


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
    mapped = map_network(model, plan(), rng=rng(), sample=x)
    assert mapped.a is mapped.b and len(list(mapped_layers(mapped))) == 1
    assert_close(mapped(x).detach().numpy(), model(x).detach().numpy(), 1e-6)


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


def names(mapped):
    return [name for name, _ in mapped_layers(mapped)]


def test_layers_are_chosen_by_pattern_and_left_digital_by_name_or_rule():
    model, x = small_cnn(), torch.rand(4, 1, 6, 6)

    def chosen(**options):
        return names(map_network(model, plan(**options), rng=rng(), sample=x))

    assert chosen() == ["0", "3", "7"]
    assert chosen(digital_1x1=True) == ["0", "7"]
    assert chosen(digital=("0",)) == ["3", "7"]
    assert chosen(layers=("[0-3]",)) == ["0", "3"]


def test_a_module_stands_for_all_layers_in_it():
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), nn.Linear(6, 2))
    x = torch.rand(4, 6)
    assert names(map_network(model, plan(layers=("0",)), rng=rng(), sample=x)) == ["0.0", "0.1"]
    assert names(map_network(model, plan(digital=("0",)), rng=rng(), sample=x)) == ["1"]


def test_attention_left_digital_keeps_its_inner_layers_digital():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=True)[0])

    model, x = Attends().eval(), torch.rand(2, 5, 6)
    with pytest.raises(InputError, match="attention: MultiheadAttention"):
        map_network(model, plan(), rng=rng(), sample=x)
    mapped = map_network(model, plan(digital=("attention",)), rng=rng(), sample=x)
    assert names(mapped) == ["head"]
    assert_close(mapped(x).detach().numpy(), model(x).detach().numpy(), 1e-5)


def test_batch_norms_fold_and_the_answer_stays():
    model, x = small_cnn(), torch.rand(8, 1, 6, 6)
    mapped = map_network(model, plan(fold_batch_norm=True), rng=rng(), sample=x)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in mapped.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 2
    assert_close(mapped(x).detach().numpy(), model(x).detach().numpy(), 1e-5)


def test_one_layer_alone_can_change_its_fidelity():
    model, x = small_cnn(), torch.rand(2, 1, 6, 6)
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    mapped = map_network(model, plan(wires=wires), rng=rng(), sample=x)
    mixed = at_fidelity(mapped, Fidelity.LINEAR, layers="3")
    found = [layer.fidelity for _, layer in mapped_layers(mixed)]
    assert found == [Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.IDEAL]


def test_single_precision_is_the_users_choice():
    layer, x = nn.Conv2d(3, 4, 3), torch.rand(4, 3, 8, 8)
    mapped, expected, scale = mapped_like(layer, x)
    single = mapped.float()
    assert single.reader.operators.dtype == torch.float32
    assert_close(single(x).numpy(), expected, 1e-4, scale=scale)


class Odd(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize(
    "model, options, words",
    [
        (nn.Conv1d(1, 1, 3), {}, "Conv1d"),
        (nn.Sequential(nn.Linear(6, 6), nn.LSTM(6, 6)), {}, "1: LSTM"),
        (nn.Sequential(Odd(6, 6)), {}, "0: Odd"),
        (nn.Sequential(nn.Embedding(6, 6), nn.Linear(6, 6)), {}, "0: Embedding"),
        (nn.Linear(6, 6), {"layers": ("conv*",)}, r"'conv\*' matches none"),
        (nn.Sequential(nn.Linear(6, 6)), {"digital": ("0",)}, "to map among 0"),
    ],
)
def test_what_cannot_be_mapped_is_named(model, options, words):
    with pytest.raises(InputError, match=words):
        map_network(model, plan(**options), rng=rng(), sample=torch.rand(2, 6))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: plan(inputs="sideways"), "inputs='sideways'"),
        (lambda: plan(adc_range="wide"), "adc_range='wide'"),
        (lambda: plan(inputs="serial"), "dac_bits"),
        (lambda: plan(rows=5000), "5000x12 exceeds"),
        (lambda: plan(layers="conv*"), "must be a list"),
        (lambda: plan(device_bits=4), "set weight_bits"),
        (lambda: plan(weight_bits=40), "weight_bits=40 must lie in 2..24"),
        (lambda: plan(weight_bits=16, device_bits=1, encoding="offset"), "at least 17 columns"),
    ],
)
def test_plans_out_of_range_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 3, 6, 6), (1, 2, 2, 2)])
def test_images_of_another_shape_are_refused(shape):
    x = torch.rand(2, 2, 6, 6)
    mapped = map_network(nn.Conv2d(2, 3, 3), plan(), rng=rng(), sample=x)
    with pytest.raises(InputError, match=r"x\.shape"):
        mapped(torch.rand(shape))


@pytest.mark.ngspice
@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_a_convolution_at_linear_fidelity_is_the_solved_circuit(encoding):
    """Sliced, grouped, faulty, with transistors: every read is the tile's exact solution."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, 3, groups=2).double(), torch.rand(1, 4, 4, 4).double()
    spec = TileSpec(rows=16, cols=12, wires=WIRED, cell=OneTransistorOneR())
    bits = {"weight_bits": 6, "device_bits": 3, "dac_bits": None, "adc_bits": None}
    tiles = MappingPlan(spec=spec, encoding=encoding, fit_inputs=0, **bits)
    mapped = map_network(layer, tiles, rng=rng(), sample=x)
    faulty = inject_faults(mapped, FaultRates.from_ocr(0.2, 1.0), rng=rng(9))
    chip = at_fidelity(faulty, Fidelity.LINEAR)
    placement = chip.matrix.placement
    v = chip.voltages(x)
    i = chip.currents(v)
    assert placement.bundles == 2 and placement.reads == 4
    for read in range(placement.reads):
        for col_tile in range(placement.col_tiles):
            tile = chip.matrix.tile(read * placement.col_tiles + col_tile)
            solved = solve(tile, Drive(v=v[read].numpy())).i_out
            assert_close(i[read, :, col_tile].numpy(), solved, 1e-11)
