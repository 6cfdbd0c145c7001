"""What every mitigation must satisfy; a new entry in MITIGATIONS joins through SMALL."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from netlists import FaultMap, InputError, TileSpec
from netlists.defects import Defects
from netlists.identity import canonical, digest, revive
from nnmap import Chip, Fidelity, LayerOnChip, MappedLayer, MeasuredChip
from nnmap.mitigations import (
    MITIGATIONS,
    BatchNormReestimation,
    ChipAgnostic,
    ChipSpecific,
    Knowledge,
    MaskedRetraining,
    Meter,
    Needs,
    RowAssignment,
)
from tests.nnmap.mitigations.problem import (
    FAULTY,
    PERFECT,
    bending_plan,
    deployed,
    knowledge,
    map_on,
    network,
    plan,
    score,
)
from tests.tolerances import assert_close

# One sensible configuration each, small enough for a test.
SMALL = {
    "batch_norm_reestimation": BatchNormReestimation(average="cumulative", images=256, batch=64),
    "masked_retraining": MaskedRetraining(epochs=3, batch=32, lr=0.003),
    "row_assignment": RowAssignment(),
}
TRUTHS = (Chip, MeasuredChip, LayerOnChip, FaultMap, Defects, MappedLayer)
ROUNDING = 1e-5  # of outputs, in float32


def reachable(*roots):
    """Everything that attributes, containers and submodules lead to; functions are closed."""
    seen, waiting = {}, list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | type | None):
            continue
        seen[id(one)] = one
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif not isinstance(one, np.ndarray | torch.Tensor) and not callable_only(one):
            waiting += vars(one).values() if hasattr(one, "__dict__") else ()
    return list(seen.values())


def callable_only(one):
    return callable(one) and not isinstance(one, nn.Module) and not dataclasses.is_dataclass(one)


def has_wires(spec):
    w = spec.wires
    return any(np.any(r) for r in (w.r_row_segment, w.r_col_segment, w.r_driver, w.r_sense))


def peeking(mitigation, found):
    """The same method, which looks at all it is shown and asks for all it did not declare."""
    needs = mitigation.needs
    questions = {
        Needs.MAP: lambda known: known.map(),
        Needs.LABELS: lambda known: known.labelled(1),
    }
    if Needs.LABELS not in needs:
        questions[Needs.INPUTS] = lambda known: known.inputs(1)

    def look(*shown):
        for one in reachable(*shown):
            truth = isinstance(one, TRUTHS)
            if truth or (isinstance(one, TileSpec) and Needs.WIRES not in needs and has_wires(one)):
                found.append(one)

    def ask(known):
        for need, question in questions.items():
            if need not in needs:
                with pytest.raises(
                    InputError, match=f"peeking asks for {need.name}, which it does"
                ):
                    question(known)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Peeking(type(mitigation)):
        def train(self, model, known):
            look(model, known)
            ask(known)
            return super().train(model, known)

        def place(self, network, known):
            look(network, known)
            ask(known)
            return super().place(network, known)

        def tune(self, network, known, bench):
            look(network, known, bench)
            ask(known)
            if Needs.CIRCUIT not in needs:
                with pytest.raises(InputError, match="peeking asks for CIRCUIT, which it does not"):
                    bench.train(network)
            with bench.run(network) as run:
                look(run, run.digital(nn.Module), run.network())
            found.append("looked")
            return super().tune(network, known, bench)

    return Peeking(**dataclasses.asdict(mitigation))


def programmed(network):
    """Everything that decides what a network computes, as one digest."""
    return digest(network.programmes, network.peripheries, dict(network.skeleton.state_dict()))


class MitigationContract:
    """What holds for any method, whatever it does."""

    @pytest.fixture(params=list(MITIGATIONS))
    def mitigation(self, request):
        assert request.param in SMALL, f"{request.param} has no configuration in SMALL yet"
        return SMALL[request.param]

    def test_it_is_a_value(self, mitigation):
        kind = type(mitigation)
        assert MITIGATIONS[next(n for n, k in MITIGATIONS.items() if k is kind)] is kind
        assert isinstance(mitigation, ChipSpecific) != isinstance(mitigation, ChipAgnostic)
        assert isinstance(kind.needs, Needs) and kind.source and kind.__doc__
        again = revive(canonical(mitigation), [kind])
        assert again == mitigation and hash(again) == hash(mitigation)
        assert digest(again) == digest(mitigation)
        name = dataclasses.fields(mitigation)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(mitigation, name, getattr(mitigation, name))
        with pytest.raises(TypeError):
            kind(getattr(mitigation, name))  # by keyword only

    def test_another_configuration_is_another_value(self, mitigation):
        other = {bool: lambda v: not v, int: lambda v: v + 2, float: lambda v: v / 2}
        changed = 0
        for field in dataclasses.fields(mitigation):
            value = getattr(mitigation, field.name)
            if type(value) in other:
                new = dataclasses.replace(mitigation, **{field.name: other[type(value)](value)})
                assert digest(new) != digest(mitigation)
                changed += 1
        assert changed

    def test_what_it_does_not_declare_is_out_of_reach(self, mitigation):
        found = []
        deployed([peeking(mitigation, found)], FAULTY, Fidelity.LINEAR)
        assert found == ["looked"]

    def test_what_a_deployment_does_not_give_is_named(self, mitigation):
        asked = mitigation.needs & (Needs.MAP | Needs.INPUTS | Needs.LABELS)
        if not asked:
            return
        words = f"{mitigation.name()} needs .*{'.*'.join(n.name for n in asked)}"
        with pytest.raises(InputError, match=words):
            deployed([mitigation], FAULTY, Fidelity.IDEAL, known=Knowledge())

    def test_without_faults_and_wires_nothing_is_lost(self, mitigation):
        """Methods that use no data change nothing; those that learn may learn, and lose nothing."""
        chosen = plan(wires=PERFECT)
        before = map_on(chosen).on()
        after = deployed([mitigation], Chip(), Fidelity.LINEAR, chosen)[0].network.on()
        x = knowledge(Chip()).inputs
        if not mitigation.needs & (Needs.INPUTS | Needs.LABELS):
            with torch.no_grad():
                assert_close(after(x), before(x), ROUNDING)
        (loss, share), (then, share_then) = score(before), score(after)
        assert then <= loss + 0.05 and share_then >= share - 0.02

    def test_faults_stay_where_they_are(self, mitigation):
        before = map_on(plan())
        after = deployed([mitigation], FAULTY, Fidelity.LINEAR)[0].network
        assert list(after.programmes) == list(before.programmes)
        moved = 0
        for name, programme in before.programmes.items():
            then = after.programmes[name]
            assert then.placement.tiles == programme.placement.tiles
            for k in range(programme.placement.tiles):
                one, other = (FAULTY.tile(name, p, k) for p in (programme, then))
                assert one.faults.sha256 == other.faults.sha256
                stuck = one.faults.kind != 0
                assert np.array_equal(one.g_device[stuck], other.g_device[stuck])
                moved += np.count_nonzero(one.g_device[~stuck] != other.g_device[~stuck])
        assert moved or not mitigation.needs & (Needs.MAP | Needs.LABELS)

    def test_the_meter_says_whose_it_is(self, mitigation):
        found, bench = deployed([mitigation], FAULTY, Fidelity.LINEAR)
        assert list(found.spent) == [mitigation.name()]
        assert found.spent[mitigation.name()] == bench.meter.counts()
        spent = Meter(**bench.meter.counts())
        assert min(spent.counts().values()) >= 0 and spent.images >= spent.labels
        data = mitigation.needs & (Needs.INPUTS | Needs.LABELS)
        assert bool(spent.images) == bool(data)
        assert bool(spent.labels) == (Needs.LABELS in mitigation.needs)
        nothing, idle = deployed([], FAULTY, Fidelity.LINEAR)
        assert nothing.spent == {} and not any(idle.meter.counts().values())

    @pytest.mark.parametrize("fidelity", [Fidelity.IDEAL, Fidelity.LINEAR])
    def test_it_helps_and_repeats(self, mitigation, fidelity):
        chips = [dataclasses.replace(FAULTY, number=k) for k in range(3)]
        gained = 0.0
        for chip in chips:
            torch.manual_seed(chip.number)  # of no effect
            found = deployed([mitigation], chip, fidelity)[0].network
            gained += score(map_on(plan()).on(chip, fidelity))[0]
            gained -= score(found.on(chip, fidelity))[0]
        assert gained > 0.1
        torch.manual_seed(99)
        again = deployed([mitigation], chips[-1], fidelity)[0].network
        assert programmed(again) == programmed(found)

    def test_it_runs_on_cells_that_bend(self, mitigation):
        if Needs.CIRCUIT in mitigation.needs:
            return
        small = {"images": 24, "batch": 8, "epochs": 1}
        fields = {f.name for f in dataclasses.fields(mitigation)} & set(small)
        quick = dataclasses.replace(mitigation, **{name: small[name] for name in fields})
        chosen = bending_plan()
        found, _ = deployed([quick], FAULTY, Fidelity.NONLINEAR, chosen)
        x = knowledge(FAULTY).inputs[:4]
        assert found.network.on(FAULTY, Fidelity.NONLINEAR)(x).isfinite().all()

    def test_what_it_was_given_stays_as_it_is(self, mitigation):
        model, mapped = network(), map_on(plan())
        before = digest(dict(model.state_dict())), programmed(mapped)
        modes = [m.training for m in model.modules()]
        deployed([mitigation], FAULTY, Fidelity.LINEAR, model=model)
        assert (digest(dict(model.state_dict())), programmed(mapped)) == before
        assert [m.training for m in model.modules()] == modes
