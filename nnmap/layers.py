"""Layers on tiles: the core of reads that all layers share, and the linear layer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.converters import Adc, Dac
from nnmap.matrix import Matrix
from nnmap.operator import Fidelity, cell_function
from nnmap.readers import Reader, make_reader

__all__ = ["ClipCount", "MappedLayer", "MappedLinear", "Matrix"]

CHUNK = 4096  # input vectors multiplied at a time; bounds memory and keeps currents in cache


@dataclass(kw_only=True)
class ClipCount:
    """Conversions that saturated since the layer was made, and how many there were."""

    dac: int = 0
    dac_of: int = 0
    adc: int = 0
    adc_of: int = 0


@dataclass(frozen=True, kw_only=True)
class ReadNoise:
    """Cycle-to-cycle noise of deviation sigma, relative to each memory's conductance.

    A column current is a sum over independent memories, so its noise is drawn at once, with the
    deviation sigma sqrt(sum (g v)^2). Exact for ohmic memories on perfect wires; with wires `g` is
    the effective conductance, and the two memories of a 1T2R cell count as one.
    """

    sigma: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise InputError(f"ReadNoise: sigma={self.sigma!r} must be finite and at least 0.")


class MappedLayer(nn.Module, ABC):
    """A layer whose matrix product runs on tiles at one fidelity.

    Non-negative inputs take one read (one a bit where inputs enter serially); inputs of both signs
    take two, of the positive and the negative part, subtracted after conversion. The currents of
    row tiles are converted one by one and added digitally before they are decoded, which is
    linear; the bias is digital. Arithmetic is in float64, or float32 after `.float()`; currents
    come from `reader`.

    sample: a few inputs of the whole network, one tensor for all its layers, at which LINEAR is
        fitted where cells bend; None for nominal secants.
    """

    bias: Tensor | None
    _columns: Tensor
    _number: Tensor

    def __init__(
        self,
        matrix: Matrix,
        fidelity: Fidelity,
        *,
        dac: Dac,
        adc: Adc,
        bias: Tensor | None,
        sample: Tensor | None = None,
        reader: Reader | None = None,
    ) -> None:
        super().__init__()
        self.matrix = matrix
        self.fidelity = fidelity
        self.dac = dac
        self.adc = adc
        self.sample = sample
        self.clips = ClipCount()
        self.noise = None
        self.reader = reader or make_reader(matrix, fidelity, fitted=sample is not None)
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.float64))
        columns = torch.tensor(matrix.columns())
        self.register_buffer("_columns", columns, persistent=False)
        # Empty: says where and in which precision the layer computes.
        self.register_buffer("_number", torch.empty(0, dtype=torch.float64), persistent=False)

    @property
    def noise(self) -> ReadNoise | None:
        """Noise of every read; setting it starts its stream anew."""
        return self._noise

    @noise.setter
    def noise(self, noise: ReadNoise | None) -> None:
        self._noise = noise
        self._stream = torch.Generator().manual_seed(noise.seed if noise else 0)

    @property
    def device(self) -> torch.device:
        """Where the layer computes."""
        return self._number.device

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Reads in this context have no noise, and nothing is counted."""
        clips, noise = self.clips, self._noise
        self.clips, self._noise = ClipCount(), None
        try:
            yield
        finally:
            self.clips, self._noise = clips, noise

    @abstractmethod
    def _vectors(self, x: Tensor) -> Tensor:
        """What enters the matrix, [inputs of all groups, vectors], from a layer input."""

    def voltages(self, x: Tensor) -> Tensor:
        """Row voltages of a parallel first read, V [reads, vectors, rows]."""
        return self._split(self.dac(part.clamp(min=0.0)) for part in self._chunks(self._numbers(x)))

    def all_voltages(self, x: Tensor) -> Tensor:
        """Row voltages of all reads of x, both signs and every bit, V [reads, vectors, rows]."""
        return self._split(
            volts
            for part in self._chunks(self._numbers(x))
            for sign in self._signs(part)
            for _, volts in self.dac.reads((sign * part).clamp(min=0.0))
        )

    def _numbers(self, x: Tensor) -> Tensor:
        return x.to(self._number)

    def _split(self, planes: Iterable[Tensor]) -> Tensor:
        """Voltages of the layer's inputs -> of its rows, V [reads, vectors, rows]."""
        split = self.matrix.placement.split_inputs
        return torch.cat([split(self._vectors(volts).T) for volts in planes], dim=1)

    def currents(self, v: Tensor) -> Tensor:
        """Currents of all columns before conversion, A [reads, vectors, col_tiles, cols].

        v: row voltages, V [reads, vectors, rows].
        """
        entering = self.reader.applied(v)
        i = [self.reader.currents(k, entering[k].T, slice(None)).T for k in range(len(v))]
        cols = self.matrix.spec.cols
        return torch.stack(i).view(len(i), -1, self.matrix.placement.col_tiles, cols)

    def _reads(self, x: Tensor) -> Iterator[tuple[float, Tensor]]:
        """(weight, row voltages as the reader takes them) of every read of x, both its signs."""
        for sign in self._signs(x):
            for weight, volts in self.dac.reads((sign * x).clamp(min=0.0)):
                yield sign * weight, self._vectors(self.reader.applied(volts))

    @staticmethod
    def _signs(x: Tensor) -> tuple[int, ...]:
        return (1, -1) if bool((x < 0).any()) else (1,)

    def _read_currents(self, v: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(read, A [vectors, read columns]) for v [inputs, vectors], row tile by row tile.

        One row tile at a time, so that a batch's currents stay in cache through the conversion.
        """
        p = self.matrix.placement
        all_read = len(self._columns) == p.col_tiles * self.matrix.spec.cols
        columns = slice(None) if all_read else self._columns
        for read, rows in enumerate(p.input_slices()):
            i = self.reader.currents(read, v[rows], columns)
            if self._noise is not None:
                deviation = self.reader.deviation(read, v[rows], columns)
                draw = torch.randn(i.shape, generator=self._stream, dtype=i.dtype).to(i.device)
                i.addcmul_(deviation, draw, value=self._noise.sigma)
            yield read, i.T

    def peak_currents(self, x: Tensor) -> Tensor:
        """Largest current of each read column over the inputs, A [reads, columns]."""
        p = self.matrix.placement
        peaks = torch.zeros(p.reads, len(self._columns), dtype=self._number.dtype)
        for part in self._chunks(self._numbers(x)):
            for _, volts in self._reads(part):
                for read, i in self._read_currents(volts):
                    torch.maximum(peaks[read], i.amax(0).cpu(), out=peaks[read])
        return peaks

    def _decode(self, total: Tensor) -> Tensor:
        """Summed currents of one bundle, [vectors, columns] -> sums of w v, [vectors, outputs]."""
        spec, encoding = self.matrix.spec, self.matrix.encoding
        function = cell_function(spec, self.fidelity)
        outputs = self.matrix.placement.tile_outputs
        widths = [len(encoding.columns(n, spec.cols)) for n in outputs]
        tiles = total.split(widths, dim=1)
        decoded = [encoding.decode(tile, spec.cell, function) for tile in tiles]
        return decoded[0] if len(decoded) == 1 else torch.cat([d.T for d in decoded]).T

    def _product(self, v: Tensor) -> Tensor:
        """Sums of w v, [outputs of all groups, vectors], for voltages v [inputs, vectors]."""
        p = self.matrix.placement
        bundles: list[Tensor] = []
        total: Tensor | None = None
        for read, i in self._read_currents(v):
            converted, clipped = self.adc.of_read(read).convert(i)
            self.clips.adc += clipped
            self.clips.adc_of += i.numel()
            total = converted if total is None else total.add_(converted)
            if (read + 1) % p.row_tiles == 0:
                bundles.append(self._decode(total).T)
                total = None
        joined = bundles[0] if len(bundles) == 1 else torch.cat(bundles)
        return joined[: p.groups * p.outputs]

    def _multiply(self, x: Tensor) -> Tensor:
        """Layer input -> sums of weight times input, [outputs, vectors]."""
        x = self._numbers(x)
        self.clips.dac += self.dac.clipped(x.abs())
        self.clips.dac_of += x.numel() * len(self._signs(x))
        scale = self.dac.x_max / self.dac.v_read * self.matrix.scale
        y: Tensor | None = None
        for weight, volts in self._reads(x):
            product = self._product(volts)
            factor = weight * scale
            y = product.mul(factor) if y is None else y.add_(product, alpha=factor)
        assert y is not None
        return y if self.bias is None else y.add_(self.bias.to(y.dtype)[:, None])

    def _products(self, x: Tensor, vectors: int) -> Iterator[Tensor]:
        """`_multiply` of every chunk of a layer input that makes so many input vectors."""
        reads = len(self._signs(x)) * (self.dac.bits or 1 if self.dac.serial else 1)
        self.reader.require_affordable(vectors * reads)
        for part in self._chunks(x):
            yield self._multiply(part)

    @abstractmethod
    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        """The batch in parts of bounded size."""

    def _settings(self) -> dict[str, object]:
        """What `__init__` takes beyond the matrix and its reader."""
        return {"dac": self.dac, "adc": self.adc, "bias": self.bias, "sample": self.sample}

    def with_matrix(
        self, matrix: Matrix, fidelity: Fidelity, *, reader: Reader | None = None
    ) -> Self:
        """The same layer on another chip or at another fidelity; the reader is made where None.

        At LINEAR its cells that bend are still to be fitted: see `fit_linear`.
        """
        settings = self._settings()
        layer = type(self)(matrix, fidelity, reader=reader, **settings)  # type: ignore[arg-type]
        layer.noise = self.noise
        return layer.to(self.device, self._number.dtype)

    def extra_repr(self) -> str:
        """What the layer is made of."""
        p = self.matrix.placement
        groups = f"{p.groups} groups of " if p.groups > 1 else ""
        return f"{groups}{p.inputs}x{p.outputs} on {p.tiles} tiles, {self.fidelity.value}"


class MappedLinear(MappedLayer):
    """A linear layer on tiles."""

    def _vectors(self, x: Tensor) -> Tensor:
        return x.T

    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        yield from x.flatten(0, -2).split(CHUNK)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs], in the dtype of x."""
        inputs = self.matrix.placement.inputs
        if x.ndim < 2 or x.shape[-1] != inputs:
            raise InputError(f"x.shape={tuple(x.shape)} != (batch, inputs)=(*, {inputs}).")
        vectors = x.numel() // inputs
        parts = [y.T.to(x.dtype) for y in self._products(x, vectors)]
        return torch.cat(parts).view(*x.shape[:-1], -1)
