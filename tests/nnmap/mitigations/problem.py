"""A small task that faults hurt and mitigations help: 8x8 digits, two layers, batch norms."""

from functools import cache

import numpy as np
import torch
from torch import nn

from netlists import FaultRates, OneR, TileSpec, Wires
from netlists.devices import SinhRram
from nnmap import Chip, MappingPlan, map_network
from nnmap.deploy import deploy
from nnmap.mitigations import Bench, Knowledge, truth_of
from nnmap.networks.perceptrons import bnn_mlp
from nnmap.training.data import load

UNEQUAL = Wires(r_row_segment=2.0, r_col_segment=3.0, r_driver=5.0, r_sense=1.0)
PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
FAULTY = Chip(rates=FaultRates(stuck_lrs=0.12, stuck_hrs=0.04, stuck_at=0.02), seed=8)
IMAGES = 256


def trained(model):
    data = load("digits")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    stream = torch.Generator().manual_seed(0)
    for _ in range(8):
        for chosen in torch.randperm(len(data.train_x), generator=stream).split(128):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(data.train_x[chosen]), data.train_y[chosen])
            loss.backward()
            optimiser.step()
    return model.eval()


@cache
def network():
    """64-20-10 with biases and batch norms; callers leave it as it is."""
    torch.manual_seed(0)
    layers = nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10), nn.BatchNorm1d(10)
    return trained(nn.Sequential(*layers))


@cache
def binary_network():
    """64-40-10 with binary weights; callers leave it as it is."""
    torch.manual_seed(1)
    return trained(bnn_mlp((64, 40, 10)))


def plan(wires=UNEQUAL, cell=None, **options):
    spec = TileSpec(rows=24, cols=16, wires=wires, cell=cell or OneR())
    return MappingPlan(spec=spec, **options)


def bending_plan():
    return plan(cell=OneR(rram=SinhRram()), fit_inputs=2)


def knowledge(chip):
    """All that could be known of a chip and the training data."""
    data = load("digits")
    return Knowledge(map=truth_of(chip), inputs=data.train_x[:IMAGES], labels=data.train_y[:IMAGES])


def map_on(chosen, model=None):
    sample = load("digits").train_x[:64]
    return map_network(model or network(), chosen, rng=np.random.default_rng(0), sample=sample)


def deployed(mitigations, chip, fidelity, chosen=None, model=None, known=None):
    """(what `deploy` made of the network, the bench)."""
    chosen, model = chosen or plan(), model or network()
    bench = Bench(chip, fidelity)
    found = deploy(
        model,
        chosen,
        mitigations,
        knowledge(chip) if known is None else known,
        bench,
        rng=np.random.default_rng(0),
        sample=load("digits").train_x[:64],
    )
    return found, bench


@torch.no_grad()
def score(running, count=300):
    """(loss, accuracy) on test images."""
    data = load("digits")
    logits = running(data.test_x[:count])
    y = data.test_y[:count]
    loss = float(nn.functional.cross_entropy(logits, y))
    return loss, float((logits.argmax(1) == y).float().mean())
