"""The structured solver beside every other way, in one run: `make bench`.

Tiles are half LRS 1 kohm, half HRS 1 Mohm with 1 ohm segments; times are medians in float64. What
each column computes is stated in its title: an operator holds the answer to every input, ngspice
solves one. Nothing is asserted.
"""

import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from circuitsim import compare, default_session, effective_conductance, prepare, solve
from circuitsim.dissection.merge_tree import arithmetic
from circuitsim.linear.nodal import effective_conductance_sparse
from netlists import Drive, OhmicRram, OneR, Tile, TileSpec, Wires

SIZES = (64, 128, 256)
GROWTH = (64, 128, 256, 512)
BATCH = 64
SECONDS = 3.0  # time given to each measurement

console = Console(width=150)


def tiles_of(n: int, count: int = 1) -> list[Tile]:
    """Random tiles on shared wires."""
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    cell = OneR(rram=OhmicRram(r_lrs=1e3, r_hrs=1e6))
    spec = TileSpec(rows=n, cols=n, wires=wires, cell=cell)
    rng = np.random.default_rng(0)
    return [Tile(spec=spec, g=rng.choice([1e-3, 1e-6], (n, n))) for _ in range(count)]


def median_time(work: Callable[[], object]) -> float:
    """Median seconds of as many runs as fit, at least one, after one that is not counted."""
    start = time.perf_counter()
    work()
    once = time.perf_counter() - start
    runs = max(1, min(200, int(SECONDS / (once + 1e-9))))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def dgemm_rate() -> float:
    """Double-precision matrix product of this machine, flop/s, all cores."""
    a = np.random.default_rng(0).random((1500, 1500))
    return 2 * 1500**3 / median_time(lambda: a @ a)


def side_by_side(rate: float) -> None:
    """Operator against sparse LU, badcrossbar and ngspice."""
    import badcrossbar

    version = default_session().version
    table = Table(title="one tile, ms (and times the structured operator)")
    for column in (
        "tile",
        "operator, ours",
        "of dgemm",
        "scipy LU + adjoint",
        "badcrossbar, N basis inputs",
        f"ngspice {version}, one input",
        "largest difference",
    ):
        table.add_column(column, justify="right")
    for n in SIZES:
        (tile,) = tiles_of(n)
        one = Drive(v=np.full(n, 0.2))
        r = 1.0 / tile.g_device
        ours = median_time(lambda tile=tile: effective_conductance(tile))
        rivals = [
            median_time(lambda tile=tile: effective_conductance_sparse(tile)),
            median_time(
                lambda r=r, n=n: badcrossbar.compute(np.eye(n), r, 1.0, node_voltages=False)
            ),
            median_time(lambda tile=tile, one=one: solve(tile, one, "ngspice")),
        ]
        apart = compare(solve(tile, one), solve(tile, one, "ngspice")).max_relative
        table.add_row(
            f"{n}x{n}",
            f"{1e3 * ours:.2f}",
            f"{arithmetic(n, n) / ours / rate:.0%}",
            *(f"{1e3 * rival:.0f} ({rival / ours:.0f} x)" for rival in rivals),
            f"{apart:.1e}",
        )
        print(f"{n}x{n} done", file=sys.stderr)
    console.print(table)


def growth(rate: float) -> None:
    """How time and arithmetic grow with the tile."""
    tiles = [tiles_of(n) for n in GROWTH]
    times = [median_time(lambda some=some: effective_conductance(some)) for some in tiles]
    slope = np.polyfit(np.log(GROWTH), np.log(times), 1)[0]
    for n, seconds in zip(GROWTH, times, strict=True):
        console.print(
            f"{n:4d}x{n}: {1e3 * seconds:8.2f} ms, {arithmetic(n, n) / n**3:.1f} n^3 flop, "
            f"{arithmetic(n, n) / seconds / rate:.0%} of dgemm ({rate / 1e9:.0f} Gflop/s)"
        )
    console.print(f"growth from {GROWTH[0]} to {GROWTH[-1]}: n^{slope:.2f}")
    batch = tiles_of(64, BATCH)
    each = median_time(lambda: effective_conductance(batch)) / BATCH
    console.print(f"{BATCH} tiles of 64x64 in one batch: {1e3 * each:.3f} ms per tile")


def beyond_the_operator() -> None:
    """Node voltages, changed cells and gradients on one factorisation."""
    from circuitsim.dissection import low_rank_operator, operator_vjp

    table = Table(title="on a prepared tile, ms")
    changed = (1, 8, 32, 128)
    for column in ("tile", "prepare", "64 inputs", "gradient", *(f"{k} cells" for k in changed)):
        table.add_column(column, justify="right")
    for n in SIZES:
        (tile,) = tiles_of(n)
        done = prepare(tile)
        rng = np.random.default_rng(1)
        drive = Drive(v=rng.random((64, n)))
        seed = rng.standard_normal((n, n))
        times = [
            median_time(lambda tile=tile: prepare(tile)),
            median_time(lambda done=done, drive=drive: done.solve(drive)),
            median_time(lambda done=done, seed=seed: operator_vjp(done.factorisation, seed)),
        ]
        for k in changed:
            where = np.stack(np.unravel_index(rng.choice(n * n, k, replace=False), (n, n)), axis=1)
            new = np.full(k, 1e-4)
            times.append(
                median_time(
                    lambda f=done.factorisation, where=where, new=new: low_rank_operator(
                        f, where, new
                    )
                )
            )
        table.add_row(f"{n}x{n}", *(f"{1e3 * seconds:.2f}" for seconds in times))
    console.print(table)


def peak_memory(n: int) -> float:
    """Peak resident bytes of a fresh process that extracts one n x n operator."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.solvers", "--peak", str(n)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Run everything, or print the peak memory of one extraction."""
    if sys.argv[1:2] == ["--peak"]:
        effective_conductance(tiles_of(int(sys.argv[2]))[0])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    warnings.simplefilter("ignore")
    import logging

    logging.disable(logging.INFO)  # badcrossbar narrates
    rate = dgemm_rate()
    console.print(f"{os.cpu_count()} cores, dgemm {rate / 1e9:.0f} Gflop/s")
    growth(rate)
    console.print(f"peak memory of a process at 512x512: {peak_memory(512) / 2**20:.0f} MiB")
    beyond_the_operator()
    side_by_side(rate)


if __name__ == "__main__":
    main()
