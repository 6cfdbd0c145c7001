"""A chip's operators, in batches within a memory budget, kept on disk where asked."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata

import numpy as np

from circuitsim import default_session, effective_conductance, linearise, operator_memory
from circuitsim.linear.certificate import LIMIT, residual_of
from netlists.arrays import FloatArray
from netlists.defects import Defects
from netlists.errors import InputError
from netlists.identity import digest
from netlists.tile import Tile
from nnmap.chip import LayerOnChip
from nnmap.fidelity.linear_fit import InputCurve, column_gains
from nnmap.fidelity.operator_store import OperatorStore

GIB = 2**30
TILE_ARRAYS = 6  # arrays of a tile's shape that extraction holds beside its operator
MOST = 1024  # tiles per batch; larger ones are no faster, and an interrupt would lose more
CERTIFIED = 0.03  # share of the tiles that are checked, in a tenth of their extraction's time
SINGLE = 1e-6  # largest residual of an operator that was rounded to float32
FITTED = 32  # tiles fitted between two visits to the store


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What extraction may use, and who hears of it.

    memory: GiB for a batch of tiles under way; the operators themselves, which the layers keep,
        come on top: 8 bytes a cell.
    store: where operators are kept and looked up, or None.
    certified: share of the tiles whose operators are checked against Kirchhoff's laws, whether
        they were extracted or read from the store.
    on_done: hears how many more tiles are extracted, or, where cells bend, fitted.

    Raises InputError for a budget that is not positive or a share outside [0, 1].
    """

    memory: float = 1.0
    store: OperatorStore | None = None
    certified: float = CERTIFIED
    on_done: Callable[[int], None] = lambda tiles: None

    def __post_init__(self) -> None:
        if not 0 < self.memory < float("inf"):
            raise InputError(f"Extraction: memory={self.memory!r} GiB must be positive and finite.")
        if not 0 <= self.certified <= 1:
            raise InputError(f"Extraction: certified={self.certified!r} must lie in [0, 1].")

    def require_exact(self, layer: str, tiles: Sequence[Tile], operators: FloatArray) -> None:
        """Raise InputError, naming the tile, where an operator of the sample violates its circuit.

        Every operator must be finite. The sample follows from the tiles, so that a run repeats.
        """
        broken = np.flatnonzero(~np.isfinite(operators).all(axis=(1, 2)))
        residuals = dict.fromkeys(broken.tolist(), float("inf"))
        seed = [zlib.crc32(tile.g_device.tobytes()) for tile in tiles]
        rng = np.random.default_rng(seed)
        count = int(self.certified * len(tiles) + rng.random())
        for k in rng.choice(len(tiles), min(count, len(tiles)), replace=False).tolist():
            found = residual_of(linearise(tiles[k]), operators[k], rng=rng)
            residuals.setdefault(k, 0.0 if found is None else found)
        rounded = self.store is not None and self.store.dtype == np.float32
        limit = SINGLE if rounded else LIMIT
        for k, residual in residuals.items():
            if not residual <= limit:
                kept = "" if self.store is None else f"delete {self.store.path}, or "
                raise InputError(
                    f"the operator of tile {k} of a batch of {layer!r} violates its circuit by "
                    f"{residual:.1e} of full scale, more than {limit:g}: {kept}read this network "
                    "at NONLINEAR or SPICE."
                )

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

    def kept(
        self,
        tiles: Sequence[Tile],
        what: object,
        apart: Sequence[object],
        shape: tuple[int, ...],
        make: Callable[[list[int]], FloatArray],
    ) -> FloatArray:
        """`make` of all places in `tiles`, [n, *shape], through the store where there is one.

        what: names the values.  apart: what decides the value of each tile beyond the tile.
        """
        if self.store is None:
            return make(list(range(len(tiles))))
        spec = tiles[0].spec
        # Cells that bend are read in ngspice; a bare memory is its own equation.
        ngspice = "none" if spec.cell.is_bare else str(default_session().version)
        origin = digest(what, metadata.version("xbarverify"), ngspice, spec)
        ids = [
            bytes.fromhex(digest(origin, tile.g_device, _without_origin(tile.defects), a))
            for tile, a in zip(tiles, apart, strict=True)
        ]
        return self.store.complete(ids, shape, make)


def _without_origin(defects: Defects | None) -> Defects | None:
    """Defects as the circuit sees them, not how they were drawn."""
    return None if defects is None else replace(defects, requested=None, seed="")


def _batches(count: int, step: int) -> Iterator[range]:
    for first in range(0, count, step):
        yield range(first, min(first + step, count))


def nominal_operators(
    layer: LayerOnChip, extraction: Extraction
) -> Iterator[tuple[range, FloatArray]]:
    """Operators of a layer at nominal secants, by batches: (tiles, S [len(tiles), cols, rows])."""
    spec = layer.programme.spec
    count = layer.programme.placement.tiles
    for numbers in _batches(count, extraction.batch(spec.rows, spec.cols)):
        tiles = [layer.tile(k) for k in numbers]

        def make(places: list[int], tiles: list[Tile] = tiles) -> FloatArray:
            return effective_conductance([tiles[k] for k in places])

        shape = spec.cols, spec.rows
        found = extraction.kept(tiles, "operator", [None] * len(tiles), shape, make)
        extraction.require_exact(layer.name, tiles, found)
        yield numbers, found
        extraction.on_done(len(numbers))


def fitted_gains(
    layer: LayerOnChip,
    operator: Callable[[int], FloatArray],
    curve: InputCurve,
    v: Sequence[FloatArray],
    extraction: Extraction,
) -> Iterator[tuple[range, FloatArray]]:
    """Column gains of a layer, by batches: (tiles, [len(tiles), cols]); see `column_gains`.

    operator: number of a tile -> its operator at nominal secants, S [cols, rows].
    v: row voltages of each row group, V [samples, rows].
    """
    placement = layer.programme.placement
    for numbers in _batches(placement.tiles, FITTED):
        tiles = [layer.tile(k) for k in numbers]
        inputs = [v[int(placement.group_of[k])] for k in numbers]

        def make(
            places: list[int],
            numbers: range = numbers,
            tiles: list[Tile] = tiles,
            inputs: list[FloatArray] = inputs,
        ) -> FloatArray:
            gains = [column_gains(tiles[k], operator(numbers[k]), curve, inputs[k]) for k in places]
            return np.stack(gains)

        yield numbers, extraction.kept(tiles, "gains", inputs, (layer.programme.spec.cols,), make)
        extraction.on_done(len(numbers))
