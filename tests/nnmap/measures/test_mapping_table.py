"""The mapping table: what each layer became."""

import pytest
import torch
from torch import nn

from netlists import OneTransistorTwoR
from nnmap import mapping_table
from tests.nnmap.making import mapped, placed, rows_mixed


def network(**options):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Flatten(), nn.Linear(64, 5)
    )
    return mapped(model, torch.rand(2, 2, 6, 6), **options)


def test_devices_in_use_are_counted_and_digital_layers_are_named():
    table = mapping_table(network(digital_1x1=True))
    first, second, third = table.rows
    assert (first.layer, first.kind, first.matrix) == ("0", "Conv2d", (2, 9, 3))
    assert (first.tiles, first.devices) == (2, 2 * 9 * 3 * 2)
    assert (second.kind, second.matrix, second.tiles) == ("Conv2d", (1, 6, 4), 0)
    assert (third.kind, third.matrix, third.tiles) == ("Linear", (1, 64, 5), 4)
    assert third.utilisation == pytest.approx(64 * 10 / (4 * 16 * 12))
    assert table.tiles == 6 and table.devices == first.devices + 640
    text = str(table)
    assert "2 of 9x3" in text and "digital" in text and "total" in text.splitlines()[-1]


@pytest.mark.ngspice
def test_offset_columns_and_second_memories_are_in_use():
    first, _, third = mapping_table(network(encoding="offset", cell=OneTransistorTwoR())).rows
    assert first.devices == 2 * (2 * 9 * 3 + 9 * 2)  # two tiles with an offset column each
    assert third.devices == 2 * (64 * 5 + 64)


def test_copies_are_counted_and_moved_rows_are_not_counted_twice():
    plain = network()
    once = mapping_table(plain)
    moved = mapping_table(placed(plain, rows_mixed))
    assert moved == once
    thrice = mapping_table(placed(plain, lambda p: p.replicated(3)))
    assert (thrice.tiles, thrice.devices) == (3 * once.tiles, 3 * once.devices)
    assert [r.utilisation for r in thrice.rows] == pytest.approx([r.utilisation for r in once.rows])
