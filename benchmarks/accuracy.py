"""What each trained network keeps of its accuracy on the way to tiles, on its whole test set.

    python -m benchmarks.accuracy [NAME ...] [--table benchmarks/accuracy.csv]

Four forms: plain torch as trained (from the manifest), plain torch with the weights of the paper's
plan, ideal tiles without converters, and with the plan's. The first three should agree within 0.2
points. "resnet20-public" is the checkpoint file that XBARVERIFY_RESNET20 names, with the plan of
"resnet20-cifar10". Needs the data sets.
"""

import argparse
import csv
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from netlists import InputError
from nnmap import load_checkpoint, measure_mapping, resnet20
from nnmap.measures.mapping_accuracy import FORMS
from nnmap.networks.pretrained import NETWORKS, images, manifest, plan, pretrained

PUBLIC = "resnet20-public"
LIMIT = 0.2  # points


def measure(name: str) -> dict[str, Any]:
    """One line of the table."""
    start = time.perf_counter()
    if name == PUBLIC:
        like, setting = "resnet20-cifar10", "public checkpoint"
        model = load_checkpoint(resnet20(), os.environ["XBARVERIFY_RESNET20"])
        found = measure_mapping(model, plan(like), images(like))
    else:
        like, setting = name, manifest(name)["setting"]
        model = pretrained(name)
        found = measure_mapping(model, plan(name), images(name))
        # What ships is rounded already; the manifest knows the accuracy before that.
        found = replace(found, unmapped=manifest(name)["test_accuracy"]["unmapped"])
    return {
        "network": name,
        "dataset": NETWORKS[like].dataset,
        "setting": setting,
        "parameters": sum(p.numel() for p in model.parameters()),
        **{form: f"{100 * getattr(found, form):.2f}" for form in FORMS},
        "spread_points": f"{100 * found.spread:.2f}",
        "adc_clipped": f"{found.adc_clipped:.1e}",
        "seconds": f"{time.perf_counter() - start:.0f}",
    }


def main(arguments: list[str]) -> None:
    known = [*NETWORKS, PUBLIC] if os.environ.get("XBARVERIFY_RESNET20") else list(NETWORKS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; all where left out")
    parser.add_argument("--table", type=Path, help="write the lines here as CSV")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in known]
    if unknown:
        raise InputError(f"network={unknown[0]!r} is not one of {', '.join(known)}.")
    lines = []
    for name in chosen.names or known:
        lines.append(measure(name))
        print(", ".join(f"{key} {value}" for key, value in lines[-1].items()), flush=True)
    table = Table(*lines[0])
    for line in lines:
        table.add_row(*map(str, line.values()))
    Console(width=160).print(table)
    apart = [line["network"] for line in lines if float(line["spread_points"]) > LIMIT]
    print(f"more than {LIMIT} points apart: {', '.join(apart) or 'none'}")
    if chosen.table:
        with chosen.table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as problem:
        sys.exit(str(problem))
