import json
import textwrap

import pytest
import torch
from torch import nn

from netlists.errors import InputError
from nnmap import bnn_mlp, lenet
from validation.sources import Own, identify, pinned
from validation.structure import structure

NETWORK = """
import torch
from torch import nn
from helper import stretched

class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        return getattr(torch, self.act)(stretched(self.layer(x)))  # {comment}

def seeded(act="relu"):
    torch.manual_seed(3)
    return Net(act)

def unseeded(act="relu"):
    return Net(act)

def data():
    rng = torch.Generator().manual_seed(2)
    x = torch.rand(30, 5, generator=rng)
    y = torch.randint(3, (30,), generator=rng)
    return (x[:20].numpy(), y[:20].numpy()), (x[20:].numpy(), y[20:].numpy())

def drawn():
    train, test = data()
    return (torch.rand(20, 5).numpy(), train[1]), test
"""


def own(folder, make="seeded", data="data", *, comment="", factor=2, **arguments):
    folder.mkdir()
    (folder / "net.py").write_text(NETWORK.replace("{comment}", comment))
    (folder / "helper.py").write_text(f"def stretched(x):\n    return {factor} * x\n")
    return Own(
        make=f"net:{make}",
        arguments=json.dumps(arguments),
        data_from=f"net:{data}",
        checkpoint=None,
        beside=folder,
    )


def test_equal_code_gives_equal_structures_whatever_its_comments_and_folder(tmp_path):
    a = identify(own(tmp_path / "a"))
    assert identify(own(tmp_path / "b", comment="the same")).structure == a.structure
    assert identify(own(tmp_path / "c", act="relu")).structure == a.structure


@pytest.mark.parametrize("change", [{"act": "tanh"}, {"factor": 3}])
def test_an_attribute_and_the_code_of_a_module_beside_count(change, tmp_path):
    a, b = identify(own(tmp_path / "a")), identify(own(tmp_path / "b", **change))
    assert a.weights == b.weights
    assert a.structure != b.structure


def test_a_changed_forward_counts():
    def net(function):
        kind = type("Net", (nn.Module,), {"forward": function})
        return structure(kind())

    def doubled(self, x):
        return 2 * x

    exec(textwrap.dedent("def tripled(self, x):\n    return 3 * x\n"), {}, made := {})
    assert net(doubled) == net(doubled)
    assert net(doubled) != net(made["tripled"])


def test_networks_of_one_kind_and_size_differ_by_what_they_hold():
    assert structure(lenet()) == structure(lenet())
    assert structure(bnn_mlp((4, 3, 2), "relu")) != structure(bnn_mlp((4, 3, 2), "tanh"))
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.gain = torch.tensor(2.0)
    assert structure(one) != structure(other)


def test_code_that_draws_without_a_seed_is_refused_when_it_gives_something_else(tmp_path):
    source = own(tmp_path / "a", make="unseeded")
    with pytest.raises(InputError, match=r"net:unseeded' gives another network at each call; seed"):
        pinned(source, identify(source)).load()
    source = own(tmp_path / "b", data="drawn")
    identity = identify(source)
    from validation import sources

    sources._own_data.cache_clear()  # as in another process
    with pytest.raises(InputError, match="net:drawn' gives other data at each call; seed it"):
        pinned(source, identity).data()


def test_seeded_code_gives_what_was_identified(tmp_path):
    source = own(tmp_path / "a")
    same = pinned(source, identify(source))
    assert torch.equal(same.load().layer.weight, source.load().layer.weight)
    assert same.data().fingerprint == source.data().fingerprint
