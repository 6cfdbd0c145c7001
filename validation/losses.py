"""What the fault-free circuits of a study lose, and to which cause."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from netlists.identity import digest
from nnmap import Fidelity, LossByCause, MappingPlan, loss_by_cause
from nnmap.measures.loss_by_cause import POINTS
from validation.campaign.store import Store
from validation.condition import Condition
from validation.runner import mapped_network
from validation.sources import NetworkIdentity, Source
from validation.study import Progress, Study

IMAGES = 500  # test images that a loss is measured on, evenly spread; a point is five of them


def losses(study: Study, store: Store, *, progress: Progress) -> list[dict[str, Any]]:
    """Every network on every plan of the study that is solved as a circuit, at LINEAR.

    Each with `network`, its name; `axes`, what sets the plan apart from the study's others; the
    fields of `LossByCause`; `total`, points; `sentence`, empty for a loss that needs none. What the
    store has is not measured again.
    """
    groups: dict[tuple[NetworkIdentity, MappingPlan], list[Condition]] = {}
    solved = [c for c in study.conditions if c.fidelity is not Fidelity.IDEAL]
    for condition in solved:
        groups.setdefault((condition.network, condition.plan), []).append(condition)
    shared = _shared(solved)
    found = []
    with progress("fault-free circuit", len(groups)) as done:
        for (network, plan), conditions in groups.items():
            key = f"loss {digest(network, plan)}"
            if store.meta(key) is None:
                store.set_meta(key, vars(_measured(study.sources[network], plan)))
            axes = {k: v for k, v in _shared(conditions).items() if k not in shared}
            found.append(_described(network.name, axes, LossByCause(**store.meta(key))))
            done(1)
    return found


def _measured(source: Source, plan: MappingPlan) -> LossByCause:
    data = source.data()
    count = min(IMAGES, len(data.test_x))
    some = torch.linspace(0, len(data.test_x) - 1, count).long()
    return loss_by_cause(mapped_network(source, plan), data.test_x[some], data.test_y[some])


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
        "total": loss.total,
        "sentence": f"{network}{f' ({labels})' if labels else ''}: {loss}."
        if loss.total > POINTS
        else "",
    }
