"""What users write in TOML, checked by pydantic and turned into the toolkit's own types."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from circuitsim.calibrate import measure_states
from circuitsim.verification import TILES
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
from validation.network_section import KINDS, NetworkSection
from validation.section import Section

if TYPE_CHECKING:  # torch takes seconds to import, and single tiles do without it
    from nnmap import Fidelity, MappingPlan

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


class _OneCell(Section):
    """A file about one cell: keys of another kind would be ignored, so they are refused."""

    cell: CellSection = CellSection()

    @model_validator(mode="after")
    def _cell_keys_fit_its_kind(self) -> Self:
        subckt = {"path", "section", "name", "ports", "states", "parameter", "osdi"}
        built_in = {"memory", "transistor", "r_lrs", "r_hrs", "drive_line"}
        other = built_in if self.cell.kind == "subckt" else subckt
        strange = sorted(self.cell.model_fields_set & other)
        if strange:
            raise ValueError(f"[cell] kind = {self.cell.kind!r} has no key {strange[0]!r}")
        return self


class TileFile(_OneCell):
    """A single tile: `xbarverify netlist` and `xbarverify solve`."""

    tile: TileSection = TileSection()
    program: ProgramSection = ProgramSection()
    faults: TileFaultsSection = TileFaultsSection()
    defects: DefectsSection = DefectsSection()
    drive: DriveSection = DriveSection()


class RangeSection(Section):
    """[range]: over what a cell is calibrated.

    v_low, v_high: V, of both lines.  v_gate: gate voltages, V; the cell's own where left out.
    levels: states of a multi-level cell, S, whose errors are reported one by one; or how many,
    evenly spaced in conductance from HRS to LRS.
    """

    v_low: float = 0.0
    v_high: float = 0.2
    v_gate: tuple[float, ...] = ()
    levels: Annotated[int, Field(ge=2, le=64)] | tuple[float, ...] = 2


class VerifySection(Section):
    """[verify]: random tiles on which the surface is checked against ngspice, a gate voltage."""

    tiles: int = Field(default=TILES, ge=0)
    seed: int = 0


class CellFile(_OneCell):
    """A cell to calibrate: `xbarverify calibrate`."""

    range: RangeSection = RangeSection()
    verify: VerifySection = VerifySection()


class MappingSection(Section):
    """[mapping]: encoding, slices, converters, layers; 0 bits leaves a converter out.

    The keys are the fields of `nnmap.MappingPlan`.
    """

    encoding: Literal["pair", "offset"] = "pair"
    dac_bits: int = Field(default=8, ge=0, le=24)
    adc_bits: int = Field(default=8, ge=0, le=24)
    adc_headroom: float = 1.25
    offset_faults: bool = True
    fit_inputs: int = Field(default=8, ge=0)
    weight_bits: int | None = None
    device_bits: int | None = None
    inputs: Literal["parallel", "serial"] = "parallel"
    adc_range: Literal["shared", "column", "full"] = "shared"
    layers: tuple[str, ...] = ("*",)
    digital: tuple[str, ...] = ()
    digital_1x1: bool = False
    fold_batch_norm: bool = False

    def plan(self, spec: TileSpec) -> "MappingPlan":
        """The mapping plan on tiles of this spec."""
        from nnmap import MappingPlan

        fields = self.model_dump()
        for name in ("dac_bits", "adc_bits"):
            fields[name] = fields[name] or None
        return MappingPlan(spec=spec, **fields)


class ModelSection(Section):
    """[network] of a mapping plan: how the module that a checkpoint fills is made.

    make: a network of the toolkit, or "package.module:function" of one's own.
    arguments: passed to it by name.  input: shape of one input, without the batch.
    sample: .npy file of inputs [n, *input] that set converter ranges; where left out, uniform
    random inputs in [0, 1] stand in.
    """

    make: str
    arguments: dict[str, Any] = {}
    input: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    sample: str | None = None
    seed: int = 0


class PlanFile(_OneCell):
    """A mapping plan: `xbarverify map`."""

    network: ModelSection
    tile: TileSection = TileSection()
    mapping: MappingSection = MappingSection()


class FaultsSection(Section):
    """[faults] of a campaign; `ocr` is stuck-HRS : stuck-LRS."""

    rates: tuple[Rate, ...] = Field(min_length=1)
    ocr: float = Field(default=1.0, ge=0.0)
    chips: int = Field(default=8, ge=2)
    seed: int = 0

    @field_validator("rates")
    @classmethod
    def _rates_rise(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if list(rates) != sorted(set(rates)):
            raise ValueError("rates must rise without repeats")
        return rates


class CompareSection(Section):
    """[compare]: what is run side by side.

    "nonlinear" takes a millisecond and more for every tile and input: choose few test_images.
    """

    cells: tuple[CellKind, ...] = ("1t1r", "1t2r")
    fidelities: tuple[Literal["ideal", "linear", "nonlinear"], ...] = ("ideal", "linear")
    test_images: int = Field(default=0, ge=0)

    def chosen_fidelities(self) -> "list[Fidelity]":
        """The fidelities as the toolkit names them."""
        from nnmap import Fidelity

        return [Fidelity(name) for name in self.fidelities]


class AuditSection(Section):
    """[audit]: how many tile inputs of the run ngspice solves again."""

    samples: int = Field(default=32, ge=0)
    seed: int = 0


class RunSection(Section):
    """[run]: where results go and how many processes work on them."""

    out: str = "out"
    workers: int = Field(default=2, ge=1)


class EvaluationFile(Section):
    """A campaign: `xbarverify evaluate`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    reference: str | None = None
    network: NetworkSection
    tile: TileSection = TileSection()
    cell: CellSection = CellSection()
    mapping: MappingSection = MappingSection()
    faults: FaultsSection
    compare: CompareSection = CompareSection()
    audit: AuditSection = AuditSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _compared_cells_are_described(self) -> Self:
        if (self.cell.path is not None) != ("subckt" in self.compare.cells):
            raise ValueError("[cell] path and 'subckt' in [compare] cells go together")
        return self

    def folder(self) -> Path:
        """Where everything of this evaluation is written."""
        return Path(self.run.out) / self.name


File = TypeVar("File", bound=Section)


def read_toml(path: str | Path, kind: type[File]) -> File:
    """Read and check a TOML file; file names of a cell count from its folder.

    Raises InputError with the key, the value and the mend.
    """
    try:
        content = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.") from None
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"{path} is not TOML: {problem}.") from None
    try:
        return kind.model_validate(content, context={"beside": Path(path).parent})
    except ValidationError as problem:
        raise InputError(_one_sentence(str(path), problem)) from None


def _one_sentence(path: str, problem: ValidationError) -> str:
    findings = []
    for entry in problem.errors():
        # pydantic names the kind of [network] it took; users wrote no such key.
        key = ".".join(str(part) for part in entry["loc"] if part not in KINDS)
        given: Any = entry.get("input")
        if entry["type"] == "extra_forbidden":
            findings.append(f"unknown key {key!r}; remove it or correct its spelling")
        elif entry["type"] == "missing":
            findings.append(f"key {key!r} is missing")
        elif entry["type"] == "value_error" and isinstance(given, dict):  # of several keys
            findings.append(str(entry["ctx"]["error"]))
        else:
            findings.append(f"{key} = {given!r}: {entry['msg'][0].lower()}{entry['msg'][1:]}")
    return f"{path}: {'; '.join(findings)}."
