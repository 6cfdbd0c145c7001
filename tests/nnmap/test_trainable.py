"""Networks that train through their chip: what they compute, where gradients go, what stays."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import DefectRates, FaultMap, FaultRates, InputError, Wires
from nnmap import Chip, Fidelity, MeasuredChip, bnn_mlp
from nnmap.layers import held_operators
from tests.nnmap.small import (
    BROKEN,
    BROKEN_CELLS,
    FAULTY,
    PERFECT,
    ROUGH,
    STUCK,
    binary,
    convolutional,
    dense,
    inputs,
    mapped,
    placed,
    shuffled,
)
from tests.tolerances import EXACT, assert_close

IDEAL, LINEAR = Fidelity.IDEAL, Fidelity.LINEAR
BOTH = pytest.mark.parametrize("fidelity", [IDEAL, LINEAR])
ANALOG = {"dac_bits": None, "adc_bits": None}
SLICES = {"weight_bits": 6, "device_bits": 2}


def replicated(placement):
    return placement.replicated(3)


# name: network, how it is mapped, how it is placed, chip
CASES = {
    "pair": (dense, {}, None, FAULTY),
    "pair without converters": (dense, ANALOG, None, FAULTY),
    "pair in slices": (dense, SLICES, None, FAULTY),
    "offset": (dense, {"encoding": "offset"}, None, FAULTY),
    "offset in slices": (dense, {"encoding": "offset", **SLICES}, None, FAULTY),
    "offset screened": (dense, {"encoding": "offset", "offset_faults": False}, None, FAULTY),
    "serial": (dense, {"inputs": "serial", "dac_bits": 4}, None, FAULTY),
    "ranges of columns": (dense, {"adc_range": "column"}, None, FAULTY),
    "shuffled": (dense, {}, shuffled, FAULTY),
    "shuffled offset": (dense, {"encoding": "offset"}, shuffled, FAULTY),
    "negative drive": (dense, {"negative": "negative drive"}, shuffled, FAULTY),
    "replicated": (dense, {}, replicated, FAULTY),
    "convolutions": (convolutional, {}, None, FAULTY),
    "convolutions, all at once": (convolutional, {"encoding": "offset"}, shuffled, ROUGH),
    "binary": (binary, {}, None, FAULTY),
    "variation": (dense, {}, None, ROUGH),
    "open lines": (dense, {}, None, replace(FAULTY, defects=BROKEN)),
    "perfect wires": (dense, {"wires": PERFECT}, None, FAULTY),
    "sinh": (dense, {"cell": "sinh"}, None, FAULTY),
    "sinh, nothing fitted": (dense, {"cell": "sinh", "fit_inputs": 0}, None, FAULTY),
    "1T1R": (dense, {"cell": "1T1R"}, None, replace(FAULTY, defects=BROKEN_CELLS)),
    "1T1R varied": (dense, {"cell": "1T1R", "encoding": "offset"}, shuffled, ROUGH),
    "1T2R": (convolutional, {"cell": "1T2R"}, None, FAULTY),
    "1T2R offset": (dense, {"cell": "1T2R", "encoding": "offset"}, None, FAULTY),
}
NGSPICE = ("1T1R", "1T1R varied", "1T2R", "1T2R offset")
EVERY_CASE = [
    pytest.param(name, marks=pytest.mark.ngspice if name in NGSPICE else []) for name in CASES
]


def case(name):
    """(network, chip, inputs)"""
    make, plan, change, chip = CASES[name]
    model = make()
    network = mapped(model, **plan)
    return placed(network, change) if change else network, chip, inputs(model)


def frozen_norms(model):
    """The network in training mode, all but its batch norms."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    return model


def step(model, x, optimiser, target=0.5):
    optimiser.zero_grad()
    loss = (model(x) - target).square().sum()
    loss.backward()
    optimiser.step()
    return loss.item()


@BOTH
@pytest.mark.parametrize("name", EVERY_CASE)
def test_it_computes_what_the_chip_computes(name, fidelity):
    network, chip, x = case(name)
    with torch.no_grad():
        expected = network.on(chip, fidelity)(x)
    model = network.trainable(chip, fidelity)
    assert model.training and len(model.layers()) == len(network.programmes)
    with torch.no_grad():
        assert_close(model.eval()(x), expected, EXACT)
        assert_close(frozen_norms(model)(x), expected, EXACT)
    trained = model(x)
    assert_close(trained.detach(), expected, EXACT)
    trained.square().sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad.isfinite().all() and value.grad.abs().max() > 0, parameter


@BOTH
@pytest.mark.parametrize("name", EVERY_CASE)
def test_other_weights_are_held_as_the_chip_holds_them(name, fidelity):
    network, chip, x = case(name)
    model = frozen_norms(network.trainable(chip, fidelity))
    with torch.no_grad():
        for layer in model.layers().values():
            torch.manual_seed(9)
            layer.weight *= 1.3 * torch.rand_like(layer.weight)  # some beyond the scale
            if layer.programme.binary:
                layer.weight *= torch.randn_like(layer.weight).sign()
    trained = model(x).detach()
    then = model.programmed()
    for one in network.programmes:
        assert np.abs(then.programmes[one].weights - network.programmes[one].weights).max() > 0.1
        assert np.abs(then.programmes[one].weights).max() <= 1
    with torch.no_grad():
        expected = then.on(chip, fidelity)(x)
        assert_close(model.eval()(x), expected, EXACT)
    bends = CASES[name][1].get("cell", "1R") != "1R"
    fitted = fidelity is LINEAR and bends  # training keeps the fit of the first weights
    assert_close(trained, expected, 0.03 if fitted else EXACT)


@BOTH
@pytest.mark.parametrize(
    "make, plan, change, chip",
    [
        (dense, {}, None, FAULTY),
        (dense, {"encoding": "offset"}, shuffled, FAULTY),
        (dense, {"negative": "negative drive"}, shuffled, FAULTY),
        (dense, {}, replicated, replace(FAULTY, defects=BROKEN)),
        (convolutional, {"encoding": "offset"}, shuffled, FAULTY),
    ],
)
def test_gradients_are_those_of_finite_differences(make, plan, change, chip, fidelity):
    network = mapped(make(), **ANALOG, **plan)
    network = placed(network, change) if change else network
    model = network.trainable(chip, fidelity)
    x = inputs(make(), 2)
    assert (x == 0).any() and (x < 0).any() and (x > 0).any()
    names = [name for name, _ in model.named_parameters()]
    values = [0.9 * p.detach() for p in model.parameters()]  # away from where weights saturate

    def run(x, *parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    wanted = [v.requires_grad_() for v in (x, *values)]
    assert torch.autograd.gradcheck(run, wanted, eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", ["sinh", "1T1R", "1T2R"])
def test_gradients_of_bending_cells_follow_their_secants(cell):
    network = mapped(nn.Sequential(nn.Linear(9, 4)).double(), cell, **ANALOG)
    model = network.trainable(FAULTY, LINEAR)
    x = inputs(dense(), 3)
    weight = (0.9 * model.model[0].weight.detach()).requires_grad_()

    def run(weight):
        return torch.func.functional_call(model, {"model.0.weight": weight}, (x,))

    assert torch.autograd.gradcheck(run, [weight], eps=1e-5, atol=1e-4, rtol=1e-3, fast_mode=True)


@BOTH
@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("plan", [{}, {"encoding": "offset"}, {"negative": "negative drive"}])
def test_on_a_perfect_chip_gradients_are_those_of_torch(make, plan, fidelity):
    plain = make()
    model = mapped(make(), wires=PERFECT, **ANALOG, **plan).trainable(None, fidelity)
    assert [p.shape for p in plain.parameters()] == [p.shape for p in model.parameters()]
    grads = []
    for network in (plain, model):
        x = inputs(plain).requires_grad_()
        network(x).square().sum().backward()
        grads.append([x.grad, *(p.grad for p in network.parameters())])
    for expected, found in zip(*grads, strict=True):
        assert_close(found, expected, 1e-11)


@pytest.mark.parametrize("serial", [False, True])
@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_rounding_passes_gradients_straight_through(encoding, serial):
    """The gradient is that of the weights and inputs after rounding, as if they were the given."""
    layer = nn.Sequential(nn.Linear(9, 4, bias=False)).double()
    wires = {"inputs": "serial"} if serial else {}
    plan = {"weight_bits": 4, "dac_bits": 3, "adc_bits": 9, "adc_headroom": 3.0}
    network = mapped(layer, wires=PERFECT, encoding=encoding, **wires, **plan)
    model = network.trainable()
    x = inputs(layer).clamp(-1, 1).requires_grad_()
    ones = torch.randn(6, 4, dtype=torch.float64)
    (model(x) * ones).sum().backward()
    found = model.layers()["0"]
    assert found.clips.adc == found.clips.dac == 0
    dac, scale = found.dac, network.programmes["0"].scale[0]
    rounded_x = (x.detach() / dac.x_max * 7).round() / 7 * dac.x_max
    rounded_w = (layer[0].weight.detach() / scale * 7).round() / 7 * scale
    assert (rounded_x - x).abs().max() > 0.05 and (rounded_w - layer[0].weight).abs().max() > 0.01
    assert_close(model.model[0].weight.grad, ones.T @ rounded_x, 1e-11)
    assert_close(x.grad, ones @ rounded_w, 1e-11)


def test_gradients_end_at_converters_that_saturate():
    layer = nn.Sequential(nn.Linear(9, 4)).double()
    network = mapped(layer, wires=PERFECT, adc_headroom=1e-3, adc_bits=8)
    model = network.trainable()
    model(inputs(layer)).sum().backward()
    clips = model.layers()["0"].clips
    assert clips.adc > 0
    open_ended = mapped(layer, wires=PERFECT, **ANALOG).trainable()
    open_ended(inputs(layer)).sum().backward()
    assert model.model[0].weight.grad.abs().sum() < open_ended.model[0].weight.grad.abs().sum() / 5
    assert torch.equal(model.model[0].bias.grad, open_ended.model[0].bias.grad)


OPTIMISERS = [
    lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.1),
    lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1),
    lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
]


@BOTH
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_stuck_memories_hold_what_they_hold(optimiser, fidelity):
    network = mapped(dense())
    model = network.trainable(FAULTY, fidelity)
    stuck = {
        name: np.stack(
            [FAULTY.tile(name, one, k).faults.kind != 0 for k in range(one.placement.tiles)]
        )
        for name, one in network.programmes.items()
    }
    before = {n: layer._held.cells.tiles_of(weights(layer)) for n, layer in model.layers().items()}
    chosen = optimiser(model.parameters())
    losses = [step(model, inputs(dense()), chosen) for _ in range(12)]
    assert losses[-1] < losses[0]
    for name, layer in model.layers().items():
        after = layer._held.cells.tiles_of(weights(layer))
        moved = np.stack(
            [a.g_device != b.g_device for a, b in zip(before[name], after, strict=True)]
        )
        assert stuck[name].any() and not moved[stuck[name]].any()
        p = layer.programme.placement
        holds = (p.row_input[:, :, None] >= 0) & (p.col_output[:, None] >= 0)
        assert moved[holds & ~stuck[name]].mean() > 0.9


def weights(layer):
    return layer.normalised().detach().numpy()


@BOTH
def test_weights_whose_memories_are_all_stuck_get_no_gradient(fidelity):
    network = mapped(dense())
    programme = network.programmes["0"]
    kinds = np.random.default_rng(0).integers(0, 3, programme.target.shape).astype(np.int8)
    chip = MeasuredChip(faults={"0": [FaultMap(kind=kind) for kind in kinds]})
    model = network.trainable(chip, fidelity)
    model(inputs(dense())).square().sum().backward()
    p, dead = programme.placement, np.ones((9, 8), dtype=bool)
    for k, r, c in np.argwhere(kinds == 0):
        if p.row_input[k, r] >= 0 and p.col_output[k, c] >= 0:
            dead[p.row_input[k, r], p.col_output[k, c]] = False
    assert 5 < dead.sum() < 60
    grad = model.model[0].weight.grad.numpy().T
    assert np.array_equal(grad == 0, dead)


@BOTH
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_chip_that_is_stuck_throughout_computes_the_same_for_ever(optimiser, fidelity):
    network = mapped(nn.Sequential(nn.Linear(9, 4, bias=False)).double())
    model = network.trainable(Chip(rates=FaultRates(stuck_lrs=0.3, stuck_at=0.7)), fidelity)
    x = inputs(dense())
    first, weight = model(x).detach(), model.model[0].weight.detach().clone()
    chosen = optimiser(model.parameters())
    for _ in range(3):
        step(model, x, chosen)
    assert (model.model[0].weight.grad == 0).all()
    assert not torch.equal(model.model[0].weight, weight)  # decay moves what nothing depends on
    assert torch.equal(model(x).detach(), first)
    assert_close(model.eval()(x).detach().numpy(), first.numpy(), EXACT)  # sums in another order


def test_what_is_programmed_is_the_network_as_it_is():
    network = mapped(binary())
    model = network.trainable(FAULTY)
    same = model.programmed()
    for name, programme in network.programmes.items():
        assert_close(same.programmes[name].target, programme.target, EXACT)
    assert same.peripheries == network.peripheries and same.ranges == network.ranges
    x = inputs(binary())
    assert_close(same.on(FAULTY)(x).numpy(), network.on(FAULTY)(x).numpy(), EXACT)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.5)
    for _ in range(3):
        step(model, x, optimiser)
    after = model.programmed()
    assert torch.equal(after.on(FAULTY)(x), model.eval()(x))
    assert torch.equal(after.trainable(FAULTY).eval()(x), model(x))
    assert not any(p.requires_grad for p in after.skeleton.parameters())
    assert not torch.equal(network.on(FAULTY)(x), after.on(FAULTY)(x))
    assert_close(
        same.on(FAULTY)(x).numpy(), network.on(FAULTY)(x).numpy(), EXACT
    )  # the given ones stay


def test_a_network_that_is_one_layer():
    layer = nn.Linear(9, 4).double()
    network = mapped(layer)
    model = network.trainable(FAULTY)
    x = inputs(dense())
    step(model, x, torch.optim.SGD(model.parameters(), lr=0.01))
    assert torch.equal(model.programmed().on(FAULTY)(x), model.eval()(x))


def test_binary_layers_stay_binary():
    network = mapped(binary())
    assert all(programme.binary for programme in network.programmes.values())
    model = network.trainable(FAULTY)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    x = inputs(binary(), 32)
    for _ in range(6):
        step(model, x, optimiser)
    for name, programme in model.programmed().programmes.items():
        assert set(np.unique(programme.weights)) == {-1.0, 1.0} and programme.binary
        changed = programme.weights != network.programmes[name].weights
        assert 0 < changed.mean() < 0.9


@pytest.mark.parametrize("form", [dense, binary])
def test_saturated_weights_get_the_gradients_that_lead_back(form):
    layer = nn.Sequential(form()[0]).double()
    network = mapped(layer, wires=PERFECT, **ANALOG)
    x = inputs(dense()).abs()  # the gradient of the sum is positive everywhere
    for sign in (1.0, -1.0):
        model = network.trainable()
        weight = model.layers()["0"].weight
        scale = network.programmes["0"].scale[0]
        weight.data = torch.randn_like(weight).sign() * 1.5 * scale
        (sign * model(x).sum()).backward()
        assert torch.equal(weight.grad != 0, weight.detach() * sign > 0)


def test_eval_sees_every_change_of_a_parameter():
    model = mapped(dense()).trainable(FAULTY)
    x, optimiser = inputs(dense()), torch.optim.SGD(model.parameters(), lr=0.05)
    seen = [model.eval()(x)]

    def has_changed():
        seen.append(model.eval()(x))
        assert not torch.equal(seen[-1], seen[-2])
        assert torch.equal(seen[-1], model.programmed().on(FAULTY)(x))

    for _ in range(2):
        step(model.train(), x, optimiser)
        has_changed()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.layers()["0"].weight.data.mul_(0.5)
    has_changed()
    model.layers()["2"].bias.data = model.layers()["2"].bias.data + 1
    has_changed()
    model.load_state_dict(before)
    assert torch.equal(model(x), seen[2])


def test_eval_makes_a_chip_only_when_something_changed(monkeypatch):
    network = mapped(dense())
    model = network.trainable(FAULTY).eval()
    made, on = [], type(network).on
    monkeypatch.setattr(
        type(network), "on", lambda self, *given, **named: made.append(1) or on(self, *given)
    )
    x = inputs(dense())
    for _ in range(3):
        model(x)
    assert len(made) == 1
    model.train().eval()
    model(x)
    assert len(made) == 1
    step(model.train(), x, torch.optim.SGD(model.parameters(), lr=0.1))
    model.eval()(x)
    assert len(made) == 2


@pytest.mark.parametrize("cell", ["1R", "sinh"])
def test_the_circuit_is_solved_every_so_many_steps(cell, monkeypatch):
    wires = Wires(r_row_segment=40.0, r_col_segment=25.0, r_driver=100.0)
    network = mapped(dense(), cell, wires, adc_bits=None)
    x = inputs(dense())
    solved, solve = [], held_operators.effective_conductance
    monkeypatch.setattr(
        held_operators,
        "effective_conductance",
        lambda tiles: solved.append(len(tiles)) or solve(tiles),
    )
    kept, exact = (network.trainable(FAULTY, LINEAR, every=k) for k in (3, 1))
    tiles = sum(programme.placement.tiles for programme in network.programmes.values())
    errors = []
    for k in range(7):
        for model in (kept, exact):
            torch.manual_seed(k)  # the other layer's tiles need no new solution
            weight = model.layers()["0"].weight
            weight.data.mul_(1 - 0.2 * torch.rand_like(weight))
        expected = exact(x).detach()
        errors.append(float((kept(x).detach() - expected).abs().max() / expected.abs().max()))
    ideal = network.on(FAULTY)(x)
    exact = network.on(FAULTY, LINEAR)(x)
    assert all(errors[k] < EXACT for k in (0, 3, 6))
    assert all(1e-6 < errors[k] < 0.1 * (ideal - exact).abs().max() for k in (1, 2, 4, 5))
    first = network.programmes["0"].placement.tiles
    assert solved == [first, tiles - first, first, first] and tiles > first


def test_between_solutions_gradients_are_close_and_training_goes_on():
    network, x = mapped(dense(), **ANALOG), inputs(dense(), 24)
    target = torch.tanh(x[:, :4])
    ends = []
    for every in (1, 5):
        model = network.trainable(FAULTY, LINEAR, every=every)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        losses = [step(model, x, optimiser, target) for _ in range(25)]
        with torch.no_grad():
            ends.append((model.eval()(x) - target).square().sum().item())
        assert ends[-1] < 0.7 * losses[0]
    assert ends[1] < 1.1 * ends[0]


def test_what_gradients_cannot_pass_is_refused_by_name():
    network = mapped(dense())
    for fidelity in (Fidelity.NONLINEAR, Fidelity.SPICE):
        with pytest.raises(InputError, match=f"IDEAL and LINEAR, not {fidelity.name}"):
            network.trainable(FAULTY, fidelity)
    with pytest.raises(InputError, match=r"IDEAL and LINEAR, not \{'0'"):
        network.trainable(FAULTY, {"0": LINEAR})
    bridged = Chip(defects=DefectRates(bridge_row=0.2))
    with pytest.raises(InputError, match="0: tile 0 has bridges"):
        network.trainable(bridged, LINEAR)
    assert network.trainable(bridged, IDEAL)(inputs(dense())).isfinite().all()
    with pytest.raises(InputError, match="every=0"):
        network.trainable(FAULTY, LINEAR, every=0)
    with pytest.raises(InputError, match="every=-1"):
        network.trainable(FAULTY, IDEAL, every=-1)
    half = mapped(dense(), wires=Wires(r_row_segment=0.0, r_col_segment=1.0))
    with pytest.raises(InputError, match="some wires of tile 0 have 0 ohm"):
        half.trainable(FAULTY, LINEAR)
    x = inputs(dense())
    found = half.trainable(FAULTY, LINEAR, every=2)(x)
    assert_close(found.detach(), half.on(FAULTY, LINEAR)(x), EXACT)


def test_what_training_would_undo_is_refused():
    network = mapped(dense())
    one = network.programmes["0"]
    g = one.target.copy()
    g[0, 1, 2] *= 0.9
    apart = network.with_programmes({"0": replace(one, target=g)})
    with pytest.raises(InputError, match="0: 1 memories were ordered apart"):
        apart.trainable(FAULTY)
    held = MeasuredChip(faults={}, held={"2": network.programmes["2"].target})
    with pytest.raises(InputError, match="2: the memories of this chip hold the same"):
        network.trainable(held)


def test_weights_that_become_nan_are_told():
    for make in (dense, binary):
        model = mapped(make()).trainable(FAULTY)
        model.layers()["0"].weight.data[0, 0] = float("nan")
        for mode in (True, False):
            with pytest.raises(InputError, match="0: weights became NaN"):
                model.train(mode)(inputs(make()))
        with pytest.raises(InputError, match="0: weights became NaN"):
            model.programmed()


def with_norm_and_dropout():
    torch.manual_seed(4)
    layers = nn.Linear(9, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4)
    return nn.Sequential(*layers).double().eval()


def test_biases_batch_norms_and_digital_layers_train_along():
    source = with_norm_and_dropout()
    network = mapped(source, digital=("4",))
    model = network.trainable(FAULTY)
    x, optimiser = inputs(source, 32), torch.optim.Adam(model.parameters(), lr=0.05)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        step(model, x, optimiser)
    after = model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == set(after)
    expected = {
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked", "4.weight", "4.bias",
    }  # fmt: skip
    assert {name.removeprefix("model.") for name in after} == expected
    programmed = model.programmed()
    assert torch.equal(programmed.peripheries["0"].bias, after["model.0.bias"])
    assert torch.equal(programmed.skeleton[1].running_mean, after["model.1.running_mean"])
    assert torch.equal(programmed.skeleton[4].weight, after["model.4.weight"])
    assert torch.equal(programmed.on(FAULTY)(x), model.eval()(x))
    assert torch.equal(source[1].running_mean, before["model.1.running_mean"])


def test_dropout_drops_in_training_only():
    model = mapped(with_norm_and_dropout()).trainable(FAULTY)
    x = inputs(with_norm_and_dropout())
    torch.manual_seed(0)
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


@pytest.mark.parametrize("plan", [{}, {"cell": "sinh"}])
def test_state_goes_out_and_in(plan):
    x = inputs(dense())
    network = mapped(dense(), **plan)
    model, other = (network.trainable(FAULTY, LINEAR) for _ in range(2))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        step(model, x, optimiser)
    state = copy.deepcopy(model.state_dict())
    other.load_state_dict(state)
    assert torch.equal(other.train()(x), model(x))
    assert torch.equal(other.eval()(x), model.eval()(x))


@BOTH
def test_single_precision(fidelity):
    x = inputs(dense())
    model = mapped(dense(), **ANALOG).trainable(FAULTY, fidelity)
    expected = model.eval()(x)
    single = copy.deepcopy(model).float()
    assert single.layers()["0"].weight.dtype == torch.float32
    found = single(x.float())
    assert found.dtype == torch.float32
    assert_close(found.detach(), expected, 1e-5)
    trained = single.train()(x.float())
    assert_close(trained.detach(), expected, 1e-5)
    trained.square().sum().backward()
    model.train()(x).square().sum().backward()
    for a, b in zip(single.parameters(), model.parameters(), strict=True):
        assert a.grad.dtype == torch.float32
        assert_close(a.grad, b.grad, 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_digital_layers_keep_the_precision_of_the_network(dtype):
    """Tiles compute in double precision unless told otherwise; batch norms as they came."""
    torch.manual_seed(0)
    source = bnn_mlp((9, 12, 4)).to(dtype).eval()
    x = inputs(dense(), dtype=dtype)
    network = mapped(source)
    model = network.trainable(FAULTY)
    assert model.layers()["0"].weight.dtype == torch.float64
    step(model, x, torch.optim.SGD(model.parameters(), lr=0.1))
    assert model.eval()(x).dtype == dtype
    norm = model.programmed().skeleton[1]
    assert norm.weight.dtype == dtype
    for layer in model.layers().values():
        layer.float()
    assert model(x).dtype == dtype and model.train()(x).dtype == dtype


def test_copies_train_apart():
    x = inputs(dense())
    model = mapped(dense()).trainable(FAULTY, LINEAR, every=2)
    step(model, x, torch.optim.SGD(model.parameters(), lr=0.05))
    first = model.eval()(x)
    model.train()(x)  # in the middle of a step
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    step(twin, x, torch.optim.SGD(twin.parameters(), lr=0.5))
    assert torch.equal(model.eval()(x), first)
    assert not torch.equal(twin.eval()(x), first)


def test_a_step_leaves_no_graph_behind():
    model = mapped(dense()).trainable(FAULTY)
    model(inputs(dense()))
    assert all(not layer.reader.operators for layer in model.layers().values())
    with pytest.raises(InputError):
        model(torch.ones(3, 5).double())
    assert all(not layer.reader.operators for layer in model.layers().values())


def test_noise_is_drawn_in_training_and_repeats_from_its_seed():
    noisy = replace(FAULTY, read_noise=0.05)
    network, x = mapped(dense()), inputs(dense())
    one, other = (network.trainable(noisy) for _ in range(2))
    first = one(x)
    assert torch.equal(first, other(x)) and not torch.equal(first, one(x))
    assert not torch.equal(first, network.trainable(FAULTY)(x))
    first.sum().backward()
    assert one.layers()["0"].weight.grad.isfinite().all()
    assert torch.equal(copy.deepcopy(one)(x), one(x))


def test_a_layer_in_two_places_trains_as_one():
    torch.manual_seed(0)
    shared = nn.Linear(9, 9).double()
    network = mapped(nn.Sequential(shared, nn.Tanh(), shared), wires=PERFECT, **ANALOG)
    model = network.trainable()
    assert list(model.layers()) == ["0"]
    plain = nn.Sequential(shared, nn.Tanh(), shared)
    x = inputs(plain)
    for each in (model, plain):
        each(x).square().sum().backward()
    assert_close(model.layers()["0"].weight.grad, shared.weight.grad, 1e-11)


def test_the_network_it_came_from_stays_as_it_is():
    source = binary()
    network = mapped(source)
    x = inputs(source)
    before = network.on(FAULTY)(x), copy.deepcopy(network.skeleton.state_dict())
    model = network.trainable(FAULTY)
    for _ in range(3):
        step(model, x, torch.optim.Adam(model.parameters(), lr=0.3))
    assert torch.equal(network.on(FAULTY)(x), before[0])
    for name, value in network.skeleton.state_dict().items():
        assert torch.equal(value, before[1][name])
    assert not network.on(FAULTY)(x).requires_grad  # what runs on a chip asks for no gradients
    assert network.trainable(FAULTY).eval()(x).shape == before[0].shape


def test_faults_are_counted_after_training_as_before():
    network = mapped(dense())
    model = network.trainable(FAULTY)
    layer = model.layers()["0"].on_chip
    then = replace(layer, programme=model.programmed().programmes["0"])
    assert then.stuck() == layer.stuck() and sum(then.stuck().values()) > 0
    assert STUCK.stuck_lrs != STUCK.stuck_hrs


def test_a_running_network_sees_what_is_written_to_its_buffers():
    network, x = mapped(dense(), adc_bits=None), inputs(dense())
    running = network.on(FAULTY)
    first = running(x)
    running[2].bias += 1.0
    assert_close(running(x), first + 1, EXACT)
    running[2].reader.operator_0.zero_()
    then = running(x)
    assert (then - first - 1).abs().max() > 1e-2
    running.load_state_dict(network.on(FAULTY).state_dict())
    assert_close(running(x), first, EXACT)
