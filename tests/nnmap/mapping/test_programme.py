"""Programmes as values: what is ordered of a layer's tiles."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError, OneTransistorTwoR
from tests.nnmap.making import (
    ENCODED,
    WITH_AND_WITHOUT_TRANSISTOR,
    columns_mixed,
    half_flipped,
    held_weights,
    mapped,
    only,
    orders,
    rows_mixed,
)
from tests.tolerances import EXACT, assert_close


def programme(**options):
    torch.manual_seed(0)
    return only(mapped(nn.Linear(21, 8).double(), torch.rand(4, 21).double(), **options).programmes)


@pytest.mark.ngspice
def test_equal_orders_are_equal_by_what_they_hold():
    one = programme()
    assert one == programme() and hash(one) == hash(programme())
    assert one.digest == programme().digest and one != "a programme"
    g = one.target.copy()
    g[0, 0, 0] *= 1 + 1e-12
    others = [
        replace(one, target=g),
        replace(one, scale=one.scale * 2),
        replace(one, shift=one.shift + 1),
        replace(one, offset_faults=False),
        one.placed(rows_mixed(one.placement)),
        one.with_weights(-one.weights),
        programme(encoding="offset"),
        programme(cell=OneTransistorTwoR()),
        programme(weight_bits=8),
    ]
    assert len({one, *others}) == 10
    assert copy.deepcopy(one) is one
    for name in ("weights", "target", "scale", "shift"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(one, name)[0] = 0


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
@pytest.mark.parametrize("encoded", ENCODED)
def test_moved_rows_and_columns_take_their_conductances_along(cell, encoded):
    one = programme(cell=cell, **encoded)
    p = one.placement
    by_row = one.placed(rows_mixed(p))
    by_col = one.placed(columns_mixed(p))
    rows, cols = orders(p.tiles, p.rows), orders(p.tiles, p.cols)
    offset = one.offset_cells
    for k in range(p.tiles):
        assert np.array_equal(by_row.target[k, rows[k]], one.target[k])
        assert np.array_equal(by_col.target[k][:, cols[k]], one.target[k])
        assert np.array_equal(by_col.offset_cells[k][:, cols[k]], offset[k])
    flipped = one.placed(half_flipped(p))
    same = ~half_flipped(p).row_flip
    assert np.array_equal(flipped.target[same], one.target[same])
    assert np.array_equal(flipped.target[offset], one.target[offset])
    assert not np.array_equal(flipped.target, one.target)


def test_other_weights_lie_at_the_same_places():
    torch.manual_seed(0)
    layer, x = nn.Linear(21, 8).double(), torch.rand(4, 21).double()
    network = mapped(layer, x)
    one = only(network.programmes)
    halved = network.with_programmes({"": one.with_weights(one.weights / 2)})
    assert only(halved.programmes).placement is one.placement
    assert_close(held_weights(halved), held_weights(network) / 2, EXACT)


def test_a_shift_is_added_to_every_sum():
    torch.manual_seed(0)
    layer, x = nn.Linear(21, 8).double(), torch.randn(4, 21).double()
    network = mapped(layer, x)
    shift = np.arange(8.0)
    shifted = network.with_programmes({"": replace(only(network.programmes), shift=shift)})
    assert_close((shifted.on()(x) - network.on()(x)).numpy(), np.tile(shift, (4, 1)), EXACT)


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"weights": np.zeros((21, 8))}, r"weights\.shape=\(21, 8\) != \(1, 21, 8\)"),
        ({"target": np.zeros((2, 16, 12))}, r"target\.shape=\(2, 16, 12\) != \(4, 16, 12\)"),
        ({"scale": 1.0}, r"scale\.shape=\(\) != \(8,\)"),
        ({"shift": np.full(8, np.nan)}, "shift holds NaN"),
        ({"weights": np.full((1, 21, 8), -1.5)}, r"must lie in \[-1, 1\], and 1\.5 is beyond"),
        ({"target": np.full((4, 16, 12), np.inf)}, "target holds NaN or infinite"),
    ],
)
def test_orders_that_do_not_fit_are_refused(changed, words):
    with pytest.raises(InputError, match=words) as caught:
        replace(programme(), **changed)
    assert str(caught.value).count("\n") == 0
