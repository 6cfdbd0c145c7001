"""Small networks on small tiles, lopsided in every way that could hide an error."""

import numpy as np
import torch
from torch import nn

from netlists import (
    DefectRates,
    FaultRates,
    LognormalSpread,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    RetentionDrift,
    TileSpec,
    Wires,
)
from netlists.devices import SinhRram
from nnmap import Chip, MappingPlan, map_network
from nnmap.networks.perceptrons import Sign, binary_linear

UNEQUAL = Wires(r_row_segment=2.0, r_col_segment=3.0, r_driver=7.0, r_sense=1.0)
PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
CELLS = {
    "1R": OneR(),
    "sinh": OneR(rram=SinhRram()),
    "1T1R": OneTransistorOneR(),
    "1T2R": OneTransistorTwoR(),
}
STUCK = FaultRates(stuck_lrs=0.09, stuck_hrs=0.03, stuck_at=0.05)
BROKEN = DefectRates(open_row=0.02, open_col=0.01)
BROKEN_CELLS = DefectRates(
    open_row=0.01, open_col=0.02, open_gate=0.01, transistor_open=0.05, transistor_shorted=0.03
)
FAULTY = Chip(rates=STUCK, seed=3, number=2)
ROUGH = Chip(
    rates=STUCK,
    variation=(LognormalSpread(sigma=0.1),),
    drift=RetentionDrift(time=100.0, nu=0.01),
    seed=5,
)


def spec(cell="1R", wires=UNEQUAL, rows=7, cols=10):
    return TileSpec(rows=rows, cols=cols, wires=wires, cell=CELLS[cell])


def dense(dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype).eval()


def convolutional(dtype=torch.float64):
    torch.manual_seed(2)
    return (
        nn.Sequential(
            nn.Conv2d(4, 6, (3, 2), groups=2, padding=1, stride=(2, 1)),
            nn.ReLU(),
            nn.Conv2d(6, 6, 2, groups=6, bias=False),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(48, 3),
        )
        .to(dtype)
        .eval()
    )


def binary(dtype=torch.float64):
    """Binary weights, batch norms and signs; the batch norms have seen some inputs."""
    torch.manual_seed(3)
    model = nn.Sequential(
        binary_linear(9, 12), nn.BatchNorm1d(12), Sign(), binary_linear(12, 4), nn.BatchNorm1d(4)
    ).to(dtype)
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(64, 9, dtype=dtype))
    return model.eval()


def inputs(model, count=6, seed=0, dtype=torch.float64):
    """Inputs of both signs, some exactly 0."""
    torch.manual_seed(seed)
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    shape = (count, 9) if isinstance(first, nn.Linear) else (count, 4, 5, 4)
    x = torch.randn(shape, dtype=dtype)
    return torch.where(x.abs() < 0.2, 0.0, x)


def mapped(model, cell="1R", wires=UNEQUAL, rows=7, cols=10, **plan):
    """The network on tiles, its ranges set from other inputs than `inputs` gives."""
    chosen = MappingPlan(spec=spec(cell, wires, rows, cols), **plan)
    dtype = next(model.parameters()).dtype
    sample = inputs(model, 16, seed=7, dtype=dtype)
    return map_network(model, chosen, rng=np.random.default_rng(0), sample=sample)


def placed(network, change):
    """The network with every layer's placement changed."""
    return network.with_programmes(
        {name: one.placed(change(one.placement)) for name, one in network.programmes.items()}
    )


def shuffled(placement):
    """Rows and columns of every tile in another order, some rows flipped."""
    rng = np.random.default_rng(11)
    p = placement
    rows = np.stack([rng.permutation(p.rows) for _ in range(p.tiles)])
    cols = np.stack([rng.permutation(p.cols) for _ in range(p.tiles)])
    return p.flipped(rng.random((p.tiles, p.rows)) < 0.4).with_rows(rows).with_columns(cols)
