"""Training of parts and through the circuit: what moves, what rests, on what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import Fidelity
from nnmap.mitigations import (
    BatchNormTraining,
    BatchNormTrainingThroughCircuit,
    BiasTraining,
    BiasTrainingThroughCircuit,
    Distillation,
    DistillationThroughCircuit,
    DropConnect,
    FineTuning,
    MaskedRetraining,
)
from tests.nnmap.mitigations.problem import (
    FAULTY,
    PERFECT,
    binary_network,
    deployed,
    knowledge,
    map_on,
    plan,
    score,
)

QUICK = {"epochs": 3, "batch": 32}


def state(found):
    return found.network.skeleton.state_dict()


def moved(found, before):
    """Names of what the digital layers hold that is not as it was."""
    old = before.skeleton.state_dict()
    return {
        name.split(".")[-1] for name, value in state(found).items() if not value.equal(old[name])
    }


@pytest.mark.parametrize("kind", [BatchNormTraining, BatchNormTrainingThroughCircuit])
def test_batch_norm_training_moves_batch_norms_alone(kind):
    before = map_on(plan())
    found, bench = deployed([kind(**QUICK)], FAULTY, Fidelity.LINEAR)
    norms = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert moved(found, before) == norms and bench.meter.writes == 0
    for name, periphery in found.network.peripheries.items():
        assert torch.equal(periphery.bias, before.peripheries[name].bias.to(periphery.bias))


@pytest.mark.parametrize("kind", [BiasTraining, BiasTrainingThroughCircuit])
def test_bias_training_moves_biases_and_gives_those_that_lack(kind):
    before = map_on(plan(), binary_network())
    assert all(p.bias is None for p in before.peripheries.values())
    found, bench = deployed([kind(**QUICK)], FAULTY, Fidelity.LINEAR, model=binary_network())
    assert moved(found, before) == {"running_mean", "running_var", "num_batches_tracked"}
    assert bench.meter.writes == 0
    assert all(float(p.bias.abs().max()) > 0 for p in found.network.peripheries.values())
    gained = score(before.on(FAULTY, Fidelity.LINEAR))[0]
    assert score(found.network.on(FAULTY, Fidelity.LINEAR))[0] < gained


def test_bias_training_takes_digital_convolutions_along():
    layers = nn.Unflatten(1, (2, 32)), nn.Conv1d(2, 3, 5, stride=4), nn.Flatten(), nn.Linear(21, 10)
    before = map_on(plan(digital=("1",)), nn.Sequential(*layers).eval())
    method = BiasTraining(**QUICK)
    chosen = list(method._parameters(before.trainable(FAULTY, Fidelity.IDEAL)))
    assert sorted(p.numel() for p in chosen) == [3, 10]


def test_without_batch_norms_there_is_nothing_to_train():
    model = nn.Sequential(nn.Linear(64, 10))
    with pytest.raises(InputError, match="no batch norms with a scale and a shift"):
        deployed([BatchNormTraining()], FAULTY, Fidelity.IDEAL, model=model)


@pytest.mark.parametrize(
    ("ideal", "circuit"),
    [
        (MaskedRetraining, FineTuning),
        (BatchNormTraining, BatchNormTrainingThroughCircuit),
        (BiasTraining, BiasTrainingThroughCircuit),
        (Distillation, DistillationThroughCircuit),
    ],
)
def test_through_the_circuit_wires_are_learnt_too(ideal, circuit):
    """On wires that take a good part of the voltage, the ideal matrix teaches the wrong thing."""
    wires = replace(PERFECT, r_row_segment=40.0, r_col_segment=25.0)
    chosen = plan(wires=wires)
    losses = [
        score(
            deployed([kind(**QUICK)], FAULTY, Fidelity.LINEAR, chosen)[0].network.on(
                FAULTY, Fidelity.LINEAR
            )
        )[0]
        for kind in (ideal, circuit)
    ]
    assert losses[1] < losses[0]


def test_at_ideal_both_are_one_training():
    """Without wires and converters in it the circuit is the ideal matrix."""
    chosen = plan(dac_bits=None, adc_bits=None)
    found = [
        deployed([kind(epochs=1, batch=64)], FAULTY, Fidelity.IDEAL, chosen)[0].network
        for kind in (MaskedRetraining, FineTuning)
    ]
    for name, programme in found[0].programmes.items():
        assert np.allclose(programme.weights, found[1].programmes[name].weights, atol=1e-5)


def test_distillation_needs_no_labels_and_comes_close_to_its_teacher():
    given = replace(knowledge(FAULTY), labels=None)
    found = deployed(
        [Distillation(epochs=8, batch=32, lr=0.01)], FAULTY, Fidelity.IDEAL, known=given
    )[0].network
    x = given.inputs
    with torch.no_grad():
        aim = map_on(plan()).on()(x).softmax(1)
        before, after = (
            float((n.on(FAULTY)(x).softmax(1) - aim).abs().mean()) for n in (map_on(plan()), found)
        )
    assert after < 0.5 * before


def test_the_circuit_is_read_for_each_image():
    bench = deployed([FineTuning(epochs=2, batch=64, images=128)], FAULTY, Fidelity.LINEAR)[1]
    tiles = sum(p.placement.tiles for p in map_on(plan()).programmes.values())
    assert bench.meter.reads == tiles * 128 * 2 and bench.meter.epochs == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: FineTuning(every=0),
        lambda: Distillation(temperature=0.0),
        lambda: BiasTraining(epochs=0),
        lambda: DistillationThroughCircuit(lr=-1.0),
    ],
)
def test_values_out_of_range_are_refused(make):
    with pytest.raises(InputError, match=r"(every|temperature|epochs|lr)="):
        make()


@pytest.mark.parametrize(
    "method", [MaskedRetraining(**QUICK), DropConnect(rate=0.1, **QUICK)], ids=lambda m: m.name()
)
@pytest.mark.parametrize("shift, told", [(7, "of 10 outputs"), (-3, "the class -")])
def test_labels_beyond_the_outputs_are_refused(method, shift, told):
    whole = knowledge(FAULTY)
    wrong = replace(whole, labels=whole.labels + shift)
    with pytest.raises(InputError, match=told):
        deployed([method], FAULTY, Fidelity.IDEAL, known=wrong)
