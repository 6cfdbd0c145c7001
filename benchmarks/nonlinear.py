"""NONLINEAR against ngspice: speed on one tile, and a table of errors.

    python -m benchmarks.nonlinear                                 # speed
    python -m benchmarks.nonlinear --table benchmarks/nonlinear.csv   # errors, a few minutes

Nothing is asserted. Errors are of output currents relative to the largest of the tile; both solvers
get the same tiles and inputs (half binary, half uniform, up to the read voltage). LINEAR stands
beside it twice: every cell's secant at the read voltage, and at its operating point over 16 other
inputs of the same kind.
"""

import argparse
import csv
import itertools
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.operating_point import linearise_at
from circuitsim import compare, default_session, prepare_nonlinear, solve
from netlists import (
    Bsim4Nmos,
    Cell,
    Drive,
    FaultRates,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    inject,
    sample_faults,
)

CELLS: dict[str, Cell] = {
    "1R sinh": OneR(rram=SinhRram()),
    "1T1R level 1": OneTransistorOneR(),
    "1T1R BSIM4": OneTransistorOneR(nmos=Bsim4Nmos()),
    "1T1R BSIM4 1 kohm": OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3)),
    "1T1R BSIM4 sinh": OneTransistorOneR(nmos=Bsim4Nmos(), rram=SinhRram()),
    "1T2R BSIM4": OneTransistorTwoR(nmos=Bsim4Nmos()),
    # Gates near threshold: the transistor saturates within the read voltage.
    "1T1R level 1 at 0.5 V": OneTransistorOneR(v_gate=0.5),
    "1T1R BSIM4 at 0.6 V": OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.6),
    "1R Yakopcic": OneR(rram=YakopcicRram.hp_tio2()),
    "1T1R BSIM4 VTEAM": OneTransistorOneR(nmos=Bsim4Nmos(), rram=VteamRram()),
}
SIZES, SEGMENTS, RATES = (8, 16, 32, 64), (0.1, 1.0, 10.0), (0.0, 0.1, 0.3)
TABLE_INPUTS, FAST_INPUTS, OPERATING_INPUTS = 4, 256, 16
SPICE_INPUTS = 8, 40  # the time of their difference is free of loading the netlist


def tile_of(cell: Cell, n: int, *, segment: float, rate: float, seed: int = 0) -> Tile:
    """A third LRS, a third HRS, a third between (log-uniform); then stuck memories."""
    rng = np.random.default_rng(seed)
    spec = TileSpec(
        rows=n, cols=n, wires=Wires(r_row_segment=segment, r_col_segment=segment), cell=cell
    )
    low, high = cell.rram.g_hrs, cell.rram.g_lrs
    between = np.exp(rng.uniform(np.log(low), np.log(high), spec.g_shape))
    g = np.choose(rng.integers(0, 3, spec.g_shape), [low, high, between])
    faults = sample_faults(spec, FaultRates.from_ocr(rate, 1.0), rng=rng)
    return inject(Tile(spec=spec, g=g), faults)


def inputs_of(tile: Tile, batch: int, seed: int = 1) -> Drive:
    rng = np.random.default_rng(seed)
    shape = (batch // 2, tile.spec.rows)
    v = np.concatenate([rng.integers(0, 2, shape), rng.random(shape)])
    return Drive(v=tile.spec.v_read * v)


def write_table(path: Path) -> None:
    columns = (
        "cell",
        "size",
        "segment_ohm",
        "fault_rate",
        "nonlinear_max",
        "nonlinear_p99",
        "linear_max",
        "linear_p99",
        "operating_max",
        "operating_p99",
        "full_scale_A",
        "outcome",
    )
    worst: dict[str, tuple[float, float]] = {}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for name, n, segment, rate in itertools.product(CELLS, SIZES, SEGMENTS, RATES):
            tile = tile_of(CELLS[name], n, segment=segment, rate=rate)
            drive = inputs_of(tile, TABLE_INPUTS)
            spice, found = solve(tile, drive, "ngspice"), solve(tile, drive, "newton")
            near, far = compare(found, spice), compare(solve(tile, drive), spice)
            at_work = linearise_at(tile, inputs_of(tile, OPERATING_INPUTS, seed=2))
            own = compare(solve(at_work, drive), spice)
            errors = (near.max_relative, near.p99_relative, far.max_relative, far.p99_relative)
            errors += (own.max_relative, own.p99_relative)
            shown = [f"{value:.2e}" for value in (*errors, near.full_scale)]
            writer.writerow([name, n, segment, rate, *shown, found.outcome.name])
            file.flush()
            before = worst.get(name, (0.0, 0.0))
            worst[name] = max(before[0], errors[0]), max(before[1], errors[1])
            print(name, n, segment, rate, *shown, file=sys.stderr)
    for name, (most, p99) in worst.items():
        print(f"{name}: NONLINEAR against ngspice, max {most:.1e}, p99 {p99:.1e} of full scale")


def least_time(work: Callable[[], object], repeats: int) -> float:
    """Least seconds of some runs after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def show_speed() -> None:
    session = default_session()
    table = Table(title=f"milliseconds an input vector, least of 5 runs, {os.cpu_count()} cores")
    for column in (
        "cell",
        "tile",
        "currents only",
        "full solution",
        f"ngspice {session.version}, one load, without it",
        "ratio",
        "max error",
    ):
        table.add_column(column, justify="right")
    for name, n in itertools.product(CELLS, (64, 128)):
        tile = tile_of(CELLS[name], n, segment=1.0, rate=0.1)
        drive = inputs_of(tile, FAST_INPUTS)
        prepared = prepare_nonlinear(tile)
        ours = least_time(lambda p=prepared, d=drive: p.currents(d), 5) / FAST_INPUTS
        full = least_time(lambda p=prepared, d=drive: p.solve(d), 5) / FAST_INPUTS
        row = [name, f"{n}x{n}", f"{1e3 * ours:.2f}", f"{1e3 * full:.2f}"]
        if n == 64:
            times = []
            for batch in SPICE_INPUTS:
                some = inputs_of(tile, batch)
                start = time.perf_counter()
                spice = solve(tile, some, "ngspice")
                times.append(time.perf_counter() - start)
            theirs = (times[1] - times[0]) / (SPICE_INPUTS[1] - SPICE_INPUTS[0])
            error = compare(prepared.solve(some), spice).max_relative
            row += [f"{1e3 * theirs:.1f}", f"{theirs / full:.0f} x", f"{error:.1e}"]
        table.add_row(*row)
        print(*row, file=sys.stderr)
    Console(width=150).print(table)


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="write the table of errors to this CSV file")
    chosen = parser.parse_args()
    if chosen.table:
        write_table(chosen.table)
    else:
        show_speed()


if __name__ == "__main__":
    main()
