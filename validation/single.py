"""A single tile from its TOML file."""

from pathlib import Path

import numpy as np

from netlists import Drive, InputError, Tile, inject, sample_faults
from validation.config import TileFile
from validation.tile_sections import tile_spec


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
