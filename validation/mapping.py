"""A checkpoint and a plan file -> its mapping table, its cost."""

import csv
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from netlists import InputError
from nnmap import (
    MappingTable,
    alexnet,
    bnn_mlp,
    bnn_vgg,
    convnet_quick,
    lenet,
    lenet_caffe,
    lenet_remeco,
    load_checkpoint,
    map_network,
    mlp,
    mobilenet_v2,
    resnet20,
    vgg13,
)
from validation.files.network_section import OwnSection
from validation.files.own_code import call_own
from validation.files.plan_file import ModelSection, PlanFile
from validation.files.tile_section import tile_spec

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": alexnet,
    "bnn_mlp": bnn_mlp,
    "bnn_vgg": bnn_vgg,
    "convnet_quick": convnet_quick,
    "lenet": lenet,
    "lenet_caffe": lenet_caffe,
    "lenet_remeco": lenet_remeco,
    "mlp": mlp,
    "mobilenet_v2": mobilenet_v2,
    "resnet20": resnet20,
    "vgg13": vgg13,
}
DRAWN = 32  # random inputs where the plan names no sample


def make_network(section: ModelSection | OwnSection, *, beside: Path) -> nn.Module:
    """The module that [network] describes, with fresh weights.

    beside: folder from which one's own functions are imported.
    Raises InputError for an unknown name or arguments that it does not take.
    """
    if ":" in section.make:
        model = call_own(section.make, section.arguments, folder=beside, key="network.make")
    elif section.make in NETWORKS:
        try:
            model = NETWORKS[section.make](**section.arguments)
        except TypeError as problem:
            raise InputError(f"network.arguments do not fit {section.make}: {problem}.") from None
    else:
        raise InputError(
            f"network.make={section.make!r} is not one of {', '.join(NETWORKS)}, "
            "nor package.module:function."
        )
    if not isinstance(model, nn.Module):
        raise InputError(f"network.make={section.make!r} gave no torch module.")
    return model


def _sample(section: ModelSection, beside: Path) -> Tensor:
    if section.sample is None:
        drawn = np.random.default_rng(section.seed).random((DRAWN, *section.input))
        return torch.from_numpy(drawn).float()
    path = beside / section.sample
    try:
        values = np.load(path)
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} is no .npy file of inputs: {problem}.") from None
    if values.shape[1:] != section.input or not len(values):
        raise InputError(f"{path} has shape {values.shape} != (n, *input)=(*, {section.input}).")
    return torch.from_numpy(values).float()


def mapped_checkpoint(
    checkpoint: Path, plan: PlanFile, *, beside: Path
) -> tuple[nn.Module, Tensor]:
    """The checkpoint's network mapped as the plan says, and the sample that set its ranges.

    beside: folder that the plan's file names are relative to. Raises InputError for a checkpoint
    or a plan that does not fit.
    """
    model = load_checkpoint(make_network(plan.network, beside=beside), checkpoint)
    mapping = plan.mapping.plan(tile_spec(plan.tile, plan.cell.build()))
    rng = np.random.default_rng(plan.network.seed)
    sample = _sample(plan.network, beside)
    return map_network(model, mapping, rng=rng, sample=sample), sample


def write_table(table: MappingTable, path: Path) -> None:
    """The table as CSV, one line a layer; raises InputError where it cannot be written."""
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
