"""Data-free correction: the best digital branch of a rank, from the operator of the very chip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.linalg import svd

from netlists.arrays import FloatArray
from netlists.errors import InputError
from nnmap.mapping.correction import Correction, LowRank
from nnmap.mapping.placement import IntArray, Placement
from nnmap.mapping.programme import Programme
from nnmap.mitigations.base import ChipSpecific
from nnmap.mitigations.bench import Bench
from nnmap.mitigations.known import Known, Needs
from nnmap.mitigations.operators import Operators, ordered_matrix, second_moments
from nnmap.network import MappedNetwork

Scope = Literal["layer", "rows", "tile"]
PER_SVD = 14  # operations of a decomposition over m n min(m, n), as LAPACK's documents count them


@dataclass(frozen=True, kw_only=True)
class LowRankCorrection(ChipSpecific):
    """A digital branch beside the tiles that adds what their circuit leaves out.

    The operator of the chip is measured row by row on the bench: wires, stuck memories and all. The
    difference to what was ordered is decomposed, and its largest singular parts are added
    digitally: by Eckart and Young no branch of that rank comes closer. No data enters. At full rank
    the product is exact up to the converters.

    rank: of the branch of each block; 0 for gains alone.
    scope: what a block is: the layer, the tiles that share rows ("rows"), or each tile.
    gain: first scale each column's reading by the factor that brings it closest to what was ordered
        there, which takes one multiplication per column; the branch adds what is left.

    Source: of this toolkit; the branch of few samples of arXiv 2504.03763 is learnt instead.
    Raises InputError for a negative rank and where nothing is asked for.
    """

    needs: ClassVar[Needs] = Needs.CIRCUIT
    source: ClassVar[str] = "this toolkit"
    overhead: ClassVar[tuple[str, ...]] = (
        "reads",
        "digital_operations",
        "operations_per_inference",
    )

    rank: int = 4
    scope: Scope = "tile"
    gain: bool = False

    def __post_init__(self) -> None:
        if self.scope not in ("layer", "rows", "tile"):
            raise InputError(
                f"{self.name()}: scope={self.scope!r} is not one of layer, rows, tile."
            )
        if self.rank < 0 or not (self.rank or self.gain):
            raise InputError(
                f"{self.name()}: rank={self.rank} must be at least 1, or 0 with gain=true."
            )

    def tune(self, network: MappedNetwork, known: Known, bench: Bench) -> MappedNetwork:
        """See `Mitigation.tune`."""
        operators = bench.operators(network)
        moments = self._moments(network, known)
        found = {}
        for name, programme in network.programmes.items():
            moment = moments.get(name)
            before = network.peripheries[name].correction
            if before is None:
                before = Correction(shape=programme.placement.shape)
            if self.gain and before.gain is not None:
                raise InputError(f"{self.name()}: the columns of {name} have gains already.")
            gain = before.gain
            if self.gain:
                gain = column_gains(programme, operators, name, moment)
            chip = operators.matrix(name, programme, gain).T + before.matrix
            error = ordered_matrix(programme).T - chip
            branches = list(self._branches(error, programme.placement, moment))
            known.meter.digital_operations += sum(
                PER_SVD * len(b.inputs) * len(b.outputs) * min(len(b.inputs), len(b.outputs))
                for b in branches
            )
            found[name] = Correction(
                shape=before.shape, branches=(*before.branches, *branches), gain=gain
            )
        return network.corrected(found)

    def _moments(self, network: MappedNetwork, known: Known) -> dict[str, FloatArray]:
        """Second moments of the inputs of each layer; none here: every direction counts alike."""
        return {}

    def _branches(
        self, error: FloatArray, placement: Placement, moment: FloatArray | None
    ) -> Iterator[LowRank]:
        for inputs, outputs in _blocks(placement, self.scope) if self.rank else ():
            part = error[np.ix_(outputs, inputs)]
            among = None if moment is None else moment[np.ix_(inputs, inputs)]
            up, down = closest(part, self.rank, among)
            yield LowRank(inputs=inputs, outputs=outputs, up=up, down=down)


@dataclass(frozen=True, kw_only=True)
class WeightedLowRankCorrection(LowRankCorrection):
    """The same branch, closest in the mean square over what really enters, from unlabelled images.

    Directions count as the second moment of the layer's inputs on the ideal network says.

    images: how many, 0 for all given.

    Source: of this toolkit.
    Raises InputError for a negative number of images.
    """

    needs: ClassVar[Needs] = Needs.CIRCUIT | Needs.INPUTS
    overhead: ClassVar[tuple[str, ...]] = (
        "reads",
        "images",
        "digital_operations",
        "operations_per_inference",
    )

    images: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 0:
            raise InputError(f"{self.name()}: images={self.images} must be at least 0.")

    def _moments(self, network: MappedNetwork, known: Known) -> dict[str, FloatArray]:
        images = known.inputs(self.images)
        found = second_moments(network, images)
        known.meter.digital_operations += 2 * len(images) * sum(m.size for m in found.values())
        return found


def closest(
    error: FloatArray, rank: int, moment: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """(up [outputs, rank], down [rank, inputs]) whose product comes closest to an error.

    error: [outputs, inputs].  moment: E[x x^T] by which directions count; None for all alike.
    """
    root = error if moment is None else error @ _root(moment)
    up = svd(root, full_matrices=False)[0][:, :rank]
    # Projected, so that no inverse of the moment is needed.
    return up, up.T @ error


def _root(moment: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(moment)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def column_gains(
    programme: Programme, operators: Operators, name: str, moment: FloatArray | None = None
) -> FloatArray:
    """Factors that bring each column's reading closest to what was ordered, [tiles, cols].

    In least absolute deviations over the cells, each by the root mean square of its input where
    the moment is known: stuck memories, which no factor brings back, hardly pull it. In least
    squares they would pull all factors down, and columns of a pair apart.
    """
    p = programme.placement
    found = np.ones((p.tiles, p.cols))
    for group, ordered, chip in zip(
        p.row_groups, operators.ordered(programme), operators.of_layer[name], strict=True
    ):
        strength = np.ones(len(group.inputs))
        if moment is not None:
            strength = np.sqrt(moment[group.inputs, group.inputs])
        gain = closest_factors(ordered, chip, strength)
        found[group.tiles[group.columns // p.cols], group.columns % p.cols] = gain
    return found


def closest_factors(ordered: FloatArray, chip: FloatArray, strength: FloatArray) -> FloatArray:
    """The f of each column with the least sum of strength |ordered - f chip|; 1 where chip is 0.

    ordered, chip: [cells, columns], at least 0.  strength: [cells]. A weighted median of ratios.
    """
    ratio = np.divide(ordered, chip, out=np.zeros_like(chip), where=chip > 0)
    order = np.argsort(ratio, axis=0, kind="stable")
    weight = np.take_along_axis(strength[:, None] * chip, order, axis=0)
    total = np.cumsum(weight, axis=0)
    middle = (total < total[-1] / 2).sum(axis=0)
    found = np.take_along_axis(np.take_along_axis(ratio, order, axis=0), middle[None], axis=0)[0]
    return np.where(total[-1] > 0, found, 1.0)


def _blocks(p: Placement, scope: Scope) -> Iterator[tuple[IntArray, IntArray]]:
    """(inputs, outputs) of each block of the layer's matrix; together they cover it once."""
    if scope == "layer":
        yield np.arange(p.shape.all_inputs), np.arange(p.shape.all_outputs)
        return
    seen: set[tuple[bytes, bytes]] = set()  # copies of a block are one
    groups = p.row_groups if scope == "rows" else ()
    parts = [(g.inputs, p.col_output[g.tiles]) for g in groups] or [
        (p.row_input[k], p.col_output[k]) for k in range(p.tiles)
    ]
    for inputs, outputs in parts:
        block = np.unique(inputs[inputs >= 0]), np.unique(outputs[outputs >= 0])
        key = block[0].tobytes(), block[1].tobytes()
        if key not in seen:
            seen.add(key)
            yield block
