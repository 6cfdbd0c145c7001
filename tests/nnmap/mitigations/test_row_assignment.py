"""Row assignment against the weights that every row would decode to, cell by cell."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netlists import FaultKind, FaultMap, FaultRates, InputError, sample_faults
from nnmap import Chip, MappingPlan, MeasuredChip, map_network
from nnmap.mapping.encode import Readout
from nnmap.mapping.programme import Programme
from nnmap.mitigations import Knowledge, Meter, RowAssignment, truth_of
from nnmap.mitigations.known import known_by
from nnmap.mitigations.row_assignment import row_errors
from tests.nnmap.small import PERFECT, convolutional, dense, inputs, mapped, spec
from tests.tolerances import assert_close

RATES = FaultRates(stuck_lrs=0.15, stuck_hrs=0.06, stuck_at=0.08)
SLICES = {"weight_bits": 6, "device_bits": 2}
HAND = 1e-10


def decoded(programme, tile, g):
    """Weights of one tile, cell by cell, [all inputs, all outputs], between groups too."""
    p, cell = programme.placement, programme.spec.cell
    readout = Readout.of(cell, np.asarray)
    direct = readout.per_ampere(programme.encoding)
    against = readout.per_offset_ampere(programme.encoding) if p.offset else None
    found = np.zeros((p.shape.all_inputs, p.shape.all_outputs))
    total = g if g.ndim == 2 else g.sum(axis=2)
    for r, c in np.ndindex(p.rows, p.cols):
        i, o = p.row_input[tile, r], p.col_output[tile, c]
        if i < 0:
            continue
        volt = -1.0 if p.row_flip[tile, r] else 1.0
        amp = volt * total[r, c] * p.col_share[tile, c]
        if o >= 0:
            found[i, o] += amp * direct[p.col_slot[tile, c]]
        elif p.col_slot[tile, c] == p.slots:
            for other in np.flatnonzero(p.col_output[tile] >= 0):
                weight = against[p.col_slot[tile, other]] * p.col_share[tile, other]
                found[i, p.col_output[tile, other]] += amp * weight
    return found * programme.scale


def error(programme, tile, faults):
    """Squared error of the weights of one tile with these memories stuck."""
    rram = programme.spec.cell.rram
    held = programme.target[tile]
    stuck = faults.applied_to(held, g_lrs=rram.g_lrs, g_hrs=rram.g_hrs)
    difference = decoded(programme, tile, stuck) - decoded(programme, tile, held)
    return float((difference**2).sum())


def maps_of(programme, seed, rates=RATES):
    rng = np.random.default_rng(seed)
    tiles = range(programme.placement.tiles)
    return [sample_faults(programme.spec, rates, rng=rng) for _ in tiles]


def negative_shares(placement):
    share = np.where(np.arange(placement.cols) % 3 == 0, -1.0, 1.0) * placement.col_share
    return replace(placement, col_share=np.where(placement.col_slot < placement.slots, share, 1.0))


def twice(placement):
    """Every output's columns a second time, in the columns to the right, at unequal shares."""
    p, width = placement, placement.cols // 2
    left = {n: getattr(p, n)[:, :width] for n in ("col_output", "col_slot", "col_share")}
    spare = p.cols - 2 * width
    wide = {n: np.concatenate([a, a, a[:, :spare]], axis=1) for n, a in left.items()}
    wide["col_share"] = np.concatenate(
        [0.3 * left["col_share"], 0.7 * left["col_share"], np.ones((p.tiles, spare))], axis=1
    )
    for name in ("col_output", "col_slot"):
        wide[name][:, 2 * width :] = -1
    return replace(p, **wide)


# network, cell, plan, placement
CASES = {
    "pair": (dense, "1R", {}, None),
    "offset": (dense, "1R", {"encoding": "offset"}, None),
    "pair in slices": (dense, "1R", SLICES, None),
    "offset in slices": (dense, "1R", {"encoding": "offset", **SLICES}, None),
    "pair 1T2R": (dense, "1T2R", {}, None),
    "offset 1T2R": (dense, "1T2R", {"encoding": "offset"}, None),
    "slices 1T2R": (dense, "1T2R", {"encoding": "offset", **SLICES}, None),
    "negative shares": (dense, "1R", {}, negative_shares),
    "negative shares, offset": (dense, "1T2R", {"encoding": "offset"}, negative_shares),
    "copies of tiles": (dense, "1R", {}, lambda p: p.replicated(3)),
    "copies of columns": (dense, "1R", {}, twice),
    "groups on one tile": (convolutional, "1R", {"rows": 24, "cols": 16}, None),
    "groups, offset": (convolutional, "1R", {"rows": 24, "cols": 16, "encoding": "offset"}, None),
}


def case(name):
    """One layer of the case, in which every output's weights have a scale of their own."""
    make, cell, plan, change = CASES[name]
    layer = "2" if make is convolutional else "0"
    programme = mapped(make(), cell, wires=PERFECT, adc_bits=None, **plan).programmes[layer]
    scale = programme.scale * np.linspace(0.5, 2.0, len(programme.scale))
    programme = replace(programme, scale=scale)
    if change:
        p = change(programme.placement)
        programme = Programme.of(
            programme.weights, scale, spec=programme.spec, encoding=programme.encoding, placement=p
        )
    return programme


def predicted(programme, tile, faults, order, flip):
    p = programme.placement
    flipped = programme.placed(p.flipped(p.row_input >= 0)) if not change_counts(p) else None
    held = (flipped or flipped_by_hand(programme)).target[tile]
    costs = np.stack(
        [row_errors(programme, tile, t, faults) for t in (programme.target[tile], held)]
    )
    return costs[flip.astype(int), np.arange(p.rows), order].sum()


def change_counts(placement):
    """Whether some weights are left out, as copies of columns leave those that do not fit."""
    return not np.allclose(placement.coverage()[placement.coverage() > 0], 1)


def flipped_by_hand(programme):
    p = programme.placement
    return moved(programme, p.flipped(p.row_input >= 0))


def moved(programme, placement):
    return Programme.of(
        programme.weights,
        programme.scale,
        spec=programme.spec,
        encoding=programme.encoding,
        placement=placement,
    )


@pytest.mark.parametrize("name", CASES)
def test_row_errors_are_those_of_the_decoded_weights(name):
    programme = case(name)
    p, rng = programme.placement, np.random.default_rng(5)
    seen = 0.0
    for tile, faults in enumerate(maps_of(programme, 1)):
        for _ in range(3):
            order = np.tile(np.arange(p.rows), (p.tiles, 1))
            flip = np.zeros((p.tiles, p.rows), dtype=bool)
            order[tile] = rng.permutation(p.rows)
            flip[tile] = (rng.random(p.rows) < 0.5) & (p.row_input[tile] >= 0)
            actual = moved(programme, p.flipped(flip).with_rows(order))
            expected = error(actual, tile, faults)
            found = predicted(programme, tile, faults, order[tile], flip[tile])
            assert_close(found, expected, HAND, scale=expected + 1e-3)
            seen += expected
    assert seen > 0.1


def assign(method, programme, maps, name="0"):
    chip = MeasuredChip(faults={name: maps})
    known = known_by(method.name(), method.needs, Knowledge(map=chip), Meter())
    network = replace_layer(programme, name)
    return method.place(network, known).programmes[name]


def replace_layer(programme, name="0"):
    """A network in which the layer of this name holds the programme."""
    network = mapped(dense(), wires=PERFECT, adc_bits=None)
    return replace(network, programmes={name: programme}, ranges=replace(network.ranges, bits=None))


def total(programme, maps):
    return sum(error(programme, k, faults) for k, faults in enumerate(maps))


METHODS = [
    RowAssignment(),
    RowAssignment(flip=False),
    RowAssignment(permute=False),
]
ASSIGNED = [name for name in CASES if "copies of columns" not in name and "groups" not in name]


@pytest.mark.parametrize("name", ASSIGNED)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_assignment_never_raises_the_error(name, seed):
    programme = case(name)
    maps = maps_of(programme, seed)
    costs = [total(assign(method, programme, maps), maps) for method in METHODS]
    before = total(programme, maps)
    assert all(cost <= before * (1 + 1e-9) + 1e-12 for cost in costs)
    assert costs[0] <= min(costs[1:]) * (1 + 1e-9)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("driven", [3, 4])
def test_it_finds_the_best_of_all(driven, encoding):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(driven, 3)).double()
    rng = np.random.default_rng(2)
    network = mapped_rows(layer, driven, encoding)
    programme = network.programmes["0"]
    p, gained = programme.placement, 0.0
    for _ in range(3):
        faults = sample_faults(programme.spec, RATES, rng=rng)
        best = {method: np.inf for method in METHODS}
        for order in itertools.permutations(range(4)):
            for flip in itertools.product((False, True), repeat=driven):
                flips = np.array([[*flip, *[False] * (4 - driven)]])
                now = programme.placed(p.flipped(flips).with_rows(np.array([order])))
                cost = error(now, 0, faults)
                for method in METHODS:
                    same = order == tuple(range(4))
                    if (method.permute or same) and (method.flip or not any(flip)):
                        best[method] = min(best[method], cost)
        for method in METHODS:
            found = error(assign(method, programme, [faults]), 0, faults)
            assert_close(found, best[method], HAND, scale=best[method] + 1e-3)
        gained += error(programme, 0, faults) - best[METHODS[0]]
    assert gained > 0.1


def mapped_rows(layer, driven, encoding):
    plan = MappingPlan(spec=spec(wires=PERFECT, rows=4, cols=8), encoding=encoding, adc_bits=None)
    sample = torch.randn(8, driven, dtype=torch.float64)
    return map_network(layer, plan, rng=np.random.default_rng(0), sample=sample)


def test_rows_that_are_not_driven_serve_as_spares():
    layer = nn.Sequential(nn.Linear(3, 3)).double()
    programme = mapped_rows(layer, 3, "pair").programmes["0"]
    kind = np.zeros(programme.spec.g_shape, dtype=np.int8)
    kind[1] = FaultKind.STUCK_LRS
    maps = [FaultMap(kind=kind)]
    after = assign(RowAssignment(), programme, maps)
    assert after.placement.row_input[0, 1] == -1
    assert sorted(after.placement.row_input[0]) == [-1, 0, 1, 2]
    assert total(programme, maps) > 0.1 and total(after, maps) == 0
    assert not after.placement.row_flip.any()


def test_without_faults_nothing_moves():
    network = mapped(dense(), adc_range="column")
    clean = [FaultMap(kind=np.zeros((7, 10), dtype=np.int8))] * 4
    known = known_by("x", RowAssignment.needs, Knowledge(map=MeasuredChip(faults={})), Meter())
    assert RowAssignment().place(network, known) is network
    same = assign(RowAssignment(), network.programmes["0"], clean)
    assert same is network.programmes["0"]


def test_what_was_ordered_apart_stays_where_no_memory_is_stuck():
    network = mapped(dense())
    one = network.programmes["0"]
    apart = replace(one, target=0.9 * one.target)
    clean = [FaultMap(kind=np.zeros((7, 10), dtype=np.int8))] * 4
    assert assign(RowAssignment(), apart, clean) is apart


@pytest.mark.parametrize(
    "count, shape, words",
    [
        (3, (7, 10), "3 maps for the 4 tiles"),
        (5, (7, 10), "5 maps for the 4 tiles"),
        (4, (7, 9), "shape"),
        (0, (), "0 maps"),
    ],
)
def test_maps_of_another_chip_are_refused(count, shape, words):
    programme = mapped(dense()).programmes["0"]
    maps = [FaultMap(kind=np.ones(shape, dtype=np.int8))] * count
    with pytest.raises(InputError, match=words):
        assign(RowAssignment(), programme, maps)


def test_rows_are_flipped_once():
    programme = mapped(dense()).programmes["0"]
    maps = maps_of(programme, 0)
    flipped = assign(RowAssignment(permute=False), programme, maps)
    assert flipped.placement.flips
    with pytest.raises(InputError, match="flipped already"):
        assign(RowAssignment(), flipped, maps)
    with pytest.raises(InputError, match="neither permute nor flip"):
        RowAssignment(permute=False, flip=False)


def test_an_ideal_chip_without_faults_computes_the_same_after_it():
    network, x = mapped(dense(), adc_bits=None, dac_bits=None), inputs(dense())
    chip = Chip(rates=RATES, seed=2)
    knowledge = Knowledge(map=truth_of(chip))
    known = known_by("x", RowAssignment.needs, knowledge, Meter())
    after = RowAssignment().place(network, known)
    assert after.programmes["0"].placement.flips
    with torch.no_grad():
        assert_close(after.on()(x), network.on()(x), 1e-12)
        plain = network.on()(x)
        before, then = ((n.on(chip)(x) - plain).abs().mean() for n in (network, after))
    assert then < 0.8 * before
