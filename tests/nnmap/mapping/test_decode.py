"""What conductances decode to, against the definition of an encoding written out cell by cell."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netlists import DefectRates, FaultRates, LognormalSpread, OneR
from nnmap import Chip, LayerOnChip
from nnmap.mapping.decode import decoded_weights
from tests.nnmap.making import (
    ENCODED,
    WITH_AND_WITHOUT_TRANSISTOR,
    columns_mixed,
    half_flipped,
    held_weights,
    mapped,
    only,
    placed,
    rows_mixed,
)
from tests.tolerances import EXACT, assert_close


def written_out(programme, g):
    """w = sum_k s_k (l_k - m_k), the offset column's share of it as it reads, cell by cell."""
    p, levels = programme.placement, programme.cell_levels
    on, off = levels.on, levels.off
    middle = levels.shown(levels.offset_memories().sum())
    s, m = programme.encoding.significances, programme.encoding.middles
    shape = p.shape
    w = np.zeros((shape.groups, shape.inputs, shape.outputs))
    for k in range(p.tiles):
        for r in range(p.rows):
            i = p.row_input[k, r]
            for c in range(p.cols):
                o, slot = p.col_output[k, c], p.col_slot[k, c]
                if i < 0 or o < 0 or i // shape.inputs != o // shape.outputs:
                    continue
                offset = sum(
                    p.col_share[k, other] * g[k, r, other] / middle
                    for other in range(p.cols)
                    if p.col_slot[k, other] == p.slots
                )
                level = s[slot] * g[k, r, c] / (on - off)
                subtracted = s[slot] * off / (on - off) * (offset if p.offset else 1.0)
                subtracted += m[slot] * offset
                held = p.col_share[k, c] * (level - subtracted) * (-1 if p.row_flip[k, r] else 1)
                at = i // shape.inputs, i % shape.inputs, o % shape.outputs
                w[at] += held * programme.scale[o]
    return w


def network(cell, seed=0, groups=1, **encoded):
    torch.manual_seed(seed)
    layer = nn.Conv2d(4 * groups, 3 * groups, (1, 2), groups=groups, bias=False).double()
    x = torch.randn(2, 4 * groups, 2, 3).double()
    return layer, mapped(layer, x, cell=cell, rows=9, **encoded)


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
@pytest.mark.parametrize("encoded", ENCODED)
def test_what_was_written_is_what_is_decoded(cell, encoded):
    layer, plain = network(cell, groups=3, **encoded)
    weight = layer.weight.detach().numpy().reshape(3, 3, 8).transpose(0, 2, 1)
    if "weight_bits" in encoded:
        step = np.abs(weight).max() / 127
        weight = np.round(weight / step) * step
    for changed in (
        plain,
        placed(plain, lambda p: half_flipped(columns_mixed(rows_mixed(p)))),
        placed(plain, lambda p: p.replicated(3)),
    ):
        assert_close(held_weights(changed), weight, EXACT)


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
@pytest.mark.parametrize("encoded", ENCODED)
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), groups=st.integers(1, 3))
def test_faulty_cells_decode_by_the_definition(cell, encoded, seed, groups):
    _, plain = network(cell, seed, groups, **encoded)
    moved = placed(plain, lambda p: half_flipped(columns_mixed(rows_mixed(p.replicated(2)))))
    chip = Chip(
        rates=FaultRates(stuck_lrs=0.1, stuck_hrs=0.1, stuck_at=0.1),
        variation=(LognormalSpread(sigma=0.2),),
        defects=None if cell == OneR() else DefectRates(transistor_open=0.1),
        seed=seed,
    )
    for changed in (plain, moved):
        programme = only(changed.programmes)
        g = LayerOnChip(name="", programme=programme, chip=chip).shown()
        found = decoded_weights(programme, g)
        assert_close(found, written_out(programme, g), 1e-11)
        assert np.abs(found - held_weights(changed)).max() > 1e-3


def test_a_stuck_offset_cell_shifts_every_weight_of_its_row():
    _, plain = network(OneR(), encoding="offset")
    programme = only(plain.programmes)
    g = programme.target.copy()
    column = int(np.flatnonzero(programme.placement.col_slot[0] == programme.placement.slots)[0])
    g[0, 2, column] = OneR().rram.g_lrs
    shift = decoded_weights(programme, g) - decoded_weights(programme, programme.target)
    assert (shift[0, [0, 1, 3, 4, 5, 6, 7]] == 0).all()
    assert_close(shift[0, 2], [shift[0, 2, 0]] * 3, EXACT)
    assert shift[0, 2, 0] < -0.5 * programme.scale[0]
