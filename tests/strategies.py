"""Random tiles for property tests."""

import numpy as np
from hypothesis import strategies as st

from netlists import (
    DefectRates,
    Drive,
    FaultRates,
    OneR,
    Tile,
    TileSpec,
    Wires,
    inject,
    sample_defects,
    sample_faults,
)


def random_tile(rows, cols, seed, *, opens=0.0, stuck=0.0, cell=None):
    """A tile with random segments (0.1 to 10 ohm, some open), random states and stuck memories."""
    rng = np.random.default_rng(seed)
    r_row = 10 ** rng.uniform(-1, 1, (rows, cols))
    r_col = 10 ** rng.uniform(-1, 1, (rows, cols))
    r_row[rng.random((rows, cols)) < opens] = np.inf
    r_col[rng.random((rows, cols)) < opens] = np.inf
    wires = Wires(
        r_row_segment=r_row,
        r_col_segment=r_col,
        r_driver=rng.uniform(0, 5, rows),
        r_sense=rng.uniform(0, 5, cols),
    )
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell or OneR())
    tile = Tile(spec=spec, g=10 ** rng.uniform(-6, -4, spec.g_shape))
    if stuck:
        tile = inject(tile, sample_faults(spec, FaultRates.from_ocr(stuck, 1.0), rng=rng))
    return tile


def random_drive(tile, seed, batch=3):
    """Random voltages of both signs within the read voltage."""
    v = np.random.default_rng(seed).uniform(-1, 1, (batch, tile.spec.rows)) * tile.spec.v_read
    return Drive(v=v)


def small_tiles(max_side=8, **options):
    """Hypothesis strategy of random small tiles."""
    side = st.integers(1, max_side)
    return st.builds(
        lambda rows, cols, seed: random_tile(rows, cols, seed, **options),
        side,
        side,
        st.integers(0, 2**32 - 1),
    )


def with_random_defects(tile, seed, rate, r_bridge):
    """The tile with every defect that its cell can have, each at one rate."""
    names = ["open_row", "open_col", "bridge_row", "bridge_col", "bridge_cell"]
    if tile.spec.cell.transistor is not None:
        names += ["transistor_open", "transistor_shorted", "open_gate", "bridge_gate"]
    rates = DefectRates(**dict.fromkeys(names, rate), r_bridge=r_bridge)
    return inject(tile, sample_defects(tile.spec, rates, rng=np.random.default_rng(seed)))
