import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError, OneTransistorTwoR, TileSpec, Wires
from nnmap import LayerWork, MappingPlan, cost, figures, map_network, resnet20, vgg13, workload
from nnmap.measures.cost import ISAAC_64
from tests.nnmap.making import half_flipped, mapped, placed

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
    network = map_network(
        model, MappingPlan(spec=spec, **plan), rng=np.random.default_rng(0), sample=x
    )
    return model, network, x


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


@pytest.mark.ngspice
def test_work_is_counted_on_the_network():
    spec = TileSpec(rows=16, cols=12, wires=WIRES, cell=OneTransistorTwoR())
    model, network, x = small_network(spec)
    first, second = workload(network.on(), x)
    assert first.macs + second.macs == multiplications(model, x[:1])
    # 9 positions, non-negative inputs; 9 rows driven on one tile, which holds 6 pairs of columns.
    assert (first.tiles, first.reads, first.rows_driven, first.columns_read) == (1, 9, 9, 12)
    # 54 inputs take 4 row tiles of one column tile with 5 pairs.
    assert (second.tiles, second.reads, second.rows_driven, second.columns_read) == (4, 1, 54, 40)
    assert first.memories == 16 * 12 * 2


def test_bit_serial_and_signed_inputs_take_more_reads():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, network, x = small_network(spec, inputs="serial", dac_bits=4)
    assert [one.reads for one in workload(network.on(), x)] == [36, 4]
    assert [one.reads for one in workload(network.on(), x - 0.5)] == [72, 4]
    flipped = placed(network, half_flipped).on()
    assert [one.reads for one in workload(flipped, x)] == [72, 8]
    _, both, x = small_network(spec, inputs="serial", dac_bits=4, negative="negative drive")
    assert [one.reads for one in workload(placed(both, half_flipped).on(), x - 0.5)] == [36, 4]


class Twice(nn.Module):
    """One layer in two places, and one that never runs."""

    def __init__(self):
        super().__init__()
        self.tied, self.idle = nn.Linear(6, 6).double(), nn.Linear(6, 6).double()

    def forward(self, x):
        return self.tied(torch.relu(self.tied(x)))


def test_all_inputs_and_all_uses_of_a_layer_are_counted():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, network, x = small_network(spec)
    many = x.repeat(33, 1, 1, 1)  # more than run at a time
    assert workload(network.on(), many) == workload(network.on(), x)
    x = torch.rand(5, 6).double()
    (work,) = workload(mapped(Twice(), x, digital=("idle",)).on(), x)
    assert (work.layer, work.reads, work.macs) == ("tied", 2, 72)


def test_copies_and_spares_are_counted_as_built_and_as_used():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, network, x = small_network(spec)
    once, thrice = (
        workload(n.on(), x) for n in (network, placed(network, lambda p: p.replicated(3)))
    )
    for one, three in zip(once, thrice, strict=True):
        for unit in ("memory", "row", "column", "tile"):
            assert three.built(unit) == 3 * one.built(unit)
            assert three.used(unit) == 3 * one.used(unit)
        assert (three.macs, three.reads) == (one.macs, one.reads)
    assert once[0].rows_driven < once[0].built("row")


def test_remeco_figures():
    spec = TileSpec(rows=16, cols=12, wires=WIRES)
    _, network, x = small_network(spec)
    work = workload(network.on(), x)
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
    _, network, x = small_network(spec, adc_bits=None)
    adc, dac = cost(workload(network.on(), x), figures("isaac")).notes
    assert "ADC" in adc and "8-bit" in adc and "none" in adc
    assert "DAC" in dac and "1-bit" in dac and "8 bits" in dac


def test_bad_input():
    with pytest.raises(InputError, match="isaac, remeco"):
        figures("puma")
    with pytest.raises(InputError, match="no layers on tiles"):
        workload(nn.Linear(3, 2), torch.zeros(1, 3))
