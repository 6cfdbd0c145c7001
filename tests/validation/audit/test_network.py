import numpy as np
import pytest
import torch
from torch import nn

from netlists import OneR, OneTransistorOneR, SinhRram, TileSpec, Wires
from nnmap import MappingPlan, map_network
from validation.audit.network import audit_network


def mapped_on(cell, segment):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    x = torch.rand(12, 1, 5, 5)
    wires = Wires(r_row_segment=segment, r_col_segment=segment)
    spec = TileSpec(rows=16, cols=16, wires=wires, cell=cell)
    plan = MappingPlan(spec=spec, weight_bits=8, device_bits=4)
    return map_network(model, plan, rng=np.random.default_rng(0), sample=x), x


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", [OneR(), OneTransistorOneR()], ids=["1r", "1t1r"])
def test_a_network_within_limits_says_so(cell):
    heard = []
    mapped, x = mapped_on(cell, 2.0)
    found = audit_network(mapped, x, reads=6, on_done=heard.append)
    assert found.reads == sum(heard) == 6 and found.currents > 6
    assert found.nonlinear_max < 1e-3 and found.linear_p99 <= found.linear_max < 0.5
    assert found.ideal_max > found.linear_max and found.verdict == "within limits"


@pytest.mark.ngspice
def test_wires_too_resistive_for_linear_are_named_with_their_figure():
    mapped, x = mapped_on(OneR(rram=SinhRram(r_lrs=1e3)), 20.0)
    found = audit_network(mapped, x, reads=6)
    assert found.nonlinear_max < 1e-3 < 1.0 < found.linear_p99
    assert f"off by {found.linear_p99:.2g} steps at p99" in found.verdict
