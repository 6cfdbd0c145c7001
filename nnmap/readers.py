"""Row voltages -> column currents of a layer's tiles: one object a fidelity."""

from abc import ABC, abstractmethod
from collections.abc import Callable
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
from nnmap.extraction import Extraction, fitted_gains, nominal_operators
from nnmap.linear_fit import InputCurve, solve_nonlinear_tile
from nnmap.matrix import Matrix
from nnmap.operator import Fidelity

Columns = Tensor | slice
MAX_SOLVES = 20_000  # tile inputs that ngspice is given without asking
SPICE_SECONDS = 0.02  # a 64x64 tile of transistors, one input


class Reader(nn.Module, ABC):
    """The tiles of one layer as something that can be read.

    `currents` and `deviation` take the voltages of the rows in use of one read (a set of tiles that
    share them), after `applied`, [rows, vectors], and give A [columns, vectors]. `columns` picks
    from the columns of all its column tiles.
    """

    def applied(self, v: Tensor) -> Tensor:
        """What enters in place of row voltages v, V, elementwise."""
        return v

    def require_affordable(self, vectors: int) -> None:
        """Raise InputError when reading that many input vectors would take too long."""

    @abstractmethod
    def currents(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """Column currents."""

    @abstractmethod
    def deviation(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """sqrt(sum (g v)^2): what independent noise of all memories adds up to."""


class MatrixReader(Reader):
    """One matrix product a read.

    operators: S [reads, rows, col_tiles * cols]; one product serves all column tiles of a row tile.
    curve: what row voltages pass through first, or None.
    to_fit: whether columns wait to be scaled by `fit_reader`, which a curve calls for.
    """

    operators: Tensor

    def __init__(self, operators: FloatArray, curve: InputCurve | None = None) -> None:
        super().__init__()
        self.register_buffer("operators", torch.from_numpy(operators))
        self.curve = curve
        self.to_fit = curve is not None

    def applied(self, v: Tensor) -> Tensor:
        """See `Reader.applied`."""
        return v if self.curve is None else self.curve(v)

    def currents(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """See `Reader.currents`."""
        return self.operators[read, : len(v)][:, columns].T @ v

    def deviation(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """See `Reader.deviation`."""
        operator = self.operators[read, : len(v)][:, columns]
        return (operator.T.square() @ v.square()).sqrt_()


class SolvedReader(Reader):
    """Every tile solved for every different input, in float64.

    solve_tile: (tile, row voltages, V [batch, rows]) -> column currents, A [batch, cols].
    max_solves: inputs times tiles that one call of the layer may ask for, or None.
    """

    def __init__(
        self,
        matrix: Matrix,
        solve_tile: Callable[[Tile, FloatArray], FloatArray],
        *,
        max_solves: int | None = None,
    ) -> None:
        super().__init__()
        self.matrix, self.solve_tile, self.max_solves = matrix, solve_tile, max_solves

    def require_affordable(self, vectors: int) -> None:
        """See `Reader.require_affordable`."""
        spec, placement = self.matrix.spec, self.matrix.placement
        solves = vectors * placement.tiles
        if self.max_solves is not None and solves > self.max_solves:
            seconds = solves * SPICE_SECONDS * spec.rows * spec.cols / 64**2
            raise InputError(
                f"SPICE: these inputs ask ngspice for up to {solves:,} tile solutions, about "
                f"{seconds / 60:.3g} minutes, more than max_solves={self.max_solves:,}; give "
                "fewer inputs, choose layers, or raise max_solves."
            )

    def currents(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """See `Reader.currents`."""
        spec, count = self.matrix.spec, self.matrix.placement.col_tiles
        volts = np.zeros((v.shape[1], spec.rows))
        volts[:, : len(v)] = v.T.to("cpu", torch.float64).numpy()
        # Blank patches and binary inputs repeat.
        distinct, place = np.unique(volts, axis=0, return_inverse=True)
        tiles = [self.matrix.tile(read * count + k) for k in range(count)]
        solved = np.concatenate([self.solve_tile(tile, distinct) for tile in tiles], axis=1)
        return torch.from_numpy(solved.T[:, place.ravel()]).to(v)[columns]

    @cached_property
    def _nominal(self) -> MatrixReader:
        return linear_reader(self.matrix, Extraction())

    def deviation(self, read: int, v: Tensor, columns: Columns) -> Tensor:
        """See `Reader.deviation`; g is the effective conductance at nominal secants."""
        return self._nominal.to(v).deviation(read, v, columns)


def _arranged(matrix: Matrix) -> tuple[FloatArray, FloatArray]:
    """An array as a MatrixReader takes it, and the same as [tiles, cols, rows] to write into."""
    p, spec = matrix.placement, matrix.spec
    array = np.empty((p.reads, spec.rows, p.col_tiles, spec.cols))
    # A transposed view cannot be reshaped in place, so tiles are [reads, col_tiles, ...].
    return array.reshape(p.reads, spec.rows, -1), array.transpose(0, 2, 3, 1)


def ideal_reader(matrix: Matrix) -> MatrixReader:
    """IDEAL: the memories' conductances."""
    operators, by_tile = _arranged(matrix)
    by_tile[:] = matrix.ideal().reshape(by_tile.shape)
    return MatrixReader(operators)


def linear_reader(
    matrix: Matrix, extraction: Extraction, curve: InputCurve | None = None
) -> MatrixReader:
    """LINEAR: operators at nominal secants, to be fitted where there is a curve."""
    columns = matrix.placement.col_tiles
    operators, by_tile = _arranged(matrix)
    if curve is not None:  # the fit that follows is the work to report
        extraction = replace(extraction, on_done=lambda tiles: None)
    for tiles, found in nominal_operators(matrix, extraction):
        for k, operator in zip(tiles, found, strict=True):
            by_tile[divmod(k, columns)] = operator
    return MatrixReader(operators, curve)


def fit_reader(reader: MatrixReader, matrix: Matrix, v: FloatArray, extraction: Extraction) -> None:
    """Scale the columns of an unfitted LINEAR reader, in place, to come close to NONLINEAR.

    v: row voltages of each read, V [reads, samples, rows].
    Raises InputError where an input finds no balance.
    """
    assert reader.curve is not None
    cols, columns = matrix.spec.cols, matrix.placement.col_tiles

    def block(tile: int) -> Tensor:
        read, column = divmod(tile, columns)
        return reader.operators[read, :, column * cols : (column + 1) * cols]

    def operator(tile: int) -> FloatArray:
        return np.asarray(block(tile).T.cpu().double().numpy())

    curve = InputCurve(matrix.spec.cell, matrix.spec.v_read)
    for tiles, gains in fitted_gains(matrix, operator, curve, v, extraction):
        for k, gain in zip(tiles, gains, strict=True):
            block(k).mul_(torch.from_numpy(gain).to(reader.operators))
    reader.to_fit = False


def _spice_currents(tile: Tile, v: FloatArray) -> FloatArray:
    return solve(tile, Drive(v=v), "ngspice").i_out


def make_reader(
    matrix: Matrix,
    fidelity: Fidelity,
    *,
    fitted: bool = False,
    extraction: Extraction | None = None,
    max_solves: int = MAX_SOLVES,
) -> Reader:
    """The reader of a layer's tiles at a fidelity.

    fitted: whether LINEAR will be fitted where cells bend; else it takes nominal secants.
    """
    spec, extraction = matrix.spec, extraction or Extraction()
    linear = is_linear(spec.cell)
    match fidelity:
        case Fidelity.IDEAL:
            return ideal_reader(matrix)
        case Fidelity.LINEAR:
            bends = fitted and not linear
            curve = InputCurve(spec.cell, spec.v_read) if bends else None
            return linear_reader(matrix, extraction, curve)
        case Fidelity.NONLINEAR:
            if linear:
                return linear_reader(matrix, extraction)
            return SolvedReader(matrix, solve_nonlinear_tile)
        case Fidelity.SPICE:
            return SolvedReader(matrix, _spice_currents, max_solves=max_solves)
