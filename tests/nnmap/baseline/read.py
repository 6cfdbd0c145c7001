"""The recorded cases as plain values: what went in, and what came out.

Recorded at commit 7cc3c08, before programmes, chips and fidelities came apart, with maps stored
memory by memory. `cases.npz` holds the arrays and `cases.json` everything else. Nothing here knows
how a network is mapped; torch is needed for `Case.network` alone. Sizes:

    tiles     tiles of a layer, bundle by bundle in row-major order of row tile and column tile
    reads     sets of tiles of a layer that share their row voltages, in the same order
    columns   columns of one row of tiles of a bundle, [col_tiles * cols]
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

FOLDER = Path(__file__).parent
ENTRIES = 9  # of an array whose checksum is kept, evenly spread
PERIOD = 101  # of the weights of a weighted sum


class Sign(nn.Module):
    """+1 where x is at least 0, else -1: as an activation, and as the form of a binary weight."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerChip:
    """What one layer's tiles really are; None where nothing of the kind is wrong.

    kind: 0 works, 1 stuck at LRS, 2 stuck at HRS, 3 stuck at `g_stuck`; int8 [tiles, *g_shape].
    g_stuck: S [tiles, *g_shape], NaN where kind is not 3.
    g: varied conductances in place of the programmed ones, S [tiles, *g_shape]; faults overwrite.
    transistor: 0 works, 1 open, 2 shorted; int8 [tiles, rows, cols].  open_row, open_col,
    open_gate: true where a segment is open, bool [tiles, rows, cols].
    bridges: one {"tile", "kind", "row", "col", "r"} per short between lines.
    """

    kind: np.ndarray | None = None
    g_stuck: np.ndarray | None = None
    g: np.ndarray | None = None
    transistor: np.ndarray | None = None
    open_row: np.ndarray | None = None
    open_col: np.ndarray | None = None
    open_gate: np.ndarray | None = None
    bridges: tuple[Mapping[str, Any], ...] = ()

    @property
    def has_defects(self) -> bool:
        planes = (self.transistor, self.open_row, self.open_col, self.open_gate)
        return bool(self.bridges) or any(plane is not None for plane in planes)


ARRAYS_OF_CHIP = ("kind", "g_stuck", "g", "transistor", "open_row", "open_col", "open_gate")


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerResult:
    """One layer of the mapped network, whatever the fidelity.

    kind, matrix, tiles, devices, utilisation: its row of the mapping table.
    row_tiles, col_tiles: how its matrices are cut, row tiles of all bundles together.
    read_columns: of `columns`.
    scale: the weight that a normalised 1 stands for.
    x_max: range of its inputs.  i_max: range of its converter, A, a number or [reads, read
    columns]; None without one.
    g: programmed conductances, before faults and variation, S [tiles, *g_shape].
    weights: what the devices of the chip decode to, [groups, inputs, outputs].
    Where recorded, g and weights are a `checksum`, else arrays.
    """

    kind: str
    matrix: tuple[int, int, int]
    tiles: int
    devices: int
    utilisation: float
    row_tiles: int
    col_tiles: int
    read_columns: tuple[int, ...]
    scale: float
    x_max: float
    i_max: np.ndarray | None
    g: Any
    weights: Any


NUMBERS_OF_LAYER = ("tiles", "devices", "utilisation", "row_tiles", "col_tiles")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """The network on the chip at one fidelity.

    logits: of the case's inputs, float64.
    clips: per layer, conversions that saturated when those inputs ran once, and how many there
    were: {"dac", "dac_of", "adc", "adc_of"}.
    currents: per layer, of all columns at its probe voltages, before conversion, without noise,
    A [reads, vectors, columns].
    """

    logits: np.ndarray
    clips: Mapping[str, Mapping[str, int]]
    currents: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """layers: by name, in order, digital ones excluded.  readings: by fidelity."""

    layers: Mapping[str, LayerResult]
    readings: Mapping[str, Reading]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One network on one chip.

    dtype: of the network and its inputs.  plan: nested keyword values, a "type" where a value is a
    class of the package; the plan's own type is left out.
    sample: inputs from which ranges are set, and at which LINEAR is fitted.  inputs: those tested.
    chip: per mapped layer.  probes: per mapped layer, row voltages, V [reads, vectors, rows].
    fidelities: those recorded, with the tolerance of their numbers.
    needs_ngspice: whether the cell is calibrated by it.
    """

    name: str
    network_name: str
    dtype: torch.dtype
    plan: Mapping[str, Any]
    sample: np.ndarray
    inputs: np.ndarray
    chip: Mapping[str, LayerChip]
    probes: Mapping[str, np.ndarray]
    fidelities: Mapping[str, float]
    needs_ngspice: bool
    architecture: tuple[Mapping[str, Any], ...]
    state: Mapping[str, np.ndarray]

    def network(self) -> nn.Module:
        """The network in eval mode, its stored float32 weights in the case's dtype."""
        network = build(self.architecture)
        network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in self.state.items()})
        return network.to(self.dtype).eval()

    def tensor(self, x: np.ndarray) -> Tensor:
        """Stored float32 inputs in the case's dtype."""
        return torch.from_numpy(x.copy()).to(self.dtype)


def build(architecture: tuple[Mapping[str, Any], ...]) -> nn.Sequential:
    """A chain of torch layers, each given as its class's name, `arguments` and `binary`."""
    layers = []
    for part in architecture:
        kind = Sign if part["layer"] == "Sign" else getattr(nn, part["layer"])
        arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in part.get("arguments", {}).items()
        }
        layer = kind(**arguments)
        if part.get("binary"):
            parametrize.register_parametrization(layer, "weight", Sign())
        layers.append(layer)
    return nn.Sequential(*layers)


def checksum(values: np.ndarray) -> dict[str, Any]:
    """Sums that tell an array from others, and a few of its entries.

    The weighted sum depends on the order: entry k of the flattened array counts
    (1 + k mod 101) / 101 times. magnitudes: sum of |value|, the scale of the other sums.
    """
    flat = np.asarray(values, dtype=np.float64).ravel()
    weights = (1 + np.arange(flat.size) % PERIOD) / PERIOD
    places = np.linspace(0, flat.size - 1, ENTRIES).astype(int)
    return {
        "shape": list(np.shape(values)),
        "magnitudes": float(np.abs(flat).sum()),
        "sum": float(flat.sum()),
        "squares": float((flat * flat).sum()),
        "weighted": float((flat * weights).sum()),
        "entries": flat[places].tolist(),
    }


@cache
def _stored() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(FOLDER / "cases.npz") as arrays:
        return json.loads((FOLDER / "cases.json").read_text()), dict(arrays)


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Arrays whose key starts with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def read_case(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray], network: Any) -> Case:
    """A case from its JSON, all arrays and the JSON of its network."""
    name, net = entry["name"], entry["network"]
    own = _below(arrays, f"case/{name}/")
    chip = {
        layer: LayerChip(
            bridges=tuple(entry.get("bridges", {}).get(layer, ())),
            **{kind: own.get(f"chip/{layer}/{kind}") for kind in ARRAYS_OF_CHIP},
        )
        for layer in entry["mapped"]
    }
    return Case(
        name=name,
        network_name=net,
        dtype=getattr(torch, entry["dtype"]),
        plan=entry["plan"],
        sample=arrays[f"network/{net}/sample"],
        inputs=arrays[f"network/{net}/inputs"],
        chip=chip,
        probes=_below(own, "probe/"),
        fidelities=entry["fidelities"],
        needs_ngspice=entry["needs_ngspice"],
        architecture=tuple(network["architecture"]),
        state=_below(arrays, f"network/{net}/state/"),
    )


def cases() -> list[Case]:
    """All cases, in order."""
    content, arrays = _stored()
    networks = content["networks"]
    return [read_case(entry, arrays, networks[entry["network"]]) for entry in content["cases"]]


def recorded(case: Case) -> Results:
    """What was recorded of a case; g and weights are checksums."""
    content, arrays = _stored()
    entry = next(e for e in content["cases"] if e["name"] == case.name)
    own = _below(arrays, f"case/{case.name}/")
    layers = {
        layer: LayerResult(
            **{
                **{k: v for k, v in numbers.items() if k != "bundles"},
                "row_tiles": numbers["row_tiles"] * numbers["bundles"],
                "matrix": tuple(numbers["matrix"]),
                "read_columns": tuple(numbers["read_columns"]),
                "i_max": own.get(f"i_max/{layer}"),
            }
        )
        for layer, numbers in entry["layers"].items()
    }
    readings = {
        fidelity: Reading(
            logits=own[f"{fidelity}/logits"],
            clips=entry["clips"][fidelity],
            currents=_below(own, f"{fidelity}/currents/"),
        )
        for fidelity in case.fidelities
    }
    return Results(layers=layers, readings=readings)


def ruled_kinds(layer: int, tiles: int, g_shape: tuple[int, ...]) -> np.ndarray:
    """Fault kinds of the layer at a place among the mapped ones, int8 [tiles, *g_shape].

    As `shipped()["faults"]` states them.
    """
    kind = np.zeros((tiles, *g_shape), dtype=np.int8)
    for tile in range(tiles):
        u = np.random.default_rng([7, layer, tile]).random(g_shape)
        kind[tile][u < 0.05] = 1
        kind[tile][u >= 0.9] = 2
    return kind


def summary(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """What is kept of logits [images, classes], float64."""
    found = logits.argmax(axis=1)
    return {
        "correct": int((found == labels).sum()),
        "logits": logits.sum(axis=0).tolist(),
        "magnitude": float(np.abs(logits).sum()),
        "predictions": "".join(str(k) for k in found.tolist()),
    }


def shipped() -> dict[str, Any]:
    """Numbers of trained networks on images of MNIST, and the rules by which they were found."""
    content: dict[str, Any] = _stored()[0]["shipped"]
    return content
