"""Voltages of one read, at the inputs of a layer and at its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nnmap.mapping.placement import RowGroup


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """Voltages of one read at the layer's inputs, [inputs, vectors], V, None where all are 0.

    straight: what an ordinary row applies.  flipped: what a flipped row applies.
    weight: what the read's result counts for.
    """

    weight: float
    straight: Tensor | None
    flipped: Tensor | None

    @property
    def vectors(self) -> int:
        """Input vectors of the read."""
        return next(int(v.shape[1]) for v in (self.straight, self.flipped) if v is not None)

    def of_rows(self, group: RowGroup, inputs: Tensor | slice, flip: Tensor) -> Tensor | None:
        """Voltages of a group's driven rows, [driven, vectors]; None where none is driven."""
        if not group.flip.any():
            return None if self.straight is None else self.straight[inputs]
        if self.straight is None and self.flipped is None:
            return None
        some = self.straight if self.straight is not None else self.flipped
        assert some is not None
        straight, flipped = (
            torch.zeros_like(some) if plane is None else plane
            for plane in (self.straight, self.flipped)
        )
        return torch.where(flip[:, None], flipped[inputs], straight[inputs])
