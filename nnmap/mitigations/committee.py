"""A committee: whole networks side by side, whose outputs are averaged."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.mitigations.base import ChipAgnostic
from nnmap.mitigations.known import Known, Needs
from nnmap.mitigations.layer_averaging import require_copies
from nnmap.network import MappedNetwork
from nnmap.skeleton import OnTiles, replace_modules


class Members(nn.Module):
    """Networks of one kind: the mean of their outputs."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """As each member takes and gives."""
        return torch.stack([member(x) for member in self.members]).mean(0)


@dataclass(frozen=True, kw_only=True)
class Committee(ChipAgnostic):
    """Several copies of the whole network on tiles of their own, averaged at their outputs.

    Copy 0 keeps the names of its layers and with them its faults; layer "fc" of copy 1 is
    "fc.copy1". The copies are of one network: they average the damage and combine no knowledge.

    copies: networks.

    Source: remeco, Section II; Joksas et al., Nat. Commun. 11:4273 (2020).
    Raises InputError for fewer than one copy.
    """

    needs: ClassVar[Needs] = Needs.NOTHING
    source: ClassVar[str] = "remeco, Section II"
    overhead: ClassVar[tuple[str, ...]] = ("memories",)

    copies: int = 3

    def __post_init__(self) -> None:
        require_copies(self.name(), self.copies)

    def place(self, network: MappedNetwork, known: Known) -> MappedNetwork:
        """See `Mitigation.place`."""
        names = {
            name: [name, *(f"{name}.copy{k}" for k in range(1, self.copies))]
            for name in network.programmes
        }
        new = [copy for copies in names.values() for copy in copies]
        if len(set(new)) < len(new):
            raise InputError(f"{self.name()}: the network is a committee already.")

        def member(k: int) -> nn.Module:
            def renamed(_: str, place: OnTiles) -> nn.Module:
                return OnTiles(names[place.name][k])

            return replace_modules(network.skeleton, OnTiles, renamed)

        kept = {
            copy: name
            for k in range(self.copies)
            for name in names
            for copy in names[name][k : k + 1]
        }
        return replace(
            network,
            skeleton=Members(member(k) for k in range(self.copies)).eval(),
            programmes={copy: network.programmes[name] for copy, name in kept.items()},
            peripheries={copy: network.peripheries[name] for copy, name in kept.items()},
        )
