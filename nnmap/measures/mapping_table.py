"""The mapping table: what each layer became."""

from dataclasses import dataclass

import numpy as np

from nnmap.mapping.kinds import MAPPABLE, groups_of
from nnmap.mapping.pattern import pattern_name
from nnmap.network import MappedNetwork
from nnmap.skeleton import OnTiles


@dataclass(frozen=True, kw_only=True)
class MappingRow:
    """One layer, or a product that stays digital beside the layers.

    kind: the layer's class; "activations" for products of activations, as attention has.
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
    """Every matrix product, on tiles or digital; `str` renders it."""

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
            name = pattern_name(row.layer)
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


def mapping_table(network: MappedNetwork) -> MappingTable:
    """The table of a mapped network, layers in order, then other products; what is digital takes
    no tiles.
    """
    rows = []
    for name, layer in network.skeleton.named_modules():
        if isinstance(layer, OnTiles):
            rows.append(_on_tiles(layer.name, network))
        elif isinstance(layer, MAPPABLE):
            groups = groups_of(layer)
            matrix = (groups, layer.weight[0].numel(), len(layer.weight) // groups)
            rows.append(_digital(name, type(layer).__name__, matrix))
    rows += [_digital(p.name, p.kind, p.matrix) for p in network.products]
    return MappingTable(rows=tuple(rows))


def _on_tiles(name: str, network: MappedNetwork) -> MappingRow:
    programme = network.programmes[name]
    p, spec = programme.placement, programme.spec
    # A column that holds weights is in use where its row has a weight for it, an offset column
    # wherever its tile is used.
    held = 0
    for k in range(p.tiles):
        rows = p.row_input[k][p.row_input[k] >= 0] // p.shape.inputs
        cols = p.col_output[k][p.col_output[k] >= 0] // p.shape.outputs
        held += int((rows[:, None] == cols[None]).sum())
        held += len(rows) * int((p.col_slot[k] == p.slots).sum())
    window = network.peripheries[name].window
    return MappingRow(
        layer=name,
        kind="Linear" if window is None else f"Conv{window.axes}d",
        matrix=(p.shape.groups, p.shape.inputs, p.shape.outputs),
        tiles=p.tiles,
        devices=held * spec.cell.n_rram,
        utilisation=held / (p.tiles * spec.rows * spec.cols),
    )


def _digital(name: str, kind: str, matrix: tuple[int, int, int]) -> MappingRow:
    return MappingRow(
        layer=name, kind=kind, matrix=matrix, tiles=0, devices=0, utilisation=float("nan")
    )
