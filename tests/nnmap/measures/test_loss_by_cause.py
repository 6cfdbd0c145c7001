"""Causes switched on in turn: each takes its points where it is the only one that can."""

import numpy as np
import pytest
import torch
from torch import nn

from netlists import Bsim4Nmos, OhmicRram, OneR, OneTransistorOneR, Wires
from netlists.devices import SinhRram
from nnmap import Fidelity
from nnmap.measures.loss_by_cause import CAUSES, LossByCause, loss_by_cause
from tests.nnmap.making import PERFECT, mapped

HARD = OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3, r_hrs=1e5))
FINE = {"encoding": "offset", "weight_bits": 8, "rows": 16, "cols": 12}


def setting(**options):
    """A random network of balanced classes that is right on its own answers, on tiles."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 12), nn.ReLU(), nn.Linear(12, 5)).double()
    x = torch.rand(400, 30).double()
    with torch.no_grad():
        logits, last = model(x), model[2]
        last.weight /= logits.std(0)[:, None]
        last.bias.copy_((last.bias - logits.mean(0)) / logits.std(0))
        y = model(x).argmax(1)
    return mapped(model, x, **options), x, y


@pytest.mark.parametrize(
    "cause, options",
    [
        pytest.param("levels", {"weight_bits": 3, "device_bits": 1}, id="three bits"),
        pytest.param("converters", {"dac_bits": 2, "adc_bits": 3}, id="few bits"),
        pytest.param(
            "wires", {"wires": Wires(r_row_segment=20.0, r_col_segment=20.0)}, id="long wires"
        ),
        pytest.param("bend", {"cell": OneR(rram=SinhRram(v0=0.05))}, id="sinh"),
        pytest.param(
            "levels",
            {"cell": HARD, "levels": "memory"},
            id="levels of memories",
            marks=pytest.mark.ngspice,
        ),
    ],
)
def test_the_cause_is_named(cause, options):
    found = loss_by_cause(*setting(**{**FINE, **options}))
    assert found.plain == 1.0 and found.cause == cause and found.points[cause] > 2
    others = [points for name, points in found.points.items() if name != cause]
    assert np.abs(others).max() < 0.35 * found.points[cause]
    assert found.total == pytest.approx(sum(found.points.values()))
    assert f"most of it by {cause}" in str(found)


@pytest.mark.ngspice
def test_levels_of_cells_take_what_they_take_of_a_bare_memory():
    found = loss_by_cause(*setting(**FINE, cell=HARD))
    bare = loss_by_cause(*setting(**FINE, cell=OneR(rram=HARD.rram)))
    assert abs(found.points["levels"] - bare.points["levels"]) < 0.3  # one image of 400


def test_nothing_is_lost_without_a_cause():
    found = loss_by_cause(*setting(wires=PERFECT), fidelity=Fidelity.NONLINEAR)
    assert found == LossByCause(**dict.fromkeys(("plain", *CAUSES), 1.0), images=400)
    assert found.total == 0
