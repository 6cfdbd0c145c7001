"""[tile]: geometry, wires and read voltage."""

from typing import Annotated

from pydantic import Field

from netlists import Cell, TileSpec, Wires
from validation.files.base import Section

Rate = Annotated[float, Field(ge=0.0, le=1.0)]


class TileSection(Section):
    """[tile]: geometry, wires in ohm, read voltage in V."""

    rows: int = Field(default=64, ge=1, le=1024)
    cols: int = Field(default=64, ge=1, le=1024)
    r_row_segment: float = 1.0
    r_col_segment: float = 1.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    v_read: float = 0.2


def tile_spec(tile: TileSection, cell: Cell) -> TileSpec:
    """The spec that [tile] and a cell describe."""
    wires = Wires(
        r_row_segment=tile.r_row_segment,
        r_col_segment=tile.r_col_segment,
        r_driver=tile.r_driver,
        r_sense=tile.r_sense,
    )
    return TileSpec(rows=tile.rows, cols=tile.cols, wires=wires, cell=cell, v_read=tile.v_read)
