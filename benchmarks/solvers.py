"""Solvers side by side on one tile, in one run: `make bench`.

Prints medians and the ratio to the toolkit's operator. Nothing is asserted.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from circuitsim import default_session, effective_conductance, solve
from netlists import Drive, OhmicRram, OneR, Tile, TileSpec, Wires

SIZES = (16, 32, 64, 128)
SECONDS = 2.0  # time given to each measurement


def tile_of(n: int) -> Tile:
    """An n x n tile, half LRS 1 kohm and half HRS 1 Mohm, 1 ohm segments."""
    cell = OneR(rram=OhmicRram(r_lrs=1e3, r_hrs=1e6))
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    spec = TileSpec(rows=n, cols=n, wires=wires, cell=cell)
    on = np.random.default_rng(0).random((n, n)) < 0.5
    return Tile(spec=spec, g=np.where(on, 1e-3, 1e-6))


def median_time(work: Callable[[], object]) -> float:
    """Median seconds of as many runs as fit, at least one, after one that is not counted."""
    start = time.perf_counter()
    work()
    runs = max(1, min(100, int(SECONDS / (time.perf_counter() - start + 1e-9))))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    warnings.simplefilter("ignore")
    import badcrossbar

    session = default_session()
    table = Table(title=f"median milliseconds, float64, {os.cpu_count()} cores")
    columns = (
        "tile",
        "operator, ours",
        "badcrossbar, N basis inputs",
        "ratio",
        f"ngspice {session.version}, one input",
        "ratio",
        "solve, one input, ours",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for n in SIZES:
        tile = tile_of(n)
        one = Drive(v=np.full(n, 0.2))
        r = 1.0 / tile.g_device
        ours = median_time(lambda tile=tile: effective_conductance(tile))
        rival = median_time(
            lambda r=r, n=n: badcrossbar.compute(np.eye(n), r, 1.0, node_voltages=False)
        )
        spice = median_time(lambda tile=tile, one=one: solve(tile, one, "ngspice"))
        single = median_time(lambda tile=tile, one=one: solve(tile, one))
        cells = [ours, rival, rival / ours, spice, spice / ours, single]
        shown = [f"{c:.1f} x" if k in (2, 4) else f"{1e3 * c:.2f}" for k, c in enumerate(cells)]
        table.add_row(f"{n}x{n}", *shown)
        print(f"{n}x{n} done", file=sys.stderr)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
