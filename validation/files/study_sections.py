"""Sections of a study that say what is measured, how well, and where it runs."""

from typing import Literal

from pydantic import Field

from validation.files.base import Section, Seed
from validation.files.chip_sections import MOST_CHIPS
from validation.files.kind_section import KindSection


class MeasureSection(KindSection):
    """[measure]: what is found of each chip, and at which fidelity.

    fidelity: how tiles are read; in place of it, `fidelities` lists several. "nonlinear" takes a
    millisecond and more for every tile and input: choose few images.
    images: test images per chip, 0 for all there are.
    Every other key is a parameter of the kind.
    """

    kind: Literal["accuracy", "detection", "diagnosis", "write_error", "power", "cost"] = "accuracy"
    fidelity: Literal["ideal", "linear", "nonlinear"] = "linear"
    images: int = Field(default=0, ge=0, le=10_000_000)


class PrecisionSection(Section):
    """[precision]: more chips until the measure's interval is narrow enough.

    half_width: of the interval of the mean over chips, in points (hundredths) of an accuracy.
    confidence: of the interval.  max_chips: stop there all the same.
    """

    half_width: float = Field(gt=0.0, allow_inf_nan=False)
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    max_chips: int = Field(default=1000, ge=2, le=MOST_CHIPS)


class AuditSection(Section):
    """[audit]: how many tile inputs of the run ngspice solves again."""

    samples: int = Field(default=32, ge=0, le=100_000)
    seed: Seed = 0


class RunSection(Section):
    """[run]: where results go and what works on them; nothing here changes a result.

    out: folder; the study's name is a folder in it.  workers: processes of this machine.
    threads: per process.  device: where torch computes.
    scheduler: address of a dask scheduler that others run, in place of own processes.
    """

    out: str = "out"
    workers: int = Field(default=1, ge=1, le=1024)
    threads: int = Field(default=1, ge=1, le=1024)
    device: str = Field(default="cpu", min_length=1)
    scheduler: str | None = Field(default=None, pattern=r"^(tcp|tls)://.+$")
