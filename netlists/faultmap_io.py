"""Fault maps and defects on disk: npz with a JSON sidecar (exact); stuck memories as CSV too."""

import csv
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from netlists.bridges import Bridge
from netlists.defect_rates import DefectRates
from netlists.defects import Defects
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap, FaultRates, sa_kinds

FORMAT = "xbarverify-faultmap-1"
DEFECTS_FORMAT = "xbarverify-defects-1"
PLANES = ("transistor", "open_row", "open_col", "open_gate")
NEEDED, OPTIONAL = ("row", "col", "kind"), ("device", "siemens")  # columns of a CSV
LARGEST = 2**24  # entries of an array in a file; a tile has far fewer

Map = TypeVar("Map", FaultMap, Defects)
Arrays = Mapping[str, np.ndarray]


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


def _read_pair(
    path: str | Path, expected: str, make: Callable[[Arrays, dict[str, Any]], Map]
) -> Map:
    """The map that `make` finds in the two files; whatever is wrong with them is an InputError."""
    npz = Path(path).with_suffix(".npz")
    sidecar = _read_sidecar(npz.with_suffix(".json"), expected)
    arrays = _read_arrays(npz)
    try:
        found = make(arrays, sidecar)
        stated = str(sidecar["sha256"])
    except InputError as problem:
        raise InputError(f"{npz}: {problem}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as problem:
        raise InputError(
            f"{npz} or its sidecar is damaged ({type(problem).__name__}: {problem}); write the map "
            "again."
        ) from None
    if found.sha256 != stated:
        raise InputError(
            f"{npz}: SHA-256 {found.sha256[:12]}... differs from {stated[:12]!r}... in its "
            "sidecar; the two files are not of one map."
        )
    return found


def _read_sidecar(path: Path, expected: str) -> dict[str, Any]:
    try:
        sidecar = json.loads(path.read_bytes())
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}.") from None
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path} is no JSON: {problem}; write the map again.") from None
    found = sidecar.get("format") if isinstance(sidecar, dict) else None
    if found != expected:
        raise InputError(f"{path}: format {found!r} is not {expected!r}.")
    return dict(sidecar)


def _read_arrays(npz: Path) -> dict[str, np.ndarray]:
    found = {}
    try:
        with zipfile.ZipFile(npz) as archive:
            for entry in archive.infolist():
                # The header says how much there is to make room for, before it is made.
                with archive.open(entry) as stream:
                    _require_room(stream)
                with archive.open(entry) as stream:
                    name = entry.filename.removesuffix(".npy")
                    found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{npz} does not exist.") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        SyntaxError,
        EOFError,
        MemoryError,
        RecursionError,
        RuntimeError,  # an encrypted entry
        NotImplementedError,  # a method of compression
        zipfile.BadZipFile,
        zlib.error,
    ) as problem:
        words = " ".join(str(problem).split())
        raise InputError(f"{npz} is damaged or no npz file ({words}); write it again.") from None
    return found


def _require_room(stream: Any) -> None:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"an array of version {version}")
    shape, _, dtype = read[version](stream)
    if min(shape, default=0) < 0 or np.prod([int(n) for n in shape], dtype=object) > LARGEST:
        raise ValueError(f"an array of shape {shape}")
    if dtype.itemsize > 64:
        raise ValueError(f"an array of {dtype}")


def read_faultmap(path: str | Path) -> FaultMap:
    """Read what `write_faultmap` wrote.

    Raises InputError when a file is missing or damaged, or the two do not match.
    """

    def make(arrays: Arrays, sidecar: dict[str, Any]) -> FaultMap:
        requested = sidecar["requested"]
        return FaultMap(
            kind=arrays["kind"],
            g_stuck=arrays.get("g_stuck"),
            requested=FaultRates(**requested) if requested else None,
            seed=str(sidecar["seed"]),
        )

    return _read_pair(path, FORMAT, make)


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
    """Read what `write_defects` wrote.

    Raises InputError when a file is missing or damaged, or the two do not match.
    """

    def make(arrays: Arrays, sidecar: dict[str, Any]) -> Defects:
        requested = sidecar["requested"]
        listed = (arrays[name].tolist() for name in ("bridge_kind", "bridge_at", "bridge_r"))
        rows, cols = sidecar["shape"]
        return Defects(
            rows=rows,
            cols=cols,
            **{name: arrays[name] for name in PLANES},
            bridges=tuple(
                Bridge(kind=kind, row=i, col=j, r=r)
                for kind, (i, j), r in zip(*listed, strict=True)
            ),
            r_short=sidecar["r_short"],
            requested=DefectRates(**requested) if requested else None,
            seed=str(sidecar["seed"]),
        )

    return _read_pair(path, DEFECTS_FORMAT, make)


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

    Its first line names the columns row, col and kind, and where they are given device (0 where
    not) and siemens. Kinds are STUCK_LRS, STUCK_HRS and STUCK_AT with a conductance in S, or SA0
    and SA1 under a named convention.

    Raises InputError on a missing or other header, an unknown kind, SA0/SA1 without a convention,
    STUCK_AT without a conductance, what is no number, a place off the array or given twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        lines = list(csv.reader(text.splitlines(keepends=True), strict=True))
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path} is no CSV file: {problem}.") from None
    columns = _columns(path, lines[0] if lines else [])
    kind = np.zeros(shape, dtype=np.int8).reshape(*shape[:2], -1)
    g_stuck = np.full(kind.shape, np.nan)
    seen: dict[tuple[int, ...], int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        where = f"{path}, line {number}"
        if len(line) != len(columns):
            raise InputError(f"{where} has {len(line)} values for {len(columns)} columns.")
        entry = dict(zip(columns, (value.strip() for value in line), strict=True))
        place = _place(entry, kind.shape, shape, where)
        if place in seen:
            raise InputError(
                f"{where}: {place} was given in line {seen[place]} already; a memory has one state."
            )
        seen[place] = number
        kind[place] = _named_kind(entry["kind"].upper(), convention, where)
        if entry.get("siemens"):
            g_stuck[place] = _conductance(entry["siemens"], where)
        elif kind[place] == FaultKind.STUCK_AT:
            raise InputError(f"{where}: STUCK_AT needs a conductance in a column 'siemens'.")
    return FaultMap(kind=kind.reshape(shape), g_stuck=g_stuck.reshape(shape))


def _columns(path: str | Path, header: list[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        found = f"is {', '.join(header)[:80]!r}" if header else "is missing"
        raise InputError(
            f"{path}: the first line names the columns row, col, kind and, where they are needed, "
            f"device and siemens; it {found}."
        )
    for name in columns:
        if name not in (*NEEDED, *OPTIONAL) or columns.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} is unknown or there twice; drop it.")
    return columns


def _place(
    entry: Mapping[str, str], devices: tuple[int, ...], shape: tuple[int, ...], where: str
) -> tuple[int, ...]:
    found = []
    for name, size in zip(("row", "col", "device"), devices, strict=True):
        written = entry.get(name) or ("0" if name == "device" else "")
        if not (written.isascii() and written.lstrip("-").isdigit()) or len(written) > 18:
            raise InputError(f"{where}: {name} {written!r} is no whole number.")
        found.append(int(written))
        if not 0 <= found[-1] < size:
            raise InputError(f"{where}: {name} {found[-1]} lies off the array {shape}.")
    return tuple(found)


def _conductance(written: str, where: str) -> float:
    try:
        g = float(written)
    except ValueError:
        g = np.nan
    if not (np.isfinite(g) and g >= 0):
        raise InputError(f"{where}: siemens {written!r} is no conductance of at least 0 S.")
    return g


def _named_kind(name: str, convention: str | None, where: str) -> FaultKind:
    if name in ("SA0", "SA1"):
        return sa_kinds(convention)[int(name[-1])]
    if name not in FaultKind.__members__ or name == FaultKind.NONE.name:
        raise InputError(
            f"{where}: kind {name!r} is none of STUCK_LRS, STUCK_HRS, STUCK_AT, SA0, SA1."
        )
    return FaultKind[name]
