"""What users write in TOML, checked by pydantic and turned into the toolkit's own types."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from circuitsim.verification import TILES
from netlists import (
    InputError,
    TileSpec,
)
from validation.network_section import KINDS, NetworkSection
from validation.section import Section
from validation.tile_sections import (
    CellKind,
    CellSection,
    DefectsSection,
    DriveSection,
    ProgramSection,
    Rate,
    TileFaultsSection,
    TileSection,
)

if TYPE_CHECKING:  # torch takes seconds to import, and single tiles do without it
    from nnmap import Fidelity, MappingPlan


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
