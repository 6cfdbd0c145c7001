"""What may be known is what was declared, offered and counted."""

import pytest
import torch

from netlists import InputError
from nnmap import MeasuredChip
from nnmap.mitigations import Knowledge, Meter, Needs
from nnmap.mitigations.known import known_by

X, Y = torch.arange(12.0).view(6, 2), torch.arange(6)
ALL = Knowledge(map=MeasuredChip(faults={}), inputs=X, labels=Y)


def test_a_method_gets_what_it_declares_and_the_meter_notes_it():
    meter = Meter()
    known = known_by("method", Needs.MAP | Needs.LABELS, ALL, meter)
    assert known.map() is ALL.map
    x, y = known.labelled(4)
    assert torch.equal(x, X[:4]) and torch.equal(y, Y[:4])
    assert (meter.images, meter.labels) == (4, 4)
    assert torch.equal(known.inputs(0), X)  # images of labelled ones need no declaration of theirs
    assert (meter.images, meter.labels) == (6, 4)
    known.inputs(2)
    assert (meter.images, meter.labels) == (6, 4)  # shown before


@pytest.mark.parametrize(
    "needs, ask, named",
    [
        (Needs.INPUTS, lambda known: known.map(), "MAP"),
        (Needs.MAP, lambda known: known.inputs(1), "INPUTS"),
        (Needs.INPUTS, lambda known: known.labelled(1), "LABELS"),
        (Needs.NOTHING, lambda known: known.inputs(0), "INPUTS"),
    ],
)
def test_what_was_not_declared_is_refused_by_name(needs, ask, named):
    meter = Meter()
    with pytest.raises(InputError, match=f"nosy asks for {named}, which it does not declare"):
        ask(known_by("nosy", needs, ALL, meter))
    assert not any(meter.counts().values())


@pytest.mark.parametrize(
    "knowledge, needs, named",
    [
        (Knowledge(), Needs.MAP | Needs.INPUTS, "MAP, INPUTS"),
        (Knowledge(inputs=X), Needs.INPUTS | Needs.LABELS, "LABELS"),
        (Knowledge(map=ALL.map), Needs.LABELS, "LABELS"),
    ],
)
def test_what_is_not_offered_is_refused_at_once(knowledge, needs, named):
    with pytest.raises(InputError, match=f"method needs {named}, which this deployment"):
        known_by("method", needs, knowledge, Meter())
    known_by("method", Needs.WIRES | Needs.CIRCUIT, knowledge, Meter())  # the bench's


def test_more_images_than_there_are_and_fewer_than_none():
    known = known_by("method", Needs.LABELS, ALL, Meter())
    for count in (7, -1):
        for ask in (known.inputs, known.labelled):
            with pytest.raises(InputError, match=f"method asks for {count} images, of which"):
                ask(count)


@pytest.mark.parametrize("x, y", [(X, Y[:5]), (None, Y)])
def test_labels_belong_to_images(x, y):
    with pytest.raises(InputError, match=f"{len(y)} labels for"):
        Knowledge(inputs=x, labels=y)
