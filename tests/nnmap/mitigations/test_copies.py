"""Layer averaging and committees: what is held several times, and whose outputs are averaged."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from netlists import FaultRates, InputError
from nnmap import Chip, Fidelity
from nnmap.mitigations import Committee, Knowledge, LayerAveraging, Meter
from nnmap.mitigations.known import known_by
from tests.nnmap.making import mapped
from tests.nnmap.mitigations.problem import FAULTY, deployed, map_on, plan, score
from tests.nnmap.small import convolutional, dense, inputs
from tests.tolerances import assert_close


def held(network, method):
    known = known_by(method.name(), method.needs, Knowledge(), Meter())
    return method.place(network, known)


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("method", [LayerAveraging(copies=3), Committee(copies=3)])
def test_without_faults_copies_change_nothing(make, method):
    model = make()
    x = inputs(model, 5)
    network = mapped(model, x)
    assert_close(held(network, method).on()(x), network.on()(x), 1e-12)


def test_a_committee_is_the_mean_of_networks_on_chips_of_their_own():
    model = dense()
    x = inputs(model, 5)
    network = mapped(model, x)
    committee = held(network, Committee(copies=3))
    assert list(committee.programmes) == ["0", "2", "0.copy1", "2.copy1", "0.copy2", "2.copy2"]
    running = committee.on(FAULTY)
    outputs = [member(x) for member in running.members]
    assert_close(running(x), torch.stack(outputs).mean(0), 1e-12)
    assert_close(outputs[0], network.on(FAULTY)(x), 1e-12)  # copy 0 keeps its faults
    assert all(float((a - b).abs().max()) > 1e-3 for a, b in pairwise(outputs))
    assert held(network, Committee(copies=1)).on(FAULTY)(x).equal(network.on(FAULTY)(x))
    with pytest.raises(InputError, match="committee: the network is a committee already"):
        held(held(network, Committee(copies=2)), Committee(copies=2))


def test_copies_lie_on_the_same_kind_of_tiles():
    """Wires included, which the method itself does not see."""
    found = deployed([Committee(copies=2)], FAULTY, Fidelity.LINEAR)[0].network
    before = map_on(plan()).programmes["0"].spec
    assert found.programmes["0.copy1"].spec == before and before.wires.r_row_segment == 2.0


def test_layer_averaging_takes_the_mean_before_the_activation():
    """Of the sums: a network whose first layer alone is averaged is not the mean of networks."""
    model = dense()
    x = inputs(model, 5)
    network = mapped(model, x)
    found = held(network, LayerAveraging(copies=3, layers=("0",)))
    tiles = [network.programmes["0"].placement.tiles, network.programmes["2"].placement.tiles]
    assert [p.placement.tiles for p in found.programmes.values()] == [3 * tiles[0], tiles[1]]
    everywhere = held(network, LayerAveraging(copies=3))
    assert everywhere.programmes["2"].placement.tiles == 3 * tiles[1]
    first = Chip(rates=FaultRates(stuck_hrs=0.2), seed=1)
    alone, averaged = (n.on(first).get_submodule("0") for n in (network, found))
    assert float((alone(x) - averaged(x)).abs().max()) > 1e-3
    assert held(network, LayerAveraging(copies=1)) is network


def test_averaging_layers_beats_the_committee_at_equal_cost():
    gained = {}
    for method in (LayerAveraging(copies=3), Committee(copies=3)):
        gained[method.name()] = 0.0
        for number in range(4):
            chip = replace(FAULTY, number=number)
            found, _ = deployed([method], chip, Fidelity.IDEAL)
            before = map_on(plan())
            memories = sum(p.target.size for p in before.programmes.values())
            assert found.lasting[method.name()] == {
                "memories": 2 * memories,
                "operations_per_inference": 0,
            }
            gained[method.name()] += score(before.on(chip))[0] - score(found.network.on(chip))[0]
    assert gained["layer_averaging"] > gained["committee"] > 0


def test_bad_values_are_refused():
    with pytest.raises(InputError, match="committee: copies=0 must be at least 1"):
        Committee(copies=0)
    with pytest.raises(InputError, match="layer_averaging: copies=-1 must be at least 1"):
        LayerAveraging(copies=-1)
    with pytest.raises(InputError, match="'fc' matches none of the layers 0, 3"):
        held(map_on(plan()), LayerAveraging(layers=("fc",)))
