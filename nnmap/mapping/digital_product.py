"""Matrix products that a network computes outside of its layers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DigitalProduct:
    """One matrix product of a network that stays digital.

    name: the module that computes it, or the matrix where that is a constant.
    kind: the module's class; "activations" where both factors follow from the network's input, as
        queries and keys do.
    matrix: (groups, inputs, outputs) of one input of the network.
    """

    name: str
    kind: str
    matrix: tuple[int, int, int]
