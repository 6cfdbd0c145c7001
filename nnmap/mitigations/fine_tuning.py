"""Fine-tuning: the network retrained through the exact circuit of the very chip."""

from dataclasses import dataclass
from typing import ClassVar

from nnmap.mitigations.masked_retraining import MaskedRetraining
from nnmap.mitigations.retraining import ThroughCircuit


@dataclass(frozen=True, kw_only=True)
class FineTuning(ThroughCircuit):
    """All weights, biases and digital layers, trained through wires, cells and converters.

    Stuck memories stay what they are. It is masked retraining on the real operator: the chip in the
    loop, simulated, with the exact gradient.

    epochs, batch, lr, images, seed: see `MaskedRetraining`.  every: see `ThroughCircuit`.

    Source: of this toolkit; the chip in the loop of NeuRRAM, Nature 608 (2022).
    Raises InputError for values out of range, and on a chip with bridges between lines.
    """

    source: ClassVar[str] = "NeuRRAM, Nature 608"
    overhead: ClassVar[tuple[str, ...]] = ("reads", *MaskedRetraining.overhead)
