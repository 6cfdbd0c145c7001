import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netlists import (
    FaultRates,
    InputError,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    TileSpec,
    Wires,
)
from nnmap import (
    Fidelity,
    MappingPlan,
    at_fidelity,
    bnn_mlp,
    inject_faults,
    map_network,
    mapped_layers,
)
from tests.tolerances import assert_close

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
REAL = Wires(r_row_segment=1.0, r_col_segment=1.0)


def plan(wires=PERFECT, *, cell=None, rows=16, cols=12, **options):
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell or OneR())
    return MappingPlan(spec=spec, **{"dac_bits": None, "adc_bits": None, **options})


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@settings(max_examples=15)
@given(inputs=st.integers(1, 50), outputs=st.integers(1, 40), seed=st.integers(0, 1000))
def test_any_layer_shape_tiles_to_the_same_product(encoding, inputs, outputs, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs).double()
    x = torch.randn(7, inputs, dtype=torch.float64)
    mapped = map_network(layer, plan(encoding=encoding), rng=rng(), sample=x)
    expected = layer(x).detach().numpy()
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = at_fidelity(mapped, fidelity)(x).detach().numpy()
        assert_close(found, expected, 1e-9, scale=max(1.0, np.abs(expected).max()))


def network(sizes=(20, 15, 5)):
    torch.manual_seed(0)
    model = bnn_mlp(sizes, "relu")
    model(torch.rand(64, sizes[0]))  # gives batch norm something to remember
    return model.eval()


def test_a_network_keeps_its_answers_and_is_left_untouched():
    model, x = network(), torch.rand(32, 20)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    mapped = map_network(model, plan(), rng=rng(), sample=x)
    assert_close(mapped(x).detach().numpy(), model(x).detach().numpy(), 1e-5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert [name for name, _ in mapped_layers(mapped)] == ["0", "3"]


def test_converters_cost_little_and_wires_cost_more():
    model, x = network(), torch.rand(64, 20)
    exact = model(x).detach()
    eight_bits = map_network(model, plan(dac_bits=8, adc_bits=8), rng=rng(), sample=x)
    lossy = map_network(model, plan(REAL), rng=rng(), sample=x)
    error = (eight_bits(x) - exact).abs().mean().item()
    wires = (at_fidelity(lossy, Fidelity.LINEAR)(x) - exact).abs().mean().item()
    assert 0 < error < wires < 1.0
    counted = [layer.clips for _, layer in mapped_layers(eight_bits)]
    assert all(c.adc_of > 0 and c.adc == 0 for c in counted)


def test_without_a_sample_ranges_come_from_drawn_inputs():
    model = network()
    a, b = (map_network(model, plan(dac_bits=8, adc_bits=8), rng=rng(1)) for _ in range(2))
    x = torch.rand(4, 20)
    assert torch.equal(a(x), b(x))


def test_every_tile_has_its_own_faults_and_equal_seeds_equal_chips():
    mapped = map_network(network(), plan(), rng=rng(), sample=torch.rand(8, 20))
    rates = FaultRates.from_ocr(0.2, 1.0)

    def hashes(seed):
        chip = inject_faults(mapped, rates, rng=rng(seed))
        return [f.sha256 for _, layer in mapped_layers(chip) for f in layer.matrix.faults]

    assert hashes(1) == hashes(1) != hashes(2)
    assert len(set(hashes(1))) == len(hashes(1)) > 4


def test_variants_share_their_faults_and_rates_nest():
    x = torch.rand(8, 20)

    def kinds(cell, rate):
        mapped = map_network(network(), plan(cell=cell), rng=rng(), sample=x)
        chip = inject_faults(mapped, FaultRates.from_ocr(rate, 1.0), rng=rng(3))
        return [f.kind for _, layer in mapped_layers(chip) for f in layer.matrix.faults]

    one, two, more = (
        kinds(OneTransistorOneR(), 0.1),
        kinds(OneTransistorTwoR(), 0.1),
        kinds(OneTransistorOneR(), 0.3),
    )
    for a, b, c in zip(one, two, more, strict=True):
        assert np.array_equal(a, b[..., 0])
        assert (c[a > 0] == a[a > 0]).all()


def test_faults_change_the_answer_and_a_perfect_chip_does_not():
    x = torch.rand(16, 20)
    mapped = map_network(network(), plan(), rng=rng(), sample=x)
    perfect = inject_faults(mapped, FaultRates(), rng=rng())
    faulty = inject_faults(mapped, FaultRates.from_ocr(0.3, 1.0), rng=rng())
    assert torch.equal(perfect(x), mapped(x))
    assert (faulty(x) - mapped(x)).abs().max() > 0.1


def test_a_screened_offset_column_has_no_faults():
    mapped = map_network(network(), plan(encoding="offset"), rng=rng(), sample=torch.rand(8, 20))
    rates = FaultRates.from_ocr(0.5, 1.0)
    for screened in (True, False):
        chip = inject_faults(mapped, rates, rng=rng(), offset_faults=not screened)
        stuck = [f.kind[:, -1].any() for _, la in mapped_layers(chip) for f in la.matrix.faults]
        assert not any(stuck) if screened else all(stuck)


@pytest.mark.ngspice
def test_linear_fidelity_is_the_solved_circuit():
    from circuitsim import solve
    from netlists import Drive

    x = torch.rand(3, 20, dtype=torch.float64)
    mapped = map_network(
        network().double(),
        plan(REAL, cell=OneTransistorOneR(), fit_inputs=0),
        rng=rng(),
        sample=x,
    )
    chip = at_fidelity(
        inject_faults(mapped, FaultRates.from_ocr(0.2, 1.0), rng=rng(9)), Fidelity.LINEAR
    )
    name, layer = next(mapped_layers(chip))
    v = layer.voltages(x)
    i = layer.currents(v)
    assert name == "0" and v.shape == (2, 3, 16)
    for row_tile in range(2):
        for col_tile in range(layer.matrix.placement.col_tiles):
            tile = layer.matrix.tile(row_tile * layer.matrix.placement.col_tiles + col_tile)
            solved = solve(tile, Drive(v=v[row_tile].numpy())).i_out
            assert_close(i[row_tile, :, col_tile].numpy(), solved, 1e-11)


def spoilt():
    model = network()
    with torch.no_grad():
        next(model[3].parameters()).flatten()[1] = float("nan")
    return model


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: map_network(nn.ReLU(), plan(), rng=rng()), "no nn.Linear"),
        (lambda: map_network(nn.Conv2d(1, 1, 3), plan(), rng=rng()), "give sample"),
        (lambda: plan(cols=1, encoding="offset"), "at least 2 columns"),
        (lambda: plan(adc_headroom=0.0), "adc_headroom=0.0"),
        (lambda: plan(adc_bits=25), r"adc_bits=25 must lie in 1\.\.24"),
        (lambda: plan(dac_bits=0), r"dac_bits=0 must lie in 1\.\.24"),
        (lambda: plan(fit_inputs=-1), "fit_inputs=-1"),
        (lambda: map_network(spoilt(), plan(), rng=rng()), "3: the layer holds NaN"),
        (lambda: map_network(network(), plan(), rng=rng())(torch.rand(2, 9)), r"\(\*, 20\)"),
        (lambda: bnn_mlp((4, 2), "gelu"), "activation='gelu'"),
        (lambda: bnn_mlp((4,)), "sizes"),
    ],
)
def test_networks_that_cannot_be_mapped_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
