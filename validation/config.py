"""A campaign as users write it in TOML."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from validation.files.base import Section
from validation.files.cell_section import CellKind, CellSection
from validation.files.plan_file import MappingSection
from validation.files.tile_section import Rate, TileSection
from validation.network_section import NetworkSection

if TYPE_CHECKING:  # torch takes seconds to import, and reading a file does without it
    from nnmap import Fidelity


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
