"""Chips: recipes whose draws depend on the tile's place and on nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from circuitsim import cell_conductance, effective_conductance
from netlists import (
    Access,
    DefectRates,
    Defects,
    FaultKind,
    FaultMap,
    FaultRates,
    InputError,
    LognormalSpread,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    ResistanceError,
    RetentionDrift,
    Wires,
)
from nnmap import (
    HEALTHY,
    Chip,
    Extraction,
    Fidelity,
    LayerOnChip,
    MeasuredChip,
    network_errors,
)
from nnmap.fidelity.extraction import nominal_operators
from tests.nnmap.making import (
    WITH_AND_WITHOUT_TRANSISTOR,
    columns_mixed,
    fault_maps,
    half_flipped,
    layer_of,
    mapped,
    only,
    placed,
    rows_mixed,
)
from tests.tolerances import assert_close

STUCK = FaultRates.from_ocr(0.2, 1.0)


def one_layer(x=None, *, inputs=30, outputs=8, **options):
    """A network of one layer under the name "0"."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs, outputs).double())
    x = torch.rand(5, inputs, dtype=torch.float64) if x is None else x
    return mapped(model, x, **options)


def two_layers(hidden=15, outputs=5, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, hidden), nn.ReLU(), nn.Linear(hidden, outputs)).double()
    return mapped(model, torch.rand(8, 20).double(), **options)


def on_chip(network, chip, name="0"):
    return LayerOnChip(name=name, programme=network.programmes[name], chip=chip)


def tiles_of(network, chip, name="0"):
    layer = on_chip(network, chip, name)
    return [layer.tile(k) for k in range(layer.programme.placement.tiles)]


def kinds(network, chip, name="0"):
    """Fault kinds by tile place."""
    tiles = tiles_of(network, chip, name)
    places = network.programmes[name].placement.places.tolist()
    healthy = np.zeros(network.programmes[name].spec.g_shape, np.int8)
    found = [healthy if tile.faults is None else tile.faults.kind for tile in tiles]
    return {tuple(place): kind for place, kind in zip(places, found, strict=True)}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_equal_recipes_are_equal_chips_at_either_fidelity():
    x = torch.rand(5, 30).double()
    spread = (LognormalSpread(sigma=0.2),)
    network = one_layer(x)
    first, again, other = (Chip(variation=spread, seed=s) for s in (1, 1, 2))
    assert first == again and hash(first) == hash(again) and first != other
    assert torch.equal(network.on(first)(x), network.on(again)(x))
    assert not torch.equal(network.on(first)(x), network.on(other)(x))
    assert (network.on(first)(x) - network.on()(x)).abs().max() > 1e-3
    linear = network.on(first, Fidelity.LINEAR)
    assert_close(linear(x).numpy(), network.on(first)(x).numpy(), 1e-9)


def test_every_tile_has_its_own_faults_and_every_number_its_own_chip():
    network, chip = two_layers(), Chip(rates=STUCK, seed=1)

    def hashes(chip):
        return [faults.sha256 for faults in fault_maps(network, chip)]

    assert hashes(chip) == hashes(Chip(rates=STUCK, seed=1))
    chips = [chip, Chip(rates=STUCK, seed=2), *(replace(chip, number=n) for n in range(1, 6))]
    drawn = [h for one in chips for h in hashes(one)]
    assert len(set(drawn)) == len(drawn) > 4 * len(chips)
    assert len({one.noise_seed("0") for one in chips}) == len(chips)
    assert chip.noise_seed("0") != chip.noise_seed("2")


def test_the_chips_of_two_layers_do_not_repeat_each_other():
    network, chip = two_layers(hidden=20, outputs=20), Chip(rates=STUCK)
    first, second = kinds(network, chip, "0"), kinds(network, chip, "2")
    shared = first.keys() & second.keys()
    assert shared and not any(np.array_equal(first[k], second[k]) for k in shared)


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
def test_more_tiles_in_one_layer_change_no_other_layer(cell):
    defects = None if cell == OneR() else DefectRates(transistor_open=0.1)
    spread = (LognormalSpread(sigma=0.1),)
    chip = Chip(
        rates=STUCK,
        defects=defects,
        variation=spread,
        drift=RetentionDrift(time=9, nu=0.1, sigma=0.1),
    )
    small, large = two_layers(15, cell=cell), two_layers(15, 50, cell=cell)
    assert small.programmes["2"].placement.tiles < large.programmes["2"].placement.tiles
    for a, b in zip(tiles_of(small, chip), tiles_of(large, chip), strict=True):
        assert a.faults.sha256 == b.faults.sha256 and np.array_equal(a.g, b.g)
        assert cell == OneR() or a.defects.sha256 == b.defects.sha256
    # Nor do they change what was drawn for the tiles that the layer had.
    few, many = kinds(small, chip, "2"), kinds(large, chip, "2")
    assert few.keys() < many.keys() and same(few, {k: many[k] for k in few})


@pytest.mark.ngspice
@pytest.mark.parametrize("rates", [STUCK, FaultRates(stuck_lrs=0.1, stuck_hrs=0.1, stuck_at=0.2)])
def test_variants_share_their_faults(rates):
    chip = Chip(rates=rates, seed=3)
    one = kinds(two_layers(cell=OneTransistorOneR()), chip)
    two = kinds(two_layers(cell=OneTransistorTwoR()), chip)
    bare = kinds(two_layers(cell=OneR()), chip)
    assert same(one, {k: v[..., 0] for k, v in two.items()}) and same(one, bare)
    assert not any(np.array_equal(v[..., 0], v[..., 1]) for v in two.values())
    # Pairs take more tiles than an offset does; where both have one, its faults are the same.
    offset = kinds(two_layers(hidden=30, encoding="offset"), chip)
    pairs = kinds(two_layers(hidden=30), chip)
    assert offset.keys() < pairs.keys() and same(offset, {k: pairs[k] for k in offset})


@pytest.mark.ngspice
def test_memories_stuck_between_the_states_are_shared_too():
    chip = Chip(rates=FaultRates(stuck_at=0.3))
    one, two = (two_layers(cell=c) for c in (OneTransistorOneR(), OneTransistorTwoR()))
    for a, b in zip(fault_maps(one, chip), fault_maps(two, chip), strict=True):
        assert np.array_equal(a.g_stuck, b.g_stuck[..., 0], equal_nan=True)


def test_copies_share_the_maps_of_the_first():
    network, chip = two_layers(), Chip(rates=STUCK, variation=(LognormalSpread(sigma=0.1),))
    three = placed(network, lambda p: p.replicated(3))
    one, all_three = kinds(network, chip), kinds(three, chip)
    assert same(one, {k: v for k, v in all_three.items() if k[0] == 0})
    maps = [v.tobytes() for v in all_three.values()]
    assert len(set(maps)) == len(maps) == 3 * len(one)
    for k, tile in enumerate(tiles_of(network, chip)):
        assert np.array_equal(tile.g, tiles_of(three, chip)[k].g)


@settings(max_examples=20)
@given(
    low=st.tuples(*[st.floats(0, 0.3)] * 3),
    more=st.tuples(*[st.floats(0, 0.03)] * 3),
    seed=st.integers(0, 10**6),
)
def test_maps_at_rising_rates_are_nested(low, more, seed):
    network = one_layer()
    names = ("stuck_lrs", "stuck_hrs", "stuck_at")
    rates = [
        FaultRates(**dict(zip(names, values, strict=True)))
        for values in (low, [a + b for a, b in zip(low, more, strict=True)])
    ]
    fewer, rest = (kinds(network, Chip(rates=r, seed=seed)) for r in rates)
    for k, kind in fewer.items():
        assert rest[k].shape == kind.shape == (16, 12)
        of_states = np.isin(kind, (FaultKind.STUCK_LRS, FaultKind.STUCK_HRS))
        assert (rest[k][of_states] == kind[of_states]).all()
        assert (rest[k][kind == FaultKind.STUCK_AT] != FaultKind.NONE).all()


def test_realised_rates_are_those_asked_for():
    network = one_layer(inputs=300, outputs=100)
    found = on_chip(network, Chip(rates=FaultRates(stuck_lrs=0.1, stuck_hrs=0.05))).stuck()
    memories = sum(found.values())
    assert memories == network.programmes["0"].target.size
    assert found[FaultKind.STUCK_LRS] / memories == pytest.approx(0.1, rel=0.1)
    assert found[FaultKind.STUCK_HRS] / memories == pytest.approx(0.05, rel=0.1)
    assert on_chip(network, HEALTHY).stuck() == {
        kind: memories * (kind == FaultKind.NONE) for kind in FaultKind
    }


def test_faults_change_the_answer_and_a_perfect_chip_does_not():
    x = torch.rand(16, 20).double()
    network = two_layers()
    assert torch.equal(network.on(Chip(seed=5, number=3))(x), network.on()(x))
    faulty = network.on(Chip(rates=FaultRates.from_ocr(0.3, 1.0)))
    assert (faulty(x) - network.on()(x)).abs().max() > 0.1


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
def test_faults_and_spreads_stay_where_the_memories_are(cell):
    network = two_layers(cell=cell, encoding="offset")
    chip = Chip(rates=STUCK, variation=(LognormalSpread(sigma=0.1),))
    moved = placed(network, lambda p: half_flipped(columns_mixed(rows_mixed(p))))
    before, after = tiles_of(network, chip), tiles_of(moved, chip)
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        assert old.faults.sha256 == new.faults.sha256
        was, now = (n.programmes["0"].target[k] for n in (network, moved))
        assert not np.array_equal(was, now)
        assert_close(np.asarray(new.g) / now, np.asarray(old.g) / was, 1e-12)


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
@pytest.mark.parametrize(
    "move", [lambda p: p, columns_mixed, lambda p: columns_mixed(p.replicated(2))]
)
def test_screened_offset_columns_have_no_faults_wherever_they_are(move, cell):
    chip = Chip(rates=FaultRates.from_ocr(0.5, 1.0))
    found = {}
    for screened in (True, False):
        network = two_layers(encoding="offset", offset_faults=not screened, cell=cell)
        network = placed(network, move)
        for name, programme in network.programmes.items():
            p = programme.placement
            assert programme.offset_cells.any()
            for k, tile in enumerate(tiles_of(network, chip, name)):
                offset = p.col_slot[k] == p.slots
                assert tile.faults.kind[:, offset].any() != screened
                found.setdefault((name, k), []).append(tile.faults.kind[:, ~offset])
    # What else is stuck does not depend on it.
    assert all(np.array_equal(*pair) for pair in found.values())


def test_stuck_memories_stay_stuck_when_others_vary():
    x = torch.rand(5, 30).double()
    network = one_layer(x)
    rates = FaultRates.from_ocr(1.0, 1.0)
    faulty, varied = Chip(rates=rates), Chip(rates=rates, variation=(ResistanceError(sigma=0.3),))
    assert torch.equal(network.on(faulty)(x), network.on(varied)(x))
    for a, b in zip(fault_maps(network, faulty), fault_maps(network, varied), strict=True):
        assert a.sha256 == b.sha256


def test_drift_alike_scales_what_a_pair_reads():
    x = torch.rand(5, 30).double()
    network = one_layer(x)
    bias = layer_of(network.on()).bias
    old = network.on(Chip(drift=RetentionDrift(time=1e4, nu=0.02)))
    expected = (network.on()(x) - bias) * 1e4**-0.02
    assert_close((old(x) - bias).numpy(), expected.numpy(), 1e-12)


def test_kinds_of_variation_and_drift_draw_apart():
    network = one_layer()
    g = network.programmes["0"].target[0]
    spread, drift = LognormalSpread(sigma=0.2), RetentionDrift(time=100.0, nu=0.05, sigma=0.02)

    def factor(**recipe):
        return np.asarray(tiles_of(network, Chip(**recipe))[0].g) / g

    alone, other = (
        factor(variation=(spread,)),
        factor(variation=(spread, ResistanceError(sigma=0.0))),
    )
    assert_close(other, alone, 1e-12)
    together = factor(variation=(spread,), drift=drift)
    assert_close(together, alone * factor(drift=drift), 1e-12)
    wider = factor(variation=(LognormalSpread(sigma=0.4),))
    assert_close(np.log(wider), 2 * np.log(alone), 1e-9)  # along the same direction
    assert_close(factor(variation=(spread,), rates=STUCK), alone, 0.0)


@pytest.mark.ngspice
def test_variants_share_their_spreads():
    chip = Chip(
        variation=(LognormalSpread(sigma=0.2),), drift=RetentionDrift(time=9, nu=0.1, sigma=0.1)
    )
    one, two = (two_layers(cell=c) for c in (OneTransistorOneR(), OneTransistorTwoR()))
    for a, b, g, h in zip(
        tiles_of(one, chip),
        tiles_of(two, chip),
        one.programmes["0"].target,
        two.programmes["0"].target,
        strict=True,
    ):
        assert_close(np.asarray(a.g) / g, (np.asarray(b.g) / h)[..., 0], 1e-12)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_read_noise_has_the_deviation_of_independent_memories(encoding):
    x = torch.rand(1, 30).double()
    network = one_layer(x, encoding=encoding)
    many = network.on(Chip(read_noise=0.05, seed=3))(x.expand(20_000, -1))
    exact = network.on()(x)[0]
    assert_close(many.mean(0).numpy(), exact.numpy(), 0.01, scale=float(many.std()) * 3)
    draws = torch.stack(
        [network.on(Chip(variation=(Relative(0.05),), number=n))(x)[0] for n in range(400)]
    )
    assert many.std(0).numpy() == pytest.approx(draws.std(0).numpy(), rel=0.2)


class Relative:
    """G (1 + sigma n), as a chip of its own for every read."""

    def __init__(self, sigma):
        self.sigma = sigma

    def apply(self, g, *, rng):
        return g * (1 + self.sigma * rng.standard_normal(g.shape))


def test_noise_differs_between_reads_and_repeats_from_its_seed():
    x = torch.rand(3, 30).double()
    network = one_layer(x)
    noisy, again = (network.on(Chip(read_noise=0.05, seed=3)) for _ in range(2))
    first = noisy(x)
    assert not torch.equal(first, noisy(x)) and torch.equal(first, again(x))
    other = network.on(Chip(read_noise=0.05, seed=3, number=1))
    assert not torch.equal(other(x), first)
    faulty = network.on(Chip(read_noise=0.05, seed=3, rates=STUCK))
    assert layer_of(faulty).noise == layer_of(noisy).noise
    assert not torch.equal(faulty(x), network.on(Chip(rates=STUCK))(x))


@pytest.mark.ngspice
def test_defects_are_drawn_for_every_tile_of_a_chip():
    x = torch.rand(5, 30).double()
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    network = one_layer(x, wires=wires, cell=OneTransistorOneR())
    rates = {"transistor_open": 0.1, "transistor_shorted": 0.05, "bridge_row": 0.01}
    lines = {"open_row": 0.02, "open_gate": 0.02, "bridge_col": 0.01}
    everything = DefectRates(**rates, **lines)
    chip = Chip(defects=everything, seed=1)
    broken, again = network.on(chip), network.on(Chip(defects=everything, seed=1))
    layer, tiles = on_chip(network, chip), tiles_of(network, chip)
    assert len({tile.defects.sha256 for tile in tiles}) == len(tiles) > 1
    assert torch.equal(broken(x), again(x)) and not torch.equal(broken(x), network.on()(x))
    found = np.concatenate([g for _, g in nominal_operators(layer, Extraction())])
    expected = np.stack([effective_conductance(tile) for tile in tiles])
    assert_close(found, expected, 1e-12)
    linear = network.on(chip, Fidelity.LINEAR)
    assert network_errors(linear, x)["0"].max_steps() < 0.5
    for g, tile in zip(layer.shown(), tiles, strict=True):
        dead = np.isin(tile.access, (Access.OPEN, Access.OFF))
        assert dead.any() and (g[dead] == 0).all()
        assert np.array_equal(g[~dead], cell_conductance(tile)[~dead])
    # Memories are stuck as on a chip without defects, and varying them leaves defects alone.
    stuck = FaultRates.from_ocr(0.1, 1.0)
    with_both = Chip(rates=stuck, defects=everything, seed=1)
    alone = Chip(rates=stuck, seed=1)
    varied = replace(with_both, variation=(LognormalSpread(sigma=0.1),))
    for one, other, third, drawn in zip(
        *(tiles_of(network, c) for c in (with_both, alone, varied, chip)), strict=True
    ):
        assert one.faults.sha256 == other.faults.sha256 == third.faults.sha256
        assert one.defects.sha256 == third.defects.sha256 == drawn.defects.sha256
    measured = MeasuredChip(faults={}, defects={"0": [tiles[0].defects] * 2})
    with pytest.raises(InputError, match=r"2 maps for the \d+ tiles of '0'"):
        network.on(measured)
    with pytest.raises(InputError, match="no transistor"):
        one_layer(x).on(Chip(defects=DefectRates(**rates)))


@pytest.mark.parametrize("cell", WITH_AND_WITHOUT_TRANSISTOR)
def test_a_chip_measured_tile_by_tile_is_that_chip(cell):
    x = torch.rand(8, 20).double()
    network = two_layers(cell=cell)
    defects = None if cell == OneR() else DefectRates(transistor_open=0.1)
    recipe = Chip(rates=STUCK, variation=(LognormalSpread(sigma=0.1),), defects=defects, seed=4)
    tiles = {name: tiles_of(network, recipe, name) for name in network.programmes}
    measured = MeasuredChip(
        faults={name: [t.faults for t in found] for name, found in tiles.items()},
        defects={n: [t.defects or Defects.none(16, 12) for t in f] for n, f in tiles.items()}
        if defects
        else None,
        held={name: np.stack([t.g for t in found]) for name, found in tiles.items()},
    )
    assert torch.equal(network.on(measured)(x), network.on(recipe)(x))
    assert torch.equal(network.on(MeasuredChip(faults={}))(x), network.on()(x))
    noisy = MeasuredChip(faults={}, read_noise=0.1, seed=4)
    assert torch.equal(network.on(noisy)(x), network.on(Chip(read_noise=0.1, seed=4))(x))


def test_what_a_measured_chip_lacks_is_told():
    network = one_layer()
    kind = np.zeros((16, 12), np.int8)
    with pytest.raises(InputError, match="3 maps for the 4 tiles of '0'"):
        network.on(MeasuredChip(faults={"0": [FaultMap(kind=kind)] * 3}))
    with pytest.raises(InputError, match="read_noise=-1"):
        MeasuredChip(faults={}, read_noise=-1.0)
    with pytest.raises(InputError, match="tile 4 of '0', which has 4"):
        on_chip(network, HEALTHY).tile(4)
    with pytest.raises(InputError, match="tile -1 of '0'"):
        on_chip(network, HEALTHY).tile(-1)
    assert only(network.programmes).placement.tiles == 4


@pytest.mark.parametrize(
    "values, words",
    [
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"number": -2}, "number=-2 must be a whole number of at least 0"),
        ({"number": 1.5}, r"number=1\.5"),
        ({"seed": True}, "seed=True"),
        ({"seed": "7"}, "seed='7'"),
        ({"read_noise": -1.0}, r"read_noise=-1\.0 must be finite"),
        ({"read_noise": float("nan")}, "read_noise=nan"),
        ({"read_noise": float("inf")}, "read_noise=inf"),
    ],
)
def test_impossible_chips_are_refused(values, words):
    with pytest.raises(InputError, match=words) as caught:
        Chip(**values)
    assert str(caught.value).count("\n") == 0


def test_recipes_are_values():
    recipe = Chip(rates=STUCK, variation=[LognormalSpread(sigma=0.1)], seed=np.int64(3))
    assert recipe == Chip(rates=STUCK, variation=(LognormalSpread(sigma=0.1),), seed=3)
    assert len({recipe, replace(recipe, number=1), replace(recipe, read_noise=0.1)}) == 3
