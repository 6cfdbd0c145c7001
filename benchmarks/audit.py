"""Every shipped network against ngspice, on tiles of bare memories and of 1T1R cells.

    python -m benchmarks.audit [NETWORK...] [-o benchmarks/audit.csv]

Each network is mapped by its plan, once with ohmic memories alone and once with access transistors;
32 tile inputs of test images are solved again on the tiles' netlists. Errors are in steps of an
8-bit converter over the layer's range. Needs ngspice and the data sets.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from netlists import Cell, InputError, OhmicRram, OneR, OneTransistorOneR
from nnmap import MappingPlan, map_network
from nnmap.networks.pretrained import NETWORKS, images, plan, pretrained
from validation.audit.network import audit_network

READS, SAMPLE, IMAGES = 32, 128, 256
COLUMNS = (
    "network",
    "cell",
    "tile",
    "segment_ohm",
    "reads",
    "currents",
    "nonlinear_max_steps",
    "linear_p99_steps",
    "linear_max_steps",
    "ideal_max_steps",
    "solver",
    "verdict",
)


def shipped(name: str) -> tuple[nn.Module, MappingPlan, Tensor, Tensor]:
    """(network, plan, images that set converter ranges, images that are audited)."""
    data = images(name)
    return pretrained(name), plan(name), data.train_x[:SAMPLE], data.test_x[:IMAGES]


def variants(own: MappingPlan) -> Iterator[tuple[str, MappingPlan]]:
    """The plan with bare memories, and with one transistor each."""
    rram = OhmicRram(r_lrs=own.spec.cell.rram.r_lrs, r_hrs=own.spec.cell.rram.r_hrs)
    cells: dict[str, Cell] = {"1R": OneR(rram=rram), "1T1R": OneTransistorOneR(rram=rram)}
    for name, cell in cells.items():
        yield name, replace(own, spec=replace(own.spec, cell=cell))


def audit(name: str, progress: Progress) -> Iterator[dict[str, object]]:
    model, own, sample, test = shipped(name)
    for cell, chosen in variants(own):
        bar = progress.add_task(f"{name} {cell}", total=READS)
        network = map_network(model, chosen, rng=np.random.default_rng(0), sample=sample)
        found = audit_network(
            network, test, reads=READS, on_done=lambda n, bar=bar: progress.advance(bar, n)
        )
        spec = chosen.spec
        yield {
            "network": name,
            "cell": cell,
            "tile": f"{spec.rows}x{spec.cols}",
            "segment_ohm": float(np.max(spec.wires.r_row_segment)),
            "reads": found.reads,
            "currents": found.currents,
            "nonlinear_max_steps": f"{found.nonlinear_max:.1e}",
            "linear_p99_steps": f"{found.linear_p99:.1e}",
            "linear_max_steps": f"{found.linear_max:.1e}",
            "ideal_max_steps": f"{found.ideal_max:.1f}",
            "solver": found.solver,
            "verdict": found.verdict,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="networks; all where left out")
    parser.add_argument("-o", type=Path, help="write the table to this CSV file")
    chosen = parser.parse_args()
    table = Table(*COLUMNS)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(transient=True))
        writer = None
        if chosen.o:
            file = stack.enter_context(chosen.o.open("w", newline=""))
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
        for name in chosen.names or NETWORKS:
            for row in audit(name, progress):
                table.add_row(*[str(row[column]) for column in COLUMNS])
                if writer:  # a long run leaves what it has
                    writer.writerow(row)
                    file.flush()
    Console(width=200).print(table)


if __name__ == "__main__":
    try:
        main()
    except InputError as problem:
        sys.exit(str(problem))
