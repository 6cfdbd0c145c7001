"""Networks to tiles, and onto chips at a fidelity."""

import copy

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
    LognormalSpread,
    OneR,
    OneTransistorOneR,
    SinhRram,
    Wires,
)
from nnmap import (
    Chip,
    Extraction,
    Fidelity,
    MappedNetwork,
    array_power,
    bnn_mlp,
    map_network,
    mapped_layers,
    network_errors,
    workload,
)
from nnmap.layers.records import ClipCount
from nnmap.network import full_scale
from tests.nnmap.making import (
    columns_mixed,
    half_flipped,
    layer_of,
    mapped,
    only,
    placed,
    plan,
    rng,
    rows_mixed,
)
from tests.tolerances import assert_close

REAL = Wires(r_row_segment=1.0, r_col_segment=1.0)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@settings(max_examples=15)
@given(inputs=st.integers(1, 50), outputs=st.integers(1, 40), seed=st.integers(0, 1000))
def test_any_layer_shape_tiles_to_the_same_product(encoding, inputs, outputs, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs).double()
    x = torch.randn(7, inputs, dtype=torch.float64)
    network = mapped(layer, x, encoding=encoding)
    expected = layer(x).detach().numpy()
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR):
        found = network.on(fidelity=fidelity)(x).detach().numpy()
        assert_close(found, expected, 1e-9, scale=max(1.0, np.abs(expected).max()))


def network(sizes=(20, 15, 5)):
    torch.manual_seed(0)
    model = bnn_mlp(sizes, "relu")
    model(torch.rand(64, sizes[0]))  # gives batch norm something to remember
    return model.eval()


def test_a_network_keeps_its_answers_and_is_left_untouched():
    model, x = network(), torch.rand(32, 20)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    on_tiles = mapped(model, x)
    assert_close(on_tiles.on()(x).detach().numpy(), model(x).detach().numpy(), 1e-5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert list(on_tiles.programmes) == list(on_tiles.peripheries) == ["0", "3"]
    assert list(mapped_layers(on_tiles.on())) == ["0", "3"]


def test_networks_on_chips_share_nothing_that_changes():
    x = torch.rand(4, 20)
    on_tiles = mapped(network(), x, dac_bits=8, adc_bits=8)
    before = on_tiles.on()(x)
    one = on_tiles.on(Chip(read_noise=0.1)).train()
    one(3 * x)  # batch norms adapt, converters count
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1.0)
    other = on_tiles.on()
    assert all(la.clips == ClipCount() for la in mapped_layers(other).values())
    assert not other.training and torch.equal(other(x), before)
    assert torch.equal(copy.deepcopy(other)(x), before)
    noisy = on_tiles.on(Chip(read_noise=0.1, seed=2))
    assert torch.equal(copy.deepcopy(noisy)(x), noisy(x))


def test_converters_cost_little_and_wires_cost_more():
    model, x = network(), torch.rand(64, 20)
    exact = model(x).detach()
    eight_bits = mapped(model, x, dac_bits=8, adc_bits=8).on()
    lossy = mapped(model, x, wires=REAL).on(fidelity=Fidelity.LINEAR)
    error = (eight_bits(x) - exact).abs().mean().item()
    wires = (lossy(x) - exact).abs().mean().item()
    assert 0 < error < wires < 1.0
    counted = [layer.clips for layer in mapped_layers(eight_bits).values()]
    assert all(c.adc_of > 0 and c.adc == 0 for c in counted)


def test_without_a_sample_ranges_come_from_drawn_inputs():
    model = network()
    a, b = (map_network(model, plan(dac_bits=8, adc_bits=8), rng=rng(1)).on() for _ in range(2))
    x = torch.rand(4, 20)
    assert torch.equal(a(x), b(x))
    other = map_network(model, plan(dac_bits=8, adc_bits=8), rng=rng(2))
    assert other.peripheries["0"].dac != mapped_layers(a)["0"].dac


@pytest.mark.ngspice
def test_linear_fidelity_is_the_solved_circuit():
    x = torch.rand(3, 20, dtype=torch.float64)
    on_tiles = mapped(network().double(), x, wires=REAL, cell=OneTransistorOneR(), fit_inputs=0)
    chip = on_tiles.on(Chip(rates=FaultRates.from_ocr(0.2, 1.0), seed=9), Fidelity.LINEAR)
    name, layer = next(iter(mapped_layers(chip).items()))
    volts = layer.row_voltages(x)
    assert name == "0" and [v.shape for v in volts] == [(3, 16)] * 2
    p = layer.programme.placement
    for k in range(p.tiles):
        v = volts[p.group_of[k]]
        solved = solve(layer.on_chip.tile(k), Drive(v=v.numpy())).i_out
        assert_close(layer.currents_of(k, v).numpy(), solved[:, p.col_slot[k] >= 0], 1e-11)


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
        (lambda: map_network(spoilt(), plan(), rng=rng()), "3: the layer holds NaN"),
        (lambda: map_network(network(), plan(), rng=rng()).on()(torch.rand(2, 9)), r"\(\*, 20\)"),
        (lambda: bnn_mlp((4, 2), "gelu"), "activation='gelu'"),
        (lambda: bnn_mlp((4,)), "sizes"),
    ],
)
def test_networks_that_cannot_be_mapped_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "measure",
    [
        mapped_layers,
        lambda model: network_errors(model, torch.rand(2, 20)),
        lambda model: array_power(model, torch.rand(2, 20), rng=rng()),
        lambda model: workload(model, torch.rand(2, 20)),
    ],
    ids=["mapped_layers", "network_errors", "array_power", "workload"],
)
def test_an_unmapped_model_is_refused_and_never_silently_healthy(measure):
    words = "this Sequential has no layers on tiles; map it with map_network"
    with pytest.raises(InputError, match=words):
        measure(network())
    with pytest.raises(InputError, match=words):
        measure(mapped(network(), torch.rand(2, 20)).skeleton)


def test_the_skeleton_alone_does_not_run():
    x = torch.rand(2, 20)
    on_tiles = mapped(network(), x)
    with pytest.raises(InputError, match=r"^0 lies on tiles of no chip; run network.on\(chip"):
        on_tiles.skeleton(x)
    with pytest.raises(InputError, match=r"^\(root\) lies on tiles of no chip"):
        mapped(nn.Linear(20, 3), x).skeleton(x)
    assert not on_tiles.skeleton.training


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(20, 9), nn.ReLU(), nn.Sequential(nn.Linear(9, 9), nn.ReLU())
        )
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        return self.head(self.body(x))


IDEAL, LINEAR, NONLINEAR = Fidelity.IDEAL, Fidelity.LINEAR, Fidelity.NONLINEAR


@pytest.mark.parametrize(
    "asked, found",
    [
        (LINEAR, [LINEAR, LINEAR, LINEAR]),
        ({"head": LINEAR}, [IDEAL, IDEAL, LINEAR]),
        ({"body": LINEAR}, [LINEAR, LINEAR, IDEAL]),
        ({"body.2": NONLINEAR, "*": LINEAR}, [LINEAR, NONLINEAR, LINEAR]),
        ({"*": LINEAR, "body.2": NONLINEAR}, [LINEAR, LINEAR, LINEAR]),
        ({"body.[01]": LINEAR, "h*": NONLINEAR}, [LINEAR, IDEAL, NONLINEAR]),
        ({}, [IDEAL, IDEAL, IDEAL]),
    ],
)
def test_fidelities_are_chosen_by_patterns_of_which_the_first_holds(asked, found):
    torch.manual_seed(0)
    x = torch.rand(4, 20)
    on_tiles = mapped(Nested(), x, wires=REAL)
    chip = on_tiles.on(fidelity=asked)
    layers = mapped_layers(chip)
    assert list(layers) == ["body.0", "body.2.0", "head"]
    assert [layer.fidelity for layer in layers.values()] == found
    assert torch.equal(chip(x), on_tiles.on()(x)) == (set(found) == {IDEAL})


def test_patterns_that_match_nothing_are_refused():
    on_tiles = mapped(Nested(), torch.rand(4, 20))
    for pattern in ("tail", "body.1", "body.0.weight", "Head"):
        with pytest.raises(InputError, match=f"'{pattern}' matches none of the layers body.0, "):
            on_tiles.on(fidelity={"*": LINEAR, pattern: LINEAR})


@pytest.mark.parametrize("cell", [OneR(), OneR(rram=SinhRram())], ids=["ohmic", "sinh"])
def test_one_extraction_per_chip_however_many_changes_came_before(cell):
    on_tiles = mapped(Nested().double(), torch.rand(9, 20).double(), wires=REAL, cell=cell)
    heard = []
    extraction = Extraction(on_done=heard.append)
    for change in (rows_mixed, columns_mixed, half_flipped, lambda p: p.replicated(2)):
        on_tiles = placed(on_tiles, change)
    assert heard == []
    chip = Chip(rates=FaultRates.from_ocr(0.1, 1.0), variation=(LognormalSpread(sigma=0.1),))
    on_tiles.on(chip, extraction=extraction)
    assert heard == []  # IDEAL needs none
    on_tiles.on(chip, {"head": LINEAR}, extraction=extraction)
    assert sum(heard) == on_tiles.programmes["head"].placement.tiles
    heard.clear()
    on_tiles.on(chip, LINEAR, extraction=extraction)
    assert sum(heard) == sum(p.placement.tiles for p in on_tiles.programmes.values()) > 8


@pytest.mark.parametrize("adc_range", ["shared", "column", "full"])
def test_other_programmes_get_ranges_of_their_own(adc_range):
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 7).double(), torch.rand(32, 20).double()
    on_tiles = mapped(layer, x, dac_bits=8, adc_bits=8, adc_range=adc_range, adc_headroom=1.0)
    programme = only(on_tiles.programmes)
    brighter = on_tiles.with_programmes({"": programme.with_weights(np.abs(programme.weights))})
    before, after = (only(n.peripheries).adc.i_max for n in (on_tiles, brighter))
    if adc_range == "full":
        assert before == after == full_scale(programme.spec)
    else:
        assert np.max(after) > 1.1 * np.max(before)
    assert only(brighter.peripheries).dac == only(on_tiles.peripheries).dac
    chip = brighter.on()
    chip(x)
    assert layer_of(chip).clips.adc == 0 < layer_of(chip).clips.adc_of
    moved = placed(on_tiles, rows_mixed)
    if adc_range == "column":
        mixed = only(placed(on_tiles, columns_mixed).peripheries).adc.i_max
        assert not np.array_equal(mixed, before) and np.array_equal(*map(np.sort, (mixed, before)))
    assert_close(only(moved.peripheries).adc.i_max, before, 1e-12)


def test_ranges_are_those_of_the_largest_current_that_was_seen():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 7).double(), torch.rand(32, 20).double()
    options = {"adc_bits": 8, "adc_headroom": 1.5}
    bare = layer_of(mapped(layer, x).on())
    peaks = bare.peak_currents(x)
    shared = only(mapped(layer, x, **options).peripheries).adc.i_max
    assert shared == pytest.approx(1.5 * max(float(p.max()) for p in peaks))
    columns = only(mapped(layer, x, adc_range="column", **options).peripheries).adc.i_max
    p = bare.programme.placement
    for group, peak in zip(p.row_groups, peaks, strict=True):
        found = columns[group.tiles].ravel()[group.columns]
        assert_close(found, 1.5 * peak.numpy(), 1e-12)
    assert (columns[p.col_slot < 0] == shared).all()  # unread columns have the layer's


def test_programmes_of_no_layer_are_refused_and_equal_ones_change_nothing():
    x = torch.rand(4, 20)
    on_tiles = mapped(Nested(), x)
    programme = on_tiles.programmes["head"]
    with pytest.raises(InputError, match=r"'tail' is none of the layers on tiles: body\.0, "):
        on_tiles.with_programmes({"tail": programme})
    with pytest.raises(InputError, match=r"a programme of .*inputs=9, outputs=3.* 'body\.0'"):
        on_tiles.with_programmes({"body.0": programme})
    assert on_tiles.with_programmes({"head": programme}) is on_tiles
    assert on_tiles.with_programmes({}) is on_tiles
    changed = on_tiles.with_programmes({"head": programme.with_weights(-programme.weights)})
    assert isinstance(changed, MappedNetwork) and list(changed.programmes) == list(
        on_tiles.programmes
    )
    assert changed.programmes["body.0"] is on_tiles.programmes["body.0"]


class Idle(nn.Module):
    """A layer that never runs."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(20, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize("adc_range", ["shared", "column", "full"])
@pytest.mark.parametrize("cell", [OneR(), OneR(rram=SinhRram())], ids=["ohmic", "sinh"])
def test_a_layer_that_never_runs_is_no_obstacle(cell, adc_range):
    torch.manual_seed(0)
    model, x = Idle().double(), torch.rand(9, 20).double()
    options = {"dac_bits": 8, "adc_bits": 12, "adc_range": adc_range, "cell": cell}
    chip = mapped(model, x, wires=REAL, **options).on(fidelity=LINEAR)
    assert list(mapped_layers(chip)) == ["used", "idle"]
    assert torch.isfinite(chip(x)).all()
