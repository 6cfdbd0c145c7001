"""Fault maps on disk: npz with a JSON sidecar (exact), and CSV (for people and other tools)."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap, FaultRates, sa_kinds

FORMAT = "xbarverify-faultmap-1"


def write_faultmap(faults: FaultMap, path: str | Path) -> Path:
    """Write `path`.npz and `path`.json; the sidecar holds rates, seed and SHA-256 in plain text."""
    npz = Path(path).with_suffix(".npz")
    realised = faults.realised
    sidecar = {
        "format": FORMAT,
        "shape": list(faults.kind.shape),
        "requested": asdict(faults.requested) if faults.requested else None,
        "realised": asdict(realised),
        "seed": faults.seed,
        "sha256": faults.sha256,
    }
    with npz.open("wb") as stream:
        np.savez_compressed(stream, kind=faults.kind)
    npz.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    return npz


def read_faultmap(path: str | Path) -> FaultMap:
    """Read what `write_faultmap` wrote; raises InputError when the two files do not match."""
    npz = Path(path).with_suffix(".npz")
    sidecar = json.loads(npz.with_suffix(".json").read_text())
    if sidecar.get("format") != FORMAT:
        raise InputError(f"{npz}: format {sidecar.get('format')!r} is not {FORMAT!r}.")
    requested = sidecar["requested"]
    with np.load(npz, allow_pickle=False) as stored:
        faults = FaultMap(
            kind=stored["kind"],
            requested=FaultRates(**requested) if requested else None,
            seed=sidecar["seed"],
        )
    if faults.sha256 != sidecar["sha256"]:
        raise InputError(
            f"{npz}: SHA-256 {faults.sha256[:12]}... differs from {sidecar['sha256'][:12]}... in "
            "its sidecar; the two files are not of one map."
        )
    return faults


def write_faultmap_csv(faults: FaultMap, path: str | Path) -> None:
    """Write one line per stuck memory: row, col, device, kind."""
    kind = faults.kind.reshape(*faults.kind.shape[:2], -1)
    with Path(path).open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["row", "col", "device", "kind"])
        for row, col, device in np.argwhere(kind).tolist():
            lines.writerow([row, col, device, FaultKind(kind[row, col, device]).name])


def read_faultmap_csv(
    path: str | Path, shape: tuple[int, ...], *, convention: str | None = None
) -> FaultMap:
    """Read a CSV of stuck memories onto an array of `shape` ([rows, cols] or [rows, cols, 2]).

    Kinds are STUCK_LRS and STUCK_HRS, or SA0 and SA1 under a named `convention`.
    Raises InputError on an unknown kind, SA0/SA1 without a convention, or a place off the array.
    """
    kind = np.zeros(shape, dtype=np.int8).reshape(*shape[:2], -1)
    with Path(path).open(newline="") as stream:
        for number, entry in enumerate(csv.DictReader(stream), start=2):
            place = (int(entry["row"]), int(entry["col"]), int(entry.get("device") or 0))
            if not all(0 <= k < n for k, n in zip(place, kind.shape, strict=True)):
                raise InputError(f"{path}, line {number}: {place} lies off the array {shape}.")
            kind[place] = _named_kind(entry["kind"].strip().upper(), convention, path, number)
    return FaultMap(kind=kind.reshape(shape))


def _named_kind(name: str, convention: str | None, path: str | Path, number: int) -> FaultKind:
    if name in ("SA0", "SA1"):
        return sa_kinds(convention)[int(name[-1])]
    if name not in FaultKind.__members__:
        raise InputError(
            f"{path}, line {number}: kind {name!r} is none of STUCK_LRS, STUCK_HRS, SA0, SA1."
        )
    return FaultKind[name]
