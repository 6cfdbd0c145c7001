"""Sections of a study that describe its chips: faults, defects, variation, noise."""

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from netlists import DefectRates, FaultRates
from netlists.defect_rates import R_SHORT
from netlists.variation import (
    GaussianSpread,
    LognormalSpread,
    ProgrammingError,
    ResistanceError,
    RetentionDrift,
    Variation,
)
from validation.files.base import Section, Seed
from validation.files.kind_section import KindSection
from validation.files.tile_section import Rate

VARIATIONS: dict[str, type[Variation]] = {
    "lognormal_spread": LognormalSpread,
    "gaussian_spread": GaussianSpread,
    "resistance_error": ResistanceError,
    "programming_error": ProgrammingError,
    "retention_drift": RetentionDrift,
}


MOST_CHIPS = 100_000  # of one point; more is taken for a slip


class StuckSection(Section):
    """Conductances of stuck memories: lognormal, `median` in S, `sigma` of their logarithm.

    They may lie outside the range that memories are programmed in.
    """

    median: float = Field(gt=0.0, allow_inf_nan=False)
    sigma: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class FaultsSection(Section):
    """[faults]: stuck memories of a study's chips.

    rate: share of memories stuck at LRS or HRS; in place of it, `rates` lists several.
    ocr: stuck-HRS : stuck-LRS.  stuck_at: share stuck anywhere between the two states.
    stuck_lrs, stuck_hrs: conductances of the stuck; the cell's two states where left out.
    chips: how many chips, or with [precision] how many at least.  seed: of all chips.
    pattern: where stuck memories lie; the shares above hold for every pattern.
    pattern_share: share of the stuck that the pattern places, the others lie anywhere.
    cluster_radius: of "clusters", in cells.
    """

    rate: Rate = 0.0
    ocr: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    stuck_at: Rate = 0.0
    stuck_lrs: StuckSection | None = None
    stuck_hrs: StuckSection | None = None
    chips: int = Field(default=8, ge=2, le=MOST_CHIPS)
    seed: Seed = 0
    pattern: Literal["independent", "rows", "columns", "clusters"] = "independent"
    pattern_share: Rate = 1.0
    cluster_radius: float = Field(default=2.0, gt=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _a_memory_has_one_state(self) -> Self:
        self.rates()
        return self

    def rates(self) -> FaultRates:
        """The rates of memories stuck in each way."""
        return replace(FaultRates.from_ocr(self.rate, self.ocr), stuck_at=self.stuck_at)


class DefectRatesSection(Section):
    """[defects] of a study, as rates; resistances in ohm.

    The keys are the fields of `netlists.DefectRates`.
    """

    transistor_open: Rate = 0.0
    transistor_shorted: Rate = 0.0
    open_row: Rate = 0.0
    open_col: Rate = 0.0
    open_gate: Rate = 0.0
    bridge_row: Rate = 0.0
    bridge_col: Rate = 0.0
    bridge_gate: Rate = 0.0
    bridge_cell: Rate = 0.0
    r_bridge: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    r_short: float = Field(default=R_SHORT, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _a_transistor_has_one_state(self) -> Self:
        self.rates()
        return self

    def rates(self) -> DefectRates | None:
        """The rates; None where no defect is asked for."""
        rates = DefectRates(**self.model_dump())
        return rates if rates.any else None


class VariationSection(KindSection):
    """One of [[variation]]: a class of `netlists.variation`, its fields as keys."""

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.build()
        return self

    def build(self) -> Variation:
        """The toolkit's variation."""
        return self.made(VARIATIONS, key=f"variation.{self.kind}")


class DriftSection(Section):
    """drift of [noise]: the fields of `netlists.variation.RetentionDrift`, times in s."""

    time: float
    nu: float
    sigma: float = 0.0
    reference: float = 1.0

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.build()
        return self

    def build(self) -> RetentionDrift:
        """The toolkit's drift."""
        return RetentionDrift(**self.model_dump())


class NoiseSection(Section):
    """[noise]: what a read finds in place of what was written.

    read: deviation of a memory's conductance between reads, relative.
    drift: what has become of conductances since they were written.
    """

    read: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    drift: DriftSection | None = None
