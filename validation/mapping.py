"""A checkpoint and a plan file -> its mapping table, its cost."""

import csv
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from netlists import InputError
from nnmap import MappedNetwork, MappingTable, load_checkpoint, map_network
from validation.files.base import read_array, require_checkpoint
from validation.files.plan_file import ModelSection, PlanFile
from validation.files.tile_section import tile_spec
from validation.modules import make_network

DRAWN = 32  # random inputs where the plan names no sample


def _sample(section: ModelSection, beside: Path) -> Tensor:
    if section.sample is None:
        drawn = np.random.default_rng(section.seed).random((DRAWN, *section.input))
        return torch.from_numpy(drawn).float()
    path = beside / section.sample
    values = read_array(path, "network.sample")
    if values.shape[1:] != section.input or not len(values):
        raise InputError(f"{path} has shape {values.shape} != (n, *input)=(*, {section.input}).")
    return torch.from_numpy(values).float()


def mapped_checkpoint(
    checkpoint: Path, plan: PlanFile, *, beside: Path
) -> tuple[MappedNetwork, Tensor]:
    """The checkpoint's network mapped as the plan says, and the sample that set its ranges.

    beside: folder that the plan's file names are relative to. Raises InputError for a checkpoint
    or a plan that does not fit.
    """
    made = make_network(plan.network.make, plan.network.arguments, beside=beside)
    require_checkpoint(checkpoint)
    model = load_checkpoint(made, checkpoint)
    mapping = plan.mapping.plan(tile_spec(plan.tile, plan.cell.build()))
    rng = np.random.default_rng(plan.network.seed)
    sample = _sample(plan.network, beside)
    return map_network(model, mapping, rng=rng, sample=sample), sample


def write_table(table: MappingTable, path: Path) -> None:
    """The table as CSV, one line per layer; raises InputError where it cannot be written."""
    lines = [asdict(row) for row in table.rows]
    for line in lines:
        line["groups"], line["inputs"], line["outputs"] = line.pop("matrix")
    try:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror}.") from None
