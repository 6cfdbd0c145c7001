"""What the fault-free circuits of a study lose, and to which cause."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nnmap import Fidelity
from nnmap.measures.loss_by_cause import POINTS, LossByCause, loss_by_cause
from validation.condition import Condition
from validation.runner import mapped_network
from validation.study import Progress, Study

IMAGES = 500  # test images that a loss is measured on, evenly spread; a point is five of them


def losses(study: Study, *, progress: Progress) -> list[dict[str, Any]]:
    """Every network on every plan of the study that is solved as a circuit, at LINEAR.

    Each with `network`, its name; `axes`, what sets the plan apart from the study's others; the
    fields of `LossByCause`; `points`, by cause; and `sentence`, empty for a loss that needs none.
    """
    groups: dict[Any, list[Condition]] = {}
    solved = [c for c in study.conditions if c.fidelity is not Fidelity.IDEAL]
    for condition in solved:
        groups.setdefault((condition.network, condition.plan), []).append(condition)
    shared = _shared(solved)
    found = []
    with progress("fault-free circuit", len(groups)) as done:
        for (network, plan), conditions in groups.items():
            source = study.sources[network]
            data = source.data()
            count = min(IMAGES, len(data.test_x))
            some = torch.linspace(0, len(data.test_x) - 1, count).long()
            loss = loss_by_cause(mapped_network(source, plan), data.test_x[some], data.test_y[some])
            axes = {k: v for k, v in _shared(conditions).items() if k not in shared}
            found.append(_described(network.name, axes, loss))
            done(1)
    return found


def _shared(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Axes on which all of these have one value."""
    first = conditions[0].axes if conditions else {}
    return {k: v for k, v in first.items() if all(c.axes.get(k) == v for c in conditions)}


def _described(network: str, axes: Mapping[str, Any], loss: LossByCause) -> dict[str, Any]:
    labels = ", ".join(f"{axis} = {value}" for axis, value in axes.items())
    return {
        "network": network,
        "axes": labels,
        **vars(loss),
        "points": loss.points,
        "total": loss.total,
        "sentence": f"{network}{f' ({labels})' if labels else ''}: {loss}."
        if loss.total > POINTS
        else "",
    }
