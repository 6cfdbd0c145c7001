"""Deployment: stages in order, knowledge as declared, spending per method."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from netlists import InputError
from nnmap import Fidelity, MappingPlan, MeasuredChip
from nnmap.deploy import deploy
from nnmap.mitigations import (
    BatchNormReestimation,
    Bench,
    ChipAgnostic,
    ChipSpecific,
    Knowledge,
    Mitigation,
    Needs,
    RowAssignment,
    truth_of,
)
from tests.nnmap.small import FAULTY, UNEQUAL, binary, inputs, mapped, spec

PLAN = MappingPlan(spec=spec())
X = inputs(binary(), 32)
LOG = []


def run(mitigations, knowledge=None, fidelity=Fidelity.LINEAR):
    LOG.clear()
    bench = Bench(FAULTY, fidelity, dtype=torch.float64)
    given = knowledge or Knowledge(map=truth_of(FAULTY), inputs=X, labels=torch.zeros(32).long())
    rng = np.random.default_rng(0)
    found = deploy(binary(), PLAN, mitigations, given, bench, rng=rng, sample=X)
    return found, bench


@dataclass(frozen=True, kw_only=True)
class First(ChipSpecific):
    def train(self, model, known):
        LOG.append((self.name(), "train", type(model).__name__))
        return model

    def place(self, network, known):
        LOG.append((self.name(), "place", known.meter.writes))
        return network

    def tune(self, network, known, bench):
        LOG.append((self.name(), "tune", known.meter.writes))
        return network


@dataclass(frozen=True, kw_only=True)
class Second(First):
    pass


def test_stages_come_in_order_and_methods_within_them():
    for chosen in ([First(), Second()], [Second(), First()]):
        run(chosen)
        names = [m.name() for m in chosen]
        stages = [(stage, name) for stage in ("train", "place", "tune") for name in names]
        assert [(stage, name) for name, stage, _ in LOG] == stages


def test_without_mitigations_it_is_the_mapped_network():
    found, bench = run([])
    expected = mapped(binary())
    x = inputs(binary())
    plain = replace(expected, peripheries=found.network.peripheries)
    assert torch.equal(found.network.on(FAULTY)(x), plain.on(FAULTY)(x))
    assert found.spent == {} and not any(bench.meter.counts().values())


@dataclass(frozen=True, kw_only=True)
class Changing(First):
    """Changes something at every stage."""

    def train(self, model, known):
        changed = binary()
        changed[1].bias.data.fill_(3.0)
        return changed

    def place(self, network, known):
        (name, one), *_ = network.programmes.items()
        p = one.placement
        order = np.tile(np.arange(p.rows)[::-1], (p.tiles, 1))
        return network.with_programmes({name: one.placed(p.with_rows(order))})

    def tune(self, network, known, bench):
        one = network.programmes["3"]
        return replace(
            network, programmes={**network.programmes, "3": one.with_weights(-one.weights)}
        )


def test_what_each_stage_returns_goes_on():
    found, bench = run([Changing()])
    assert (found.network.skeleton[1].bias == 3).all()
    first = found.network.programmes["0"].placement.row_input
    plain = mapped(binary())
    assert np.array_equal(first, plain.programmes["0"].placement.row_input[:, ::-1])
    weights = plain.programmes["3"].weights
    assert np.array_equal(found.network.programmes["3"].weights, -weights)
    writes = 2 * weights.size
    assert found.spent == {"changing": {**dict.fromkeys(bench.meter.counts(), 0), "writes": writes}}
    assert not (binary()[1].bias == 3).any()


@dataclass(frozen=True, kw_only=True)
class Reads(First):
    """Runs some images."""

    needs: ClassVar[Needs] = Needs.INPUTS
    images: int = 4

    def tune(self, network, known, bench):
        with bench.run(network) as running:
            running(known.inputs(self.images))
        return network


@dataclass(frozen=True, kw_only=True)
class ReadsMore(Reads):
    images: int = 10


def test_each_method_is_charged_what_it_took():
    alone = {kind.name(): run([kind()])[0].spent[kind.name()] for kind in (Reads, ReadsMore)}
    found, bench = run([Reads(), First(), ReadsMore()])
    assert list(found.spent) == ["reads", "first", "reads_more"]
    assert not any(found.spent["first"].values())
    assert found.spent["reads"] == alone["reads"]
    assert found.spent["reads_more"]["reads"] == alone["reads_more"]["reads"] > 0
    assert alone["reads_more"]["reads"] * 4 == alone["reads"]["reads"] * 10
    # Of the 10 images 4 had been shown; together they took what the meter says.
    assert (alone["reads_more"]["images"], found.spent["reads_more"]["images"]) == (10, 6)
    for name, count in bench.meter.counts().items():
        assert count == sum(one[name] for one in found.spent.values())


@dataclass(frozen=True, kw_only=True)
class Excluding(First):
    excludes: ClassVar[frozenset[str]] = frozenset({"second"})


def test_methods_that_exclude_each_other_are_refused_in_either_order():
    for chosen in ([Excluding(), Second()], [Second(), First(), Excluding()]):
        with pytest.raises(InputError, match="excluding and second exclude each other"):
            run(chosen)
    run([Excluding(), First()])


def test_a_method_stands_once():
    with pytest.raises(InputError, match="reads stands twice"):
        run([Reads(images=2), First(), Reads(images=3)])


@dataclass(frozen=True, kw_only=True)
class Demanding(First):
    needs: ClassVar[Needs] = Needs.MAP | Needs.LABELS


def test_needs_that_are_not_given_are_named_before_anything_runs():
    for knowledge, words in (
        (Knowledge(), "demanding needs MAP, LABELS"),
        (Knowledge(map=MeasuredChip(faults={})), "demanding needs LABELS"),
        (Knowledge(inputs=X, labels=torch.zeros(32)), "demanding needs MAP"),
    ):
        with pytest.raises(InputError, match=words):
            run([First(), Demanding()], knowledge)
        assert LOG == []


SEEN = {}


@dataclass(frozen=True, kw_only=True)
class Blind(First):
    needs: ClassVar[Needs] = Needs.INPUTS

    def _look(self, stage, network):
        wires = next(iter(network.programmes.values())).spec.wires
        SEEN[self.name(), stage] = float(np.max(wires.r_row_segment) + np.max(wires.r_driver))

    def place(self, network, known):
        self._look("place", network)
        return network

    def tune(self, network, known, bench):
        self._look("tune", network)
        with bench.run(network) as running:
            SEEN[self.name(), "outputs"] = running(known.inputs(6))
            self._look("network", running.network())
        return network


@dataclass(frozen=True, kw_only=True)
class Sighted(Blind):
    needs: ClassVar[Needs] = Needs.INPUTS | Needs.WIRES


def test_a_method_without_wires_sees_none_while_the_chip_has_them():
    found, _ = run([Blind(), Sighted()])
    r = float(UNEQUAL.r_row_segment + UNEQUAL.r_driver)
    for stage in ("place", "tune", "network"):
        assert SEEN["blind", stage] == 0.0 and SEEN["sighted", stage] == r
    real = found.network.on(FAULTY, Fidelity.LINEAR)(X[:6]).detach()
    for method in ("blind", "sighted"):
        torch.testing.assert_close(SEEN[method, "outputs"], real, rtol=1e-12, atol=1e-12)
    assert (found.network.on(FAULTY)(X[:6]) - real).abs().max() > 1e-3
    for programme in found.network.programmes.values():
        assert np.max(programme.spec.wires.r_row_segment) > 0


@dataclass(frozen=True, kw_only=True)
class Rebuilding(First):
    def tune(self, network, known, bench):
        (name, one), *_ = network.programmes.items()
        other = replace(one, spec=replace(one.spec, v_read=0.1))
        return replace(network, programmes={**network.programmes, name: other})


def test_tiles_stay_those_of_the_chip():
    with pytest.raises(InputError, match="the tiles became others"):
        run([Rebuilding()])


def test_methods_that_know_no_chip_cannot_ask_for_one():
    for needs in (Needs.MAP, Needs.CIRCUIT, Needs.MAP | Needs.LABELS):
        with pytest.raises(TypeError, match="Cheat is chip-agnostic"):
            type("Cheat", (ChipAgnostic,), {"needs": needs})
    with pytest.raises(TypeError, match="Cheat is chip-agnostic"):
        type("Cheat", (ChipAgnostic,), {"tune": lambda self, network, known, bench: network})
    honest = type("Honest", (ChipAgnostic,), {"needs": Needs.LABELS | Needs.WIRES})
    assert issubclass(honest, Mitigation)
    with pytest.raises(TypeError, match="Cheat is chip-agnostic"):
        type("Cheat", (honest,), {"needs": Needs.MAP})


def test_two_real_methods_stand_together():

    found, bench = run([RowAssignment(), BatchNormReestimation(images=32, batch=8)])
    assert found.network.programmes["0"].placement.flips
    assert not any(found.spent["row_assignment"].values())
    # Flipped rows take a second read of every tile, of inputs of one sign too.
    tiles = sum(p.placement.tiles for p in found.network.programmes.values())
    assert found.spent["batch_norm_reestimation"]["reads"] == 32 * tiles * 2 == bench.meter.reads
    norm = mapped(binary()).skeleton[1]
    assert not torch.equal(found.network.skeleton[1].running_mean, norm.running_mean)
