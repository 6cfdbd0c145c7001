import numpy as np
import pytest
import torch
from torch import nn

from netlists import FaultRates, LognormalSpread, TileSpec, Wires
from nnmap import (
    Fidelity,
    MappingPlan,
    at_fidelity,
    faults_as_weights,
    inject_faults,
    map_network,
    mapped_layers,
    vary_devices,
)
from tests.tolerances import assert_close

WIRES = Wires(r_row_segment=2.0, r_col_segment=2.0)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2, padding="same", bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
    ).double()


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("bits", [{}, {"weight_bits": 8, "device_bits": 4}])
def test_behaviour_is_the_ideal_chip_and_not_the_circuit(encoding, bits):
    model, x = network(), torch.rand(3, 1, 8, 8).double()
    spec = TileSpec(rows=18, cols=32, wires=WIRES)  # one group of the second layer a tile
    plan = MappingPlan(spec=spec, encoding=encoding, dac_bits=None, adc_bits=None, **bits)
    mapped = map_network(model, plan, rng=np.random.default_rng(0), sample=x)
    chip = inject_faults(mapped, FaultRates.from_ocr(0.1, 1.0), rng=np.random.default_rng(1))
    chip = vary_devices(chip, [LognormalSpread(sigma=0.1)], rng=np.random.default_rng(2))
    behavioural = faults_as_weights(chip)
    assert not list(mapped_layers(behavioural))
    assert_close(behavioural(x).numpy(), chip(x).numpy(), 1e-9)
    circuit = at_fidelity(chip, Fidelity.LINEAR)
    assert (circuit(x) - behavioural(x)).abs().max() > 1e-3
