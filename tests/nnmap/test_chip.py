import numpy as np
import pytest
import torch
from torch import nn

from circuitsim import effective_conductance
from netlists import (
    Access,
    DefectRates,
    FaultRates,
    InputError,
    LognormalSpread,
    OneR,
    OneTransistorOneR,
    ResistanceError,
    RetentionDrift,
    TileSpec,
    Wires,
)
from nnmap import (
    Extraction,
    Fidelity,
    MappingPlan,
    at_fidelity,
    inject_faults,
    map_network,
    network_errors,
    vary_devices,
    with_read_noise,
)
from nnmap.fidelity.extraction import nominal_operators
from tests.tolerances import assert_close

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)


def mapped(x, encoding="pair", inputs=30, outputs=8, spec=None):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(inputs, outputs).double())
    spec = spec or TileSpec(rows=16, cols=12, wires=PERFECT, cell=OneR())
    plan = MappingPlan(spec=spec, encoding=encoding, dac_bits=None, adc_bits=None)
    return map_network(layer, plan, rng=rng(), sample=x)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_one_seed_is_one_chip_at_either_fidelity():
    x = torch.rand(5, 30).double()
    kinds = [LognormalSpread(sigma=0.2)]
    chip, again, other = (vary_devices(mapped(x), kinds, rng=rng(s)) for s in (1, 1, 2))
    assert torch.equal(chip(x), again(x)) and not torch.equal(chip(x), other(x))
    assert (chip(x) - mapped(x)(x)).abs().max() > 1e-3
    linear = at_fidelity(chip, Fidelity.LINEAR)
    assert_close(linear(x).numpy(), chip(x).numpy(), 1e-9)


def test_stuck_memories_stay_stuck_when_others_vary():
    x = torch.rand(5, 30).double()
    faulty = inject_faults(mapped(x), FaultRates.from_ocr(1.0, 1.0), rng=rng())
    varied = vary_devices(faulty, [ResistanceError(sigma=0.3)], rng=rng())
    assert torch.equal(faulty(x), varied(x))
    assert faulty[0].matrix.faults == varied[0].matrix.faults


def test_drift_alike_scales_what_a_pair_reads():
    x = torch.rand(5, 30).double()
    chip = mapped(x)
    old = vary_devices(chip, [RetentionDrift(time=1e4, nu=0.02)], rng=rng())
    bias = chip[0].bias
    assert_close((old(x) - bias).numpy(), ((chip(x) - bias) * 1e4**-0.02).numpy(), 1e-12)


@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_read_noise_has_the_deviation_of_independent_memories(encoding):
    x = torch.rand(1, 30).double()
    chip = mapped(x, encoding)
    noisy = with_read_noise(chip, 0.05, seed=3)
    many = noisy(x.expand(20_000, -1))
    assert_close(many.mean(0).numpy(), chip(x)[0].numpy(), 0.01, scale=float(many.std()) * 3)
    draws = torch.stack(
        [vary_devices(chip, [Relative(0.05)], rng=rng(s))(x)[0] for s in range(400)]
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
    noisy, again = (with_read_noise(mapped(x), 0.05, seed=3) for _ in range(2))
    first = noisy(x)
    assert not torch.equal(first, noisy(x)) and torch.equal(first, again(x))
    faulty = inject_faults(noisy, FaultRates(), rng=rng())
    assert faulty[0].noise == noisy[0].noise and not torch.equal(faulty(x), mapped(x)(x))
    with pytest.raises(InputError, match="sigma=-1"):
        with_read_noise(mapped(x), -1.0, seed=0)


@pytest.mark.ngspice
def test_defects_are_drawn_for_every_tile_of_a_chip():
    x = torch.rand(5, 30).double()
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    chip = mapped(x, spec=TileSpec(rows=16, cols=12, wires=wires, cell=OneTransistorOneR()))
    rates = {"transistor_open": 0.1, "transistor_shorted": 0.05, "bridge_row": 0.01}
    lines = {"open_row": 0.02, "open_gate": 0.02, "bridge_col": 0.01}
    everything = DefectRates(**rates, **lines)
    broken, again = (
        inject_faults(chip, FaultRates(), rng=rng(s), defects=everything) for s in (1, 1)
    )
    tiles = [broken[0].matrix.tile(k) for k in range(broken[0].matrix.placement.tiles)]
    assert len({tile.defects.sha256 for tile in tiles}) == len(tiles) > 1
    assert torch.equal(broken(x), again(x)) and not torch.equal(broken(x), chip(x))
    found = np.concatenate([g for _, g in nominal_operators(broken[0].matrix, Extraction())])
    expected = np.stack([effective_conductance(tile) for tile in tiles])
    assert_close(found, expected, 1e-12)
    linear = at_fidelity(broken, Fidelity.LINEAR)
    assert network_errors(linear, x)["0"].max_steps() < 0.5
    for operator, tile in zip(broken[0].matrix.ideal(), tiles, strict=True):
        dead = np.isin(tile.access, (Access.OPEN, Access.OFF))
        assert dead.any() and (operator.T[dead] == 0).all()
        assert np.array_equal(operator.T[~dead], tile.g_device[~dead])
    # Memories are stuck as on a chip without defects, and varying them leaves defects alone.
    stuck = FaultRates.from_ocr(0.1, 1.0)
    with_both = inject_faults(chip, stuck, rng=rng(1), defects=everything)
    alone = inject_faults(chip, stuck, rng=rng(1))
    for one, other in zip(with_both[0].matrix.faults, alone[0].matrix.faults, strict=True):
        assert one.sha256 == other.sha256
    varied = vary_devices(with_both, [LognormalSpread(sigma=0.1)], rng=rng(2))
    assert varied[0].matrix.defects == with_both[0].matrix.defects
    with pytest.raises(InputError, match="2 maps of defects"):
        chip[0].matrix.with_defects([tiles[0].defects] * 2)
    with pytest.raises(InputError, match="no transistor"):
        inject_faults(mapped(x), FaultRates(), rng=rng(), defects=DefectRates(**rates))
