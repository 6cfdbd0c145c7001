"""A single tile from its TOML file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from netlists import Drive, FaultRates, InputError, Tile, inject, sample_faults
from validation.files.base import Section
from validation.files.cell_section import OneCell
from validation.files.defects_section import DefectsSection
from validation.files.tile_section import Rate, TileSection, tile_spec


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


class DriveSection(Section):
    """[drive]: a .npy file of volts [batch, rows], or random binary inputs at the read voltage."""

    file: str | None = None
    batch: int = Field(default=1, ge=1)
    seed: int = 0


class TileFile(OneCell):
    """A single tile: `xbarverify netlist` and `xbarverify solve`."""

    tile: TileSection = TileSection()
    program: ProgramSection = ProgramSection()
    faults: TileFaultsSection = TileFaultsSection()
    defects: DefectsSection = DefectsSection()
    drive: DriveSection = DriveSection()


def _array(path: Path, key: str) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError) as problem:
        raise InputError(f"{key} = {str(path)!r} is not a readable .npy file: {problem}.") from None


def build_tile(file: TileFile, *, beside: Path) -> tuple[Tile, Drive]:
    """The tile and its drive; relative file names count from `beside`.

    Raises InputError on arrays that do not fit.
    """
    spec = tile_spec(file.tile, file.cell.build())
    rram = spec.cell.rram
    if file.program.file:
        g = _array(beside / file.program.file, "program.file")
    else:
        on = np.random.default_rng(file.program.seed).random(spec.g_shape) < file.program.p_lrs
        g = np.where(on, rram.g_lrs, rram.g_hrs)
    tile = Tile(spec=spec, g=g)
    rates = file.faults.rates()
    if rates.total:
        rng = np.random.default_rng(file.faults.seed)
        tile = inject(tile, sample_faults(spec, rates, rng=rng))
    defects = file.defects.build(spec)
    if defects is not None:
        tile = inject(tile, defects)
    if file.drive.file:
        return tile, Drive(v=_array(beside / file.drive.file, "drive.file"))
    bits = np.random.default_rng(file.drive.seed).integers(0, 2, (file.drive.batch, spec.rows))
    return tile, Drive(v=bits * spec.v_read)
