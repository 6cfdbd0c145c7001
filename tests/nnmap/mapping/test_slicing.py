import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from netlists import (
    FaultKind,
    FaultMap,
    FaultRates,
    InputError,
    OneR,
    OneTransistorTwoR,
    TileSpec,
)
from nnmap import Chip, Fidelity, MeasuredChip, Programme, Shape, Slicing, place
from nnmap.mapping.slicing import sliced
from tests.nnmap.making import PERFECT, held_weights, layer_of, mapped, only
from tests.tolerances import EXACT, assert_close

PAPERS = [  # weight bits, device bits, devices a weight
    pytest.param(8, 8, 1, id="drop-connect"),
    pytest.param(16, 1, 16, id="rramedy-slc"),
    pytest.param(16, 2, 8, id="rramedy-mlc"),
    pytest.param(8, 4, 2, id="remeco"),
]


def plan(weight_bits, device_bits, **options):
    """Options of a plan with these bits."""
    bits = {"weight_bits": weight_bits, "device_bits": device_bits}
    return {"encoding": "offset", "cols": 40, **bits, **options}


def stuck(rate, seed=0):
    return Chip(rates=FaultRates.from_ocr(rate, 1.0), seed=seed)


def fixed_point(weight, bits):
    """The integers a layer's weights become, and the scale of one of them."""
    step = weight.abs().max() / (2 ** (bits - 1) - 1)
    return torch.round(weight / step), step


@pytest.mark.parametrize("weight_bits, device_bits, devices", PAPERS)
def test_the_papers_encodings_take_as_many_devices_as_they_say(weight_bits, device_bits, devices):
    encoding = sliced("offset", Slicing(weight_bits=weight_bits, device_bits=device_bits))
    assert encoding.slices == devices
    w = np.array([[1.0, -1.0]])
    spec = TileSpec(rows=1, cols=2 * devices + 1, wires=PERFECT, cell=OneR())
    placement = place(Shape(inputs=1, outputs=2), spec, encoding)
    made = Programme.of(w[None], 1.0, spec=spec, encoding=encoding, placement=placement)
    levels = (made.target[0, 0] - OneR().rram.g_hrs) / (OneR().rram.g_lrs - OneR().rram.g_hrs)
    top = 2**device_bits - 1
    digits = np.round(levels * top).astype(int)
    assert_close(levels[:-1] * top, digits[:-1], 1e-9)
    values = [
        sum(int(d) << device_bits * k for k, d in enumerate(part))
        for part in (digits[:devices], digits[devices:-1])
    ]
    half = 2 ** (weight_bits - 1)
    assert values == [half + half - 1, 1] and levels[-1] == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(
    weight_bits=st.integers(2, 16),
    device_bits=st.integers(1, 8),
    encoding=st.sampled_from(["pair", "offset"]),
    seed=st.integers(0, 1000),
)
def test_every_slicing_is_exact_integer_arithmetic(weight_bits, device_bits, encoding, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(21, 5, bias=False).double()
    x = torch.randint(-3, 4, (6, 21)).double()
    q, step = fixed_point(layer.weight.detach(), weight_bits)
    assume((q / step).isfinite().all())
    on_tiles = mapped(layer, x, **plan(weight_bits, device_bits, encoding=encoding))
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = on_tiles.on(fidelity=fidelity)(x) / step
        assert_close(found.numpy(), (x @ q.T).numpy(), 1e-9, scale=2.0 ** (weight_bits - 1))


@pytest.mark.ngspice
@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_two_memories_a_cell_hold_slices_too(encoding):
    layer, x = nn.Linear(9, 4, bias=False).double(), torch.rand(3, 9).double()
    q, step = fixed_point(layer.weight.detach(), 8)
    options = plan(8, 4, encoding=encoding, cell=OneTransistorTwoR())
    found = mapped(layer, x, **options).on()(x)
    assert_close((found / step).numpy(), (x @ q.T).numpy(), 1e-9, scale=127.0)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("weight_bits, device_bits, devices", PAPERS)
def test_the_faulty_weight_is_what_the_currents_decode_to(
    encoding, weight_bits, device_bits, devices
):  # devices names the case
    layer, x = nn.Conv2d(4, 6, 3, groups=2, bias=False).double(), torch.rand(2, 4, 5, 5).double()
    tiles = plan(weight_bits, device_bits, encoding=encoding, rows=18, cols=64)
    network = mapped(layer, x, **tiles)
    p = only(network.programmes).placement
    assert all(len(set(row // 18)) == 1 for row in p.row_input)  # one group a tile: others disturb
    kernel = torch.from_numpy(held_weights(network, stuck(0.2, 4))).mT.reshape(6, 2, 3, 3)
    expected = nn.functional.conv2d(x, kernel, groups=2)
    assert_close(network.on(stuck(0.2, 4))(x).numpy(), expected.numpy(), 1e-9)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), weight_bits=st.integers(2, 12), device_bits=st.integers(1, 6))
def test_faulty_weights_give_the_faulty_product(encoding, seed, weight_bits, device_bits):
    torch.manual_seed(seed)
    layer, x = nn.Linear(23, 5, bias=False).double(), torch.randn(4, 23).double()
    network = mapped(layer, x, **plan(weight_bits, device_bits, encoding=encoding))
    w = torch.from_numpy(held_weights(network, stuck(0.1, seed))[0])
    scale = float((x.abs() @ w.abs()).max())
    found = network.on(stuck(0.1, seed))(x)
    assert_close(found.numpy(), (x @ w).numpy(), EXACT * 100, scale=scale)


def test_a_perfect_chip_decodes_to_its_fixed_point_weights():
    layer, x = nn.Linear(23, 5, bias=False).double(), torch.rand(4, 23).double()
    q, step = fixed_point(layer.weight.detach(), 8)
    found = held_weights(mapped(layer, x, **plan(8, 4)))[0] / step.item()
    assert_close(found, q.T.numpy(), 1e-9)


def test_a_stuck_device_moves_its_weight_by_the_value_of_its_digit():
    """8 bits on two 4-bit devices, weight +127: offset binary 255, digits 15 and 15."""
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, 127.0)
    network = mapped(layer, torch.ones(1, 1).double(), **plan(8, 4, rows=1, cols=3))

    def weight(column):
        kind = np.zeros((1, 3), np.int8)
        kind[0, column] = FaultKind.STUCK_HRS
        chip = MeasuredChip(faults={"": [FaultMap(kind=kind)]})
        return held_weights(network, chip).item()

    assert weight(0) == pytest.approx(127 - 15)
    assert weight(1) == pytest.approx(127 - 15 * 16)


def run(layer, x, **options):
    """The only layer of a network on a chip without faults, and what it makes of x."""
    chip = layer_of(mapped(layer, x, **plan(8, 4, **options)).on())
    return chip, chip(x)


def test_serial_inputs_are_shifted_and_added():
    layer, x = nn.Linear(20, 4).double(), torch.randn(5, 20).double()
    _, parallel = run(layer, x, dac_bits=6)
    _, serial = run(layer, x, dac_bits=6, inputs="serial")
    assert_close(serial.numpy(), parallel.numpy(), 1e-12)
    chip, quantised = run(layer, x, dac_bits=6, inputs="serial", adc_bits=10)
    assert 0 < (quantised - parallel).abs().max() < 0.05
    assert chip.clips.adc == 0


def test_binary_inputs_of_both_signs_take_two_reads_and_no_more_levels():
    layer, x = nn.Linear(20, 4).double(), torch.randn(5, 20).sign().double()
    q, step = fixed_point(layer.weight.detach(), 8)
    chip, found = run(layer, x, dac_bits=1)
    assert chip.reads_per_vector(x) == 2 and chip.reads_per_vector(x.abs()) == 1
    assert_close(
        ((found - layer.bias) / step).detach().numpy(), (x @ q.T).numpy(), 1e-9, scale=127.0
    )


@pytest.mark.parametrize("adc_range", ["shared", "column", "full"])
def test_converter_ranges_hold_what_the_sample_showed(adc_range):
    layer, x = nn.Conv2d(3, 5, 3).double(), torch.rand(4, 3, 8, 8).double()
    _, exact = run(layer, x)
    chip, found = run(layer, x, dac_bits=12, adc_bits=12, adc_range=adc_range)
    error = (found - exact).abs().max()
    assert 0 < error < 0.1 and chip.clips.adc == 0 and chip.clips.adc_of > 0
    assert chip.clips.dac == 0 and chip.clips.dac_of == x.numel()
    chip(2 * x)  # beyond the input range: the DAC saturates, and says so
    assert chip.clips.dac > 0


def test_a_column_of_its_own_range_is_finer_and_clips_sooner():
    layer, x = nn.Linear(16, 8).double(), torch.rand(64, 16).double()
    _, exact = run(layer, x, encoding="pair")

    def converted(adc_range, headroom):
        options = {"adc_bits": 8, "adc_range": adc_range, "adc_headroom": headroom}
        return run(layer, x, encoding="pair", **options)

    def error(adc_range):
        return (converted(adc_range, 1.0)[1] - exact).abs().mean().item()

    assert error("column") < error("shared") < error("full")
    tight, _ = converted("column", 0.5)
    assert 0 < tight.clips.adc < tight.clips.adc_of


@pytest.mark.parametrize(
    "options, words",
    [
        ({"weight_bits": 1, "device_bits": 1}, "weight_bits=1"),
        ({"weight_bits": 8, "device_bits": 9}, "device_bits=9"),
    ],
)
def test_impossible_slices_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        Slicing(**options)
    with pytest.raises(InputError, match="encoding='gray'"):
        sliced("gray", Slicing(weight_bits=8, device_bits=4))


@pytest.mark.parametrize("bits", [{}, {"device_bits": 6}, {"device_bits": 5}, {"device_bits": 8}])
def test_one_device_per_sign_of_a_pair_uses_all_of_its_range(bits):
    """A device stuck at LRS beside a weight of 0 reads as the largest weight, not as twice that."""
    layer, x = nn.Linear(9, 4, bias=False).double(), torch.rand(3, 9).double()
    network = mapped(layer, x, rows=9, cols=8, weight_bits=6, **bits)
    programme = only(network.programmes)
    assert programme.encoding.significances == (1.0, -1.0)
    rram = OneR().rram
    assert (programme.target.min(), programme.target.max()) == (rram.g_hrs, rram.g_lrs)
    q, step = fixed_point(layer.weight.detach(), 6)
    assert_close((network.on()(x) / step).numpy(), (x @ q.T).numpy(), 1e-9, scale=31.0)
    plus = np.broadcast_to(programme.placement.col_slot[0] == 0, (9, 8))
    kind = np.where(plus, FaultKind.STUCK_LRS, FaultKind.NONE).astype(np.int8)
    chip = MeasuredChip(faults={"": [FaultMap(kind=kind)]})
    largest = programme.scale[0]
    weights = held_weights(network, chip)[0].T / largest
    expected = 1 - np.maximum(-q.numpy(), 0) / 31
    assert_close(weights, expected, EXACT)


def test_an_offset_column_takes_all_bits_of_a_weight_on_one_device():
    assert mapped(nn.Linear(3, 2), torch.rand(2, 3), weight_bits=6, encoding="offset").programmes[
        ""
    ].encoding == sliced("offset", Slicing(weight_bits=6, device_bits=6))
