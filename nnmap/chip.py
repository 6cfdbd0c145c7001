"""A chip: what the fab and time made of the tiles, as a recipe that is drawn where it is used."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from circuitsim import cell_conductance
from netlists.arrays import FloatArray
from netlists.defect_rates import DefectRates
from netlists.defects import Defects
from netlists.errors import InputError
from netlists.fault_patterns import Independent, Pattern, StuckStates
from netlists.faults import FaultKind, FaultMap, FaultRates
from netlists.sampling import sample_defects, sample_faults
from netlists.tile import Tile
from netlists.variation import RetentionDrift, Variation, vary
from nnmap.mapping.levels import Levels
from nnmap.mapping.programme import Programme

# What a random stream of a tile is for; the number is part of its key and never changes.
FAULTS, DEFECTS, VARIATION, DRIFT, NOISE = range(5)


class AnyChip(Protocol):
    """What every chip answers, drawn or measured."""

    @property
    def read_noise(self) -> float:
        """Deviation of cycle-to-cycle noise, relative to each memory's conductance."""
        ...

    def tile(self, layer: str, programme: Programme, index: int) -> Tile:
        """One tile of a layer as a circuit sees it."""
        ...

    def noise_seed(self, layer: str) -> int:
        """Seed of a layer's read noise."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One of the chips that a recipe makes; equal recipes and numbers make equal chips.

    rates: of stuck memories.  pattern: where they lie.  states: what they hold.
    defects: rates of what breaks beside them, or None.
    variation: what healthy memories hold in place of what was ordered, kind after kind.
    drift: what time then makes of it, or None.  read_noise: see `AnyChip`.
    seed, number: which chip; every number is a chip of its own.

    Every tile draws from streams of its own, keyed by (seed, number, layer name, the tile's place,
    what is drawn): another layer's size changes nothing, tiles at one place share their maps
    whatever the cell or encoding, and maps at rising rates are nested.

    Raises InputError for a negative seed, number or noise.
    """

    rates: FaultRates = field(default_factory=FaultRates)
    pattern: Pattern = field(default_factory=Independent)
    states: StuckStates = field(default_factory=StuckStates)
    defects: DefectRates | None = None
    variation: tuple[Variation, ...] = ()
    drift: RetentionDrift | None = None
    read_noise: float = 0.0
    seed: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "variation", tuple(self.variation))
        for name in ("seed", "number"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise InputError(f"Chip: {name}={value!r} must be a whole number of at least 0.")
        _require_noise("Chip", self.read_noise)

    def stream(self, layer: str, place: Sequence[int], what: int) -> np.random.Generator:
        """The random stream of one tile for one purpose."""
        key = (self.number, *_words(layer), *(int(k) for k in place), what)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def noise_seed(self, layer: str) -> int:
        """See `AnyChip.noise_seed`."""
        return int(self.stream(layer, (0, 0, 0), NOISE).integers(2**63))

    def tile(self, layer: str, programme: Programme, index: int) -> Tile:
        """One tile of a layer as a circuit sees it; raises InputError beyond the last."""
        if not 0 <= index < programme.placement.tiles:
            raise InputError(f"tile {index} of {layer!r}, which has {programme.placement.tiles}.")
        place = programme.placement.places[index].tolist()
        return Tile(
            spec=programme.spec,
            g=self._held(programme.target[index], layer, place),
            faults=self._faults(layer, programme, index, place),
            defects=self._defects(layer, programme, place),
        )

    def _held(self, target: FloatArray, layer: str, place: list[int]) -> FloatArray:
        if not self.variation and self.drift is None:
            return target
        # Memory by memory, so that the first one of a 1T2R cell varies as that of a 1T1R cell.
        planes = target[None] if target.ndim == 2 else np.moveaxis(target, 2, 0)
        planes = vary(planes, self.variation, rng=self.stream(layer, place, VARIATION))
        if self.drift is not None:
            planes = vary(planes, [self.drift], rng=self.stream(layer, place, DRIFT))
        return planes[0] if target.ndim == 2 else np.moveaxis(planes, 0, 2)

    def _faults(
        self, layer: str, programme: Programme, index: int, place: list[int]
    ) -> FaultMap | None:
        if not self.rates.total:
            return None
        rng = self.stream(layer, place, FAULTS)
        faults = sample_faults(
            programme.spec, self.rates, rng=rng, pattern=self.pattern, states=self.states
        )
        if programme.placement.offset and not programme.offset_faults:
            screened = programme.offset_cells[index]
            faults = replace(faults, kind=np.where(screened, FaultKind.NONE, faults.kind))
        return faults

    def _defects(self, layer: str, programme: Programme, place: list[int]) -> Defects | None:
        if self.defects is None or not self.defects.any:
            return None
        rng = self.stream(layer, place, DEFECTS)
        return sample_defects(programme.spec, self.defects, rng=rng)


def _words(text: str) -> tuple[int, ...]:
    """A name as eight 32-bit words."""
    return tuple(np.frombuffer(hashlib.sha256(text.encode()).digest(), "<u4").tolist())


def _require_noise(owner: str, sigma: float) -> None:
    if not 0 <= sigma < float("inf"):
        raise InputError(f"{owner}: read_noise={sigma!r} must be finite and at least 0.")


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredChip:
    """A chip whose faults and defects are known tile by tile, measured or made by hand.

    faults, defects: layer name -> one map per tile; a layer that is left out has none.
    held: layer name -> conductances that the healthy memories hold, S [tiles, *g_shape], in place
        of what is ordered.
    """

    faults: Mapping[str, Sequence[FaultMap]]
    defects: Mapping[str, Sequence[Defects]] | None = None
    held: Mapping[str, FloatArray] | None = None
    read_noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require_noise("MeasuredChip", self.read_noise)

    def noise_seed(self, layer: str) -> int:
        """See `AnyChip.noise_seed`."""
        return Chip(seed=self.seed).noise_seed(layer)

    def tile(self, layer: str, programme: Programme, index: int) -> Tile:
        """See `AnyChip.tile`; raises InputError where maps and tiles differ in number."""
        held = (self.held or {}).get(layer)
        return Tile(
            spec=programme.spec,
            g=programme.target[index] if held is None else held[index],
            faults=_of_tile(self.faults, layer, programme, index),
            defects=_of_tile(self.defects or {}, layer, programme, index),
        )


def _of_tile(
    maps: Mapping[str, Sequence[Any]], layer: str, programme: Programme, index: int
) -> Any:
    if layer not in maps:
        return None
    if len(maps[layer]) != programme.placement.tiles:
        raise InputError(
            f"{len(maps[layer])} maps for the {programme.placement.tiles} tiles of {layer!r}."
        )
    return maps[layer][index]


HEALTHY = Chip()


def shown(tile: Tile, levels: Levels) -> FloatArray:
    """What each cell of a tile shows on perfect wires, faults and defects applied, S [rows, cols].

    With levels of cells their conductance at the read voltage, with levels of memories that of the
    memories which their rows reach, those of a cell summed.
    """
    if levels == "cell":
        return cell_conductance(tile)
    g = tile.g_reachable
    return g if g.ndim == 2 else np.asarray(g.sum(axis=2))


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerOnChip:
    """One layer's programme on a chip: its tiles, drawn when they are asked for."""

    name: str
    programme: Programme
    chip: AnyChip

    def __deepcopy__(self, memo: dict[int, Any]) -> "LayerOnChip":
        return self  # nothing in it changes

    def tile(self, index: int) -> Tile:
        """One tile as a circuit sees it."""
        return self.chip.tile(self.name, self.programme, index)

    def shown(self) -> FloatArray:
        """What the cells are at IDEAL, faults and defects applied, S [tiles, rows, cols]."""
        spec, tiles = self.programme.spec, self.programme.placement.tiles
        found = np.empty((tiles, spec.rows, spec.cols))
        for k in range(tiles):
            found[k] = shown(self.tile(k), self.programme.levels)
        return found

    def stuck(self) -> dict[FaultKind, int]:
        """How many memories are stuck in each way, on all tiles."""
        found = dict.fromkeys(FaultKind, 0)
        for k in range(self.programme.placement.tiles):
            tile = self.tile(k)
            if tile.faults is None:
                found[FaultKind.NONE] += int(np.prod(self.programme.spec.g_shape))
                continue
            for kind in FaultKind:
                found[kind] += int(np.count_nonzero(tile.faults.kind == kind))
        return found
