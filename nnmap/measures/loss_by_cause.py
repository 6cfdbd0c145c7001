"""What a fault-free circuit costs a network in accuracy, cause by cause."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from netlists.arrays import FloatArray
from netlists.wires import Wires
from nnmap.fidelity.extraction import Extraction
from nnmap.fidelity.fidelity import Fidelity
from nnmap.mapping.programme import Programme
from nnmap.measures.faulty_weights import in_torch
from nnmap.network import MappedNetwork
from nnmap.training.recipe import accuracy

BATCH = 250  # images at a time, which bounds the memory of convolutions
POINTS = 1.0  # a loss beyond this is worth a warning
CAUSES = ("levels", "converters", "wires", "bend")


@dataclass(frozen=True, kw_only=True)
class LossByCause:
    """Accuracy, in [0, 1], with what a fault-free circuit adds switched on in turn.

    plain: in torch, with the weights that were mapped.
    levels: with the weights that cells on perfect wires hold: rounded to levels, and bent by
        transistors where levels are those of memories.
    converters: DACs and ADCs as well.  wires: wires as well, cells at their nominal secants.
    bend: cells as they bend as well: LINEAR fitted to NONLINEAR, or NONLINEAR.
    images: how many were classified.
    """

    plain: float
    levels: float
    converters: float
    wires: float
    bend: float
    images: int

    @property
    def points(self) -> dict[str, float]:
        """What each cause takes, in points of a hundred; negative where it gives."""
        steps = [getattr(self, field.name) for field in fields(self)][:-1]
        lost = zip(CAUSES, steps[:-1], steps[1:], strict=True)
        return {cause: 100 * (before - after) for cause, before, after in lost}

    @property
    def total(self) -> float:
        """What all of them take together, in points."""
        return 100 * (self.plain - self.bend)

    @property
    def cause(self) -> str:
        """The one that takes most."""
        return max(self.points, key=lambda name: self.points[name])

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {points:.1f}" for name, points in self.points.items())
        return (
            f"without any fault the circuit takes {self.total:.1f} points of accuracy, "
            f"{100 * self.plain:.1f} % in plain torch to {100 * self.bend:.1f} % on "
            f"{self.images} images, most of it by {self.cause} ({parts})"
        )


@torch.no_grad()
def loss_by_cause(
    network: MappedNetwork,
    images: Tensor,
    labels: Tensor,
    *,
    fidelity: Fidelity = Fidelity.LINEAR,
    extraction: Extraction | None = None,
) -> LossByCause:
    """Measure a mapped network on images [n, ...] with their labels [n], without faults.

    fidelity: of the circuit in the end, LINEAR or NONLINEAR. Arithmetic is in float32.
    Raises MissingToolError without ngspice where cells must be calibrated.
    """
    chosen = extraction or Extraction()

    def score(running: nn.Module) -> float:
        return accuracy(running.float(), images, labels, batch=BATCH)

    def solved(of: MappedNetwork, at: Fidelity = Fidelity.LINEAR) -> float:
        return score(of.on(fidelity=at, extraction=chosen))

    def plain(name: str) -> FloatArray:
        programme = network.programmes[name]
        outputs = programme.placement.shape.outputs
        return programme.weights * programme.scale.reshape(-1, 1, outputs)

    secants = replace(network, fit_inputs=0)
    on_perfect_wires = replace(
        secants, programmes={name: _on_perfect_wires(p) for name, p in network.programmes.items()}
    )
    return LossByCause(
        plain=score(in_torch(network, plain)),
        levels=solved(_without_converters(on_perfect_wires)),
        converters=solved(on_perfect_wires),
        wires=solved(secants),
        bend=solved(network, fidelity),
        images=len(images),
    )


def _on_perfect_wires(programme: Programme) -> Programme:
    perfect = Wires(r_row_segment=0.0, r_col_segment=0.0)
    return replace(programme, spec=replace(programme.spec, wires=perfect))


def _without_converters(network: MappedNetwork) -> MappedNetwork:
    found = {
        name: replace(
            periphery,
            dac=replace(periphery.dac, bits=None, serial=False),
            adc=replace(periphery.adc, bits=None, i_max=1.0),
        )
        for name, periphery in network.peripheries.items()
    }
    return replace(network, peripheries=found)
