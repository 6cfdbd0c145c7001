"""A mapping plan from its TOML file: how a network goes on tiles."""

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from netlists import TileSpec
from validation.files.base import Section, Seed
from validation.files.cell_section import OneCell
from validation.files.own_code import checked_reference
from validation.files.tile_section import TileSection

if TYPE_CHECKING:  # torch takes seconds to import, and reading a file does without it
    from nnmap import MappingPlan


MOST_INPUTS = 2**22  # of one input of a network


class MappingSection(Section):
    """[mapping]: encoding, slices, levels, converters, layers; 0 bits leaves a converter out.

    The keys are the fields of `nnmap.MappingPlan`.
    """

    encoding: Literal["pair", "offset"] = "pair"
    dac_bits: int = Field(default=8, ge=0, le=24)
    adc_bits: int = Field(default=8, ge=0, le=24)
    adc_headroom: float = 1.25
    offset_faults: bool = True
    fit_inputs: int = Field(default=8, ge=0, le=4096)
    weight_bits: int | None = None
    device_bits: int | None = None
    levels: Literal["cell", "memory"] = "cell"
    inputs: Literal["parallel", "serial"] = "parallel"
    negative: Literal["second read", "negative drive"] = "second read"
    adc_range: Literal["shared", "column", "full"] = "shared"
    layers: tuple[str, ...] = Field(default=("*",), min_length=1)
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

    make: a network of the toolkit, or "package.module:function" of one's own, which is run with
    your rights: map a stranger's plan only if you would run their program.
    arguments: passed to it by name.  input: shape of one input, without the batch.
    sample: .npy file of inputs [n, *input] that set converter ranges; where left out, uniform
    random inputs in [0, 1] stand in.
    """

    make: str
    arguments: dict[str, Any] = {}
    input: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    sample: str | None = None
    seed: Seed = 0

    @field_validator("make")
    @classmethod
    def _refers_to_a_function(cls, given: str) -> str:
        return checked_reference(given)

    @field_validator("input")
    @classmethod
    def _fits_memory(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(given) > MOST_INPUTS:
            raise ValueError(f"must have at most {MOST_INPUTS} values in all")
        return given


class PlanFile(OneCell):
    """A mapping plan: `xbarverify map`."""

    network: ModelSection
    tile: TileSection = TileSection()
    mapping: MappingSection = MappingSection()
