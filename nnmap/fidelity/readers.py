"""Row voltages -> column currents of a layer's tiles: one object per fidelity."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from circuitsim import solve
from netlists.arrays import FloatArray
from netlists.cells import is_linear
from netlists.errors import InputError
from netlists.tile import Drive, Tile
from nnmap.chip import LayerOnChip
from nnmap.fidelity.extraction import Extraction, fitted_gains, nominal_operators
from nnmap.fidelity.fidelity import Fidelity
from nnmap.fidelity.linear_fit import InputCurve, solve_nonlinear_tile
from nnmap.mapping.placement import Placement

MAX_SOLVES = 20_000  # tile inputs that ngspice is given without asking
SPICE_SECONDS = 0.02  # a 64x64 tile of transistors, one input


class Reader(nn.Module, ABC):
    """The tiles of one layer as something that can be read, row group by row group.

    `currents` and `deviation` take the voltages of the group's driven rows, after `applied`,
    [driven, vectors], and give A [read columns, vectors].
    """

    def applied(self, v: Tensor) -> Tensor:
        """What enters in place of row voltages v, V, elementwise."""
        return v

    def require_affordable(self, vectors: int) -> None:
        """Raise InputError when reading that many input vectors would take too long."""

    @abstractmethod
    def currents(self, group: int, v: Tensor) -> Tensor:
        """Column currents."""

    @abstractmethod
    def deviation(self, group: int, v: Tensor) -> Tensor:
        """sqrt(sum (g v)^2): what independent noise of all memories adds up to."""


class MatrixReader(Reader):
    """One matrix product per row group.

    operators: S [driven, read columns] of each group, row voltages to column currents.
    curve: what row voltages pass through first, or None.
    gains: by which the fit of cells that bend scaled the columns, float64 [read columns] of each
        group; None where nothing was fitted.
    """

    def __init__(
        self,
        operators: Sequence[Tensor],
        curve: InputCurve | None = None,
        gains: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.gains = gains
        self.groups = len(operators)
        for k, operator in enumerate(operators):
            self.register_buffer(f"operator_{k}", operator)
        self.curve = curve

    def operator(self, group: int) -> Tensor:
        """Operator of a row group, S [driven, read columns]."""
        found = self.get_buffer(f"operator_{group}")
        return found

    def applied(self, v: Tensor) -> Tensor:
        """See `Reader.applied`."""
        return v if self.curve is None else self.curve(v)

    def currents(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.currents`."""
        return self.operator(group).T @ v

    def deviation(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.deviation`."""
        return (self.operator(group).T.square() @ v.square()).sqrt_()


class SolvedReader(Reader):
    """Every tile solved for every different input, in float64.

    solve_tile: (tile, row voltages, V [batch, rows]) -> column currents, A [batch, cols].
    max_solves: inputs times tiles that one call of the layer may ask for, or None.
    """

    def __init__(
        self,
        layer: LayerOnChip,
        solve_tile: Callable[[Tile, FloatArray], FloatArray],
        *,
        max_solves: int | None = None,
    ) -> None:
        super().__init__()
        self.layer, self.solve_tile, self.max_solves = layer, solve_tile, max_solves

    def require_affordable(self, vectors: int) -> None:
        """See `Reader.require_affordable`."""
        spec, placement = self.layer.programme.spec, self.layer.programme.placement
        solves = vectors * placement.tiles
        if self.max_solves is not None and solves > self.max_solves:
            seconds = solves * SPICE_SECONDS * spec.rows * spec.cols / 64**2
            raise InputError(
                f"SPICE: these inputs ask ngspice for up to {solves:,} tile solutions, about "
                f"{seconds / 60:.3g} minutes, more than max_solves={self.max_solves:,}; give "
                "fewer inputs, choose layers, or raise max_solves."
            )

    def currents(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.currents`."""
        found = self.layer.programme.placement.row_groups[group]
        volts = np.zeros((v.shape[1], self.layer.programme.spec.rows))
        volts[:, found.rows] = v.T.detach().to("cpu", torch.float64).numpy()
        # Blank patches and binary inputs repeat.
        distinct, place = np.unique(volts, axis=0, return_inverse=True)
        tiles = [self.layer.tile(k) for k in found.tiles.tolist()]
        solved = np.concatenate([self.solve_tile(tile, distinct) for tile in tiles], axis=1)
        return torch.from_numpy(solved.T[found.columns][:, place.ravel()]).to(v)

    @cached_property
    def _nominal(self) -> MatrixReader:
        return linear_reader(self.layer, Extraction())

    def deviation(self, group: int, v: Tensor) -> Tensor:
        """See `Reader.deviation`; g is the effective conductance at nominal secants."""
        return self._nominal.to(v).deviation(group, v)


def arranged(
    placement: Placement, operators: Iterable[tuple[Iterable[int], FloatArray]]
) -> list[Tensor]:
    """Operators of tiles, batches of (tiles, S [n, cols, rows]), as a `MatrixReader` takes them."""
    groups = placement.row_groups
    found = [np.empty((len(g.rows), len(g.columns))) for g in groups]
    for tiles, batch in operators:
        for tile, operator in zip(tiles, batch, strict=True):
            number = int(placement.group_of[tile])
            here, cols = columns_of(placement, tile)
            found[number][:, here] = operator[np.ix_(cols, groups[number].rows)].T
    return [torch.from_numpy(array) for array in found]


def columns_of(placement: Placement, tile: int) -> tuple[slice, np.ndarray]:
    """Where a tile's read columns stand among those of its row group, and which they are."""
    group = placement.row_groups[int(placement.group_of[tile])]
    first = int(np.flatnonzero(group.tiles == tile)[0]) * placement.cols
    start, stop = np.searchsorted(group.columns, [first, first + placement.cols])
    return slice(int(start), int(stop)), group.columns[start:stop] - first


def ideal_reader(layer: LayerOnChip) -> MatrixReader:
    """IDEAL: the memories' conductances."""
    g = layer.reachable()
    return MatrixReader(
        arranged(layer.programme.placement, [(range(len(g)), g.transpose(0, 2, 1))])
    )


def linear_reader(
    layer: LayerOnChip, extraction: Extraction, curve: InputCurve | None = None
) -> MatrixReader:
    """LINEAR: operators at nominal secants, to be fitted where there is a curve."""
    if curve is not None:  # the fit that follows is the work to report
        extraction = replace(extraction, on_done=lambda tiles: None)
    return MatrixReader(
        arranged(layer.programme.placement, nominal_operators(layer, extraction)), curve
    )


def fitted_reader(
    reader: MatrixReader, layer: LayerOnChip, v: Sequence[FloatArray], extraction: Extraction
) -> MatrixReader:
    """An unfitted LINEAR reader with its columns scaled to come close to NONLINEAR.

    v: row voltages of each row group, V [samples, rows].
    Raises InputError where an input finds no balance.
    """
    placement, spec = layer.programme.placement, layer.programme.spec
    groups = placement.row_groups
    operators = [reader.operator(k).cpu().double().clone() for k in range(len(groups))]

    def operator(tile: int) -> FloatArray:
        number = int(placement.group_of[tile])
        here, cols = columns_of(placement, tile)
        found = np.zeros((spec.cols, spec.rows))
        found[np.ix_(cols, groups[number].rows)] = operators[number][:, here].T.numpy()
        return found

    curve = InputCurve(spec.cell, spec.v_read)
    gains = [operator.new_ones(operator.shape[1]) for operator in operators]
    for tiles, found in fitted_gains(layer, operator, curve, v, extraction):
        for tile, gain in zip(tiles, found, strict=True):
            here, cols = columns_of(placement, tile)
            gains[int(placement.group_of[tile])][here] = torch.from_numpy(gain[cols])
    scaled = [(o * gain).to(reader.operator(0)) for o, gain in zip(operators, gains, strict=True)]
    return MatrixReader(scaled, reader.curve, gains)


def _spice_currents(tile: Tile, v: FloatArray) -> FloatArray:
    return solve(tile, Drive(v=v), "ngspice").i_out


def make_reader(
    layer: LayerOnChip,
    fidelity: Fidelity,
    *,
    to_fit: bool = False,
    extraction: Extraction | None = None,
    max_solves: int = MAX_SOLVES,
) -> Reader:
    """The reader of a layer's tiles at a fidelity.

    to_fit: whether LINEAR will be fitted where cells bend; else it takes nominal secants.
    """
    spec, extraction = layer.programme.spec, extraction or Extraction()
    linear = is_linear(spec.cell)
    match fidelity:
        case Fidelity.IDEAL:
            return ideal_reader(layer)
        case Fidelity.LINEAR:
            curve = InputCurve(spec.cell, spec.v_read) if to_fit and not linear else None
            return linear_reader(layer, extraction, curve)
        case Fidelity.NONLINEAR:
            if linear:
                return linear_reader(layer, extraction)
            return SolvedReader(layer, solve_nonlinear_tile)
        case Fidelity.SPICE:
            return SolvedReader(layer, _spice_currents, max_solves=max_solves)
