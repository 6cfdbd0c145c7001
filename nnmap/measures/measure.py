"""What is found of a network on a chip: named numbers."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from netlists.arrays import FloatArray
from netlists.errors import InputError
from netlists.faults import FaultKind, FaultMap
from netlists.identity import digest
from netlists.tile import Tile
from nnmap.chip import HEALTHY, AnyChip, LayerOnChip
from nnmap.fidelity.fidelity import Fidelity
from nnmap.mapping.programme import Programme
from nnmap.measures.cost import cost, figures, workload
from nnmap.measures.power import array_power
from nnmap.network import MappedNetwork
from nnmap.training.answers import classes_of
from nnmap.training.recipe import accuracy
from nnmap.watch import mapped_layers

BATCH = 250  # images at a time, which bounds the memory of convolutions
Numbers = dict[str, float | int | str]
# Of the numbers below that have a unit; the others are shares, counts and flags.
UNITS = {"power": "W", "largest": "W", "area": "mm2", "energy": "J", "latency": "s"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """A network deployed on a chip, and images to measure it on.

    images, labels: of the test set, [n, ...] and [n].
    """

    network: MappedNetwork
    chip: AnyChip
    fidelity: Fidelity
    images: Tensor
    labels: Tensor

    def running(self, chip: AnyChip | None = None) -> nn.Module:
        """The network on the chip, or on another one, in single precision, where the images are."""
        network = self.network.on(self.chip if chip is None else chip, self.fidelity)
        return network.to(self.images.device, torch.float32)


class Measure(Protocol):
    """A frozen dataclass that is its own configuration.

    main: which of its numbers a study compares.
    """

    main: ClassVar[str]

    def of(self, setup: Setup) -> Numbers:
        """The numbers, by name."""
        ...


@dataclass(frozen=True)
class Accuracy:
    """Share of images whose largest output is their label, and how converters coped.

    accuracy: in [0, 1].  adc_clipped, dac_clipped: share of conversions that saturated.
    """

    main: ClassVar[str] = "accuracy"

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        network = setup.running()
        found: Numbers = {"accuracy": accuracy(network, setup.images, setup.labels, batch=BATCH)}
        clips = [layer.clips for layer in mapped_layers(network).values()]
        for part in ("adc", "dac"):
            total = sum(getattr(c, f"{part}_of") for c in clips)
            found[f"{part}_clipped"] = sum(getattr(c, part) for c in clips) / max(1, total)
        return found


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Whether the chip's answers give it away: silent data corruption against the healthy chip.

    sdc_1: share of images whose first class differs from what the same network answers on the
    healthy chip of the same design.  sdc_3: whose three first classes, as a set, differ.
    detected: 1 where sdc_1 exceeds `threshold`, else 0.

    Source: rramedy, Section III: the reference is the healthy chip's own response.
    Raises InputError for a threshold outside [0, 1).
    """

    main: ClassVar[str] = "sdc_1"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise InputError(f"Detection: threshold={self.threshold!r} must lie in [0, 1).")

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        healthy, chip = (
            _first_three(network, setup.images)
            for network in (setup.running(HEALTHY), setup.running())
        )
        one = float((healthy[:, 0] != chip[:, 0]).float().mean())
        three = float((healthy.sort(1).values != chip.sort(1).values).any(1).float().mean())
        return {"sdc_1": one, "sdc_3": three, "detected": int(one > self.threshold)}


@torch.no_grad()
def _first_three(network: nn.Module, images: Tensor) -> Tensor:
    parts = []
    for x in images.split(BATCH):
        answers = network(x)
        classes = classes_of(answers, len(x))
        if classes < 3:
            raise InputError(f"Detection ranks three classes, and the network has {classes}.")
        if answers.isnan().any():
            raise InputError("Detection ranks classes, and the network answers NaN.")
        parts.append(answers.topk(3, dim=1).indices)
    return torch.cat(parts)


@dataclass(frozen=True, kw_only=True)
class Power:
    """What the drivers deliver, W, with all layers reading.

    power: mean over `samples` reads of each layer, summed over the layers.  largest: likewise.
    seed: of the draw of reads.
    """

    main: ClassVar[str] = "power"
    samples: int = 8
    seed: int = 0

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        network = setup.network.on(setup.chip, setup.fidelity)
        rng = np.random.default_rng(self.seed)
        layers = array_power(network, setup.images, samples=self.samples, rng=rng)
        return {
            "power": sum(layer.mean for layer in layers),
            "largest": sum(layer.largest for layer in layers),
        }


@dataclass(frozen=True, kw_only=True)
class CostOfInference:
    """Area in mm2, energy in J and latency in s of an inference, from published figures."""

    main: ClassVar[str] = "energy"
    figures: str = "isaac"

    def __post_init__(self) -> None:
        figures(self.figures)

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        network = setup.network.on(setup.chip)
        found = cost(workload(network, setup.images[:1]), figures(self.figures))
        return {"area": found.area_mm2, "energy": found.energy_j, "latency": found.latency_s}


@dataclass(frozen=True)
class WriteError:
    """How far healthy cells are from what was ordered, of the range from HRS to LRS.

    write_error: root mean square.  worst: largest. Both of what levels are evenly spaced in: of
    what the cells show, those left out of which any memory is stuck, or of each healthy memory.
    """

    main: ClassVar[str] = "write_error"

    def of(self, setup: Setup) -> Numbers:
        """See `Measure.of`."""
        squares, worst, count = 0.0, 0.0, 0
        for name, programme in setup.network.programmes.items():
            layer = LayerOnChip(name=name, programme=programme, chip=setup.chip)
            for k in range(programme.placement.tiles):
                error = _write_errors(layer.tile(k), programme, k)
                squares += float((error**2).sum())
                worst = max(worst, float(np.abs(error).max(initial=0.0)))
                count += error.size
        return {"write_error": (squares / max(1, count)) ** 0.5, "worst": worst}


def _write_errors(tile: Tile, programme: Programme, index: int) -> FloatArray:
    """Of each healthy memory of a tile, or cell, in one row, of the range from HRS to LRS."""
    levels, n = programme.cell_levels, programme.spec.cell.n_rram
    held, ordered = (np.reshape(g, (-1, n)) for g in (tile.g, programme.target[index]))
    healthy = np.ones(held.shape, dtype=np.bool_)
    if tile.faults is not None:
        healthy = tile.faults.kind.reshape(held.shape) == FaultKind.NONE
    if programme.levels == "memory":
        rram = programme.spec.cell.rram
        return np.asarray((held - ordered)[healthy] / (rram.g_lrs - rram.g_hrs))
    off = levels.shown(held.sum(axis=1)) - levels.shown(ordered.sum(axis=1))
    return np.asarray(off[healthy.all(axis=1)] / (levels.on - levels.off))


def realised(network: MappedNetwork, chip: AnyChip) -> Numbers:
    """What the chip is like: tiles, memories, realised rates per kind, a digest of its maps."""
    counts = dict.fromkeys(FaultKind, 0)
    digests, tiles = [], 0
    for name, programme in network.programmes.items():
        layer = LayerOnChip(name=name, programme=programme, chip=chip)
        tiles += programme.placement.tiles
        for k in range(programme.placement.tiles):
            faults = layer.tile(k).faults
            digests.append(_sha(faults))
            kinds = np.zeros(programme.spec.g_shape) if faults is None else faults.kind
            for kind in FaultKind:
                counts[kind] += int(np.count_nonzero(kinds == kind))
    memories = sum(counts.values())
    return {
        "tiles": tiles,
        "memories": memories,
        "stuck_lrs": counts[FaultKind.STUCK_LRS] / memories,
        "stuck_hrs": counts[FaultKind.STUCK_HRS] / memories,
        "stuck_at": counts[FaultKind.STUCK_AT] / memories,
        "faults_sha256": digest(digests),
    }


def _sha(faults: FaultMap | None) -> str:
    return "" if faults is None else faults.sha256
