"""What a mitigation is."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from netlists.errors import InputError
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class Mitigation:
    """A method against faults: a frozen dataclass that is its own configuration.

    Hooks run in the order of the stages, at each stage in the order of the list:

    train: on the torch network, before mapping.
    place: on the mapped network, before it is written.
    tune: on the mapped network, with the chip on the bench.

    needs: what its `Known` holds.  source: paper and place.  excludes: names of mitigations that it
    cannot stand beside.
    overhead: names of the counts that it raises: of `Meter`, and of `overhead.lasting`.
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    source: ClassVar[str] = ""
    overhead: ClassVar[tuple[str, ...]] = ()
    excludes: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def name(cls) -> str:
        """What it is called in messages and files: the class's name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def train(self, model: nn.Module, known: Known) -> nn.Module:
        """The network trained or changed before mapping; the given one stays as it is."""
        return model

    def place(self, network: MappedNetwork, known: Known) -> MappedNetwork:
        """The network at other places, or with other orders."""
        return network

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """The network changed by what the chip on the bench answers."""
        return network


@dataclass(frozen=True, kw_only=True)
class ChipSpecific(Mitigation):
    """A method that may know the very chip it is judged on, and says so."""


@dataclass(frozen=True, kw_only=True)
class ChipAgnostic(Mitigation):
    """A method that knows no chip: judged on maps that it never saw, in training or selection."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.needs & (Needs.MAP | Needs.CIRCUIT) or cls.tune is not Mitigation.tune:
            raise TypeError(f"{cls.__name__} is chip-agnostic: it takes no map, circuit or bench.")


def require_compatible(mitigations: tuple[Mitigation, ...]) -> None:
    """Raise InputError where two mitigations exclude each other, or one stands there twice."""
    names = [m.name() for m in mitigations]
    for k, one in enumerate(mitigations):
        if names.count(names[k]) > 1:
            raise InputError(f"{names[k]} stands twice in the list of mitigations; keep one.")
        clash = [n for n in names if n in one.excludes]
        if clash:
            raise InputError(f"{names[k]} and {clash[0]} exclude each other; keep one.")
