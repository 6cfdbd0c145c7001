import numpy as np
import pytest
import torch
from torch import nn

from netlists import FaultRates, InputError, LognormalSpread, OneTransistorTwoR, TileSpec, Wires
from nnmap import Chip, Fidelity, MappingPlan, faults_as_weights, map_network, mapped_layers
from tests.nnmap.making import (
    ENCODED,
    columns_mixed,
    half_flipped,
    mapped,
    only,
    placed,
    rows_mixed,
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


MOVES = {
    "none": lambda p: p,
    "rows and columns": lambda p: columns_mixed(rows_mixed(p)),
    "flips": half_flipped,
    "all": lambda p: half_flipped(columns_mixed(rows_mixed(p.replicated(2)))),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("encoded", ENCODED)
def test_behaviour_is_the_ideal_chip_and_not_the_circuit(encoded, move):
    model, x = network(), torch.rand(3, 1, 8, 8).double()
    spec = TileSpec(rows=18, cols=32, wires=WIRES)  # one group of the second layer a tile
    plan = MappingPlan(spec=spec, dac_bits=None, adc_bits=None, **encoded)
    on_tiles = map_network(model, plan, rng=np.random.default_rng(0), sample=x)
    moved = placed(on_tiles, MOVES[move])
    chip = Chip(
        rates=FaultRates.from_ocr(0.1, 1.0), variation=(LognormalSpread(sigma=0.1),), seed=2
    )
    behavioural = faults_as_weights(moved, chip)
    with pytest.raises(InputError, match="no layers on tiles"):
        mapped_layers(behavioural)
    assert_close(behavioural(x).numpy(), moved.on(chip)(x).numpy(), 1e-9)
    circuit = moved.on(chip, Fidelity.LINEAR)
    assert (circuit(x) - behavioural(x)).abs().max() > 1e-3
    if move != "none":  # faults stay where they are, weights do not
        plain = faults_as_weights(on_tiles, chip)
        assert (plain(x) - behavioural(x)).abs().max() > 1e-3
    assert_close(faults_as_weights(moved)(x).numpy(), on_tiles.on()(x).numpy(), 1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize("encoded", ENCODED)
def test_two_memories_a_cell_and_a_shift_are_part_of_the_weights(encoded):
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 6).double(), torch.randn(5, 20).double()
    on_tiles = mapped(layer, x, cell=OneTransistorTwoR(), **encoded)
    programme = only(on_tiles.programmes)
    shifted = on_tiles.with_programmes({"": programme.with_weights(programme.weights / 2)})
    chip = Chip(rates=FaultRates(stuck_at=0.2))
    found = faults_as_weights(shifted, chip)
    assert_close(found(x).numpy(), shifted.on(chip)(x).numpy(), 1e-9)
    assert found(x.float()).dtype == torch.float32
