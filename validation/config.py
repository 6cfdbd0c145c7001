"""What users write in TOML, checked by pydantic and turned into the toolkit's own types."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
)

from netlists import (
    Bsim4Nmos,
    Cell,
    InputError,
    Level1Nmos,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SinhRram,
    TileSpec,
    Wires,
)
from nnmap import Fidelity, MappingPlan, Recipe
from nnmap.catalogue import NETWORKS as CATALOGUE
from nnmap.data import Inputs

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
CellKind = Literal["1r", "1t1r", "1t2r"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TileSection(_Section):
    """[tile]: geometry, wires in ohm, read voltage in V."""

    rows: int = Field(default=64, ge=1, le=1024)
    cols: int = Field(default=64, ge=1, le=1024)
    r_row_segment: float = 1.0
    r_col_segment: float = 1.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    v_read: float = 0.2


class CellSection(_Section):
    """[cell]: the memory's two states in ohm, how it bends, and how it is accessed."""

    kind: CellKind = "1t1r"
    memory: Literal["ohmic", "sinh"] = "ohmic"
    transistor: Literal["level1", "bsim4"] = "level1"
    r_lrs: float = 10e3
    r_hrs: float = 1e6
    v_gate: float = 1.2
    drive_line: Literal["BL", "SL"] = "BL"

    def build(self, kind: CellKind | None = None) -> Cell:
        """The cell, of `kind` where one is given."""
        model = OhmicRram if self.memory == "ohmic" else SinhRram
        rram = model(r_lrs=self.r_lrs, r_hrs=self.r_hrs)
        kind = kind or self.kind
        if kind == "1r":
            return OneR(rram=rram)
        made = OneTransistorOneR if kind == "1t1r" else OneTransistorTwoR
        nmos = Level1Nmos() if self.transistor == "level1" else Bsim4Nmos()
        return made(rram=rram, nmos=nmos, v_gate=self.v_gate, drive_line=self.drive_line)


def tile_spec(tile: TileSection, cell: Cell) -> TileSpec:
    """The spec that [tile] and a cell describe."""
    wires = Wires(
        r_row_segment=tile.r_row_segment,
        r_col_segment=tile.r_col_segment,
        r_driver=tile.r_driver,
        r_sense=tile.r_sense,
    )
    return TileSpec(rows=tile.rows, cols=tile.cols, wires=wires, cell=cell, v_read=tile.v_read)


class ProgramSection(_Section):
    """[program]: states of a single tile; a .npy file of siemens, or LRS with probability p_lrs."""

    file: str | None = None
    p_lrs: Rate = 0.5
    seed: int = 0


class TileFaultsSection(_Section):
    """[faults] of a single tile."""

    rate: Rate = 0.0
    ocr: float = 1.0
    seed: int = 0


class DriveSection(_Section):
    """[drive]: a .npy file of volts [batch, rows], or random binary inputs at the read voltage."""

    file: str | None = None
    batch: int = Field(default=1, ge=1)
    seed: int = 0


class TileFile(_Section):
    """A single tile: `xbarverify netlist` and `xbarverify solve`."""

    tile: TileSection = TileSection()
    cell: CellSection = CellSection()
    program: ProgramSection = ProgramSection()
    faults: TileFaultsSection = TileFaultsSection()
    drive: DriveSection = DriveSection()


class RangeSection(_Section):
    """[range]: voltages over which a cell is calibrated, V."""

    v_low: float = 0.0
    v_high: float = 0.2


class CellFile(_Section):
    """A cell to calibrate: `xbarverify calibrate`."""

    cell: CellSection = CellSection()
    range: RangeSection = RangeSection()


class PerceptronSection(_Section):
    """[network]: data set, binary-weight perceptron, training."""

    dataset: Literal["digits", "mnist", "fashion"]
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    activations: tuple[Literal["relu", "tanh", "sigmoid"], ...] = ("relu",)
    epochs: int = Field(default=10, ge=1)
    lr: float = Field(default=0.01, gt=0)
    seed: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells the networks of the evaluation apart: their activations."""
        return self.activations

    @property
    def inputs(self) -> Inputs:
        """The form in which images enter."""
        return "flat"

    @property
    def recipe(self) -> Recipe:
        """How the networks are trained."""
        return Recipe(epochs=self.epochs, lr=self.lr, seed=self.seed)

    def described(self) -> str:
        """The network in words."""
        return f"binary-weight perceptron with hidden layers {', '.join(map(str, self.hidden))}"


class CatalogueSection(_Section):
    """[network]: a network of the catalogue by name, with the weights that ship or one's own.

    weights: folder into which `xbarverify train NAME -o` wrote them; the package's where left out.
    """

    name: str
    weights: str | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in CATALOGUE:
            raise ValueError(f"no network of this name; there are {', '.join(CATALOGUE)}")
        return name

    @property
    def labels(self) -> tuple[str, ...]:
        """The one network's name."""
        return (self.name,)

    @property
    def dataset(self) -> str:
        """The data set it was trained on."""
        return CATALOGUE[self.name].dataset

    @property
    def inputs(self) -> Inputs:
        """The form in which images enter."""
        return CATALOGUE[self.name].inputs

    def described(self) -> str:
        """The network in words."""
        return self.name


def _kind_of_network(section: Any) -> str:
    named = isinstance(section, CatalogueSection)
    return "catalogue" if named or (isinstance(section, dict) and "name" in section) else "own"


NetworkSection = Annotated[
    Annotated[CatalogueSection, Tag("catalogue")] | Annotated[PerceptronSection, Tag("own")],
    Discriminator(_kind_of_network),
]


class MappingSection(_Section):
    """[mapping]: encoding, slices, converters, layers; 0 bits leaves a converter out.

    The keys are the fields of `nnmap.MappingPlan`.
    """

    encoding: Literal["pair", "offset"] = "pair"
    dac_bits: int = Field(default=8, ge=0, le=24)
    adc_bits: int = Field(default=8, ge=0, le=24)
    adc_headroom: float = 1.25
    offset_faults: bool = True
    weight_bits: int | None = None
    device_bits: int | None = None
    inputs: Literal["parallel", "serial"] = "parallel"
    adc_range: Literal["shared", "column", "full"] = "shared"
    layers: tuple[str, ...] = ("*",)
    digital: tuple[str, ...] = ()
    digital_1x1: bool = False
    fold_batch_norm: bool = False

    def plan(self, spec: TileSpec) -> MappingPlan:
        """The mapping plan on tiles of this spec."""
        fields = self.model_dump()
        for name in ("dac_bits", "adc_bits"):
            fields[name] = fields[name] or None
        return MappingPlan(spec=spec, **fields)


class ModelSection(_Section):
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


class PlanFile(_Section):
    """A mapping plan: `xbarverify map`."""

    network: ModelSection
    tile: TileSection = TileSection()
    cell: CellSection = CellSection()
    mapping: MappingSection = MappingSection()


class FaultsSection(_Section):
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


class CompareSection(_Section):
    """[compare]: what is run side by side."""

    cells: tuple[CellKind, ...] = ("1t1r", "1t2r")
    fidelities: tuple[Literal["ideal", "linear"], ...] = ("ideal", "linear")
    test_images: int = Field(default=0, ge=0)

    def chosen_fidelities(self) -> list[Fidelity]:
        """The fidelities as the toolkit names them."""
        return [Fidelity(name) for name in self.fidelities]


class AuditSection(_Section):
    """[audit]: how many tile inputs of the run ngspice solves again."""

    samples: int = Field(default=32, ge=0)
    seed: int = 0


class RunSection(_Section):
    """[run]: where results go and how many processes work on them."""

    out: str = "out"
    workers: int = Field(default=2, ge=1)


class EvaluationFile(_Section):
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

    def folder(self) -> Path:
        """Where everything of this evaluation is written."""
        return Path(self.run.out) / self.name


File = TypeVar("File", bound=_Section)


def read_toml(path: str | Path, kind: type[File]) -> File:
    """Read and check a TOML file; raises InputError with the key, the value and the mend."""
    try:
        content = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.") from None
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"{path} is not TOML: {problem}.") from None
    try:
        return kind.model_validate(content)
    except ValidationError as problem:
        raise InputError(_one_sentence(str(path), problem)) from None


def _one_sentence(path: str, problem: ValidationError) -> str:
    findings = []
    for entry in problem.errors():
        # pydantic names the kind of [network] it took; users wrote no such key.
        key = ".".join(str(p) for p in entry["loc"] if p not in ("catalogue", "own"))
        given: Any = entry.get("input")
        if entry["type"] == "extra_forbidden":
            findings.append(f"unknown key {key!r}; remove it or correct its spelling")
        elif entry["type"] == "missing":
            findings.append(f"key {key!r} is missing")
        else:
            findings.append(f"{key} = {given!r}: {entry['msg'][0].lower()}{entry['msg'][1:]}")
    return f"{path}: {'; '.join(findings)}."
