"""Fault maps and defects on disk: npz with a JSON sidecar (exact); stuck memories as CSV too."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from netlists.bridges import Bridge
from netlists.defect_rates import DefectRates
from netlists.defects import Defects
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap, FaultRates, sa_kinds

FORMAT = "xbarverify-faultmap-1"
DEFECTS_FORMAT = "xbarverify-defects-1"
PLANES = ("transistor", "open_row", "open_col", "open_gate")


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
    arrays: dict[str, Any] = {"kind": faults.kind}
    if faults.g_stuck is not None:
        arrays["g_stuck"] = faults.g_stuck
    return _write_pair(npz, arrays, sidecar)


def _write_pair(npz: Path, arrays: dict[str, Any], sidecar: dict[str, Any]) -> Path:
    with npz.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    npz.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n")
    return npz


def _read_sidecar(npz: Path, expected: str) -> dict[str, Any]:
    sidecar: dict[str, Any] = json.loads(npz.with_suffix(".json").read_text())
    if sidecar.get("format") != expected:
        raise InputError(f"{npz}: format {sidecar.get('format')!r} is not {expected!r}.")
    return sidecar


def _require_same(npz: Path, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{npz}: SHA-256 {found[:12]}... differs from {expected[:12]}... in its sidecar; the "
            "two files are not of one map."
        )


def read_faultmap(path: str | Path) -> FaultMap:
    """Read what `write_faultmap` wrote; raises InputError when the two files do not match."""
    npz = Path(path).with_suffix(".npz")
    sidecar = _read_sidecar(npz, FORMAT)
    requested = sidecar["requested"]
    with np.load(npz, allow_pickle=False) as stored:
        faults = FaultMap(
            kind=stored["kind"],
            g_stuck=stored.get("g_stuck"),
            requested=FaultRates(**requested) if requested else None,
            seed=sidecar["seed"],
        )
    _require_same(npz, faults.sha256, sidecar["sha256"])
    return faults


def write_defects(defects: Defects, path: str | Path) -> Path:
    """Write `path`.npz and `path`.json; the sidecar holds counts, rates, seed and SHA-256."""
    npz = Path(path).with_suffix(".npz")
    sidecar = {
        "format": DEFECTS_FORMAT,
        "shape": [defects.rows, defects.cols],
        "r_short": defects.r_short,
        "requested": asdict(defects.requested) if defects.requested else None,
        "counts": defects.counts(),
        "seed": defects.seed,
        "sha256": defects.sha256,
    }
    arrays = {name: getattr(defects, name) for name in PLANES} | {
        "bridge_kind": np.array([bridge.kind for bridge in defects.bridges], dtype="U6"),
        "bridge_at": np.array(
            [(bridge.row, bridge.col) for bridge in defects.bridges], dtype=np.int64
        ).reshape(-1, 2),
        "bridge_r": np.array([bridge.r for bridge in defects.bridges], dtype=np.float64),
    }
    return _write_pair(npz, arrays, sidecar)


def read_defects(path: str | Path) -> Defects:
    """Read what `write_defects` wrote; raises InputError when the two files do not match."""
    npz = Path(path).with_suffix(".npz")
    sidecar = _read_sidecar(npz, DEFECTS_FORMAT)
    requested = sidecar["requested"]
    with np.load(npz, allow_pickle=False) as stored:
        listed = (stored[name].tolist() for name in ("bridge_kind", "bridge_at", "bridge_r"))
        defects = Defects(
            rows=sidecar["shape"][0],
            cols=sidecar["shape"][1],
            **{name: stored[name] for name in PLANES},
            bridges=tuple(
                Bridge(kind=kind, row=i, col=j, r=r)
                for kind, (i, j), r in zip(*listed, strict=True)
            ),
            r_short=sidecar["r_short"],
            requested=DefectRates(**requested) if requested else None,
            seed=sidecar["seed"],
        )
    _require_same(npz, defects.sha256, sidecar["sha256"])
    return defects


def write_faultmap_csv(faults: FaultMap, path: str | Path) -> None:
    """Write one line per stuck memory: row, col, device, kind, and S where it holds its own."""
    kind = faults.kind.reshape(*faults.kind.shape[:2], -1)
    with Path(path).open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["row", "col", "device", "kind", "siemens"])
        for row, col, device in np.argwhere(kind).tolist():
            name = FaultKind(kind[row, col, device]).name
            state = ""
            if faults.g_stuck is not None:
                g = float(faults.g_stuck.reshape(kind.shape)[row, col, device])
                state = "" if np.isnan(g) else repr(g)
            lines.writerow([row, col, device, name, state])


def read_faultmap_csv(
    path: str | Path, shape: tuple[int, ...], *, convention: str | None = None
) -> FaultMap:
    """Read a CSV of stuck memories onto an array of `shape` ([rows, cols] or [rows, cols, 2]).

    Kinds are STUCK_LRS, STUCK_HRS and STUCK_AT with a conductance in a column `siemens`, or SA0 and
    SA1 under a named `convention`.
    Raises InputError on an unknown kind, SA0/SA1 without a convention, STUCK_AT without a
    conductance, or a place off the array.
    """
    kind = np.zeros(shape, dtype=np.int8).reshape(*shape[:2], -1)
    g_stuck = np.full(kind.shape, np.nan)
    with Path(path).open(newline="") as stream:
        for number, entry in enumerate(csv.DictReader(stream), start=2):
            place = (int(entry["row"]), int(entry["col"]), int(entry.get("device") or 0))
            if not all(0 <= k < n for k, n in zip(place, kind.shape, strict=True)):
                raise InputError(f"{path}, line {number}: {place} lies off the array {shape}.")
            kind[place] = _named_kind(entry["kind"].strip().upper(), convention, path, number)
            if entry.get("siemens"):
                g_stuck[place] = float(entry["siemens"])
    return FaultMap(kind=kind.reshape(shape), g_stuck=g_stuck.reshape(shape))


def _named_kind(name: str, convention: str | None, path: str | Path, number: int) -> FaultKind:
    if name in ("SA0", "SA1"):
        return sa_kinds(convention)[int(name[-1])]
    if name not in FaultKind.__members__:
        raise InputError(
            f"{path}, line {number}: kind {name!r} is none of STUCK_LRS, STUCK_HRS, STUCK_AT, "
            "SA0, SA1."
        )
    return FaultKind[name]
