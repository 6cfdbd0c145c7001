import numpy as np
import pytest
import torch
from torch import nn

from circuitsim.nodal import solve_circuit
from netlists import Drive, InputError, OneTransistorOneR, OneTransistorTwoR, TileSpec, Wires
from netlists.build import build_circuit
from nnmap import (
    Fidelity,
    LayerWork,
    MappingPlan,
    array_power,
    at_fidelity,
    cost,
    figures,
    map_network,
    mapped_layers,
    resnet20,
    vgg13,
    workload,
)
from nnmap.measures.cost import ISAAC_64
from tests.tolerances import assert_close

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)

# drop-connect, Table II: width -> (latency, energy) of one inference, in ns and uJ.
TABLE_II = {
    resnet20: {1.0: (15.74, 113.32), 1.2: (22.13, 159.28), 1.4: (29.80, 214.53)},
    vgg13: {1.0: (87.83, 632.16), 1.2: (125.25, 901.56), 1.6: (222.53, 1601.71)},
}


def multiplications(model, x):
    """Counted on the plain torch network, from its outputs' sizes."""
    total = 0

    def add(layer, _, y):
        nonlocal total
        total += y[0].numel() * layer.weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(x)
    return total


def small_network(spec, **plan):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 5)
    ).double()
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    mapped = map_network(
        model, MappingPlan(spec=spec, **plan), rng=np.random.default_rng(0), sample=x
    )
    return model, mapped, x


@pytest.mark.parametrize("make", TABLE_II)
def test_published_latency_and_energy_follow_from_the_operations(make):
    # The paper's counts hold batch norms too: ours stay within 4 % of every entry.
    for width, (latency, energy) in TABLE_II[make].items():
        operations = multiplications(make(width=width), torch.zeros(1, 3, 32, 32))
        assert 1e9 * ISAAC_64.latency_s(operations) == pytest.approx(latency, rel=0.04)
        assert 1e6 * ISAAC_64.energy_j(operations) == pytest.approx(energy, rel=0.04)


def test_isaac_components_add_up_to_its_tile():
    # One ISAAC tile at work for one read: 96 arrays of 128x128 give 330 mW and 0.372 mm2.
    tile = LayerWork(
        layer="",
        tiles=96,
        rows=128,
        cols=128,
        memories_per_cell=1,
        reads=1,
        rows_driven=96 * 128,
        columns_read=96 * 128,
        macs=0,
        dac_bits=1,
        adc_bits=8,
    )
    found = cost((tile,), figures("isaac"))
    assert found.energy_j / 100e-9 == pytest.approx(0.330, rel=2e-3)
    assert found.area_mm2 == pytest.approx(0.372, rel=2e-3)
    assert found.energy_by_component["ADC"] / found.energy_j == pytest.approx(0.58, abs=0.005)
    assert found.latency_s == pytest.approx(100e-9)
    assert not found.notes


def test_work_is_counted_on_the_network():
    spec = TileSpec(rows=16, cols=12, wires=WIRES, cell=OneTransistorTwoR())
    model, mapped, x = small_network(spec)
    first, second = workload(mapped, x)
    assert first.macs + second.macs == multiplications(model, x[:1])
    # 9 positions, non-negative inputs; 9 rows driven on one tile, which holds 6 pairs of columns.
    assert (first.tiles, first.reads, first.rows_driven, first.columns_read) == (1, 9, 9, 12)
    # 54 inputs take 4 row tiles of one column tile with 5 pairs.
    assert (second.tiles, second.reads, second.rows_driven, second.columns_read) == (4, 1, 54, 40)
    assert first.memories == 16 * 12 * 2


def test_bit_serial_and_signed_inputs_take_more_reads():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, mapped, x = small_network(spec, inputs="serial", dac_bits=4)
    assert [one.reads for one in workload(mapped, x)] == [36, 4]
    assert [one.reads for one in workload(mapped, x - 0.5)] == [72, 4]


def test_remeco_figures():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, mapped, x = small_network(spec)
    work = workload(mapped, x)
    found = cost(work, figures("remeco"))
    memories = 5 * 16 * 12
    assert found.area_mm2 == pytest.approx(memories * 1e-8 + 5 * (1252e-6 + 865e-6))
    read = 9 * 9 * 12 + 54 * 12  # memories driven over an inference
    converted = 9 * 12 + 40
    assert found.energy_j == pytest.approx(read * 80e-15 + converted * (2.1e-12 + 1.1e-12))
    assert found.write_j == pytest.approx(memories * 80e-12)
    assert "energy:" in str(found) and "programming" in str(found)


def test_figures_that_do_not_fit_the_plan_are_named():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, mapped, x = small_network(spec, adc_bits=None)
    adc, dac = cost(workload(mapped, x), figures("isaac")).notes
    assert "ADC" in adc and "8-bit" in adc and "none" in adc
    assert "DAC" in dac and "1-bit" in dac and "8 bits" in dac


def test_bad_input():
    with pytest.raises(InputError, match="isaac, remeco"):
        figures("puma")
    with pytest.raises(InputError, match="no layers on tiles"):
        workload(nn.Linear(3, 2), torch.zeros(1, 3))


def test_ideal_power_is_the_sum_over_memories():
    spec = TileSpec(rows=64, cols=12, wires=WIRES)
    _, mapped, x = small_network(spec, dac_bits=None, adc_bits=None)
    (first, second) = array_power(mapped, x, samples=1000, rng=np.random.default_rng(0))
    g = dict(mapped_layers(mapped))["3"].matrix.tile(0).g_device
    hidden = torch.relu(nn.functional.conv2d(x, *_first_weights(mapped), stride=2)).flatten(1)
    v = np.pad(hidden.numpy(), ((0, 0), (0, 10))) * 0.2 / float(_x_max(mapped))
    expected = ((v**2) @ g).sum(axis=1)
    assert second.samples == 4 and first.samples == 36
    assert_close(second.mean, expected.mean(), 1e-9)
    assert_close(second.largest, expected.max(), 1e-9)


def _first_weights(mapped):
    layer = dict(mapped_layers(mapped))["0"]
    return torch.from_numpy(layer.matrix.weights()[0].T.reshape(6, 1, 3, 3)), layer.bias


def _x_max(mapped):
    return dict(mapped_layers(mapped))["3"].dac.x_max


def test_linear_power_is_the_solved_circuits():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, mapped, x = small_network(spec)
    chip = at_fidelity(mapped, Fidelity.LINEAR)
    found = array_power(chip, x, samples=1000, rng=np.random.default_rng(0))[0]
    layer = dict(mapped_layers(chip))["0"]
    v = layer.voltages(x)[0].numpy()
    oracle = solve_circuit(build_circuit(layer.matrix.tile(0), Drive(v=v)))
    assert_close(found.mean, oracle.power.mean(), 1e-9)
    ideal = array_power(mapped, x, samples=1000, rng=np.random.default_rng(0))[0]
    assert found.mean < ideal.mean  # wires in series take less from the same sources


@pytest.mark.ngspice
def test_transistors_take_their_share():
    spec = TileSpec(rows=16, cols=12, wires=WIRES, cell=OneTransistorOneR())
    _, mapped, x = small_network(spec)
    chip = at_fidelity(mapped, Fidelity.LINEAR)
    (ideal, _), (linear, _) = (
        array_power(net, x, rng=np.random.default_rng(0)) for net in (mapped, chip)
    )
    assert 0.5 * ideal.mean < linear.mean < ideal.mean
