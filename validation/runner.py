"""What a task does: a network deployed on its chip and measured."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from netlists.errors import InputError
from nnmap import Dataset, MappedNetwork, map_network
from nnmap.deploy import Deployed, deploy
from nnmap.fidelity.extraction import Extraction
from nnmap.mapping.plan import MappingPlan
from nnmap.measures.measure import Numbers, Setup, realised
from nnmap.mitigations import Bench, Knowledge, Mitigation, Needs, truth_of
from validation.campaign.task import Task
from validation.condition import SAMPLE_IMAGES, Condition
from validation.precision import images_of_chip
from validation.sources import NetworkIdentity, Source, fewer


@dataclass(frozen=True, kw_only=True)
class TaskRunner:
    """From a task to its numbers; travels to worker processes.

    sources: where each network comes from.  threads: that torch may use.
    device: where torch computes; what it is extracted from stays in main memory.
    """

    sources: Mapping[NetworkIdentity, Source] = field(repr=False)
    threads: int = 1
    device: str = "cpu"

    def __call__(self, task: Task[Condition]) -> Numbers:
        """The measure's numbers, what the chip was like, and what mitigations spent."""
        torch.set_num_threads(self.threads)
        condition = task.condition
        setup, deployed = self.deployed(condition, task.number)
        spent = {
            f"{name}.{what}": count
            for name, counts in (*deployed.spent.items(), *deployed.lasting.items())
            for what, count in counts.items()
        }
        return {
            **condition.measure.of(setup),
            "images": len(setup.images),
            **realised(deployed.network, setup.chip),
            **spent,
        }

    def deployed(self, condition: Condition, number: int) -> tuple[Setup, Deployed]:
        """The network on chip `number`, as its mitigations left it, and the chip's own images."""
        source = self.sources[condition.network]
        data = _data(source, _learns(condition.mitigations))
        chip = condition.chip_of(number)
        bench = Bench(chip, condition.fidelity, extraction=Extraction(), device=self.device)
        train_x, train_y = data.train_x.to(self.device), data.train_y.to(self.device)
        knowledge = Knowledge(map=truth_of(chip), inputs=train_x, labels=train_y)
        found = deploy(
            source.load(),
            condition.plan,
            condition.mitigations,
            knowledge,
            bench,
            rng=np.random.default_rng(0),
            sample=data.train_x[:SAMPLE_IMAGES],
            mapped=mapped_network(source, condition.plan),
        )
        total = len(data.test_x)
        if condition.images > total:
            raise InputError(
                f"images = {condition.images} test images are asked for, and {data.name!r} has "
                f"{total}."
            )
        chosen = torch.from_numpy(
            images_of_chip(condition.chip.seed, number, total, condition.images or total)
        )
        setup = Setup(
            network=found.network,
            chip=chip,
            fidelity=condition.fidelity,
            images=data.test_x[chosen].to(self.device),
            labels=data.test_y[chosen].to(self.device),
        )
        return setup, found


def _learns(mitigations: tuple[Mitigation, ...]) -> bool:
    """Whether training images are asked for beyond those that set converter ranges."""
    return any(m.needs & (Needs.INPUTS | Needs.LABELS) for m in mitigations)


@functools.lru_cache(maxsize=2)
def _data(source: Source, whole: bool) -> Dataset:
    data = source.data()
    return data if whole else fewer(data, SAMPLE_IMAGES)


@functools.lru_cache(maxsize=4)
def mapped_network(source: Source, plan: MappingPlan) -> MappedNetwork:
    """The network on tiles as it comes, before any mitigation."""
    sample = _data(source, False).train_x
    return map_network(source.load(), plan, rng=np.random.default_rng(0), sample=sample)
