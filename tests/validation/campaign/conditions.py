"""Conditions and runners of the campaign's tests; importable by worker processes."""

import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from validation.campaign.task import Task, Versions

VERSIONS = Versions(
    program="0.1", python="3.11.7", numpy="2.4.6", scipy="1.17.1", torch="2.13.0", pyspice="1.5",
    ngspice="46",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    g: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class Condition:
    rate: float
    cell: Cell = Cell()
    axes: Mapping[str, float | int | str] = field(default_factory=dict)


def tasks(*, rates=(0.1,), chips=3, versions=VERSIONS):
    return [
        Task(condition=Condition(rate=rate), number=number, versions=versions)
        for rate in rates
        for number in range(chips)
    ]


def measured(task):
    """A runner: numbers that the task alone determines."""
    rng = np.random.default_rng([task.number, round(task.condition.rate * 1000)])
    return {"accuracy": float(rng.normal(0.9 - task.condition.rate, 0.03)), "images": 1000}


def failing_on_odd(task):
    if task.number % 2:
        raise ValueError(f"chip {task.number}\ncannot be read")
    return measured(task)


@dataclass(frozen=True)
class Logged:
    """A runner that leaves a file per call, takes a while, and may kill its process once."""

    folder: Path
    seconds: float = 0.0
    kills: int | None = None
    raises: type[BaseException] | None = None

    def __call__(self, task):
        mark = self.folder / f"{task.condition.rate}-{task.number}"
        with mark.open("a") as file:
            file.write("x")
        if task.number == self.kills and mark.stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        if self.raises and task.number == 2:
            raise self.raises
        return measured(task)

    def calls(self):
        return {file.name: file.stat().st_size for file in self.folder.iterdir()}


def strange(task):
    return {"nan": math.nan, "inf": -math.inf, "label": "π", "whole": 2**60, "zero": -0.0}
