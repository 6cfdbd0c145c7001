"""Networks on stored chips give the numbers that were recorded; see `baseline`.

`adapter` alone knows how the package is asked.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from nnmap import MappedLayer
from tests.nnmap.baseline import adapter
from tests.nnmap.baseline.read import (
    NUMBERS_OF_LAYER,
    cases,
    checksum,
    recorded,
    shipped,
    summary,
)
from tests.tolerances import assert_close

CASES = {case.name: case for case in cases()}


def marks(case):
    return [pytest.mark.ngspice] if case.needs_ngspice else []


EVERY_CASE = [pytest.param(name, marks=marks(case)) for name, case in CASES.items()]
EVERY_READING = [
    pytest.param(name, fidelity, marks=marks(case))
    for name, case in CASES.items()
    for fidelity in case.fidelities
]


@cache
def found(name):
    return adapter.run(CASES[name])


def assert_checksum(values, expected, relative):
    actual = checksum(values)
    assert actual["shape"] == expected["shape"]
    for name in ("magnitudes", "sum", "weighted"):
        assert_close(actual[name], expected[name], relative, scale=expected["magnitudes"])
    assert_close(actual["squares"], expected["squares"], 2 * relative)
    largest = np.sqrt(expected["squares"])
    assert_close(actual["entries"], expected["entries"], relative, scale=largest)


def converted(clips, plan):
    """Recorded counts less those of converters that are not there, which were counted then."""
    absent = [part for part in ("dac", "adc") if plan[f"{part}_bits"] is None]
    none = {f"{part}_of": 0 for part in absent}
    return {layer: {**count, **none} for layer, count in clips.items()}


def assert_reading(actual, expected, relative, columns, plan):
    assert_close(actual.logits, expected.logits, relative)
    assert actual.clips == converted(expected.clips, plan)
    assert list(actual.currents) == list(expected.currents)
    for layer, i in expected.currents.items():
        assert_close(actual.currents[layer], i[..., columns[layer]], relative)


def read_columns(name):
    return {layer: list(one.read_columns) for layer, one in recorded(CASES[name]).layers.items()}


@pytest.mark.parametrize("name", EVERY_CASE)
def test_layers_are_mapped_as_recorded(name):
    actual, expected = found(name).layers, recorded(CASES[name]).layers
    relative = CASES[name].fidelities["ideal"]
    assert list(actual) == list(expected)
    for layer, one in expected.items():
        other = actual[layer]
        for number in ("kind", "matrix", "read_columns", *NUMBERS_OF_LAYER):
            assert getattr(other, number) == getattr(one, number), (layer, number)
        assert_close(other.scale, one.scale, relative)
        assert_close(other.x_max, one.x_max, relative)
        assert (other.i_max is None) == (one.i_max is None)
        if one.i_max is not None:
            assert_close(other.i_max, one.i_max, relative)
        assert_checksum(other.g, one.g, relative)
        assert_checksum(other.weights, one.weights, relative)


@pytest.mark.parametrize("name, fidelity", EVERY_READING)
def test_a_stored_chip_reads_as_recorded(name, fidelity):
    case = CASES[name]
    expected = recorded(case).readings[fidelity]
    assert_reading(
        found(name).readings[fidelity],
        expected,
        case.fidelities[fidelity],
        read_columns(name),
        case.plan,
    )


def test_one_other_memory_is_noticed():
    case = CASES["pair-faults-no-converters"]
    chip = case.chip["3"]
    kind = chip.kind.copy()
    kind[0, 0, 0] = 2 if kind[0, 0, 0] != 2 else 0
    other = replace(case, chip={**case.chip, "3": replace(chip, kind=kind)})
    actual, expected = adapter.run(other), recorded(case)
    for fidelity, reading in expected.readings.items():
        with pytest.raises(AssertionError):
            assert_reading(
                actual.readings[fidelity], reading, 1e-4, read_columns(case.name), case.plan
            )
    with pytest.raises(AssertionError):
        assert_checksum(actual.layers["3"].weights, expected.layers["3"].weights, 1e-4)


def test_stored_maps_are_lopsided_and_converters_saturate():
    kinds = {name: np.zeros(4, dtype=int) for name in CASES}
    for name, case in CASES.items():
        for chip in case.chip.values():
            if chip.kind is not None:
                kinds[name] += np.bincount(chip.kind.ravel(), minlength=4)
    total = sum(kinds.values())
    assert (total > 0).all()
    assert all(stuck[1] != stuck[2] for stuck in kinds.values() if stuck[1:].any())
    counts = [
        clips
        for case in CASES.values()
        for reading in recorded(case).readings.values()
        for clips in reading.clips.values()
    ]
    assert all(sum(count[part] for count in counts) > 0 for part in ("dac", "adc"))


@pytest.mark.data
@pytest.mark.ngspice
@pytest.mark.parametrize("fidelity", ["ideal", "linear"])
@pytest.mark.parametrize("kind", ["fault_free", "faulty"])
@pytest.mark.parametrize("name", ["bnn-mlp2-mnist", "lenet-mnist"])
def test_shipped_networks_answer_as_recorded(name, kind, fidelity, monkeypatch):
    stored = shipped()
    expected = stored["found"][name][kind][fidelity]
    # In one pass, currents in the middle between two codes may round the other way than step by
    # step: some tens among millions, which are ten times what rounding alone does to the sums.
    for tolerance in (10 * stored["tolerance"], stored["tolerance"]):
        actual = summary(*adapter.run_shipped(name, kind, fidelity))
        scale = tolerance * expected["magnitude"]
        assert_close(actual["logits"], expected["logits"], 1.0, scale=scale)
        assert (actual["correct"], actual["predictions"]) == (
            expected["correct"],
            expected["predictions"],
        )
        monkeypatch.setattr(MappedLayer, "_compiled", lambda self, x: None)
