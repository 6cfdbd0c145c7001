"""Write errors and diagnosis of cells that transistors stand before."""

import numpy as np
import pytest
import torch
from torch import nn

from netlists import (
    Bsim4Nmos,
    FaultKind,
    FaultMap,
    FaultRates,
    InputError,
    LognormalSpread,
    OhmicRram,
    OneTransistorOneR,
    OneTransistorTwoR,
)
from nnmap import Chip, Fidelity, MeasuredChip
from nnmap.measures.diagnosis import Diagnosis
from nnmap.measures.measure import Setup, WriteError, _first_three
from tests.nnmap.making import mapped, only

HARD = {"nmos": Bsim4Nmos(), "rram": OhmicRram(r_lrs=1e3, r_hrs=1e5)}


def setup(cell, chip, fidelity=Fidelity.IDEAL, **options):
    torch.manual_seed(0)
    x = torch.rand(4, 12).double()
    network = mapped(nn.Linear(12, 5).double(), x, cell=cell, **options)
    chosen = chip(only(network.programmes)) if callable(chip) else chip
    return Setup(
        network=network, chip=chosen, fidelity=fidelity, images=x, labels=torch.zeros(4).long()
    )


def a_tenth_more(programme):
    """Every memory a tenth more conductive than ordered, and one in each corner stuck."""
    kind = np.full(programme.target.shape, FaultKind.NONE, dtype=np.int8)
    kind[:, 0, 0, ...] = FaultKind.STUCK_LRS
    return MeasuredChip(
        faults={"": [FaultMap(kind=k) for k in kind]}, held={"": 1.1 * programme.target}
    )


@pytest.mark.ngspice
def test_write_errors_are_of_what_cells_show():
    cell = OneTransistorOneR(**HARD)
    made = setup(cell, a_tenth_more)
    programme = only(made.network.programmes)
    levels = programme.cell_levels
    ordered = programme.target.reshape(programme.placement.tiles, -1)[:, 1:]
    error = (levels.shown(1.1 * ordered) - levels.shown(ordered)) / (levels.on - levels.off)
    found = WriteError().of(made)
    assert found["worst"] == pytest.approx(error.max())
    assert found["write_error"] == pytest.approx(float(np.sqrt((error**2).mean())))
    of_memories = WriteError().of(setup(cell, a_tenth_more, levels="memory"))
    assert of_memories["worst"] == pytest.approx(0.1 * 1e-3 / (1e-3 - 1e-5))
    assert found["worst"] < 0.6 * of_memories["worst"]  # the transistor hides the rest


@pytest.mark.ngspice
def test_cells_of_two_memories_count_once_and_not_where_one_is_stuck():
    def chip(programme):
        kind = np.full(programme.target.shape, FaultKind.NONE, dtype=np.int8)
        kind[:, :, 1:, 0] = FaultKind.STUCK_HRS  # one of the two in all columns but the first
        held = programme.target.copy()
        held[:, :, 1:] *= 1.5
        return MeasuredChip(faults={"": [FaultMap(kind=k) for k in kind]}, held={"": held})

    two = OneTransistorTwoR(**HARD)
    assert WriteError().of(setup(two, chip))["worst"] == 0
    assert WriteError().of(setup(two, chip, levels="memory"))["worst"] > 0.1


@pytest.mark.ngspice
@pytest.mark.parametrize("levels", ["cell", "memory"])
@pytest.mark.parametrize("fidelity", [Fidelity.IDEAL, Fidelity.LINEAR])
@pytest.mark.parametrize("cell", [OneTransistorOneR(**HARD), OneTransistorTwoR(**HARD)])
def test_stuck_cells_are_found_against_what_cells_show(cell, fidelity, levels):
    chip = Chip(
        rates=FaultRates(stuck_lrs=0.2, stuck_hrs=0.2),
        variation=(LognormalSpread(sigma=0.02),),
        seed=2,
    )
    found = Diagnosis().of(setup(cell, chip, fidelity, levels=levels))
    assert found["stuck_cells"] > 50
    if isinstance(cell, OneTransistorOneR):
        assert (found["missed"], found["false"]) == (0, 0)
    else:  # one stuck memory of two reads about as the threshold
        assert found["false"] == 0 and found["missed"] < 0.9


@pytest.mark.parametrize(
    "answers, words",
    [
        (torch.zeros(5, 2), "three classes, and the network has 2"),
        (torch.full((5, 4), torch.nan), "answers NaN"),
        (torch.zeros(5, 3, 2), r"shape \[5, 3, 2\]"),
    ],
)
def test_detection_ranks_three_classes(answers, words):
    with pytest.raises(InputError, match=words):
        _first_three(lambda images: answers, torch.zeros(5, 6))
