"""What a row costs on each physical row, against the weights that faulty chips decode to."""

import numpy as np
import pytest
import torch
from torch import nn

from netlists import (
    Bsim4Nmos,
    FaultRates,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
)
from nnmap import Chip, LayerOnChip
from nnmap.mapping.decode import decoded_weights
from nnmap.mitigations.row_assignment import row_errors
from tests.nnmap.making import mapped, only
from tests.tolerances import assert_close

HARD = {"nmos": Bsim4Nmos(), "rram": OhmicRram(r_lrs=1e3, r_hrs=1e5)}
CHIP = Chip(rates=FaultRates(stuck_lrs=0.15, stuck_hrs=0.15, stuck_at=0.05), seed=4)
CELLS = [
    pytest.param(OneR(), "cell", id="1r"),
    pytest.param(OneTransistorTwoR(**HARD), "memory", id="1t2r-memories"),
    pytest.param(OneTransistorOneR(**HARD), "cell", id="1t1r", marks=pytest.mark.ngspice),
    pytest.param(OneTransistorTwoR(**HARD), "cell", id="1t2r", marks=pytest.mark.ngspice),
]


def written_out(programme):
    """For every row on every physical row: the layer placed so, and its weights decoded."""
    rows, p = programme.spec.rows, programme.placement
    found = np.zeros((rows, rows))
    for r in np.flatnonzero(p.row_input[0] >= 0):
        for k in range(rows):
            order = np.arange(rows)
            order[[r, k]] = k, r
            moved = programme.placed(p.with_rows(order[None]))
            held = decoded_weights(moved, LayerOnChip(name="", programme=moved, chip=CHIP).shown())
            error = held[0] - programme.weights[0] * programme.scale
            found[r, k] = (error[p.row_input[0, r]] ** 2).sum()
    return found


@pytest.mark.parametrize("bits", [{}, {"weight_bits": 6, "device_bits": 3}], ids=["analog", "6/3"])
@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("cell, levels", CELLS)
def test_a_row_costs_what_its_weights_are_off_by(cell, levels, encoding, bits):
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3).double(), torch.rand(4, 5).double()
    if bits:
        layer.weight.data = (layer.weight.data / layer.weight.abs().max() * 31).round()
    options = {"cell": cell, "encoding": encoding, "levels": levels}
    network = mapped(layer, x, rows=7, cols=13, **options, **bits)
    programme = only(network.programmes)
    faults = LayerOnChip(name="", programme=programme, chip=CHIP).tile(0).faults
    found = row_errors(programme, 0, programme.target[0], faults)
    assert_close(found, written_out(programme), 1e-10)
    assert found.max() > 0.1 and (found[5:] == 0).all()
