"""One tile of a run in full: its netlist, what ngspice prints for it, and its IR drop."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from circuitsim import solve
from netlists import Drive, Tile, build_circuit, to_spice
from netlists.spice import read_printed_currents

BATCH_TIMEOUT = 600.0


def batch_currents(netlist: Path, names: tuple[str, ...]) -> np.ndarray | None:
    """Currents that `ngspice -b` prints for this file, A; None without the program."""
    program = shutil.which("ngspice")
    if program is None:
        return None
    done = subprocess.run(
        [program, "-b", netlist.name],
        cwd=netlist.parent,
        capture_output=True,
        text=True,
        timeout=BATCH_TIMEOUT,
        check=False,
    )
    return read_printed_currents(done.stdout, names)


def make_tile_view(tile: Tile, folder: Path, *, caption: str) -> dict[str, Any]:
    """Write tile.cir with every row at the read voltage and describe it as data for the report.

    `drop` is the part of the read voltage that each cell loses to the wires [rows, cols].
    """
    spec = tile.spec
    drive = Drive(v=np.full(spec.rows, spec.v_read))
    circuit = build_circuit(tile, drive)
    netlist = folder / "tile.cir"
    netlist.write_text(to_spice(circuit))
    names = tuple(circuit.sources.names[k] for k in circuit.layout.outputs.tolist())
    fast = solve(tile, drive, "newton")
    printed = batch_currents(netlist, names)
    program = "ngspice -b tile.cir"
    if printed is None:
        printed = solve(tile, drive, solver="ngspice").i_out[0]
        program = "libngspice on the same netlist (no ngspice program was found)"
    drop = 1.0 - (fast.v_row[0] - fast.v_col[0]) / spec.v_read
    return {
        "caption": caption,
        "program": program,
        "names": list(names),
        "i_spice": printed.tolist(),
        "i_fast": fast.i_out[0].tolist(),
        "drop": np.round(drop, 6).tolist(),
        "power": float(fast.power[0]),
        "v_read": spec.v_read,
    }
