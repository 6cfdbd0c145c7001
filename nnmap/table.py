"""The mapping table: what each layer became."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from nnmap.convert import MAPPABLE, mapped_layers


@dataclass(frozen=True, kw_only=True)
class MappingRow:
    """One layer.

    matrix: (groups, inputs, outputs).  devices: memories that hold weights or an offset.
    utilisation: devices over all memories of the layer's tiles; NaN for a digital layer.
    """

    layer: str
    kind: str
    matrix: tuple[int, int, int]
    tiles: int
    devices: int
    utilisation: float


@dataclass(frozen=True, kw_only=True)
class MappingTable:
    """Every layer with a matrix, on tiles or digital; `str` renders it."""

    rows: tuple[MappingRow, ...]

    @property
    def tiles(self) -> int:
        """Tiles in all."""
        return sum(row.tiles for row in self.rows)

    @property
    def devices(self) -> int:
        """Memories in use in all."""
        return sum(row.devices for row in self.rows)

    def __str__(self) -> str:
        lines = [("layer", "kind", "matrix", "tiles", "devices", "utilisation")]
        for row in self.rows:
            groups, inputs, outputs = row.matrix
            matrix = f"{inputs}x{outputs}" if groups == 1 else f"{groups} of {inputs}x{outputs}"
            used = "digital" if np.isnan(row.utilisation) else f"{row.utilisation:.1%}"
            name = row.layer or "(root)"
            lines.append((name, row.kind, matrix, str(row.tiles), str(row.devices), used))
        lines.append(("total", "", "", str(self.tiles), str(self.devices), ""))
        widths = [max(len(line[k]) for line in lines) for k in range(6)]
        return "\n".join(
            "  ".join(
                text.ljust(width) if k < 3 else text.rjust(width)
                for k, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def mapping_table(mapped: nn.Module) -> MappingTable:
    """The table of a mapped network, layers in order; layers left digital take no tiles."""
    on_tiles = dict(mapped_layers(mapped))
    rows = []
    for name, layer in mapped.named_modules():
        if name in on_tiles:
            matrix = on_tiles[name].matrix
            p, cells = matrix.placement, matrix.spec.cell.n_rram
            # Weight columns are as long as a group, an offset column as long as its tile is used.
            weight_columns = len(matrix.encoding.columns(1, matrix.spec.cols))
            offsets = matrix.encoding.name == "offset"
            per_weight = weight_columns - offsets
            held = p.groups * p.inputs * p.outputs * per_weight
            if offsets:
                held += p.groups * p.inputs * p.col_tiles
            memories = p.tiles * matrix.spec.rows * matrix.spec.cols
            rows.append(
                MappingRow(
                    layer=name,
                    kind=type(on_tiles[name]).__name__.removeprefix("Mapped"),
                    matrix=(p.groups, p.inputs, p.outputs),
                    tiles=p.tiles,
                    devices=held * cells,
                    utilisation=held / memories,
                )
            )
        elif isinstance(layer, MAPPABLE):
            groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
            outputs = layer.weight.shape[0] // groups
            inputs = layer.weight[0].numel()
            rows.append(
                MappingRow(
                    layer=name,
                    kind=type(layer).__name__,
                    matrix=(groups, inputs, outputs),
                    tiles=0,
                    devices=0,
                    utilisation=float("nan"),
                )
            )
    return MappingTable(rows=tuple(rows))
