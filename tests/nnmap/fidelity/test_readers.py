"""NONLINEAR, SPICE and the fitted LINEAR of mapped layers."""

import numpy as np
import pytest
import torch
from torch import nn

from circuitsim import solve
from netlists import (
    Drive,
    FaultRates,
    InputError,
    OneR,
    OneTransistorOneR,
    SinhRram,
    TileSpec,
    Wires,
)
from nnmap import (
    Fidelity,
    MappingPlan,
    at_fidelity,
    fidelity_error,
    inject_faults,
    map_network,
    mapped_layers,
    network_errors,
    with_read_noise,
)
from nnmap.fidelity.linear_fit import InputCurve, spread
from tests.tolerances import EXACT, NONLINEAR_MAX, NONLINEAR_SAME_LAW, assert_close

SINH = OneR(rram=SinhRram())
WIRED = Wires(r_row_segment=2.0, r_col_segment=2.0)


def plan(cell, *, wires=WIRED, rows=12, cols=10, **options):
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell)
    return MappingPlan(spec=spec, **{"dac_bits": None, "adc_bits": None, **options})


def convolution():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, padding=1).double()
    return layer, torch.rand(2, 4, 4, 4).double()


def chip_of(cell, *, layer=None, x=None, **options):
    if layer is None:
        layer, x = convolution()
    rng = np.random.default_rng
    mapped = map_network(layer, plan(cell, **options), rng=rng(0), sample=x)
    return inject_faults(mapped, FaultRates.from_ocr(0.2, 1.0), rng=rng(9))


def tile_currents(layer, v, solver):
    """Every tile of the layer solved by itself, as `MappedLayer.currents` arranges them."""
    p = layer.matrix.placement
    solved = [
        [
            solve(layer.matrix.tile(r * p.col_tiles + c), Drive(v=v[r].numpy()), solver).i_out
            for c in range(p.col_tiles)
        ]
        for r in range(p.reads)
    ]
    return np.array(solved).transpose(0, 2, 1, 3)


ACCESSED = OneTransistorOneR()
CASES = [
    pytest.param(SINH, "newton", Fidelity.NONLINEAR, EXACT, id="sinh"),
    pytest.param(
        ACCESSED,
        "newton",
        Fidelity.NONLINEAR,
        NONLINEAR_SAME_LAW,
        id="1t1r",
        marks=pytest.mark.ngspice,
    ),
    pytest.param(
        ACCESSED,
        "ngspice",
        Fidelity.SPICE,
        NONLINEAR_SAME_LAW,
        id="spice",
        marks=pytest.mark.ngspice,
    ),
]


@pytest.mark.parametrize("cell, solver, fidelity, tolerance", CASES)
def test_every_read_is_its_tile_solved(cell, solver, fidelity, tolerance):
    _, x = convolution()
    chip = at_fidelity(chip_of(cell), fidelity)
    v = chip.voltages(x)[:, ::8]
    assert_close(chip.currents(v).numpy(), tile_currents(chip, v, solver), tolerance)


@pytest.mark.ngspice
@pytest.mark.parametrize("options", [{}, {"dac_bits": 3, "inputs": "serial", "adc_bits": 9}])
def test_nonlinear_and_spice_layers_give_one_answer_for_inputs_of_both_signs(options):
    torch.manual_seed(1)
    layer, x = nn.Linear(17, 4).double(), torch.randn(3, 17).double()
    chip = chip_of(SINH, layer=layer, x=x, **options)
    fast, spice = (at_fidelity(chip, f)(x) for f in (Fidelity.NONLINEAR, Fidelity.SPICE))
    # The least difference can take a converter to its next code.
    step = chip.adc.step / chip.adc.full_scale if options else 0.0
    assert_close(fast.numpy(), spice.numpy(), NONLINEAR_SAME_LAW + 3 * step)
    assert (fast - at_fidelity(chip, Fidelity.IDEAL)(x)).abs().max() > 0.01


@pytest.mark.parametrize("fidelity", [Fidelity.LINEAR, Fidelity.NONLINEAR])
def test_ohmic_cells_have_one_operator_whatever_is_asked(fidelity):
    chip = chip_of(OneR())
    nominal = at_fidelity(chip_of(OneR(), fit_inputs=0), Fidelity.LINEAR)
    found = at_fidelity(chip, fidelity)
    assert torch.equal(found.reader.operators, nominal.reader.operators)
    assert found.reader.curve is None


def test_fidelity_switches_back_and_forth_without_mapping_again():
    _, x = convolution()
    chip = chip_of(SINH)
    there = at_fidelity(chip, Fidelity.NONLINEAR)
    back = at_fidelity(there, Fidelity.IDEAL)
    assert there.matrix is chip.matrix and there.fidelity is Fidelity.NONLINEAR
    assert torch.equal(back(x), chip(x)) and not torch.equal(there(x), chip(x))


def test_one_layer_alone_can_be_nonlinear():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(4, 9).double()
    mapped = map_network(model, plan(SINH), rng=np.random.default_rng(0), sample=x)
    mixed = at_fidelity(at_fidelity(mapped, Fidelity.LINEAR), Fidelity.NONLINEAR, layers="2")
    found = [layer.fidelity for _, layer in mapped_layers(mixed)]
    assert found == [Fidelity.LINEAR, Fidelity.NONLINEAR]


@pytest.mark.ngspice
@pytest.mark.parametrize("fidelity", [Fidelity.LINEAR, Fidelity.NONLINEAR])
@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("cell", [SINH, ACCESSED], ids=["sinh", "1t1r"])
def test_binary_weights_and_inputs_on_perfect_wires_decode_to_whole_numbers(
    cell, encoding, fidelity
):
    torch.manual_seed(0)
    layer, x = nn.Linear(15, 4, bias=False).double(), torch.randint(-1, 2, (6, 15)).double()
    with torch.no_grad():
        layer.weight.sign_()
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    options = plan(cell, wires=perfect, dac_bits=1, encoding=encoding)
    mapped = map_network(layer, options, rng=np.random.default_rng(0), sample=x)
    found = at_fidelity(mapped, fidelity)(x).numpy()
    assert_close(found, layer(x).detach().numpy(), NONLINEAR_MAX)


def test_read_noise_has_the_same_deviation_at_nonlinear():
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 4).double(), torch.rand(1, 12).double()
    chip = chip_of(SINH, layer=layer, x=x)
    exact = at_fidelity(chip, Fidelity.NONLINEAR)(x)
    spread = [
        with_read_noise(at_fidelity(chip, f), 0.05, seed=3)(x.expand(2000, -1))
        for f in (Fidelity.LINEAR, Fidelity.NONLINEAR)
    ]
    assert spread[1].mean(0).numpy() == pytest.approx(exact[0].numpy(), abs=0.01)
    assert spread[0].std(0).numpy() == pytest.approx(spread[1].std(0).numpy(), rel=0.2)


def test_single_precision_networks_run_at_nonlinear():
    _, x = convolution()
    to_the_limit = OneR(rram=SinhRram(v_max=0.2))  # 0.2 V in float32 is a little more
    chip = at_fidelity(chip_of(to_the_limit, dac_bits=2), Fidelity.NONLINEAR)
    assert_close(chip.float()(x).numpy(), chip.double()(x).numpy(), 1e-5)


def test_spice_asks_before_it_takes_long():
    _, x = convolution()
    chip = chip_of(SINH)
    with pytest.raises(InputError, match=r"up to 128 tile solutions.* max_solves=100;"):
        at_fidelity(chip, Fidelity.SPICE, max_solves=100)(x)


def test_without_a_converter_inputs_beyond_the_read_voltage_are_solved_too():
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 4).double(), torch.rand(2, 12).double()
    chip = at_fidelity(chip_of(SINH, layer=layer, x=x), Fidelity.NONLINEAR)
    assert (chip(1.5 * x) - 1.5 * chip(x)).abs().max() > 1e-3
    with pytest.raises(InputError, match=r"v_max=0\.5"):
        chip(4 * x)


def test_the_curve_keeps_binary_inputs_and_goes_on_straight():
    curve = InputCurve(SINH, 0.2)
    v = torch.tensor([0.0, 0.05, 0.2, 0.4, 0.6], dtype=torch.float64)
    found = curve(v)
    law = 0.2 * np.sinh(v[:3].numpy() / 0.25) / np.sinh(0.2 / 0.25)
    assert_close(found[:3].numpy(), law, 1e-6)
    assert found[0] == 0.0 and found[2] == pytest.approx(0.2, rel=1e-15)
    assert found[4] - found[3] == pytest.approx(found[3] - found[2])


@pytest.mark.ngspice
@pytest.mark.parametrize("cell, segment", [(SINH, 2.0), (ACCESSED, 10.0)], ids=["sinh", "1t1r"])
def test_a_fitted_operator_is_nearer_than_nominal_secants_on_fresh_inputs(cell, segment):
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 14).double(), torch.rand(64, 40).double()
    options = {"rows": 32, "cols": 28, "wires": Wires(r_row_segment=segment, r_col_segment=segment)}
    nominal, fitted = (
        fidelity_error(
            at_fidelity(chip_of(cell, layer=layer, x=x, fit_inputs=n, **options), Fidelity.LINEAR),
            torch.rand(16, 40),
        )
        for n in (0, 8)
    )
    assert fitted.max_relative < 0.4 * nominal.max_relative
    assert fitted.p99_steps() == fitted.p99_relative * 255 <= fitted.max_steps()


def small_network(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    x = torch.rand(6, 1, 5, 5)
    return map_network(model, plan(SINH, **options), rng=np.random.default_rng(0), sample=x), x


def test_the_error_of_a_network_is_measured_layer_by_layer():
    mapped, x = small_network(adc_bits=8)
    linear = at_fidelity(mapped, Fidelity.LINEAR)
    found = network_errors(linear, x, vectors=5)
    assert list(found) == ["0", "3"]
    for name, layer in mapped_layers(linear):
        assert found[name].full_scale == layer.adc.full_scale
        assert 0 < found[name].mean_relative < found[name].max_relative < 0.01
    same = network_errors(at_fidelity(mapped, Fidelity.NONLINEAR), x, vectors=5)
    assert all(error.max_relative == 0.0 for error in same.values())


def test_linear_is_fitted_to_the_very_chip_and_leaves_no_trace():
    mapped, x = small_network(dac_bits=8, adc_bits=8)
    noisy = with_read_noise(mapped, 0.02, seed=1)
    linear = at_fidelity(noisy, Fidelity.LINEAR)
    for (_, layer), (_, before) in zip(mapped_layers(linear), mapped_layers(noisy), strict=True):
        assert not layer.reader.to_fit and layer.clips.adc_of == 0
        assert layer.noise == before.noise and layer.sample is not None
    rates = FaultRates.from_ocr(0.3, 1.0)
    one = inject_faults(linear, rates, rng=np.random.default_rng(3))
    other = at_fidelity(inject_faults(noisy, rates, rng=np.random.default_rng(3)), Fidelity.LINEAR)
    assert torch.equal(one(x), other(x))
    assert not torch.equal(one[0].reader.operators, linear[0].reader.operators)
    assert at_fidelity(mapped.double(), Fidelity.LINEAR)(x.double()).dtype == torch.float64


@pytest.mark.ngspice
def test_nonlinear_agrees_with_spice_on_transistors():
    _, x = convolution()
    chip = at_fidelity(chip_of(ACCESSED, adc_bits=8), Fidelity.NONLINEAR)
    found = fidelity_error(chip, x, reference=Fidelity.SPICE, vectors=6)
    assert found.max_relative < NONLINEAR_MAX


def test_voltages_of_all_reads_are_those_of_both_signs_and_every_bit():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 3).double(), torch.randn(16, 20).double()
    chip = map_network(
        layer, plan(SINH, dac_bits=4, inputs="serial"), rng=np.random.default_rng(0), sample=x
    )
    v = chip.all_voltages(x)
    assert v.shape == (2, 16 * 2 * 4, 12) and set(v.unique().tolist()) == {0.0, 0.2}
    few = spread(v[0].numpy(), 8)
    assert few.shape == (8, 12) and (few.sum(axis=1) > 0).all()
    assert (spread(np.zeros((5, 12)), 8) == 0).all()
    blank = map_network(
        layer, plan(SINH), rng=np.random.default_rng(0), sample=torch.zeros(3, 20).double()
    )
    assert torch.isfinite(at_fidelity(blank, Fidelity.LINEAR)(x)).all()
