"""Layer averaging: layers held several times, whose sums are averaged."""

from dataclasses import dataclass
from typing import ClassVar

from netlists.errors import InputError
from nnmap.mapping.plan import matches, require_matches
from nnmap.mitigations.base import ChipAgnostic
from nnmap.mitigations.known import Known, Needs
from nnmap.network import MappedNetwork


@dataclass(frozen=True, kw_only=True)
class LayerAveraging(ChipAgnostic):
    """Each chosen layer on several sets of tiles, averaged digitally before the activation.

    copies: sets of tiles.  layers: patterns of the names of the layers, or of modules around them.

    Source: remeco, Section III (committee averaging at every layer); layer ensemble averaging, Nat.
    Commun. 16:1250 (2025).
    Raises InputError for fewer than one copy, and for a pattern that matches no layer.
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    source: ClassVar[str] = "remeco, Section III"
    overhead: ClassVar[tuple[str, ...]] = ("memories",)

    copies: int = 3
    layers: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        require_copies(self.name(), self.copies)

    def place(self, network: MappedNetwork, known: Known) -> MappedNetwork:
        """See `Mitigation.place`."""
        require_matches(self.layers, network.programmes)
        if self.copies == 1:
            return network
        return network.with_programmes(
            {
                name: programme.placed(programme.placement.replicated(self.copies))
                for name, programme in network.programmes.items()
                if matches(name, self.layers)
            }
        )


def require_copies(owner: str, copies: int) -> None:
    """Raise InputError below one copy."""
    if copies < 1:
        raise InputError(f"{owner}: copies={copies} must be at least 1.")
