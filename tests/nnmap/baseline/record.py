"""How `cases.npz` and `cases.json` came to be: from commit 7cc3c08, and not meant to run later.

    XBARVERIFY_DATA=FOLDER OMP_NUM_THREADS=1 python -m tests.nnmap.baseline.record

All numbers are those that the code of that commit computes. What they depend on is drawn here, by
NumPy alone, and stored: the networks' weights and inputs, and for every tile its stuck memories,
its varied conductances and its defects. Nothing of the package's own random streams enters, so
that code which draws chips in another way can still be held against these numbers.

Cells with a transistor are calibrated by ngspice, whose version `cases.json` names; another one may
leave its own rounding in the numbers of their LINEAR and NONLINEAR readings.

The inputs of all cases are written first and read back with `read`; what is recorded is computed
from that alone, by `adapter.run`.

Converters and signs make small differences large: a current within rounding of the middle between
two codes may become either. Every case therefore keeps as `margin` the smallest distance of any
value that it converts from such a middle, in codes (of a sign: from 0), and the recorder refuses a
case whose margin a difference of the size of its tolerance could bridge.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import default_session
from nnmap import MappedLayer, MappingPlan, mapped_layers
from nnmap.converters import Adc, Dac
from nnmap.ranges import watch
from tests.nnmap.baseline import adapter, read
from tests.nnmap.baseline.chosen import CASES, IDEAL, LINEAR, NETWORKS, SHAPES
from tests.nnmap.baseline.read import FOLDER, Case, LayerChip, checksum

COMMIT = "7cc3c08"
SOLVED = 1e-12  # sums and direct solutions: rounding, of the largest number
# Where cells bend, what Newton leaves: it stops at 1e-10 of the largest current, and at which step
# it does depends on what is solved side by side. Solved one by one, currents are off by 2e-12.
BALANCED = 1e-10
# Between layers numbers are rounded to float32, where the last bit of a float64 may tip one.
SINGLE = 3e-7
# Of the sum of all magnitudes, float32 again. It leaves no room for a code that tips: among so many
# conversions one may, but only where currents differ by far more than rounding.
TRAINED = 1e-6
SAMPLE, INPUTS, PROBES = 70, 12, 3  # 70 is more than the 64 inputs that are run at a time
OVERSHOOT = 1.15  # inputs tested over those of the sample, so that some saturate

Arrays = dict[str, np.ndarray]


# Inputs ------------------------------------------------------------------------------------------


def network_arrays(name: str) -> Arrays:
    """State, sample and inputs of a network, float32."""
    rng = np.random.default_rng([1, list(NETWORKS).index(name)])
    arrays: Arrays = {}
    for key, value in read.build(tuple(NETWORKS[name])).state_dict().items():
        shape = tuple(value.shape)
        if key.endswith("num_batches_tracked"):
            arrays[f"state/{key}"] = np.array(1, dtype=np.int64)
            continue
        if key.endswith("running_var"):
            drawn = rng.uniform(0.3, 1.5, shape) * (20.0 if name == "binary" else 1.0)
        elif len(shape) > 1:
            drawn = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) / 2)
        else:
            drawn = rng.uniform(0.4, 1.4, shape) * rng.choice([1, 1, 1, -1], shape)
        arrays[f"state/{key}"] = drawn.astype(np.float32)
    shape = (SAMPLE + INPUTS, *SHAPES[name])
    x = rng.random(shape)
    if name == "tanh":
        x = 2 * x - 1
    if name == "binary":
        x = np.where(x < 0.5, -1.0, 1.0)
    else:
        x[SAMPLE:] *= OVERSHOOT
        x[SAMPLE + 3] = 0.0  # a blank input
    arrays["sample"], arrays["inputs"] = np.split(x.astype(np.float32), [SAMPLE])
    return arrays


def tolerance(case: Mapping[str, Any], fidelity: str) -> float:
    """Of every number of the case at that fidelity."""
    if case["dtype"] == "float32":
        return SINGLE
    cell = case["plan"]["spec"]["cell"]
    straight = cell["type"] == "OneR" and cell["rram"]["type"] == "OhmicRram"
    secant = fidelity == LINEAR and case["plan"].get("fit_inputs") == 0
    return SOLVED if straight or secant or fidelity == IDEAL else BALANCED


# Chips -------------------------------------------------------------------------------------------


def draw_chip(case: Mapping[str, Any], place: int, g: np.ndarray, rows: int, cols: int) -> Any:
    """(LayerChip, its arrays, its bridges) of the layer at a place; g [tiles, *g_shape], S."""
    rng = np.random.default_rng([2, CASES.index(dict(case)), place])
    chip: Arrays = {}
    if case["faults"]:
        rates = case["faults"]
        u = rng.random(g.shape)
        kind = np.zeros(g.shape, dtype=np.int8)
        kind[u < rates["lrs"]] = 1
        kind[u >= 1 - rates["hrs"]] = 2
        kind[(u >= 0.5) & (u < 0.5 + rates.get("at", 0.0))] = 3
        if case["spared"]:
            kind[:, :, -1] = 0
        chip["kind"] = kind
        if "at" in rates:
            low, high = np.log(rates["at_range"])
            chip["g_stuck"] = np.where(kind == 3, np.exp(rng.uniform(low, high, g.shape)), np.nan)
    if case["varied"]:
        chip["g"] = g * np.exp(case["varied"] * rng.standard_normal(g.shape))
    bridges = []
    if case["defects"]:
        rates, shape = case["defects"], (len(g), rows, cols)
        for name in ("open_row", "open_col", "open_gate"):
            if name in rates:
                chip[name] = rng.random(shape) < rates[name]
        if "transistor_open" in rates:
            u = rng.random(shape)
            states = np.where(u < rates["transistor_open"], 1, 0)
            states[u >= 1 - rates["transistor_shorted"]] = 2
            chip["transistor"] = states.astype(np.int8)
        for name in ("row", "column", "gate", "cell"):
            hit = rng.random(shape) < rates.get(name, 0.0)
            for tile, i, j in np.argwhere(hit[:, : rows - 1, : cols - 1]).tolist():
                r = float(np.round(rng.uniform(40, 400), 1))
                bridges.append({"tile": tile, "kind": name, "row": i, "col": j, "r": r})
    return LayerChip(**chip, bridges=tuple(bridges)), chip, bridges


def probes_of(chip: nn.Module, inputs: Tensor) -> Arrays:
    """A few of the row voltages that reach each layer of a chip at IDEAL, by name."""
    layers = dict(mapped_layers(chip))
    found: Arrays = {}

    def see(name: str, layer: nn.Module, x: Tensor) -> None:
        assert isinstance(layer, MappedLayer)
        v = layer.all_voltages(x)
        lit = torch.nonzero((v > 0).any(2).any(0)).ravel()
        some = lit[torch.linspace(0, len(lit) - 1, PROBES).long()]
        found[name] = v[:, some].double().numpy()

    watch(chip, layers, see)(inputs)
    return found


# Margins -----------------------------------------------------------------------------------------


@contextmanager
def margins() -> Iterator[dict[str, float]]:
    """What runs in this context leaves here its smallest distance from where a code changes."""
    smallest = {"codes": float("inf"), "sign": float("inf")}
    convert, call, reads, sign = Adc.convert, Dac.__call__, Dac.reads, read.Sign.forward

    def note(codes: Tensor, bits: int) -> None:
        inside = codes[(codes > -1) & (codes < 2**bits)]
        if inside.numel():
            off = float((inside - inside.floor() - 0.5).abs().min())
            smallest["codes"] = min(smallest["codes"], off)

    def noted_convert(self: Adc, i: Tensor) -> tuple[Tensor, int]:
        if self.bits is not None:
            i_max = self.i_max.to(i) if isinstance(self.i_max, Tensor) else self.i_max
            note(i / i_max * (2**self.bits - 1), self.bits)
        return convert(self, i)

    def noted_dac(self: Dac, x: Tensor) -> None:
        if self.bits is not None:
            note(x.clamp(0.0, self.x_max) / self.x_max * (2**self.bits - 1), self.bits)

    def noted_call(self: Dac, x: Tensor) -> Tensor:
        noted_dac(self, x)
        return call(self, x)

    def noted_reads(self: Dac, x: Tensor) -> Iterator[tuple[float, Tensor]]:
        noted_dac(self, x)
        yield from reads(self, x)

    def noted_sign(self: nn.Module, x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):  # a binary weight is stored
            smallest["sign"] = min(smallest["sign"], float(x.detach().abs().min()))
        return sign(self, x)

    with (
        mock.patch.object(Adc, "convert", noted_convert),
        mock.patch.object(Dac, "__call__", noted_call),
        mock.patch.object(Dac, "reads", noted_reads),
        mock.patch.object(read.Sign, "forward", noted_sign),
    ):
        yield smallest


# Recording ---------------------------------------------------------------------------------------


def spelled_out(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with every value that it leaves to a default."""
    full = MappingPlan(**{name: adapter.revive(value) for name, value in plan.items()})
    values = {field.name: getattr(full, field.name) for field in fields(full)}
    return values | {"spec": plan["spec"] | {"cell": as_keywords(full.spec.cell)}}


def as_keywords(value: Any) -> Any:
    """A dataclass as what `adapter.revive` takes."""
    if not is_dataclass(value):
        return value
    names = [field.name for field in fields(value)]
    return {"type": type(value).__name__} | {n: as_keywords(getattr(value, n)) for n in names}


def case_inputs(case: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """The JSON of a case's inputs; its arrays are added to `arrays`."""
    name = case["name"]
    entry: dict[str, Any] = {
        "name": name,
        "network": case["network"],
        "dtype": case["dtype"],
        "plan": spelled_out(case["plan"]),
        "needs_ngspice": case["plan"]["spec"]["cell"]["type"] != "OneR",
        "fidelities": {f: tolerance(case, f) for f in case["fidelities"]},
        "mapped": [],
        "bridges": {},
    }
    bare = read.read_case(entry, arrays, {"architecture": NETWORKS[case["network"]]})
    mapped = adapter.map_case(bare)
    chips = {}
    for place, (layer, module) in enumerate(mapped_layers(mapped)):
        matrix = module.matrix
        drawn, planes, bridges = draw_chip(
            case, place, matrix.g, matrix.spec.rows, matrix.spec.cols
        )
        chips[layer] = drawn
        arrays |= {f"case/{name}/chip/{layer}/{kind}": plane for kind, plane in planes.items()}
        entry["mapped"].append(layer)
        entry["bridges"] |= {layer: bridges} if bridges else {}
    chip = adapter.on_chip(mapped, chips)
    for layer, v in probes_of(chip, bare.tensor(bare.inputs)).items():
        arrays[f"case/{name}/probe/{layer}"] = v
    return entry


def case_results(case: Case, entry: dict[str, Any], arrays: Arrays) -> None:
    """Add what the case computes to its JSON and to `arrays`."""
    with margins() as smallest:
        found = adapter.run(case)
    bits = max(case.plan.get(name, 8) or 0 for name in ("dac_bits", "adc_bits"))
    bridged = max(case.fidelities.values()) * 2**bits
    for what, margin in smallest.items():
        if margin < bridged:
            raise SystemExit(f"{case.name}: {what} margin {margin:.1e}; take another seed.")
    entry["margin"] = {what: m for what, m in smallest.items() if np.isfinite(m)}
    entry["layers"] = {}
    for layer, result in found.layers.items():
        numbers = dict(vars(result))
        i_max = numbers.pop("i_max")
        if i_max is not None:
            arrays[f"case/{case.name}/i_max/{layer}"] = i_max
        numbers |= {part: checksum(numbers[part]) for part in ("g", "weights")}
        entry["layers"][layer] = numbers
    entry["clips"] = {}
    for fidelity, reading in found.readings.items():
        arrays[f"case/{case.name}/{fidelity}/logits"] = reading.logits
        for layer, i in reading.currents.items():
            arrays[f"case/{case.name}/{fidelity}/currents/{layer}"] = i
        entry["clips"][fidelity] = dict(reading.clips)


# Shipped networks --------------------------------------------------------------------------------

SHIPPED = ("bnn-mlp2-mnist", "lenet-mnist")
SHIPPED_RULES = {
    "tolerance": TRAINED,
    "network": "pretrained(name), float32, in eval mode, mapped with its paper's plan.",
    "sample": "the first 256 training images of MNIST.",
    "images": "the first 500 test images of MNIST, in one batch.",
    "faults": (
        "fault_free: none.  faulty: u = numpy.random.default_rng([7, layer, tile]).random(g_shape) "
        "with layer the place of the mapped layer among the mapped ones, from 0, in order of the "
        "network, tile its tile from 0, g_shape (rows, cols) or (rows, cols, 2); kind is LRS "
        "where u < 0.05 and HRS where u >= 0.9. No column is spared, whatever the plan says."
    ),
    "numbers": (
        "correct: images whose largest logit is their label.  logits: sums over the images per "
        "class.  magnitude: sum of all |logits|.  predictions: one digit per image."
    ),
}


@torch.no_grad()
def main() -> None:
    """Record everything."""
    arrays: Arrays = {
        f"network/{name}/{key}": value
        for name in NETWORKS
        for key, value in network_arrays(name).items()
    }
    content: dict[str, Any] = {
        "commit": COMMIT,
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "ngspice": default_session().version,
        },
        "networks": {name: {"architecture": layers} for name, layers in NETWORKS.items()},
        "cases": [case_inputs(case, arrays) for case in CASES],
    }
    write(content, arrays)
    for case, entry in zip(read.cases(), content["cases"], strict=True):
        case_results(case, entry, arrays)
        print(case.name, entry["margin"], flush=True)
    content["shipped"] = SHIPPED_RULES | {
        "found": {
            name: {
                kind: {
                    fidelity: read.summary(*adapter.run_shipped(name, kind, fidelity))
                    for fidelity in (IDEAL, LINEAR)
                }
                for kind in ("fault_free", "faulty")
            }
            for name in SHIPPED
        }
    }
    write(content, arrays)


def write(content: Mapping[str, Any], arrays: Arrays) -> None:
    """Both files."""
    (FOLDER / "cases.json").write_text(json.dumps(content, indent=1) + "\n")
    np.savez_compressed(FOLDER / "cases.npz", **arrays)


if __name__ == "__main__":
    main()
