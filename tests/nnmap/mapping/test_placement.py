"""Where weights lie may change what a circuit does, and never what an ideal matrix computes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netlists import InputError, OneR, OneTransistorTwoR, TileSpec
from nnmap import Fidelity, Placement, Shape, place
from nnmap.mapping.encode import encoding
from tests.nnmap.making import (
    ENCODED,
    PERFECT,
    WIRED,
    columns_mixed,
    half_flipped,
    held_again,
    mapped,
    only,
    orders,
    placed,
    rng,
    rows_mixed,
    spread_out,
)
from tests.tolerances import EXACT, assert_close


def linear(inputs=37, outputs=11, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs).double(), torch.randn(6, inputs, dtype=torch.float64)


def grouped():
    """Five groups of 6x3, two to a tile: the last bundle is not full."""
    torch.manual_seed(0)
    layer = nn.Conv2d(10, 15, (1, 3), groups=5, padding=(0, 1)).double()
    return layer, torch.randn(2, 10, 3, 5, dtype=torch.float64)


MOVES = {
    "rows": rows_mixed,
    "columns": columns_mixed,
    "flips": half_flipped,
    "three copies": lambda p: p.replicated(3),
    "all of them": lambda p: half_flipped(columns_mixed(rows_mixed(p.replicated(2)), 1), 2),
}
CELLS = [  # a transistor's cell is calibrated for voltages of one sign
    pytest.param(OneR(), "second read", id="1r"),
    pytest.param(OneR(), "negative drive", id="1r-negative"),
    pytest.param(OneTransistorTwoR(), "second read", id="1t2r", marks=pytest.mark.ngspice),
]


def assert_same(network, changed, x, tolerance=EXACT, **on):
    before, after = network.on(**on)(x).detach().numpy(), changed.on(**on)(x).detach().numpy()
    assert_close(after, before, tolerance, scale=max(1.0, np.abs(before).max()))


@pytest.mark.parametrize("make", [linear, grouped])
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("cell, negative", CELLS)
@pytest.mark.parametrize("encoded", ENCODED)
def test_moves_are_no_ops_on_an_ideal_matrix(encoded, cell, negative, move, make):
    layer, x = make()
    network = mapped(layer, x, cell=cell, negative=negative, cols=14, **encoded)
    changed = placed(network, MOVES[move])
    assert only(changed.programmes) != only(network.programmes)
    assert_same(network, changed, x)
    assert_same(network, changed, x.abs())


@settings(max_examples=30)
@given(
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 3),
    groups=st.integers(1, 9),
    rows=st.integers(1, 13),
    cols=st.integers(5, 15),
    encoded=st.sampled_from([e.values[0] for e in ENCODED]),
    negative=st.sampled_from(["second read", "negative drive"]),
    seed=st.integers(0, 1000),
)
def test_any_layer_may_be_moved_about(inputs, outputs, groups, rows, cols, encoded, negative, seed):
    torch.manual_seed(seed)
    layer = nn.Conv2d(groups * inputs, groups * outputs, (1, 2), groups=groups).double()
    x = torch.randn(2, groups * inputs, 2, 4, dtype=torch.float64)
    network = mapped(layer, x, rows=rows, cols=cols, negative=negative, **encoded)
    moved = placed(network, lambda p: half_flipped(columns_mixed(rows_mixed(p, seed), seed), seed))
    assert_same(network, placed(moved, lambda p: p.replicated(2)), x)


@pytest.mark.parametrize("make", [linear, grouped])
@pytest.mark.parametrize("inputs", ["parallel", "serial"])
@pytest.mark.parametrize("adc_range", ["shared", "column", "full"])
@pytest.mark.parametrize("encoded", ENCODED)
def test_permutations_change_no_conversion_either(encoded, adc_range, inputs, make):
    layer, x = make()
    converters = {"dac_bits": 5, "adc_bits": 7, "adc_range": adc_range, "inputs": inputs}
    network = mapped(layer, x, **converters, **encoded)
    for move in (rows_mixed, columns_mixed, lambda p: columns_mixed(rows_mixed(p))):
        assert_same(network, placed(network, move), x)
    exact = mapped(layer, x, **encoded)
    assert (network.on()(x) - exact.on()(x)).abs().max() > 1e-3


@pytest.mark.parametrize("move", [m for m in MOVES if m != "three copies"])
@pytest.mark.parametrize("encoded", ENCODED)
def test_moves_show_on_wires(encoded, move):
    layer, x = linear()
    network = mapped(layer, x, wires=WIRED, **encoded)
    before = network.on(fidelity=Fidelity.LINEAR)(x)
    after = placed(network, MOVES[move]).on(fidelity=Fidelity.LINEAR)(x)
    assert (after - before).abs().max() > 1e-3


def test_equal_copies_on_wires_read_alike():
    layer, x = linear()
    network = mapped(layer, x, wires=WIRED)
    assert_same(network, placed(network, MOVES["three copies"]), x, fidelity=Fidelity.LINEAR)


def on_larger_tiles(network, x, layer, seed, **options):
    """The network on 23x19 tiles with spares in between."""
    larger = mapped(layer, x, rows=23, cols=19, **options)
    old, new = only(network.programmes), only(larger.programmes)
    programme = type(new).of(
        old.weights,
        old.scale,
        spec=new.spec,
        encoding=new.encoding,
        placement=spread_out(old.placement, 23, 19, seed),
    )
    return larger.with_programmes({"": programme})


@pytest.mark.parametrize("make", [linear, grouped])
@pytest.mark.parametrize("wires", [PERFECT, WIRED], ids=["perfect", "wired"])
@pytest.mark.parametrize("encoded", ENCODED)
def test_spare_rows_and_columns_lie_anywhere(encoded, wires, make):
    layer, x = make()
    network = mapped(layer, x, wires=wires, **encoded)
    spared = on_larger_tiles(network, x, layer, 3, wires=wires, **encoded)
    p = only(spared.programmes).placement
    assert (p.row_input[:, 1:-1] < 0).any() and (p.col_slot[:, 1:-1] < 0).any()
    assert_same(network, spared, x)
    assert_same(spared, placed(spared, MOVES["all of them"]), x)
    linear_fidelity = {"fidelity": Fidelity.LINEAR}
    if wires is PERFECT:
        assert_same(network, spared, x, 1e-9, **linear_fidelity)
    else:
        found = [n.on(**linear_fidelity)(x) for n in (network, spared)]
        assert (found[0] - found[1]).abs().max() > 1e-4


def test_spares_are_at_hrs_and_offset_columns_at_mid_range():
    layer, x = linear()
    network = mapped(layer, x, encoding="offset")
    programme = only(on_larger_tiles(network, x, layer, 3, encoding="offset").programmes)
    p, rram = programme.placement, OneR().rram
    offset = programme.offset_cells
    assert (offset == (p.col_slot == 1)[:, None]).all() and offset.any()
    assert_close(programme.target[offset] / (rram.g_lrs + rram.g_hrs), [0.5] * offset.sum(), EXACT)
    spare = ((p.row_input < 0)[:, :, None] | (p.col_slot < 0)[:, None]) & ~offset
    assert (programme.target[spare] == rram.g_hrs).all()


SHARES = {
    "half each": (0.5, 0.5),
    "negative": (-1.0,),
    "of both signs": (0.5, -0.5),
    "unequal": (0.7, 0.2, -0.1),
}


@pytest.mark.parametrize("make", [linear, grouped])
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("cell, negative", CELLS)
@pytest.mark.parametrize("encoded", ENCODED)
def test_columns_share_an_output_within_a_tile(encoded, cell, negative, shares, make):
    layer, x = make()
    parts = SHARES[shares]
    options = {"cell": cell, "negative": negative, **encoded}
    network = mapped(layer, x, cols=12, **options)
    wide = mapped(layer, x, cols=12 * len(parts), **options)
    old, new = only(network.programmes), only(wide.programmes)

    def weighing(slot):
        return slot < old.placement.slots

    placement = held_again(old.placement, parts, chosen=weighing)
    placement.require_complete()
    programme = type(new).of(
        old.weights, old.scale, spec=new.spec, encoding=new.encoding, placement=placement
    )
    shared = wide.with_programmes({"": programme})
    assert_same(network, shared, x)
    assert_same(shared, placed(shared, MOVES["all of them"]), x)


@pytest.mark.parametrize("parts", [(0.5, 0.5), (0.2, 0.3, 0.5), (1.5, -0.5)])
@pytest.mark.parametrize("encoded", [e for e in ENCODED if "offset" in e.id])
def test_several_offset_columns_share_the_subtraction(encoded, parts):
    layer, x = linear()
    network = mapped(layer, x, **encoded)
    old = only(network.programmes)
    wide = mapped(layer, x, cols=12 * len(parts), **encoded)
    placement = held_again(old.placement, parts, chosen=lambda s: s == old.placement.slots)
    programme = type(old).of(
        old.weights,
        old.scale,
        spec=only(wide.programmes).spec,
        encoding=old.encoding,
        placement=placement,
    )
    assert (placement.col_slot == placement.slots).sum(axis=1).tolist() == [len(parts)] * len(
        placement.places
    )
    assert_same(network, wide.with_programmes({"": programme}), x)


@pytest.mark.parametrize("name", ["pair", "offset"])
def test_most_significant_slices_alone_may_be_held_several_times(name):
    layer, x = linear()
    options = {"encoding": name, "weight_bits": 8, "device_bits": 3}
    network, wide = mapped(layer, x, **options), mapped(layer, x, cols=24, **options)
    old = only(network.programmes)
    significance = np.abs(old.encoding.significances)
    top = np.flatnonzero(significance == significance.max())
    placement = held_again(old.placement, (0.5, 0.5), chosen=lambda s: s in top)
    assert 0 < (placement.col_share == 0.5).sum() < (placement.col_slot >= 0).sum()
    programme = type(old).of(
        old.weights,
        old.scale,
        spec=only(wide.programmes).spec,
        encoding=old.encoding,
        placement=placement,
    )
    assert_same(network, wide.with_programmes({"": programme}), x)


def cut(inputs=20, outputs=7, groups=1, *, rows=8, cols=9, name="pair"):
    spec = TileSpec(rows=rows, cols=cols, wires=PERFECT)
    return place(Shape(inputs=inputs, outputs=outputs, groups=groups), spec, encoding(name))


@given(
    inputs=st.integers(1, 30),
    outputs=st.integers(1, 12),
    groups=st.integers(1, 6),
    name=st.sampled_from(["pair", "offset"]),
)
def test_every_device_of_every_weight_counts_once(inputs, outputs, groups, name):
    p = cut(inputs, outputs, groups, name=name)
    p.require_complete()
    same = np.repeat(np.repeat(np.eye(groups), inputs, 0), outputs, 1)
    assert np.array_equal(p.coverage(), np.repeat(same[..., None], p.slots, 2))
    assert len({tuple(place) for place in p.places.tolist()}) == p.tiles
    for moved in (half_flipped(columns_mixed(rows_mixed(p))), p.replicated(3)):
        assert_close(moved.coverage(), p.coverage(), EXACT)


def test_groups_lie_block_by_block_and_the_last_bundle_may_be_short():
    p = cut(3, 2, 5, rows=8, cols=9, name="offset")  # two groups of 3x2 to a tile
    assert p.tiles == 3 and p.shape.all_inputs == 15 and p.shape.all_outputs == 10
    assert p.row_input.tolist() == [
        [0, 1, 2, 3, 4, 5, -1, -1],
        [6, 7, 8, 9, 10, 11, -1, -1],
        [12, 13, 14, -1, -1, -1, -1, -1],
    ]
    assert p.col_output[2].tolist() == [8, 9, -1, -1, -1, -1, -1, -1, -1]
    assert p.col_slot[1].tolist() == [0, 0, 0, 0, -1, -1, -1, -1, 1]
    assert p.places.tolist() == [[0, 0, 0], [0, 1, 0], [0, 2, 0]]


def test_tiles_with_equal_rows_are_one_row_group():
    p = cut(20, 7)  # 3 row tiles, 2 column tiles of 4 and 3 outputs
    assert [g.tiles.tolist() for g in p.row_groups] == [[0, 1], [2, 3], [4, 5]]
    assert p.group_of.tolist() == [0, 0, 1, 1, 2, 2]
    last = p.row_groups[2]
    assert last.rows.tolist() == [0, 1, 2, 3] and last.inputs.tolist() == [16, 17, 18, 19]
    assert last.columns.tolist() == [*range(8), *range(9, 15)]
    assert len(rows_mixed(p).row_groups) == 6
    flipped = p.flipped(np.arange(6)[:, None] == np.zeros((6, 8)) + 1)
    assert flipped.flips and len(flipped.row_groups) == 4
    assert len(p.replicated(2).row_groups) == 3 and p.replicated(2).tiles == 12


def test_flipping_twice_and_ordering_back_restore_the_placement():
    p = cut()
    rows = rng().random((p.tiles, p.rows)) < 0.5
    assert p.flipped(rows) != p and p.flipped(rows).flipped(rows) == p
    for moved, size in ((Placement.with_rows, p.rows), (Placement.with_columns, p.cols)):
        order = orders(p.tiles, size)
        assert moved(p, order) != p and moved(moved(p, order), np.argsort(order, axis=1)) == p
    order = orders(p.tiles, p.rows)
    assert p.with_rows(order).row_input[2, order[2, 5]] == p.row_input[2, 5]
    order = orders(p.tiles, p.cols)
    assert p.with_columns(order).col_output[1, order[1, 3]] == p.col_output[1, 3]


def test_a_placement_rearranges_another_where_tiles_keep_what_they_hold():
    p = cut(name="offset")
    moved = half_flipped(columns_mixed(rows_mixed(p)))
    assert moved.rearranges(p) and p.rearranges(moved) and p.rearranges(p)
    rows, outputs, share = (np.array(a) for a in (p.row_input, p.col_output, p.col_share))
    rows[[0, -1]] = rows[[-1, 0]]
    outputs[0, [0, 1]] = outputs[0, 0]
    share[0, 0] = 0.5
    for other in (
        replace(p, row_input=rows),
        replace(p, col_output=outputs),
        replace(p, col_share=share),
        p.replicated(2),
        cut(cols=10, name="offset"),
    ):
        assert not other.rearranges(p) and not p.rearranges(other)


def test_copies_average_and_the_first_keeps_its_places():
    p = cut(name="offset").replicated(3)
    tiles = p.tiles // 3
    assert p.places[:tiles].tolist() == cut(name="offset").places.tolist()
    assert [len({tuple(k) for k in p.places.tolist()}), p.places[:, 0].max()] == [p.tiles, 2]
    assert set(p.col_share[p.col_output >= 0]) == {1 / 3}
    assert set(p.col_share[p.col_slot == p.slots]) == {1.0}
    again = p.replicated(2)
    assert len({tuple(k) for k in again.places.tolist()}) == again.tiles == 6 * tiles
    assert p.replicated(1) == p
    again.require_complete()


def test_equal_placements_are_equal_by_what_they_hold():
    p = cut()
    assert p == cut() and hash(p) == hash(cut()) and p.digest == cut().digest
    same = replace(p, row_input=p.row_input.astype(np.int32), col_share=p.col_share.tolist())
    assert same == p
    others = [rows_mixed(p), columns_mixed(p), half_flipped(p), p.replicated(2), cut(name="offset")]
    assert len({p, *others}) == 6 and p != "a placement"
    for name in ("row_input", "row_flip", "col_output", "col_slot", "col_share", "places"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(p, name)[0] = 0


@pytest.mark.parametrize("encoded", ENCODED)
def test_dropped_and_doubled_weights_are_refused(encoded):
    layer, x = linear()
    programme = only(mapped(layer, x, **encoded).programmes)
    p = programme.placement

    def refused(words, **changed):
        with pytest.raises(InputError, match=words) as caught:
            programme.placed(replace(p, **changed))
        assert str(caught.value).count("\n") == 0

    rows = p.row_input.copy()
    rows[0, 3] = -1
    refused(
        r"device 0 of the weight from input 3 to output 0 counts 0 times, not once", row_input=rows
    )
    outputs, slots = p.col_output.copy(), p.col_slot.copy()
    outputs[0, 0] = slots[0, 0] = -1
    refused("from input 0 to output 0 counts 0 times", col_output=outputs, col_slot=slots)
    outputs = p.col_output.copy()
    outputs[0, : p.slots] = outputs[0, p.slots]
    refused("counts 0 times, not once", col_output=outputs)
    share = np.where(p.col_output == 1, 2.0, p.col_share)
    refused("from input 0 to output 1 counts 2 times", col_share=share)
    share = np.where(p.col_output == 1, -0.5, p.col_share)
    refused(r"from input 0 to output 1 counts 0\.5 times", col_share=share)


def test_placements_of_another_layer_or_encoding_are_refused():
    layer, x = linear()
    programme = only(mapped(layer, x).programmes)
    other = only(mapped(nn.Linear(36, 11).double(), x[:, :36]).programmes).placement
    offset = only(mapped(layer, x, encoding="offset").programmes).placement
    larger = only(mapped(layer, x, rows=17).programmes).placement
    for placement, words in (
        (other, "another layer or another encoding"),
        (offset, "another layer or another encoding"),
        (larger, "17x12 tiles does not fit tiles of 16x12"),
    ):
        with pytest.raises(InputError, match=words):
            programme.placed(placement)


def changed(array_of, where, value, **options):
    p = cut(**options)
    array = np.array(getattr(p, array_of))
    array[where] = value
    return partial(replace, p, **{array_of: array})


@pytest.mark.parametrize(
    "make, words",
    [
        (changed("row_input", (0, 3), 20), r"row_input\[0, 3\]=20 must lie in -1\.\.19"),
        (changed("row_input", (0, 3), -2), r"row_input\[0, 3\]=-2"),
        (changed("row_input", (1, 3), 0), "input 0 drives two rows of tile 1"),
        (changed("col_output", (1, 2), 7), r"col_output\[1, 2\]=7 must lie in -1\.\.6"),
        (changed("col_slot", (1, 2), 2), r"col_slot\[1, 2\]=2 must lie in -1\.\.1"),
        (changed("col_slot", (1, 2), -1), "with an output and columns with a slot differ"),
        (changed("col_output", (1, 2), -1), "with an output and columns with a slot differ"),
        (changed("col_share", (1, 2), np.nan), "col_share must be finite"),
        (changed("col_slot", (2, 8), -1, name="offset"), "of tile 2 add up to 0, not 1"),
        (changed("col_share", (2, 8), 0.5, name="offset"), r"of tile 2 add up to 0\.5, not 1"),
        (
            lambda: replace(cut(), row_flip=np.zeros((6, 7))),
            r"row_flip\.shape=\(6, 7\) != \(6, 8\)",
        ),
        (lambda: replace(cut(), places=np.zeros((5, 3))), r"places\.shape=\(5, 3\) != \(6, 3\)"),
        (
            changed("places", (4, slice(None)), [0, 0, 1]),
            r"tiles 1 and 4 have one place, \(0, 0, 1\)",
        ),
        (changed("places", (4, 1), -1), "places holds -1; its numbers start at 0"),
        (lambda: cut().with_rows(np.zeros((6, 8), int)), r"a permutation of 0\.\.7 for each of 6"),
        (lambda: cut().with_rows(orders(5, 8)), "for each of 6"),
        (lambda: cut().with_columns(orders(6, 8)), r"a permutation of 0\.\.8"),
        (lambda: cut().replicated(0), "copies=0"),
    ],
)
def test_impossible_placements_are_refused(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert str(caught.value).count("\n") == 0
