"""A torch network, a plan, mitigations and a chip -> the network as it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor, nn

from nnmap.mapping.plan import MappingPlan
from nnmap.mitigations.base import Mitigation, require_compatible
from nnmap.mitigations.bench import Bench, blind_to_wires, specs_of, with_specs
from nnmap.mitigations.known import Knowledge, Needs, known_by
from nnmap.network import MappedNetwork
from nnmap.to_tiles import map_network


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """A network as its mitigations left it.

    spent: what each mitigation took, by its name: see `Meter`.
    """

    network: MappedNetwork
    spent: dict[str, dict[str, int]]


def deploy(
    model: nn.Module,
    plan: MappingPlan,
    mitigations: Sequence[Mitigation],
    knowledge: Knowledge,
    bench: Bench,
    *,
    rng: np.random.Generator,
    sample: Tensor | None = None,
    mapped: MappedNetwork | None = None,
) -> Deployed:
    """Walk the mitigations through their stages: train, map, place, write, tune.

    mapped: what `map_network` gives for the model as it comes, where it is at hand already.

    Each sees of the knowledge what it declares, and the bench counts what it asks for. A method
    that does not declare WIRES works on a network with perfect wires.
    Raises InputError for mitigations that exclude each other or need what is not given.
    """
    chosen = tuple(mitigations)
    require_compatible(chosen)
    meter = bench.meter
    known = {m: known_by(m.name(), m.needs, knowledge, meter) for m in chosen}
    spent: dict[str, dict[str, int]] = {m.name(): dict.fromkeys(meter.counts(), 0) for m in chosen}

    def charge(one: Mitigation, before: dict[str, int]) -> None:
        for name, count in meter.since(before).items():
            spent[one.name()][name] += count

    given = model
    for one in chosen:
        before = meter.counts()
        model = one.train(model, known[one])
        charge(one, before)
    if mapped is None or model is not given:
        mapped = map_network(model, plan, rng=rng, sample=sample)
    network = mapped
    for one in chosen:
        before = meter.counts()
        network = _unless_wires(one, network, partial(one.place, known=known[one]))
        charge(one, before)
    bench.write(network)
    for one in chosen:
        before = meter.counts()
        seen = bench.seen_by(one.name(), one.needs)
        network = _unless_wires(one, network, partial(one.tune, known=known[one], bench=seen))
        bench.write(network)
        charge(one, before)
    return Deployed(network=network, spent=spent)


def _unless_wires(
    one: Mitigation, network: MappedNetwork, hook: Callable[[MappedNetwork], MappedNetwork]
) -> MappedNetwork:
    """What a hook makes of the network, which it sees without wires unless it declares them."""
    if Needs.WIRES in one.needs:
        return hook(network)
    return with_specs(hook(blind_to_wires(network)), specs_of(network))
