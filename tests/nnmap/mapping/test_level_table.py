"""Levels of cells, against what each cell is to hold by definition."""

from dataclasses import replace

import numpy as np
import pytest

from netlists import LognormalSpread
from nnmap import Chip, LayerOnChip
from nnmap.layers.held_cells import HeldCells, level_slopes
from nnmap.mapping.encode import slots
from nnmap.mapping.level_table import LevelTable
from nnmap.mapping.programme import conductances
from tests.nnmap.small import FAULTY, convolutional, dense, mapped, placed, shuffled
from tests.tolerances import EXACT, assert_close

KINDS = [
    {"encoding": encoding, **slices}
    for encoding in ("pair", "offset")
    for slices in ({}, {"weight_bits": 6, "device_bits": 2})
]


def by_definition(programme, placement):
    """Conductances cell by cell, S [tiles, *g_shape]."""
    spec, encoding, p = programme.spec, programme.encoding, placement
    g = np.empty((p.tiles, p.rows, p.cols, spec.cell.n_rram))
    for k, r, c in np.ndindex(p.tiles, p.rows, p.cols):
        if p.col_slot[k, c] == p.slots:
            g[k, r, c] = programme.cell_levels.offset_memories()
            continue
        level, i, o = 0.0, p.row_input[k, r], p.col_output[k, c]
        if i >= 0 and o >= 0:
            group = i // p.shape.inputs
            w = np.nan
            if group == o // p.shape.outputs:
                w = programme.weights[group, i % p.shape.inputs, o % p.shape.outputs]
                w = -w if p.row_flip[k, r] ^ (p.col_share[k, c] < 0) else w
            level = encoding.levels(np.array(w))[p.col_slot[k, c]]
        g[k, r, c] = programme.cell_levels.memory(np.array(level))
    return g.reshape(p.tiles, *spec.g_shape)


@pytest.mark.parametrize("plan", KINDS, ids=str)
@pytest.mark.parametrize("cell", ["1R", "1T2R"])
@pytest.mark.parametrize("make", [dense, convolutional])
def test_every_cell_is_ordered_what_it_is_to_hold(make, cell, plan):
    network = placed(mapped(make(), cell, rows=16, cols=13, adc_bits=None, **plan), shuffled)
    for programme in network.programmes.values():
        assert np.array_equal(programme.target, by_definition(programme, programme.placement))
        p = programme.placement
        if not p.offset:
            p = replace(p, col_share=np.where(np.arange(p.cols) % 3 == 1, -1, 1) * p.col_share)
            g = conductances(programme.weights, p, programme.spec, programme.encoding)
            assert np.array_equal(g, by_definition(programme, p))


def test_some_tiles_are_ordered_as_all_are():
    programme = placed(mapped(convolutional()), shuffled).programmes["0"]
    p = programme.placement
    whole = LevelTable.of(p)
    held = whole.table(programme.weights, programme.encoding)[whole.index]
    assert p.tiles > 2
    for k in range(p.tiles):
        part = LevelTable.of(p, slice(k, k + 1))
        assert len(part.inputs) < len(whole.inputs)
        found = part.table(programme.weights, programme.encoding)[part.index]
        assert np.array_equal(found, held[k : k + 1])


@pytest.mark.parametrize("plan", KINDS, ids=str)
def test_sources_are_the_weights_that_move_a_cell(plan):
    programme = placed(mapped(convolutional(), rows=16, cols=13, **plan), shuffled).programmes["2"]
    p = programme.placement
    weight, slot, sign = LevelTable.of(p).sources()
    w = programme.weights.ravel()
    levels = programme.encoding.levels(np.where(weight >= 0, sign * w[weight], np.nan))
    held = np.take_along_axis(levels, slot[..., None], axis=3)[..., 0]
    found = programme.cell_levels.memory(held)
    follows = weight >= 0
    assert follows.any() and (~follows).any() and {1.0, -1.0} == set(sign[follows])
    assert np.array_equal(found[follows], programme.target[follows])


@pytest.mark.parametrize("plan", KINDS, ids=str)
def test_slopes_change_a_weight_by_what_was_asked(plan):
    encoding = mapped(dense(), **plan).programmes["0"].encoding
    slope = level_slopes(encoding)
    assert slope.shape == (slots(encoding),)
    assert slope @ np.array(encoding.significances) == pytest.approx(1.0)
    if "weight_bits" not in plan:
        w = np.array([-0.3, 0.4])
        low, high = encoding.levels(w)
        assert_close(slope, (high - low) / 0.7, EXACT)


@pytest.mark.parametrize("variation", [(), (LognormalSpread(sigma=0.2),)])
@pytest.mark.parametrize("cell", ["1R", "1T2R"])
def test_held_cells_are_those_of_the_chip_in_any_order(cell, variation):
    import torch

    programme = placed(mapped(dense(), cell, encoding="offset"), shuffled).programmes["0"]
    chip = Chip(rates=FAULTY.rates, variation=variation, seed=4)
    held = LayerOnChip(name="0", programme=programme, chip=chip)
    order = np.random.default_rng(0).permutation(len(_memories(held)))[:50]
    w = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, programme.weights.shape))
    for weights in (torch.from_numpy(programme.weights.copy()), w):
        now = replace(held, programme=programme.with_weights(weights.numpy()))
        found = HeldCells(held, order)(weights)
        assert_close(found.numpy(), _memories(now)[order], EXACT)


def _memories(layer):
    """What the memories of each cell hold together, S [cells]."""
    tiles = [layer.tile(k).g_reachable for k in range(layer.programme.placement.tiles)]
    n = layer.programme.spec.cell.n_rram
    return np.stack(tiles).reshape(-1, n).sum(axis=1)
