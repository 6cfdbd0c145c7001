"""Sections of TOML files that describe one tile: geometry, cell, contents, faults and inputs."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from circuitsim.cells.calibrate_secant import measure_states
from netlists import (
    Bridge,
    Bsim4Nmos,
    Cell,
    DefectRates,
    Defects,
    FaultRates,
    InputError,
    Level1Nmos,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    Rram,
    SinhRram,
    SubcktCell,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    sample_defects,
)
from netlists.defect_rates import R_SHORT
from validation.section import Section

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
MEMORIES: dict[str, type[Rram]] = {
    "ohmic": OhmicRram,
    "sinh": SinhRram,
    "yakopcic": YakopcicRram,
    "vteam": VteamRram,
}
CellKind = Literal["1r", "1t1r", "1t2r", "subckt"]


class TileSection(Section):
    """[tile]: geometry, wires in ohm, read voltage in V."""

    rows: int = Field(default=64, ge=1, le=1024)
    cols: int = Field(default=64, ge=1, le=1024)
    r_row_segment: float = 1.0
    r_col_segment: float = 1.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    v_read: float = 0.2


class CellSection(Section):
    """[cell]: the memory's model and two states in ohm, and how it is accessed.

    r_lrs, r_hrs: left out, they are the model's own.
    For kind = "subckt", the fields of `netlists.SubcktCell`: path and osdi (relative to the TOML
    file), section, name, ports, states, parameter, v_gate, gate_line.
    """

    kind: CellKind = "1t1r"
    memory: Literal["ohmic", "sinh", "yakopcic", "vteam"] = "ohmic"
    transistor: Literal["level1", "bsim4"] = "level1"
    r_lrs: float | None = None
    r_hrs: float | None = None
    v_gate: float = 1.2
    drive_line: Literal["BL", "SL"] = "BL"
    gate_line: Literal["row", "column"] = "row"
    path: str | None = None
    section: str | None = None
    name: str | None = None
    ports: dict[str, str] | None = None
    states: dict[str, float | dict[str, float]] | None = None
    parameter: str = "g"
    osdi: str | None = None

    @field_validator("path", "osdi")
    @classmethod
    def _beside_the_file(cls, path: str | None, info: ValidationInfo) -> str | None:
        beside: Path | None = (info.context or {}).get("beside")
        return path if path is None or beside is None else str((beside / path).resolve())

    def _subckt(self) -> SubcktCell:
        needed = ("path", "name", "ports", "states")
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise InputError(f"[cell] kind = 'subckt' needs {', '.join(map(repr, missing))}.")
        assert self.path and self.name and self.ports and self.states
        cell = SubcktCell(
            path=Path(self.path),
            section=self.section,
            name=self.name,
            ports=self.ports,
            states=self.states,
            parameter=self.parameter,
            v_gate=self.v_gate,
            gate_line=self.gate_line,
            osdi=None if self.osdi is None else Path(self.osdi),
        )
        return measure_states(cell)

    def build(self, kind: CellKind | None = None) -> Cell:
        """The cell, of `kind` where one is given; a subcircuit's states are measured if need be."""
        kind = kind or self.kind
        if kind == "subckt":
            return self._subckt()
        states = {"r_lrs": self.r_lrs, "r_hrs": self.r_hrs}
        rram = MEMORIES[self.memory](**{k: v for k, v in states.items() if v is not None})
        if kind == "1r":
            return OneR(rram=rram)
        made = OneTransistorOneR if kind == "1t1r" else OneTransistorTwoR
        nmos = Level1Nmos() if self.transistor == "level1" else Bsim4Nmos()
        return made(
            rram=rram,
            nmos=nmos,
            v_gate=self.v_gate,
            drive_line=self.drive_line,
            gate_line=self.gate_line,
        )


def tile_spec(tile: TileSection, cell: Cell) -> TileSpec:
    """The spec that [tile] and a cell describe."""
    wires = Wires(
        r_row_segment=tile.r_row_segment,
        r_col_segment=tile.r_col_segment,
        r_driver=tile.r_driver,
        r_sense=tile.r_sense,
    )
    return TileSpec(rows=tile.rows, cols=tile.cols, wires=wires, cell=cell, v_read=tile.v_read)


class ProgramSection(Section):
    """[program]: states of a single tile; a .npy file of siemens, or LRS with probability p_lrs."""

    file: str | None = None
    p_lrs: Rate = 0.5
    seed: int = 0


class TileFaultsSection(Section):
    """[faults] of a single tile; `ocr` is stuck-HRS : stuck-LRS, `stuck_at` anywhere between."""

    rate: Rate = 0.0
    ocr: float = 1.0
    stuck_at: Rate = 0.0
    seed: int = 0

    def rates(self) -> FaultRates:
        """The rates of memories stuck in each way."""
        return replace(FaultRates.from_ocr(self.rate, self.ocr), stuck_at=self.stuck_at)


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
    seed: int = 0

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


class DriveSection(Section):
    """[drive]: a .npy file of volts [batch, rows], or random binary inputs at the read voltage."""

    file: str | None = None
    batch: int = Field(default=1, ge=1)
    seed: int = 0
