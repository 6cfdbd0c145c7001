"""Row groups of a layer -> the arrays that the compiled reads stream through."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netlists.errors import InputError
from nnmap.layers.compiled.columns import COLUMNS
from nnmap.layers.compiled.kernels import NOWHERE, Columns

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadGroup:
    """Tiles that share their row voltages.

    inputs: layer input that drives each row, [rows].
    flip: rows driven by the negative of their input, bool [rows].
    operator: current of each read column over row voltages, S [rows, columns].
    step: current of one ADC code of each column, A [columns] or one for all; None without ADC.
    indptr, outputs, coefficients: what the columns serve, as CSR. outputs[j] takes coefficients[j]
        times the current of column c for j in indptr[c]..indptr[c + 1] - 1, [columns + 1].
    """

    inputs: ArrayLike
    operator: ArrayLike
    indptr: ArrayLike
    outputs: ArrayLike
    coefficients: ArrayLike
    step: ArrayLike | None = None
    flip: ArrayLike | None = None

    def flips(self) -> NDArray[np.bool_]:
        """Which rows are driven by the negative of their input, [rows]."""
        if self.flip is None:
            return np.zeros(np.shape(self.inputs), bool)
        return np.asarray(self.flip, bool)

    def require_fits(self, *, inputs: int, outputs: int, converted: bool) -> None:
        """Raise InputError unless shapes agree and indices lie within the layer."""
        driven, operator = np.asarray(self.inputs), np.shape(self.operator)
        if len(operator) != 2 or driven.shape != operator[:1]:
            raise InputError(
                f"inputs.shape={driven.shape} and operator.shape={operator} are not (rows,) and "
                "(rows, columns)."
            )
        if self.flips().shape != driven.shape:
            raise InputError(f"flip.shape={self.flips().shape} != (rows,)={driven.shape}.")
        served = np.shape(self.indptr), np.shape(self.outputs), np.shape(self.coefficients)
        entries = int(np.asarray(self.indptr)[-1])
        if served != ((operator[1] + 1,), (entries,), (entries,)):
            raise InputError(
                f"indptr, outputs and coefficients of shapes {served} are no CSR arrays of "
                f"{operator[1]} columns."
            )
        for name, indices, count in (
            ("inputs", driven, inputs),
            ("outputs", np.asarray(self.outputs), outputs),
        ):
            if indices.size and not 0 <= indices.min() <= indices.max() < count:
                raise InputError(
                    f"{name} {indices.min()}..{indices.max()} must lie in 0..{count - 1}."
                )
        if (self.step is not None) != converted:
            raise InputError("step and top belong together: both with an ADC, neither without.")
        if self.step is not None and not np.min(self.step, initial=np.inf) > 0:
            raise InputError(f"step={np.min(self.step)!r} A must be positive.")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decoded:
    """Columns of a row group by the place they are added to, and what a code of each is worth."""

    operator: FloatArray
    weight: FloatArray
    place: IntArray


class _SharedSums:
    """Sums that several outputs take part in, one per different set of outputs and ratios.

    An offset column is read once and serves all outputs of its tile; the tiles below it serve the
    same outputs in the same ratios, so that their codes are added up before they are handed out.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.found: dict[tuple[bytes, bytes], int] = {}
        self.outputs: list[IntArray] = []
        self.weights: list[FloatArray] = []

    def place(self, outputs: IntArray, ratios: FloatArray) -> int:
        """Where a column that serves these outputs in these ratios is added up."""
        key = outputs.tobytes(), ratios.tobytes()
        if key not in self.found:
            self.found[key] = self.first + len(self.found)
            self.outputs.append(outputs)
            self.weights.append(ratios)
        return self.found[key]


def _csr(group: ReadGroup) -> tuple[IntArray, IntArray, FloatArray]:
    outputs = np.asarray(group.outputs, np.int64)
    return np.asarray(group.indptr, np.int64), outputs, np.asarray(group.coefficients, np.float64)


def _converted(group: ReadGroup, shared: _SharedSums) -> _Decoded:
    """Columns in codes, each added to one place."""
    operator, (indptr, outputs, coefficients) = np.asarray(group.operator), _csr(group)
    columns = operator.shape[1]
    step = np.broadcast_to(np.asarray(group.step, np.float64), (columns,))
    weight, place = np.zeros(columns), np.full(columns, NOWHERE)
    served = np.diff(indptr)
    single = served == 1
    at = indptr[:-1][single]
    place[single], weight[single] = NOWHERE + 1 + outputs[at], coefficients[at]
    for c in np.flatnonzero(served > 1):
        j = slice(indptr[c], indptr[c + 1])
        weight[c] = coefficients[j][np.abs(coefficients[j]).argmax()] or 1.0
        place[c] = shared.place(outputs[j], coefficients[j] / weight[c])
    order = np.argsort(place, kind="stable")
    return _Decoded(
        operator=operator[:, order] / step[order],
        weight=(weight * step)[order],
        place=place[order],
    )


def _continuous(group: ReadGroup) -> _Decoded:
    """Without a converter columns are decoded once and for all: one column per output."""
    operator, (indptr, outputs, coefficients) = np.asarray(group.operator), _csr(group)
    order = np.argsort(outputs, kind="stable")
    column = np.repeat(np.arange(operator.shape[1]), np.diff(indptr))[order]
    place, starts = np.unique(outputs[order], return_index=True)
    shares = operator[:, column] * coefficients[order]
    sums = np.add.reduceat(shares, starts, axis=1) if len(starts) else shares
    return _Decoded(operator=sums, weight=np.ones(len(place)), place=NOWHERE + 1 + place)


def _panels(operator: FloatArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """[rows, columns] -> flat [panels, rows, COLUMNS]."""
    rows, columns = operator.shape
    panels = -(-columns // COLUMNS)
    filled = np.zeros((rows, panels * COLUMNS), dtype)
    filled[:, :columns] = operator
    return filled.reshape(rows, panels, COLUMNS).transpose(1, 0, 2).reshape(-1)


def _filled(values: NDArray[Any], fill: float) -> NDArray[Any]:
    """Whole panels of values of columns."""
    return np.concatenate([values, np.full(-len(values) % COLUMNS, fill, values.dtype)])


def _offsets(lengths: Iterable[int]) -> IntArray:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _joined(parts: Iterable[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)


def packed(groups: Sequence[ReadGroup], *, start: NDArray[Any]) -> Columns:
    """Groups in the order they are read, in the precision of `start`, which sums begin with.

    start: [outputs].
    """
    shared = _SharedSums(NOWHERE + 1 + len(start))
    decoded, panels = [], []
    for group in groups:
        part = _continuous(group) if group.step is None else _converted(group, shared)
        panels.append(_panels(part.operator, start.dtype))
        decoded.append((part.weight, part.place))
    return Columns(
        rows=_offsets(np.size(group.inputs) for group in groups),
        inputs=_joined((np.asarray(group.inputs) for group in groups), np.int64),
        flip=_joined((group.flips() for group in groups), np.int64),
        panels=_offsets(-(-len(place) // COLUMNS) for _, place in decoded),
        operator=_joined(panels, start.dtype),
        operator_at=_offsets(len(panel) for panel in panels)[:-1].copy(),
        weight=_joined((_filled(weight, 0.0) for weight, _ in decoded), start.dtype),
        place=_joined((_filled(place, NOWHERE) for _, place in decoded), np.int64),
        shared_at=_offsets(len(outputs) for outputs in shared.outputs),
        shared_outputs=_joined(shared.outputs, np.int64),
        shared_weight=_joined(shared.weights, start.dtype),
        start=start,
    )
