"""A chip's operators, in batches within a memory budget, kept on disk where asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from circuitsim import effective_conductance, operator_memory
from netlists.errors import InputError
from netlists.tile import FloatArray, Tile
from nnmap.linear_fit import fitted_operators
from nnmap.matrix import Matrix
from nnmap.operator_store import OperatorStore, digest, tile_digest

GIB = 2**30
TILE_ARRAYS = 6  # arrays of a tile's shape that extraction holds beside its operator
MOST = 1024  # tiles a batch; larger ones are no faster, and an interrupt would lose more


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What extraction may use, and who hears of it.

    memory: GiB for a batch of tiles under way; the operators themselves, which the layers keep,
        come on top: 8 bytes a cell.
    store: where operators are kept and looked up, or None.
    on_done: hears how many more tiles are there.

    Raises InputError for a budget that is not positive.
    """

    memory: float = 1.0
    store: OperatorStore | None = None
    on_done: Callable[[int], None] = lambda tiles: None

    def __post_init__(self) -> None:
        if not 0 < self.memory < float("inf"):
            raise InputError(f"Extraction: memory={self.memory!r} GiB must be positive and finite.")

    def batch(self, rows: int, cols: int) -> int:
        """Tiles that fit the budget together; raises InputError when one alone does not."""
        one = operator_memory(rows, cols) + 8 * TILE_ARRAYS * rows * cols
        more = operator_memory(rows, cols, 2) - operator_memory(rows, cols)
        more += 8 * TILE_ARRAYS * rows * cols
        free = self.memory * GIB - one
        if free < 0:
            raise InputError(
                f"a {rows}x{cols} tile takes {one / GIB:.2g} GiB to extract, which exceeds the "
                f"budget memory={self.memory:g} GiB; raise it or use smaller tiles."
            )
        return min(MOST, 1 + int(free / more))


def linear_operators(
    matrix: Matrix, inputs: FloatArray | None, extraction: Extraction
) -> Iterator[tuple[range, FloatArray]]:
    """Operators of a layer at LINEAR, batch by batch: (tiles, S [len(tiles), cols, rows]).

    inputs: typical row voltages of each read, V [reads, samples, rows], to which operators of
        cells that bend are fitted; None for nominal secants.
    """
    spec, placement = matrix.spec, matrix.placement
    shape = spec.cols, spec.rows
    step = extraction.batch(spec.rows, spec.cols)
    store = extraction.store
    ours = b"" if store is None else digest(metadata.version("xbarverify"), "linear", spec)

    def typical(tile: int) -> FloatArray | None:
        return None if inputs is None else inputs[tile // placement.col_tiles]

    def extract(numbers: list[int], tiles: list[Tile]) -> FloatArray:
        if inputs is None:
            return effective_conductance(tiles)
        return fitted_operators(tiles, [inputs[k // placement.col_tiles] for k in numbers])

    for first in range(0, placement.tiles, step):
        numbers = range(first, min(first + step, placement.tiles))
        tiles = [matrix.tile(k) for k in numbers]
        if store is None:
            found = extract(list(numbers), tiles)
        else:
            ids = [tile_digest(ours, t, typical(k)) for k, t in zip(numbers, tiles, strict=True)]
            known = [store.get(identity, shape) for identity in ids]
            missing = [k for k, operator in enumerate(known) if operator is None]
            if missing:
                fresh = extract([first + k for k in missing], [tiles[k] for k in missing])
                store.put({ids[k]: fresh[n] for n, k in enumerate(missing)})
                # What a store rounds, it rounds for the first user too.
                for n, k in enumerate(missing):
                    known[k] = fresh[n].astype(store.dtype)
            found = np.stack([np.asarray(operator, np.float64) for operator in known])
        yield numbers, found
        extraction.on_done(len(numbers))
