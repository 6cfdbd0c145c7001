"""Tile -> the arrays of the structured solver, and its node voltages -> Solution."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from circuitsim.dissection import Crossbar, crossbar
from netlists.arrays import BoolArray, FloatArray
from netlists.bridges import Bridge, bridge_ends
from netlists.tile import Tile

Conductances = tuple[FloatArray, FloatArray, FloatArray]


def has_perfect_conductor(tile: Tile) -> bool:
    """Whether some path between neighbouring nodes has 0 ohm, so that two nodes are one."""
    row, col = tile.wires.in_series(tile.spec.rows, tile.spec.cols)
    return not (row.min() > 0 and col.min() > 0)


def crossbar_of(tiles: Sequence[Tile]) -> Crossbar:
    """Linear tiles of one shape as one batch; wires are stored once where all share them."""
    wires = [tile.wires for tile in tiles]
    if all(other is wires[0] for other in wires):
        wires = wires[:1]
    rows, cols = tiles[0].spec.rows, tiles[0].spec.cols
    along, down = zip(*(one.in_series(rows, cols) for one in wires), strict=True)
    return crossbar(np.stack([tile.g_device for tile in tiles]), np.stack(along), np.stack(down))


def conductances_of(tile: Tile) -> Conductances:
    """Of row segments, column segments and cells of a linear tile, S [rows, cols] each.

    Drivers and sense resistances are part of the first and last segments; 0 ohm is inf.
    """
    with np.errstate(divide="ignore"):
        along, down = (1 / r for r in tile.wires.in_series(tile.spec.rows, tile.spec.cols))
    return along, down, tile.g_device


def floating_nodes(
    conductances: Conductances, bridges: Sequence[Bridge] = ()
) -> tuple[BoolArray, BoolArray]:
    """Row and column nodes of one tile without a path to any terminal, [rows, cols] each.

    conductances: as `conductances_of` gives them.
    """
    g_row, g_col, g_cell = conductances
    rows, cols = g_cell.shape
    none = np.zeros((rows, cols), dtype=bool)
    if g_row.min() > 0 and g_col.min() > 0:
        return none, none
    n = rows * cols
    x = 1 + np.arange(n).reshape(rows, cols)
    y = n + x
    terminal = np.zeros((rows, 1), dtype=np.int64), np.zeros((1, cols), dtype=np.int64)
    links = [
        (np.hstack([terminal[0], x[:, :-1]]), x, g_row),
        (y, np.vstack([y[1:], terminal[1]]), g_col),
        (x, y, g_cell),
    ]
    for bridge in bridges:
        first, second = bridge_ends(bridge, "row")
        one, other = (y if bridge.kind == "column" else x), (x if bridge.kind == "row" else y)
        links.append((one[first], other[second], np.ones(1)))
    a, b, g = (np.concatenate([np.ravel(link[k]) for link in links]) for k in range(3))
    real = g > 0
    graph = coo_matrix(
        (np.ones(np.count_nonzero(real)), (a[real], b[real])), shape=(2 * n + 1, 2 * n + 1)
    )
    _, island = connected_components(graph, directed=False)
    loose = island[1:] != island[0]
    return loose[:n].reshape(rows, cols), loose[n:].reshape(rows, cols)
