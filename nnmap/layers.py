"""Layers on tiles: the core of reads that all layers share, and the linear layer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from netlists.tile import FloatArray
from nnmap.converters import Adc, Dac
from nnmap.matrix import Matrix
from nnmap.operator import Fidelity, cell_function

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
    linear; the bias is digital. Arithmetic is in the dtype of `operators`: float64, or float32
    after `.float()`.
    """

    bias: Tensor | None
    operators: Tensor
    _columns: Tensor

    def __init__(
        self,
        matrix: Matrix,
        fidelity: Fidelity,
        *,
        dac: Dac,
        adc: Adc,
        bias: Tensor | None,
        operators: FloatArray | None = None,
    ) -> None:
        super().__init__()
        self.matrix = matrix
        self.fidelity = fidelity
        self.dac = dac
        self.adc = adc
        self.clips = ClipCount()
        self.noise = None
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.float64))
        if operators is None:
            operators = matrix.operators(fidelity)
        p = matrix.placement
        # [reads, rows, col_tiles * cols]: one product serves all column tiles of a row tile.
        stacked = torch.from_numpy(operators).view(p.reads, p.col_tiles, *operators.shape[1:])
        self.register_buffer("operators", stacked.permute(0, 3, 1, 2).flatten(2).contiguous())
        columns = torch.tensor(matrix.columns())
        self.register_buffer("_columns", columns, persistent=False)

    @property
    def noise(self) -> ReadNoise | None:
        """Noise of every read; setting it starts its stream anew."""
        return self._noise

    @noise.setter
    def noise(self, noise: ReadNoise | None) -> None:
        self._noise = noise
        self._stream = torch.Generator().manual_seed(noise.seed if noise else 0)

    @abstractmethod
    def _vectors(self, x: Tensor) -> Tensor:
        """What enters the matrix, [inputs of all groups, vectors], from a layer input."""

    def voltages(self, x: Tensor) -> Tensor:
        """Row voltages of a parallel first read, V [reads, vectors, rows]."""
        v = self.dac(x.to(self.operators.dtype).clamp(min=0.0))
        return self.matrix.placement.split_inputs(self._vectors(v).T)

    def currents(self, v: Tensor) -> Tensor:
        """Currents of all columns before conversion, A [reads, vectors, col_tiles, cols]."""
        i = torch.bmm(v, self.operators)
        return i.view(*i.shape[:2], self.matrix.placement.col_tiles, self.matrix.spec.cols)

    def _read_currents(self, v: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(read, A [vectors, read columns]) for v [inputs, vectors], row tile by row tile.

        One row tile at a time, so that a batch's currents stay in cache through the conversion.
        """
        all_read = len(self._columns) == self.operators.shape[2]
        for read, rows in enumerate(self.matrix.placement.input_slices()):
            operator = self.operators[read, : rows.stop - rows.start]
            if not all_read:
                operator = operator[:, self._columns]
            i = operator.T @ v[rows]
            if self._noise is not None:
                deviation = (operator.T.square() @ v[rows].square()).sqrt_()
                draw = torch.randn(i.shape, generator=self._stream, dtype=i.dtype).to(i.device)
                i.addcmul_(deviation, draw, value=self._noise.sigma)
            yield read, i.T

    def peak_currents(self, x: Tensor) -> Tensor:
        """Largest current of each read column over the inputs, A [reads, columns]."""
        peaks = torch.zeros(len(self.operators), len(self._columns), dtype=self.operators.dtype)
        for part in self._chunks(x.to(self.operators.dtype)):
            for sign in (1, -1):
                for _, volts in self.dac.reads((sign * part).clamp(min=0.0)):
                    for read, i in self._read_currents(self._vectors(volts)):
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
        x = x.to(self.operators.dtype)
        signs = (1, -1) if bool((x < 0).any()) else (1,)
        y: Tensor | None = None
        for sign in signs:
            part = (sign * x).clamp(min=0.0)
            self.clips.dac += self.dac.clipped(part)
            self.clips.dac_of += part.numel()
            for weight, volts in self.dac.reads(part):
                factor = sign * weight * self.dac.x_max / self.dac.v_read * self.matrix.scale
                product = self._product(self._vectors(volts))
                y = product.mul(factor) if y is None else y.add_(product, alpha=factor)
        assert y is not None
        return y if self.bias is None else y.add_(self.bias.to(y.dtype)[:, None])

    @abstractmethod
    def _chunks(self, x: Tensor) -> Iterator[Tensor]:
        """The batch in parts of bounded size."""

    def _settings(self) -> dict[str, object]:
        """What `__init__` takes beyond the matrix and its operators."""
        return {"dac": self.dac, "adc": self.adc, "bias": self.bias}

    def with_matrix(self, matrix: Matrix, fidelity: Fidelity) -> Self:
        """The same layer on another chip or at another fidelity, operators extracted anew."""
        layer = type(self)(matrix, fidelity, **self._settings())  # type: ignore[arg-type]
        layer.noise = self.noise
        return layer.to(self.operators.device, self.operators.dtype)

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
        parts = [self._multiply(part).T.to(x.dtype) for part in self._chunks(x)]
        return torch.cat(parts).view(*x.shape[:-1], -1)
