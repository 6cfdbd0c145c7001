"""Power of tiles, from their solved circuits."""

import numpy as np
import pytest
import torch
from torch import nn

from circuitsim.linear.nodal import solve_circuit
from netlists import Drive, FaultRates, OneTransistorOneR, TileSpec, Wires
from netlists.build import build_circuit
from nnmap import Chip, Fidelity, MappingPlan, array_power, map_network, mapped_layers
from nnmap.mapping.decode import decoded_weights
from tests.nnmap.making import half_flipped, mapped, placed
from tests.tolerances import assert_close

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)


def small_network(spec, **plan):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 5)
    ).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    network = map_network(
        model, MappingPlan(spec=spec, **plan), rng=np.random.default_rng(0), sample=x
    )
    return model, network, x


def test_ideal_power_is_the_sum_over_memories():
    spec = TileSpec(rows=64, cols=12, wires=WIRES)
    _, network, x = small_network(spec, dac_bits=None, adc_bits=None)
    chip = network.on()
    (first, second) = array_power(chip, x, samples=1000, rng=np.random.default_rng(0))
    layer = mapped_layers(chip)["3"]
    hidden = torch.relu(nn.functional.conv2d(x, *first_weights(chip), stride=2)).flatten(1)
    v = np.pad(hidden.numpy(), ((0, 0), (0, 10))) * 0.2 / layer.dac.x_max
    g = layer.on_chip.tile(0).g_device
    expected = ((v**2) @ g).sum(axis=1)
    assert second.samples == 4 and first.samples == 36
    assert_close(second.mean, expected.mean(), 1e-9)
    assert_close(second.largest, expected.max(), 1e-9)


def first_weights(chip):
    layer = mapped_layers(chip)["0"]
    w = decoded_weights(layer.programme, layer.on_chip.shown())
    return torch.from_numpy(w[0].T.reshape(6, 1, 3, 3)), layer.bias


def test_linear_power_is_the_solved_circuits():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, network, x = small_network(spec)
    chip = network.on(fidelity=Fidelity.LINEAR)
    found = array_power(chip, x, samples=1000, rng=np.random.default_rng(0))[0]
    layer = mapped_layers(chip)["0"]
    v = layer.row_voltages(x)[0].numpy()
    oracle = solve_circuit(build_circuit(layer.on_chip.tile(0), Drive(v=v)))
    assert_close(found.mean, oracle.power.mean(), 1e-9)
    ideal = array_power(network.on(), x, samples=1000, rng=np.random.default_rng(0))[0]
    assert found.mean < ideal.mean  # wires in series take less from the same sources


@pytest.mark.ngspice
def test_transistors_take_their_share():
    spec = TileSpec(rows=16, cols=12, wires=WIRES, cell=OneTransistorOneR())
    _, network, x = small_network(spec)
    (ideal, _), (linear, _) = (
        array_power(network.on(fidelity=f), x, rng=np.random.default_rng(0))
        for f in (Fidelity.IDEAL, Fidelity.LINEAR)
    )
    assert 0.5 * ideal.mean < linear.mean < ideal.mean


@pytest.mark.parametrize("negative", ["second read", "negative drive"])
@pytest.mark.parametrize("inputs", ["parallel", "serial"])
def test_the_tiles_of_a_layer_are_read_together_whatever_the_chunks(monkeypatch, negative, inputs):
    """Row groups without a flipped row sit a second read of non-negative inputs out."""
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 3).double(), torch.rand(4, 3, 5, 5).double()
    options = {"dac_bits": 4, "inputs": inputs, "negative": negative}
    network = placed(mapped(layer, x, **options), half_flipped_first)
    chip = network.on(Chip(rates=FaultRates.from_ocr(0.1, 1.0)))

    def power():
        (found,) = array_power(chip, x, samples=10_000, rng=np.random.default_rng(0))
        return found

    whole = power()
    monkeypatch.setattr("nnmap.layers.convolution.CHUNK", 9)
    parts = power()
    reads = (1 + (negative == "second read")) * (4 if inputs == "serial" else 1)
    assert whole.samples == parts.samples == 4 * 9 * reads
    assert_close(parts.largest, whole.largest, 1e-12)
    assert_close(parts.mean, whole.mean, 1e-12)


def half_flipped_first(p):
    rows = half_flipped(p).row_flip.copy()
    rows[1:] = False
    return p.flipped(rows)
