"""NONLINEAR, SPICE and the fitted LINEAR of mapped layers."""

from dataclasses import replace

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
    Wires,
)
from nnmap import Chip, Fidelity, layer_error, mapped_layers, network_errors
from nnmap.fidelity.linear_fit import InputCurve, column_gains, spread
from nnmap.fidelity.readers import columns_of
from nnmap.layers.records import ClipCount
from tests.nnmap import making
from tests.nnmap.making import half_flipped, layer_of, placed, rows_mixed
from tests.tolerances import EXACT, NONLINEAR_MAX, NONLINEAR_SAME_LAW, assert_close

SINH = OneR(rram=SinhRram())
WIRED = Wires(r_row_segment=2.0, r_col_segment=2.0)
STUCK = Chip(rates=FaultRates.from_ocr(0.2, 1.0), seed=9)


def convolution():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, padding=1).double()
    return layer, torch.rand(2, 4, 4, 4).double()


def network_of(cell, *, layer=None, x=None, **options):
    if layer is None:
        layer, x = convolution()
    return making.mapped(
        layer, x, **{"cell": cell, "wires": WIRED, "rows": 12, "cols": 10, **options}
    )


def tile_currents(layer, volts, solver):
    """Read columns of every tile, solved by itself at its rows' voltages."""
    p = layer.programme.placement
    return [
        solve(layer.on_chip.tile(k), Drive(v=volts[p.group_of[k]].numpy()), solver).i_out[
            :, p.col_slot[k] >= 0
        ]
        for k in range(p.tiles)
    ]


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


@pytest.mark.parametrize("change", [lambda p: p, lambda p: half_flipped(rows_mixed(p))])
@pytest.mark.parametrize("cell, solver, fidelity, tolerance", CASES)
def test_every_read_is_its_tile_solved(cell, solver, fidelity, tolerance, change):
    _, x = convolution()
    chip = layer_of(placed(network_of(cell), change).on(STUCK, fidelity))
    volts = [v[::8] for v in chip.row_voltages(x)]
    p = chip.programme.placement
    found = [chip.currents_of(k, volts[p.group_of[k]]).numpy() for k in range(p.tiles)]
    expected = tile_currents(chip, volts, solver)
    scale = max(np.abs(i).max() for i in expected)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, tolerance, scale=scale)


@pytest.mark.ngspice
@pytest.mark.parametrize("options", [{}, {"dac_bits": 3, "inputs": "serial", "adc_bits": 9}])
def test_nonlinear_and_spice_layers_give_one_answer_for_inputs_of_both_signs(options):
    torch.manual_seed(1)
    layer, x = nn.Linear(17, 4).double(), torch.randn(3, 17).double()
    network = network_of(SINH, layer=layer, x=x, **options)
    fast, spice = (network.on(STUCK, f)(x) for f in (Fidelity.NONLINEAR, Fidelity.SPICE))
    # The least difference can take a converter to its next code.
    adc = making.only(network.peripheries).adc
    step = adc.step / adc.full_scale if options else 0.0
    assert_close(fast.numpy(), spice.numpy(), NONLINEAR_SAME_LAW + 3 * step)
    assert (fast - network.on(STUCK)(x)).abs().max() > 0.01


@pytest.mark.parametrize("fidelity", [Fidelity.LINEAR, Fidelity.NONLINEAR])
def test_ohmic_cells_have_one_operator_whatever_is_asked(fidelity):
    nominal = network_of(OneR(), fit_inputs=0).on(STUCK, Fidelity.LINEAR)
    found = network_of(OneR()).on(STUCK, fidelity)
    assert found.reader.groups == nominal.reader.groups == 4
    for k in range(found.reader.groups):
        assert torch.equal(found.reader.operator(k), nominal.reader.operator(k))
    assert found.reader.curve is None


def test_one_network_runs_at_every_fidelity_without_mapping_again():
    _, x = convolution()
    network = network_of(SINH)
    first, there, back = (
        network.on(STUCK, f) for f in (Fidelity.IDEAL, Fidelity.NONLINEAR, Fidelity.IDEAL)
    )
    assert there.programme is first.programme is making.only(network.programmes)
    assert there.fidelity is Fidelity.NONLINEAR
    assert torch.equal(back(x), first(x)) and not torch.equal(there(x), first(x))


def test_one_layer_alone_can_be_nonlinear():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(4, 9).double()
    network = network_of(SINH, layer=model, x=x)
    mixed = network.on(fidelity={"2": Fidelity.NONLINEAR, "*": Fidelity.LINEAR})
    found = [layer.fidelity for layer in mapped_layers(mixed).values()]
    assert found == [Fidelity.LINEAR, Fidelity.NONLINEAR]
    outputs = [network.on(fidelity=f)(x) for f in (Fidelity.LINEAR, Fidelity.NONLINEAR)]
    assert not any(torch.equal(mixed(x), y) for y in outputs)


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
    options = {"wires": perfect, "dac_bits": 1, "encoding": encoding}
    found = network_of(cell, layer=layer, x=x, **options).on(fidelity=fidelity)(x).numpy()
    assert_close(found, layer(x).detach().numpy(), NONLINEAR_MAX)


def test_read_noise_has_the_same_deviation_at_nonlinear():
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 4).double(), torch.rand(1, 12).double()
    network, noisy = network_of(SINH, layer=layer, x=x), replace(STUCK, read_noise=0.05)
    exact = network.on(STUCK, Fidelity.NONLINEAR)(x)
    drawn = [
        network.on(noisy, f)(x.expand(2000, -1)) for f in (Fidelity.LINEAR, Fidelity.NONLINEAR)
    ]
    assert drawn[1].mean(0).numpy() == pytest.approx(exact[0].numpy(), abs=0.01)
    assert drawn[0].std(0).numpy() == pytest.approx(drawn[1].std(0).numpy(), rel=0.2)


def test_single_precision_networks_run_at_nonlinear():
    _, x = convolution()
    to_the_limit = OneR(rram=SinhRram(v_max=0.2))  # 0.2 V in float32 is a little more
    chip = network_of(to_the_limit, dac_bits=2).on(STUCK, Fidelity.NONLINEAR)
    assert_close(chip.float()(x).numpy(), chip.double()(x).numpy(), 1e-5)


def test_spice_asks_before_it_takes_long():
    _, x = convolution()
    chip = network_of(SINH).on(STUCK, Fidelity.SPICE, max_solves=100)
    with pytest.raises(InputError, match=r"up to 128 tile solutions.* max_solves=100;"):
        chip(x)


def test_without_a_converter_inputs_beyond_the_read_voltage_are_solved_too():
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 4).double(), torch.rand(2, 12).double()
    chip = network_of(SINH, layer=layer, x=x).on(STUCK, Fidelity.NONLINEAR)
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
        layer_error(
            network_of(cell, layer=layer, x=x, fit_inputs=n, **options).on(STUCK, Fidelity.LINEAR),
            torch.rand(16, 40).double(),
        )
        for n in (0, 8)
    )
    assert fitted.max_relative < 0.4 * nominal.max_relative
    assert fitted.p99_steps() == fitted.p99_relative * 255 <= fitted.max_steps()


def small_network(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    x = torch.rand(6, 1, 5, 5)
    return network_of(SINH, layer=model, x=x, **options), x


def test_the_error_of_a_network_is_measured_layer_by_layer():
    network, x = small_network(adc_bits=8)
    linear = network.on(fidelity=Fidelity.LINEAR)
    found = network_errors(linear, x, vectors=5)
    assert list(found) == ["0", "3"]
    for name, layer in mapped_layers(linear).items():
        assert found[name].full_scale == layer.adc.full_scale
        assert 0 < found[name].mean_relative < found[name].max_relative < 0.01
    same = network_errors(network.on(fidelity=Fidelity.NONLINEAR), x, vectors=5)
    assert all(error.max_relative == 0.0 for error in same.values())


def test_linear_is_fitted_to_the_very_chip_and_leaves_no_trace():
    network, x = small_network(dac_bits=8, adc_bits=8)
    rates = FaultRates.from_ocr(0.3, 1.0)
    one, again, noisy, healthy = (
        network.on(chip, Fidelity.LINEAR)
        for chip in (
            Chip(rates=rates, seed=3),
            Chip(rates=rates, seed=3),
            Chip(rates=rates, seed=3, read_noise=0.02),
            None,
        )
    )
    for chip in (one, noisy):
        for layer in mapped_layers(chip).values():
            assert layer.clips == ClipCount() and not layer._forward_pre_hooks
            assert layer.reader.curve is not None
    assert torch.equal(one(x), again(x))
    for a, b, c in zip(
        *(mapped_layers(chip).values() for chip in (one, noisy, healthy)), strict=True
    ):
        assert b.noise is not None and a.noise is None
        for k in range(a.reader.groups):  # noise is left out of the fit, faults are not
            assert torch.equal(a.reader.operator(k), b.reader.operator(k))
            assert not torch.equal(a.reader.operator(k), c.reader.operator(k))
    assert one.double()(x.double()).dtype == torch.float64


def test_a_later_layer_is_fitted_to_what_the_fitted_ones_pass_on():
    network, x = small_network()
    linear = network.on(STUCK, Fidelity.LINEAR)
    first, second = mapped_layers(linear).values()
    few = x[torch.linspace(0, len(x) - 1, 6).long()].double()
    hidden = torch.relu(first(few)).flatten(1)
    volts = [spread(v.numpy(), 6) for v in second.row_voltages(hidden)]
    nominal = mapped_layers(replace(network, fit_inputs=0).on(STUCK, Fidelity.LINEAR))["3"]
    p = second.programme.placement
    for k in range(p.tiles):
        tile, number = second.on_chip.tile(k), p.group_of[k]
        here, cols = columns_of(p, k)
        rows = second.row_groups[number].rows
        operator = np.zeros((10, 12))
        operator[np.ix_(cols, rows)] = nominal.reader.operator(number)[:, here].T
        gains = column_gains(tile, operator, second.reader.curve, volts[number])
        found = second.reader.operator(number)[:, here].T.numpy()
        assert_close(found, operator[np.ix_(cols, rows)] * gains[cols, None], 1e-6)


@pytest.mark.ngspice
def test_nonlinear_agrees_with_spice_on_transistors():
    _, x = convolution()
    chip = network_of(ACCESSED, adc_bits=8).on(STUCK, Fidelity.NONLINEAR)
    found = layer_error(chip, x, reference=Fidelity.SPICE, vectors=6)
    assert found.max_relative < NONLINEAR_MAX


def test_voltages_that_serve_to_fit_are_spread_and_not_blank():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 3).double(), torch.randn(16, 20).double()
    network = network_of(SINH, layer=layer, x=x, dac_bits=4, inputs="serial")
    v = layer_of(network.on()).row_voltages(x)
    assert [volts.shape for volts in v] == [(16 * 2 * 4, 12)] * 2
    assert set(torch.cat(v).unique().tolist()) == {0.0, 0.2}
    few = spread(v[0].numpy(), 8)
    assert few.shape == (8, 12) and (few.sum(axis=1) > 0).all()
    assert (spread(np.zeros((5, 12)), 8) == 0).all()
    blank = network_of(SINH, layer=layer, x=torch.zeros(3, 20).double())
    assert torch.isfinite(blank.on(fidelity=Fidelity.LINEAR)(x)).all()


def test_flipped_rows_serve_to_fit_as_they_are_driven():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 6).double(), torch.rand(32, 20).double()
    network = placed(network_of(SINH, layer=layer, x=x), half_flipped)
    errors = [
        layer_error(replace(network, fit_inputs=n).on(STUCK, Fidelity.LINEAR), x).max_relative
        for n in (0, 8)
    ]
    assert 0 < errors[1] < errors[0]
    nonlinear = network.on(STUCK, Fidelity.NONLINEAR)
    assert layer_error(nonlinear, x).max_relative == 0.0
