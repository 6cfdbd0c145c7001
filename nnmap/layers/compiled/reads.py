"""A mapped layer's reads as one compiled pass: inputs -> voltages -> currents -> codes -> outputs.

The same arithmetic as products, converters and decoding one after the other; only the order of
sums differs, and operators are divided by the converter's step beforehand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from circuitsim.dissection.threads import run_together
from netlists.errors import InputError
from nnmap.layers.compiled.columns import VECTORS, lanes
from nnmap.layers.compiled.drive import CONTINUOUS, SERIAL, TABLE, Drive
from nnmap.layers.compiled.kernels import (
    Columns,
    read_images,
    read_vectors,
)
from nnmap.layers.compiled.packing import ReadGroup, packed

FloatArray = NDArray[np.float64]

MAX_BITS = 24
TABLE_BITS = 12  # a DAC of more bits computes its voltages instead of looking them up
STRIPS = 4  # register tiles of vectors that a block holds; more no longer fit in cache
ROUNDING = 1e-9  # by which an input may exceed x_max without being counted


@dataclass(frozen=True, kw_only=True, eq=False)
class InputDrive:
    """How inputs become row voltages.

    bits: of the DAC, which rounds x / x_max to codes 0..2^bits - 1 and saturates; None has none.
    volts: V at even steps of x from 0 to x_max, straight between them and beyond; [0, v_read] is a
        linear input, 2^bits entries are the voltages of the codes.
    serial: one bit of the code at a time, as 0 V or volts[-1]; the reads are converted one by
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
        if self.volts[0] != 0:
            raise InputError(
                f"volts[0]={self.volts[0]!r} must be 0 V: an input of 0 drives no row."
            )
        if self.bits is not None and not 1 <= self.bits <= MAX_BITS:
            raise InputError(f"bits={self.bits} must lie in 1..{MAX_BITS}; None is without DAC.")
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
    """Geometry of a convolution; pairs are (height, width)."""

    @property
    def kernel(self) -> tuple[int, int]:
        """Of elements, positions or pixels."""
        ...

    @property
    def stride(self) -> tuple[int, int]:
        """Of elements, positions or pixels."""
        ...

    @property
    def dilation(self) -> tuple[int, int]:
        """Of elements, positions or pixels."""
        ...

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Pixels at 0: left, right, top, bottom."""
        ...


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
        groups: Sequence[ReadGroup],
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
        for group in groups:
            group.require_fits(inputs=inputs, outputs=outputs, converted=top is not None)
        bias = np.zeros(outputs) if bias is None else np.asarray(bias)
        if bias.shape != (outputs,):
            raise InputError(f"bias.shape={bias.shape} != (outputs,)={(outputs,)}.")
        number = np.float32 if dtype == torch.float32 else np.float64
        flips = [group.flips() for group in groups]
        return cls(
            inputs=inputs,
            outputs=outputs,
            drive=drive,
            top=top,
            lowest=lowest,
            dtype=dtype,
            read_columns=tuple(np.shape(group.operator)[1] for group in groups),
            _columns=packed(groups, start=bias.astype(number)),
            _flipped=np.array([[not f.all(), f.any()] for f in flips], bool).reshape(-1, 2),
        )

    def linear(self, x: Tensor) -> tuple[Tensor, Clips]:
        """Inputs x [vectors, inputs] -> (y [vectors, outputs] in the dtype of x, clips)."""
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
        """Images x [n, channels, h, w] -> (y [n, outputs, h', w'] in the dtype of x, clips).

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
        strip = VECTORS * self._lanes
        blocks = max(1, round(vectors / (STRIPS * strip)))
        unit = strip if blocks > 1 else self._lanes
        return max(1, -(-vectors // (blocks * unit))) * unit

    def _stride(self, block: int) -> int:
        """Numbers from one row of a block to the next: an odd number of cache lines."""
        return (block // self._lanes | 1) * self._lanes

    def _run(self, kernel: Callable[..., Any], x: Tensor, vectors: int, threads: int) -> Clips:
        active = self._active(x.numel() > 0 and not bool(x.amin() >= 0))
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
        parts = 2 if active[:, 1].any() or self._flipped[:, 1].any() else 1
        signs = [sign for sign in (0, 1) if active[:, sign].any()]
        reads = [
            (plane * parts + sign, plane * parts + (1 - sign) * (parts - 1), sign)
            for plane in range(planes)
            for sign in signs
        ]
        worth = [2.0**k / levels for k in range(planes)] if self.drive.serial else [1.0]
        x_max = self.drive.x_max
        limit = np.inf if self.drive.bits is None else x_max * (1 + ROUNDING)
        return Drive(
            mode=kind,
            table=table.astype(number),
            numbers=np.array([x_max, limit, levels, 0, 1], number),
            bipolar=self.drive.bipolar,
            planes=planes,
            parts=parts,
            reads=np.array(reads, np.int64).reshape(-1, 3),
            factors=np.array([(1 - 2 * sign) * w for w in worth for sign in signs], number),
            active=active,
        )


def _plain(x: Tensor) -> Tensor:
    x = x.detach().contiguous()
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float64)
