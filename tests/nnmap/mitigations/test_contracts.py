"""Every mitigation keeps the contract."""

from torch import nn

from netlists import TileSpec
from nnmap import Fidelity
from nnmap.mitigations import MITIGATIONS, Bench
from tests.nnmap.mitigations.contracts import (
    SMALL,
    TRUTHS,
    MitigationContract,
    has_wires,
    reachable,
)
from tests.nnmap.mitigations.problem import FAULTY, map_on, plan


class TestEveryMitigation(MitigationContract):
    pass


def test_every_mitigation_joins():
    assert set(SMALL) == set(MITIGATIONS)
    assert all(type(SMALL[name]) is kind for name, kind in MITIGATIONS.items())
    names = [kind.name() for kind in MITIGATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(kind.excludes <= set(names) for kind in MITIGATIONS.values())


def test_what_leaks_is_found():
    """The search of the contract sees a chip behind attributes, containers and submodules."""
    network = map_on(plan())
    running = network.on(FAULTY)
    bench = Bench(FAULTY, Fidelity.LINEAR)
    bench.write(network)
    assert not [one for one in reachable(bench, network) if isinstance(one, TRUTHS)]
    for leak in ({"a": [(FAULTY,)]}, running, nn.Sequential(running)):
        bench.leak = leak
        assert [one for one in reachable(bench) if isinstance(one, TRUTHS)]
    assert [one for one in reachable(network) if isinstance(one, TileSpec) and has_wires(one)]
