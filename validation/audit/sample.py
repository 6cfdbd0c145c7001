"""Which reads of a study are audited, and what an audit of one finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlists.identity import digest
from nnmap import Fidelity, mapped_layers
from nnmap.measures.measure import Numbers
from nnmap.watch import input_of
from validation.audit.tile_read import read_in_spice
from validation.campaign.task import Task, Versions
from validation.condition import Condition
from validation.runner import TaskRunner


@dataclass(frozen=True, kw_only=True)
class AuditedRead:
    """One read to audit: chip `number` of a condition, and a draw that picks the rest of it.

    seed, draw: what picks image, layer and tile among those of the deployed network.
    """

    condition: Condition
    number: int
    seed: int
    draw: int

    @property
    def id(self) -> str:
        """Digest of everything that determines the result."""
        task = Task(condition=self.condition, number=self.number, versions=Versions.here())
        return digest("audit", task.id, self.seed, self.draw)


def choose_reads(
    conditions: Sequence[Condition], *, chips: int, count: int, seed: int
) -> list[AuditedRead]:
    """`count` reads over the conditions at LINEAR, or without any those at NONLINEAR.

    chips: how many of each condition there are.
    """
    rng = np.random.default_rng(seed)
    solved: list[Condition] = []
    for fidelity in (Fidelity.LINEAR, Fidelity.NONLINEAR):
        solved = solved or [c for c in conditions if c.fidelity is fidelity]
    return [
        AuditedRead(
            condition=solved[rng.integers(len(solved))],
            number=int(rng.integers(chips)),
            seed=seed,
            draw=draw,
        )
        for draw in range(count if solved else 0)
    ]


def audit_read(read: AuditedRead, runner: TaskRunner) -> Numbers:
    """Error of one read against ngspice on the netlist of that very tile, transistors included.

    The chip is deployed again, mitigations included, and runs its image at the condition's
    fidelity. Tiles weigh the same.
    """
    setup, _ = runner.deployed(read.condition, read.number)
    chip = setup.running()
    layers = mapped_layers(chip)
    rng = np.random.default_rng(np.random.SeedSequence(read.seed, spawn_key=(read.draw,)))
    places = [(name, k) for name, x in layers.items() for k in range(x.programme.placement.tiles)]
    name, tile = places[rng.integers(len(places))]
    image = int(rng.integers(len(setup.images)))
    x = input_of(chip, layers, name, setup.images[image : image + 1])
    layer = layers[name]
    found = read_in_spice(layer, x, tile)
    worst, step = float(found.error.max()), layer.adc.step
    return {
        "fidelity": read.condition.fidelity.value,
        "layer": name,
        "tile": tile,
        "image": image,
        "columns": len(found.columns),
        "full_scale": found.full_scale,
        "largest_current": float(found.i_spice.max()),
        "max_relative": worst,
        "mean_relative": float(found.error.mean()),
        "max_adc_steps": float("nan") if np.isnan(step) else worst * found.full_scale / step,
        "ideal_max_relative": float(found.error_of(found.ideal).max()),
        "solver": found.solver,
    }


def audit(
    reads: Sequence[AuditedRead],
    runner: TaskRunner,
    known: Mapping[str, Any],
    *,
    keep: Callable[[str, Numbers], None],
    on_failure: Callable[[Exception], None],
    on_done: Callable[[int], None] = lambda more: None,
) -> list[Numbers]:
    """The results of all reads, in order; those not known by id are audited and kept.

    on_failure: hears why a read could not be audited; the others go on.
    """
    found = []
    for read in reads:
        value = known.get(read.id)
        if value is None:
            try:
                value = audit_read(read, runner)
            except Exception as problem:  # of a chip that failed, also a user's own
                on_failure(problem)
            else:
                keep(read.id, value)
        if value is not None:
            found.append(value)
        on_done(1)
    return found
