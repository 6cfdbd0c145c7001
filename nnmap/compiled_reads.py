"""A mapped layer's reads as one compiled pass: inputs -> voltages -> currents -> codes -> outputs.

The same arithmetic as products, converters and decoding one after the other; only the order of
sums differs, and operators are divided by the converter's step beforehand.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from circuitsim.dissection.threads import run_together
from netlists.errors import InputError
from nnmap.read_columns import COLUMNS, VECTORS, lanes
from nnmap.read_kernels import (
    CONTINUOUS,
    SERIAL,
    TABLE,
    Columns,
    Drive,
    read_images,
    read_vectors,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TABLE_BITS = 12  # a DAC of more bits computes its voltages instead of looking them up
STRIPS = 4  # register tiles of vectors that a block holds; more no longer fit in cache
ROUNDING = 1e-9  # by which an input may exceed x_max without being counted


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroup:
    """Tiles that share their row voltages.

    inputs: layer input that drives each row, [rows].
    flip: rows driven by the negative of their input, bool [rows].
    operator: current of each read column over row voltages, S [rows, columns].
    step: current of one ADC code of each column, A [columns] or one for all; None without ADC.
    indptr, outputs, coefficients: what the columns serve, as CSR: column c adds coefficients[j] A
        of it to outputs[j] for j in indptr[c]..indptr[c + 1] - 1.  indptr: [columns + 1].
    """

    inputs: ArrayLike
    operator: ArrayLike
    indptr: ArrayLike
    outputs: ArrayLike
    coefficients: ArrayLike
    step: ArrayLike | None = None
    flip: ArrayLike | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class InputDrive:
    """How inputs become row voltages.

    bits: of the DAC, which rounds x / x_max to codes 0..2^bits - 1 and saturates; None has none.
    volts: V at even steps of x from 0 to x_max, straight between them and beyond; [0, v_read] is a
        linear input, 2^bits entries are the voltages of the codes.
    serial: one bit of the code at a time, as volts[0] or volts[-1]; the reads are converted one by
        one and added with weights 2^k / (2^bits - 1).
    bipolar: negative inputs enter as negative voltages. Else they take a second read, of the
        negative parts, which is subtracted after conversion.
    """

    x_max: float
    volts: FloatArray
    bits: int | None
    serial: bool = False
    bipolar: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.x_max < float("inf"):
            raise InputError(f"x_max={self.x_max!r} must be positive and finite.")
        if np.ndim(self.volts) != 1 or len(self.volts) < 2:
            raise InputError(f"volts.shape={np.shape(self.volts)} must be (at least 2,).")
        if self.serial and self.bits is None:
            raise InputError("bit-serial inputs need a number of bits; set bits.")

    def planes(self) -> int:
        """Reads of one sign."""
        return (self.bits or 1) if self.serial else 1

    def table(self) -> tuple[int, FloatArray]:
        """(kind of table, voltages) as the kernels take them."""
        if self.serial:
            return SERIAL, np.array([self.volts[0], self.volts[-1]])
        if self.bits is None or self.bits > TABLE_BITS:
            return CONTINUOUS, self.volts
        steps = np.linspace(0.0, len(self.volts) - 1, 2**self.bits)
        return TABLE, np.interp(steps, np.arange(len(self.volts)), self.volts)


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Conversions of one call that saturated, and how many there were."""

    dac: int
    dac_of: int
    adc: int
    adc_of: int


class Window(Protocol):
    """Geometry of a convolution; pairs are (height, width).

    padding: (left, right, top, bottom) pixels at 0.
    """

    @property
    def kernel(self) -> tuple[int, int]: ...
    @property
    def stride(self) -> tuple[int, int]: ...
    @property
    def dilation(self) -> tuple[int, int]: ...
    @property
    def padding(self) -> tuple[int, int, int, int]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _Decoded:
    """A row group in the order it is read: columns by place, their weights and what they are."""

    operator: FloatArray
    weight: FloatArray
    place: IntArray


class _SharedSums:
    """Sums that several outputs take part in, one per different set of outputs and ratios."""

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


def _csr(group: RowGroup, columns: int) -> tuple[IntArray, IntArray, FloatArray]:
    indptr = np.asarray(group.indptr, np.int64)
    outputs = np.asarray(group.outputs, np.int64)
    coefficients = np.asarray(group.coefficients, np.float64)
    if indptr.shape != (columns + 1,) or not len(outputs) == len(coefficients) == indptr[-1]:
        raise InputError(
            f"indptr.shape={indptr.shape}, outputs.shape={outputs.shape} and coefficients.shape="
            f"{coefficients.shape} are no CSR arrays of {columns} columns."
        )
    return indptr, outputs, coefficients


def _converted(group: RowGroup, operator: FloatArray, shared: _SharedSums) -> _Decoded:
    """Columns in codes, each added to one place."""
    columns = operator.shape[1]
    indptr, outputs, coefficients = _csr(group, columns)
    step = np.broadcast_to(np.asarray(group.step, np.float64), (columns,))
    if not (step > 0).all():
        raise InputError(f"step={step.min()!r} A must be positive.")
    weight, place = np.zeros(columns), np.zeros(columns, np.int64)
    served = np.diff(indptr)
    single = served == 1
    at = indptr[:-1][single]
    place[single], weight[single] = outputs[at], coefficients[at]
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


def _continuous(group: RowGroup, operator: FloatArray) -> _Decoded:
    """Without a converter columns are decoded once and for all: one column per output."""
    indptr, outputs, coefficients = _csr(group, operator.shape[1])
    place, column = np.unique(outputs, return_inverse=True)
    decode = np.zeros((operator.shape[1], len(place)))
    of = np.repeat(np.arange(operator.shape[1]), np.diff(indptr))
    np.add.at(decode, (of, column), coefficients)
    return _Decoded(operator=operator @ decode, weight=np.ones(len(place)), place=place)


def _panels(operator: FloatArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """[rows, columns] -> flat [panels, rows, COLUMNS]."""
    rows, columns = operator.shape
    panels = -(-columns // COLUMNS)
    padded = np.zeros((rows, panels * COLUMNS), dtype)
    padded[:, :columns] = operator
    return padded.reshape(rows, panels, COLUMNS).transpose(1, 0, 2).reshape(-1)


def _padded(values: NDArray[Any], fill: float) -> NDArray[Any]:
    missing = -len(values) % COLUMNS
    return np.concatenate([values, np.full(missing, fill, values.dtype)])


def _offsets(lengths: Iterable[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(list(lengths), dtype=np.int64)]).astype(np.int64)


def _joined(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)


def _flips(group: RowGroup, rows: int) -> NDArray[np.bool_]:
    flip = np.zeros(rows, bool) if group.flip is None else np.asarray(group.flip, bool)
    if flip.shape != (rows,):
        raise InputError(f"flip.shape={flip.shape} != (rows,)={(rows,)}.")
    return flip


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledReads:
    """One layer, ready to be read; made by `CompiledReads.of`.

    dtype: in which it computes.  top, lowest: the range of ADC codes; top=None is without ADC.
    read_columns: columns of each row group that are read.
    """

    inputs: int
    outputs: int
    drive: InputDrive
    top: int | None
    lowest: int
    dtype: torch.dtype
    read_columns: tuple[int, ...]
    _columns: Columns = field(repr=False)
    _flipped: NDArray[np.bool_] = field(repr=False)  # [groups, 2]: any row plain, any flipped

    @classmethod
    def of(
        cls,
        groups: Sequence[RowGroup],
        *,
        inputs: int,
        outputs: int,
        drive: InputDrive,
        top: int | None,
        lowest: int = 0,
        bias: ArrayLike | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> "CompiledReads":
        """Pack row groups; what belongs together is copied next to each other.

        top: highest ADC code; None is without ADC.
        lowest: lowest ADC code, below 0 where rows are driven negative.
        bias: added to the outputs, [outputs].

        Raises InputError for shapes that do not fit.
        """
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"dtype={dtype} must be torch.float32 or torch.float64.")
        if top is not None and not lowest <= 0 < top:
            raise InputError(f"ADC codes {lowest}..{top} must reach from at most 0 to above 0.")
        number = np.dtype(np.float32 if dtype == torch.float32 else np.float64)
        shared = _SharedSums(outputs)
        packed: list[NDArray[Any]] = []
        decoded: list[_Decoded] = []
        rows: list[IntArray] = []
        flips: list[NDArray[np.bool_]] = []
        for group in groups:
            operator = np.asarray(group.operator)
            driven = np.asarray(group.inputs, np.int64)
            if operator.ndim != 2 or driven.shape != operator.shape[:1]:
                raise InputError(
                    f"inputs.shape={driven.shape} and operator.shape={operator.shape} are not "
                    "(rows,) and (rows, columns)."
                )
            _require_within("inputs", driven, inputs)
            _require_within("outputs", np.asarray(group.outputs), outputs)
            if (group.step is None) != (top is None):
                raise InputError("step and top belong together: both with an ADC, neither without.")
            if top is None:
                part = _continuous(group, operator)
            else:
                part = _converted(group, operator, shared)
            rows.append(driven)
            flips.append(_flips(group, len(driven)))
            packed.append(_panels(part.operator, number))
            decoded.append(part)
        sizes = _offsets(len(p) for p in packed)
        bias = np.zeros(outputs) if bias is None else np.asarray(bias)
        if bias.shape != (outputs,):
            raise InputError(f"bias.shape={bias.shape} != (outputs,)={(outputs,)}.")
        columns = Columns(
            rows=_offsets(len(r) for r in rows),
            inputs=_joined(rows, np.int64),
            flip=_joined(flips, np.int64),
            panels=_offsets(-(-len(d.place) // COLUMNS) for d in decoded),
            operator=_joined(packed, number),
            operator_at=sizes[:-1].copy(),
            weight=_joined([_padded(d.weight, 0.0) for d in decoded], number),
            # What fills the last panel up counts for nothing, at the place of its neighbour.
            place=_joined(
                [_padded(d.place, d.place[-1] if len(d.place) else 0) for d in decoded], np.int64
            ),
            shared_at=_offsets(len(o) for o in shared.outputs),
            shared_outputs=_joined(shared.outputs, np.int64),
            shared_weight=_joined(shared.weights, number),
            start=bias.astype(number),
        )
        return cls(
            inputs=inputs,
            outputs=outputs,
            drive=drive,
            top=top,
            lowest=lowest,
            dtype=dtype,
            read_columns=tuple(np.shape(g.operator)[1] for g in groups),
            _columns=columns,
            _flipped=np.array([[not f.all(), f.any()] for f in flips], bool).reshape(-1, 2),
        )

    def linear(self, x: Tensor) -> tuple[Tensor, Clips]:
        """x [vectors, inputs] -> (y [vectors, outputs] in the dtype of x, what was clipped)."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise InputError(f"x.shape={tuple(x.shape)} != (vectors, inputs)=(*, {self.inputs}).")
        x = _plain(x)
        y = x.new_empty(len(x), self.outputs)
        threads = torch.get_num_threads()
        block = self._block(-(-len(x) // threads))
        arrays = x.numpy(), y.numpy(), block, self._stride(block)
        clips = self._run(lambda *rest: read_vectors(*arrays, *rest), x, len(x), threads)
        return y, clips

    def convolve(self, x: Tensor, window: Window) -> tuple[Tensor, Clips]:
        """x [n, channels, h, w] -> (y [n, outputs, h', w'] in the dtype of x, what was clipped).

        Input channel * kh * kw + a * kw + b is what kernel element (a, b) sees of a channel.
        """
        (kh, kw), (left, right, top, bottom) = window.kernel, window.padding
        if x.ndim != 4 or x.shape[1] * kh * kw != self.inputs:
            raise InputError(
                f"x.shape={tuple(x.shape)} with kernel={(kh, kw)} != (n, inputs / (kh kw), h, w)="
                f"(*, {self.inputs / (kh * kw):g}, *, *)."
            )
        padded = x.shape[2] + top + bottom, x.shape[3] + left + right
        size = [
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(padded, (kh, kw), window.stride, window.dilation, strict=True)
        ]
        if min(size) < 1:
            raise InputError(f"x.shape={tuple(x.shape)} is smaller than the {(kh, kw)} kernel.")
        x = _plain(x)
        y = x.new_empty(len(x), self.outputs, *size)
        threads = torch.get_num_threads()
        positions = size[0] * size[1]
        wanted = -(-self._block(len(x) * positions) // positions)
        images = max(1, min(wanted, -(-len(x) // threads)))
        block = self._block(images * positions)
        geometry = np.array(
            [window.kernel, window.stride, window.dilation, (top, left), padded], np.int64
        )
        arrays = x.numpy(), y.numpy(), geometry, images, block, self._stride(block)
        vectors = len(x) * positions
        return y, self._run(lambda *rest: read_images(*arrays, *rest), x, vectors, threads)

    @property
    def _lanes(self) -> int:
        return lanes(self._columns.operator.itemsize)

    def _block(self, vectors: int) -> int:
        """Vectors of a block, given how many there are to share out."""
        largest = STRIPS * VECTORS * self._lanes
        strip = VECTORS * self._lanes
        blocks = max(1, round(vectors / (STRIPS * strip)))
        unit = strip if blocks > 1 else self._lanes
        return max(1, -(-vectors // (blocks * unit))) * unit

    def _stride(self, block: int) -> int:
        """Numbers from one row of a block to the next: an odd number of cache lines."""
        return (block // self._lanes | 1) * self._lanes

    def _run(self, kernel: Callable[..., Any], x: Tensor, vectors: int, threads: int) -> Clips:
        active = self._active(bool((x < 0).any()))
        drive = self._driven(active)
        number = self._columns.operator.dtype
        codes = np.array([0 if self.top is None else self.lowest, self.top or 0, 0], number)
        counter = np.zeros(1, np.int64)
        counts: list[tuple[int, int]] = []

        def job() -> None:
            beyond = np.zeros(self._lanes, f"i{number.itemsize}")
            counts.append(kernel(counter, self._columns, drive, codes, beyond))

        run_together([job] * threads)
        signs = int(active.any(axis=0).sum())
        per_vector = self.drive.planes() * int(
            active.sum(axis=1) @ np.array(self.read_columns, int)
        )
        return Clips(
            dac=sum(dac for dac, _ in counts),
            dac_of=x.numel() * signs if self.drive.bits is not None else 0,
            adc=sum(adc for _, adc in counts),
            adc_of=0 if self.top is None else vectors * per_vector,
        )

    def _active(self, negative: bool) -> NDArray[np.bool_]:
        """[groups, 2]: whether the positive and the negative read drive any row of a group."""
        plain, flipped = self._flipped.T
        if self.drive.bipolar:
            return np.stack([plain | flipped, np.zeros_like(plain)], axis=1)
        return np.stack([plain | flipped & negative, flipped | plain & negative], axis=1)

    def _driven(self, active: NDArray[np.bool_]) -> Drive:
        """The reads that serve these parts of the inputs."""
        kind, table = self.drive.table()
        number = self._columns.operator.dtype
        planes = self.drive.planes()
        levels = 2**self.drive.bits - 1 if self.drive.bits is not None else 0
        halves = 2 if active[:, 1].any() or self._flipped[:, 1].any() else 1
        signs = [sign for sign in (0, 1) if active[:, sign].any()]
        reads = [
            (plane * halves + sign, plane * halves + (1 - sign) * (halves - 1), sign)
            for plane in range(planes)
            for sign in signs
        ]
        worth = [2.0**k / levels for k in range(planes)] if self.drive.serial else [1.0]
        x_max = self.drive.x_max
        limit = np.inf if self.drive.bits is None else x_max * (1 + ROUNDING)
        counted = 1 if self.drive.bipolar else halves
        return Drive(
            mode=kind,
            table=table.astype(number),
            numbers=np.array([x_max, limit, levels, 0, 1], number),
            bipolar=self.drive.bipolar,
            sources=np.array(
                [
                    (plane, half, plane == 0 and half < counted)
                    for plane in range(planes)
                    for half in range(halves)
                ],
                np.int64,
            ),
            reads=np.array(reads, np.int64).reshape(-1, 3),
            factors=np.array([(1 - 2 * sign) * w for w in worth for sign in signs], number),
            active=active,
        )


def _plain(x: Tensor) -> Tensor:
    x = x.detach().contiguous()
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float64)


def _require_within(name: str, indices: IntArray, count: int) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < count:
        raise InputError(f"{name} {indices.min()}..{indices.max()} must lie in 0..{count - 1}.")
