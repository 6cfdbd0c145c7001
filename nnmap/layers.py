"""Layers on tiles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from netlists.faults import FaultMap
from netlists.tile import FloatArray, Tile, TileSpec
from nnmap.converters import Adc, Dac
from nnmap.encode import Encoding
from nnmap.operator import Fidelity, cell_function, tile_operators
from nnmap.placement import Placement


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix:
    """A layer's matrix programmed on tiles of one chip.

    g: memory conductances as programmed, S [tiles, *g_shape].
    faults: one map a tile, or None on a perfect chip.
    scale: weight that a normalised 1 stands for.
    """

    spec: TileSpec
    encoding: Encoding
    placement: Placement
    g: FloatArray
    scale: float
    faults: tuple[FaultMap, ...] | None = None

    def tile(self, index: int) -> Tile:
        """One tile as a circuit sees it."""
        faults = None if self.faults is None else self.faults[index]
        return Tile(spec=self.spec, g=self.g[index], faults=faults)

    def with_faults(self, faults: Sequence[FaultMap]) -> "Matrix":
        """The same matrix on a chip with these faults, one map a tile."""
        if len(faults) != self.placement.tiles:
            raise InputError(f"{len(faults)} fault maps for {self.placement.tiles} tiles.")
        return replace(self, faults=tuple(faults))

    def operators(self, fidelity: Fidelity) -> FloatArray:
        """Operators of all tiles, S [tiles, cols, rows]."""
        tiles = [self.tile(k) for k in range(self.placement.tiles)]
        return tile_operators(tiles, fidelity)


@dataclass(kw_only=True)
class ClipCount:
    """Conversions that saturated since the layer was made, and how many there were."""

    dac: int = 0
    dac_of: int = 0
    adc: int = 0
    adc_of: int = 0


class MappedLinear(nn.Module):
    """A linear layer whose product runs on tiles at one fidelity.

    Non-negative inputs take one read; a batch with negative inputs takes two, of the positive and
    the negative part, subtracted after conversion. The currents of row tiles are converted one by
    one and added digitally before they are decoded, which is linear; the bias is digital.
    """

    bias: Tensor | None
    operators: Tensor

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
        self.register_buffer("bias", None if bias is None else bias.detach().to(torch.float64))
        if operators is None:
            operators = matrix.operators(fidelity)
        p = matrix.placement
        # [row_tiles, rows, col_tiles * cols]: one product serves all column tiles of a row tile.
        stacked = torch.tensor(operators).view(p.row_tiles, p.col_tiles, *operators.shape[1:])
        self.register_buffer("operators", stacked.permute(0, 3, 1, 2).flatten(2).contiguous())

    def voltages(self, x: Tensor) -> Tensor:
        """Row voltages of the first read, V [row_tiles, batch, rows]."""
        return self.matrix.placement.split_inputs(self.dac(x.to(torch.float64).clamp(min=0.0)))

    def currents(self, v: Tensor) -> Tensor:
        """Column currents before conversion, A [row_tiles, batch, col_tiles, cols]."""
        i = torch.bmm(v, self.operators)
        return i.view(*i.shape[:2], self.matrix.placement.col_tiles, self.matrix.spec.cols)

    def _read(self, x: Tensor) -> Tensor:
        """Sum of w x over the inputs for non-negative x, w normalised; [batch, outputs]."""
        self.clips.dac += self.dac.clipped(x)
        self.clips.dac_of += x.numel()
        # Row tile by row tile, so that a batch's currents stay in cache through the conversion.
        total = torch.zeros(len(x), self.operators.shape[2], dtype=torch.float64, device=x.device)
        for v, operator in zip(self.voltages(x), self.operators, strict=True):
            i = v @ operator
            self.clips.adc += self.adc.clipped(i)
            self.clips.adc_of += i.numel()
            total += self.adc(i)
        spec, placement = self.matrix.spec, self.matrix.placement
        function = cell_function(spec, self.fidelity)
        columns = total.view(len(x), placement.col_tiles, spec.cols)
        volts = self.matrix.encoding.decode(columns, spec.cell, function)
        joined = volts.flatten(1)[:, : placement.outputs]
        return joined * (self.dac.x_max / self.dac.v_read)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs], in the dtype of x."""
        if x.ndim != 2 or x.shape[1] != self.matrix.placement.inputs:
            raise InputError(
                f"x.shape={tuple(x.shape)} != (batch, inputs)=(*, {self.matrix.placement.inputs})."
            )
        y = self._read(x.clamp(min=0.0))
        if (x < 0).any():
            y = y - self._read((-x).clamp(min=0.0))
        y = y * self.matrix.scale
        if self.bias is not None:
            y = y + self.bias
        return y.to(x.dtype)

    def with_matrix(self, matrix: Matrix, fidelity: Fidelity) -> "MappedLinear":
        """The same layer on another chip or at another fidelity, operators extracted anew."""
        return MappedLinear(matrix, fidelity, dac=self.dac, adc=self.adc, bias=self.bias)

    def extra_repr(self) -> str:
        """What the layer is made of."""
        p = self.matrix.placement
        return f"{p.inputs}x{p.outputs} on {p.tiles} tiles, {self.fidelity.value}"
