"""A single tile from its TOML file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from netlists import Drive, FaultRates, InputError, Tile, TileSpec, inject, sample_faults
from validation.files.base import Section, Seed, read_array
from validation.files.cell_section import OneCell
from validation.files.defects_section import DefectsSection
from validation.files.tile_section import Rate, TileSection, tile_spec


class ProgramSection(Section):
    """[program]: states of a single tile; a .npy file of siemens, or LRS with probability p_lrs."""

    file: str | None = None
    p_lrs: Rate = 0.5
    seed: Seed = 0


class TileFaultsSection(Section):
    """[faults] of a single tile; `ocr` is stuck-HRS : stuck-LRS, `stuck_at` anywhere between."""

    rate: Rate = 0.0
    ocr: float = 1.0
    stuck_at: Rate = 0.0
    seed: Seed = 0

    def rates(self) -> FaultRates:
        """The rates of memories stuck in each way."""
        return replace(FaultRates.from_ocr(self.rate, self.ocr), stuck_at=self.stuck_at)


class DriveSection(Section):
    """[drive]: a .npy file of volts [batch, rows], or random binary inputs at the read voltage."""

    file: str | None = None
    batch: int = Field(default=1, ge=1, le=1_000_000)
    seed: Seed = 0


class TileFile(OneCell):
    """A single tile: `xbarverify netlist` and `xbarverify solve`."""

    tile: TileSection = TileSection()
    program: ProgramSection = ProgramSection()
    faults: TileFaultsSection = TileFaultsSection()
    defects: DefectsSection = DefectsSection()
    drive: DriveSection = DriveSection()


MOST_VOLTAGES = 2**27  # nodes times inputs of a solution, 1 GiB


def build_tile(file: TileFile, *, beside: Path) -> tuple[Tile, Drive]:
    """The tile and its drive; relative file names count from `beside`.

    Raises InputError on arrays that do not fit.
    """
    spec = tile_spec(file.tile, file.cell.build())
    rram = spec.cell.rram
    if file.program.file:
        g = read_array(beside / file.program.file, "program.file")
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
        v = read_array(beside / file.drive.file, "drive.file")
        _require_room(spec, v.shape[0] if v.ndim == 2 else 1)
        return tile, Drive(v=v)
    _require_room(spec, file.drive.batch)
    bits = np.random.default_rng(file.drive.seed).integers(0, 2, (file.drive.batch, spec.rows))
    return tile, Drive(v=bits * spec.v_read)


def _require_room(spec: TileSpec, inputs: int) -> None:
    if 2 * spec.rows * spec.cols * inputs > MOST_VOLTAGES:
        raise InputError(
            f"drive.batch = {inputs} inputs of a {spec.rows}x{spec.cols} tile have "
            f"{2 * spec.rows * spec.cols * inputs:.1e} node voltages, more than "
            f"{MOST_VOLTAGES:.1e}; take at most {MOST_VOLTAGES // (2 * spec.rows * spec.cols)}."
        )
