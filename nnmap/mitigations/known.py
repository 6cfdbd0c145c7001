"""What may be known of chip, data and circuit; each method sees what it declares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import cast

from torch import Tensor

from netlists.errors import InputError
from nnmap.chip import AnyChip
from nnmap.mitigations.meter import Meter


class Needs(Flag):
    """What a mitigation declares that it must know.

    MAP: which memories are stuck, as a test found it.  INPUTS: images without labels.
    LABELS: images with labels.  WIRES: the resistances of the lines; else the network that the
    method sees has perfect wires.  CIRCUIT: the exact circuit of this very chip, to train through.
    """

    NOTHING = 0
    MAP = auto()
    INPUTS = auto()
    LABELS = auto()
    WIRES = auto()
    CIRCUIT = auto()


@dataclass(frozen=True, kw_only=True, eq=False)
class Knowledge:
    """All that a deployment could tell its mitigations.

    map: the diagnosed chip: the truth (`truth_of`), or what a test found; None where untested.
    inputs: images in the form the network takes, [n, ...].  labels: theirs, [n], or None.

    Raises InputError for labels without images and for another number of them.
    """

    map: AnyChip | None = None
    inputs: Tensor | None = None
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        images = 0 if self.inputs is None else len(self.inputs)
        if self.labels is not None and len(self.labels) != images:
            raise InputError(f"Knowledge: {len(self.labels)} labels for {images} images.")

    def offers(self) -> Needs:
        """Which needs it can meet; wires and circuit are the bench's and always there."""
        found = Needs.WIRES | Needs.CIRCUIT
        if self.map is not None:
            found |= Needs.MAP
        if self.inputs is not None:
            found |= Needs.INPUTS
            if self.labels is not None:
                found |= Needs.LABELS
        return found


@dataclass(frozen=True, kw_only=True)
class Known:
    """What one mitigation may know; anything else is not in here and asking for it raises.

    Made by `known_by`; a method calls `map()`, `inputs(n)` and `labelled(n)`.
    """

    owner: str
    needs: Needs
    meter: Meter
    _parts: Mapping[Needs, Callable[[], object]] = field(repr=False)

    def _require(self, need: Needs) -> object:
        if need not in self._parts:
            raise InputError(
                f"{self.owner} asks for {need.name}, which it does not declare; add it to its "
                "needs."
            )
        return self._parts[need]()

    def map(self) -> AnyChip:
        """The diagnosed chip: its stuck memories and defects; needs MAP."""
        return cast(AnyChip, self._require(Needs.MAP))

    def inputs(self, count: int) -> Tensor:
        """The first `count` images, 0 for all; needs INPUTS."""
        found = self._require(Needs.INPUTS)
        assert isinstance(found, Tensor)
        chosen = _first(self.owner, found, count)
        self.meter.show(images=len(chosen))
        return chosen

    def labelled(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` images and their labels, 0 for all; needs LABELS."""
        found = self._require(Needs.LABELS)
        assert isinstance(found, tuple)
        x, y = found
        chosen = _first(self.owner, x, count)
        self.meter.show(labels=len(chosen))
        return chosen, y[: len(chosen)]


def _first(owner: str, x: Tensor, count: int) -> Tensor:
    if not 0 <= count <= len(x):
        raise InputError(f"{owner} asks for {count} images, of which there are {len(x)}.")
    return x[:count] if count else x


def known_by(owner: str, needs: Needs, knowledge: Knowledge, meter: Meter) -> Known:
    """The part of the knowledge that a mitigation declared.

    Raises InputError where the deployment does not offer it, naming both.
    """
    missing = needs & ~knowledge.offers()
    if missing:
        names = ", ".join(n.name or "" for n in Needs if n in missing)
        raise InputError(f"{owner} needs {names}, which this deployment does not give.")
    parts: dict[Needs, Callable[[], object]] = {}
    if Needs.MAP in needs:
        diagnosed = knowledge.map
        parts[Needs.MAP] = lambda: diagnosed
    x, y = knowledge.inputs, knowledge.labels
    if Needs.INPUTS in needs or Needs.LABELS in needs:
        parts[Needs.INPUTS] = lambda: x
    if Needs.LABELS in needs:
        parts[Needs.LABELS] = lambda: (x, y)
    return Known(owner=owner, needs=needs, meter=meter, _parts=parts)
