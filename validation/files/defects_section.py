"""[defects]: what breaks beside memories, drawn by rate or listed by place."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainValidator

from netlists import Bridge, DefectRates, Defects, TileSpec, sample_defects
from netlists.defect_rates import R_SHORT
from validation.files.base import Section, Seed
from validation.files.tile_section import Rate

Places = tuple[tuple[int, int], ...]


def _rate_or_places(given: Any) -> float | Places:
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1:
        return float(given)
    if isinstance(given, list | tuple):
        places = tuple(tuple(place) if isinstance(place, list) else place for place in given)
        if all(
            isinstance(place, tuple) and len(place) == 2 and all(type(k) is int for k in place)
            for place in places
        ):
            return places
    raise ValueError("must be a rate in [0, 1] or a list of positions [row, col]")


RateOrPlaces = Annotated[float | Places, PlainValidator(_rate_or_places)]


class BridgeSection(Section):
    """One of [[defects.bridges]]."""

    kind: Literal["row", "column", "gate", "cell"]
    row: int = Field(ge=0)
    col: int = Field(ge=0)
    r: float = Field(default=100.0, ge=0)


class DefectsSection(Section):
    """[defects] of a single tile: each kind as a rate or as a list of [row, col]; ohm."""

    transistor_open: RateOrPlaces = ()
    transistor_shorted: RateOrPlaces = ()
    open_row: RateOrPlaces = ()
    open_col: RateOrPlaces = ()
    open_gate: RateOrPlaces = ()
    bridges: tuple[BridgeSection, ...] = ()
    bridge_row: Rate = 0.0
    bridge_col: Rate = 0.0
    bridge_gate: Rate = 0.0
    bridge_cell: Rate = 0.0
    r_bridge: float = Field(default=100.0, ge=0)
    r_short: float = Field(default=R_SHORT, ge=0)
    seed: Seed = 0

    def build(self, spec: TileSpec) -> Defects | None:
        """Listed and drawn defects of a tile, None without any; InputError where one cannot be."""
        sites = ("transistor_open", "transistor_shorted", "open_row", "open_col", "open_gate")
        given = {name: getattr(self, name) for name in sites}
        drawn_too = ("bridge_row", "bridge_col", "bridge_gate", "bridge_cell")
        rates = DefectRates(
            **{name: rate for name, rate in given.items() if isinstance(rate, float)},
            **{name: getattr(self, name) for name in drawn_too},
            r_bridge=self.r_bridge,
            r_short=self.r_short,
        )
        listed = Defects.at(
            spec.rows,
            spec.cols,
            **{name: places for name, places in given.items() if isinstance(places, tuple)},
            bridges=[Bridge(**bridge.model_dump()) for bridge in self.bridges],
            r_short=self.r_short,
        )
        if not rates.any:
            return listed if any(listed.counts().values()) else None
        return sample_defects(spec, rates, rng=np.random.default_rng(self.seed)).joined(listed)
