"""Levels of cells: what their memories are to hold, and what circuits then make of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from circuitsim import calibrate, cell_conductance, measure_states
from netlists import (
    Bsim4Nmos,
    DefectRates,
    FaultRates,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    SubcktCell,
    Tile,
    TileSpec,
    Wires,
    YakopcicRram,
)
from netlists.devices import SinhRram
from nnmap import Chip, Fidelity, LayerOnChip, MappingPlan, faults_as_weights, map_network
from nnmap.mapping.levels import cell_levels
from tests.nnmap.making import PERFECT, held_weights, only, plan, rng
from tests.tolerances import EXACT, assert_close

KIT = Path(__file__).parents[3] / "examples" / "kit" / "kit.lib"
NEXT_TO_NOTHING = Wires(r_row_segment=1e-3, r_col_segment=1e-3)  # ohm
LEVEL_1, BSIM4 = OneTransistorOneR(), OneTransistorOneR(nmos=Bsim4Nmos())
HARD = OneTransistorOneR(nmos=Bsim4Nmos(), rram=OhmicRram(r_lrs=1e3, r_hrs=1e5))
YAKOPCIC = OneTransistorOneR(rram=YakopcicRram())
BITS = [{}, *({"weight_bits": b, "device_bits": d} for b, d in ((8, 4), (8, 8), (4, 2)))]


def kit():
    return measure_states(
        SubcktCell(
            path=KIT,
            section="tt",
            name="cell1t1r",
            ports={"drive": "bl", "sense": "sl", "gate": "wl"},
            states={"lrs": {"gap": 0.9}, "hrs": {"gap": 2.0}},
        )
    )


CELLS = {
    "1r-sinh": lambda: OneR(rram=SinhRram()),
    "1r-yakopcic": lambda: OneR(rram=YakopcicRram()),
    "1t1r-level1": lambda: LEVEL_1,
    "1t1r-bsim4": lambda: BSIM4,
    "1t1r-bsim4-1kohm": lambda: HARD,
    "1t1r-yakopcic": lambda: YAKOPCIC,
    "1t2r": OneTransistorTwoR,
    "subcircuit": kit,
}


def spec_of(cell, wires=PERFECT):
    return TileSpec(rows=24, cols=18, wires=wires, cell=cell)


def linear_layer(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(30, 7).double()


def on_tiles(layer, x, cell, wires=NEXT_TO_NOTHING, **options):
    chosen = MappingPlan(spec=spec_of(cell, wires), dac_bits=None, adc_bits=None, **options)
    return map_network(layer, chosen, rng=rng(), sample=x)


@torch.no_grad()
def beyond_ideal(network, layer, x, chip=None):
    """How far LINEAR is from IDEAL, root mean square, of that of the outputs."""
    ideal, linear = (network.on(chip, f)(x) - layer.bias for f in (Fidelity.IDEAL, Fidelity.LINEAR))
    return float((linear - ideal).square().mean().sqrt() / ideal.square().mean().sqrt())


@pytest.mark.ngspice
@pytest.mark.parametrize("bits", BITS, ids=["analog", "8/4", "8/8", "4/2"])
@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("cell", CELLS)
def test_wires_of_next_to_nothing_add_next_to_nothing(cell, encoding, bits):
    """Inputs at the read voltage or none, where nothing bends, and any input at secants."""
    layer = linear_layer()
    full, graded = (torch.rand(64, 30) < 0.5).double(), torch.rand(64, 30).double()
    chip = Chip(rates=FaultRates(stuck_lrs=0.05, stuck_hrs=0.05), seed=3)
    for x, fitted in ((full, 8), (graded, 0)):
        network = on_tiles(layer, x, CELLS[cell](), encoding=encoding, fit_inputs=fitted, **bits)
        assert beyond_ideal(network, layer, x) < 1e-3
        assert beyond_ideal(network, layer, x, chip) < 1e-3


@pytest.mark.ngspice
def test_levels_of_memories_are_bent_by_the_transistor():
    """The papers' way, which ten times the tolerance above must not hide."""
    layer, x = linear_layer(), (torch.rand(64, 30) < 0.5).double()
    bits = {"weight_bits": 8, "device_bits": 4}
    assert beyond_ideal(on_tiles(layer, x, BSIM4, levels="memory", **bits), layer, x) > 0.02
    offset = on_tiles(layer, x, BSIM4, levels="memory", encoding="offset", **bits)
    assert beyond_ideal(offset, layer, x) > 0.1


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", CELLS)
def test_cells_show_evenly_spaced_levels(cell):
    cell = CELLS[cell]()
    levels = cell_levels(spec_of(cell), "cell")
    level = np.linspace(0, 1, 18)
    memory = levels.memory(level)
    assert (memory[0], memory[-1]) == (cell.rram.g_hrs, cell.rram.g_lrs)
    assert (np.diff(memory) > 0).all()
    spec = spec_of(cell)
    g = np.broadcast_to(memory[:, None], (18, cell.n_rram)).reshape(1, *spec.g_shape[1:])
    shown = cell_conductance(Tile(spec=spec, g=np.repeat(g, 24, axis=0)))[0]
    assert_close(shown, levels.off + level * (levels.on - levels.off), 1e-12)


@pytest.mark.ngspice
def test_an_offset_cell_shows_half_of_the_range_and_two_memories_their_two_states():
    levels = cell_levels(spec_of(HARD), "cell")
    middle = levels.shown(levels.offset_memories())
    assert_close(middle, [(levels.on + levels.off) / 2], 1e-12)
    assert levels.offset_memories()[0] < 0.4 * HARD.rram.g_lrs  # not half of the memory's range
    two = OneTransistorTwoR()
    assert cell_levels(spec_of(two), "cell").offset_memories().tolist() == [
        two.rram.g_lrs,
        two.rram.g_hrs,
    ]


@given(level=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_levels_of_ohmic_memories_are_the_same_to_the_last_bit(level):
    spec, level = spec_of(OneR()), np.array(level)
    cell, memory = (cell_levels(spec, levels) for levels in ("cell", "memory"))
    assert np.array_equal(cell.memory(level), memory.memory(level))
    g = cell.memory(level)
    assert np.array_equal(cell.shown(g), g) and np.array_equal(cell.shown.inverse(g), g)


@torch.no_grad()
@pytest.mark.parametrize("encoding", ["pair", "offset"])
def test_ohmic_layers_read_the_same_to_the_last_bit(encoding):
    layer, x = linear_layer(), torch.rand(5, 30).double()
    wires = Wires(r_row_segment=1.0, r_col_segment=2.0)
    chip = Chip(rates=FaultRates(stuck_lrs=0.05, stuck_hrs=0.05), seed=3)
    cell, memory = (
        on_tiles(layer, x, OneR(), wires, encoding=encoding, levels=levels)
        for levels in ("cell", "memory")
    )
    for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR):
        assert torch.equal(cell.on(chip, fidelity)(x), memory.on(chip, fidelity)(x))


@pytest.mark.ngspice
@given(place=st.floats(0, 1))
def test_the_inverse_of_a_calibrated_cell_inverts_it(place):
    for cell in (LEVEL_1, HARD, YAKOPCIC):
        model = calibrate(cell, 0.2)
        low, high = np.log(model.g_memory[0]), np.log(model.g_memory[-1])
        g = np.exp(low + place * (high - low)).clip(model.g_memory[0], model.g_memory[-1])
        found = model.inverse(model(g))
        assert_close(model(found), model(g), 1e-14)
        assert found == pytest.approx(g, rel=1e-10)
        step = 1e-5 * g if g < model.g_memory[-1] / 1.01 else -1e-5 * g
        slope = (model(g + step) - model(g)) / step
        assert model.slope(g) == pytest.approx(slope, rel=1e-3)
    assert calibrate(LEVEL_1, 0.2).inverse([0.0]).tolist() == [0.0]


@pytest.mark.ngspice
def test_what_a_cell_cannot_show_is_refused_with_what_it_can():
    model = calibrate(HARD, 0.2)
    low, high = (f"{model(model.g_memory[k]):.6g}" for k in (0, -1))
    with pytest.raises(InputError, match=rf"0\.01 S is out of reach.* {low} to {high} S at 0\.2 V"):
        model.inverse([1e-5, 1e-2])
    with pytest.raises(InputError, match="out of reach"):
        model.inverse([np.nan])


@pytest.mark.ngspice
@pytest.mark.parametrize("encoding", ["pair", "offset"])
@pytest.mark.parametrize("cell", ["1t1r-bsim4-1kohm", "1t2r", "1r-sinh"])
def test_weights_are_decoded_from_what_cells_show(cell, encoding):
    layer, x = linear_layer(), torch.rand(5, 30).double()
    network = on_tiles(layer, x, CELLS[cell](), encoding=encoding)
    weight = layer.weight.detach().numpy().T[None]
    assert_close(held_weights(network), weight, EXACT)
    chip = Chip(
        rates=FaultRates(stuck_lrs=0.05, stuck_hrs=0.05),
        defects=None if cell == "1r-sinh" else DefectRates(transistor_shorted=0.02),
        seed=3,
    )
    with torch.no_grad():
        expected = network.on(chip)(x)
        assert_close(faults_as_weights(network, chip)(x).numpy(), expected.numpy(), 1e-11)
    assert np.abs(held_weights(network, chip) - weight).max() > 0.05


@pytest.mark.ngspice
def test_shorted_transistors_leave_the_memory_at_ideal():
    layer, x = linear_layer(), torch.rand(5, 30).double()
    network = on_tiles(layer, x, HARD)
    chip = Chip(defects=DefectRates(transistor_shorted=0.3), seed=1)
    programme = only(network.programmes)
    held = LayerOnChip(name="", programme=programme, chip=chip)
    shown, whole = held.shown(), LayerOnChip(name="", programme=programme, chip=Chip()).shown()
    assert (shown >= whole * (1 - 1e-9)).all()
    assert 0.2 < (shown > 1.001 * whole).mean() < 0.4


@pytest.mark.ngspice
@pytest.mark.parametrize("fidelity", [Fidelity.IDEAL, Fidelity.LINEAR])
@pytest.mark.parametrize("cell", ["1t1r-bsim4-1kohm", "1t2r"])
def test_gradients_follow_levels_of_cells(cell, fidelity):
    """On perfect wires a fault-free layer is the layer, and so is its gradient."""
    layer, x = linear_layer(), (torch.rand(5, 30) < 0.5).double()
    network = on_tiles(layer, x, CELLS[cell](), NEXT_TO_NOTHING, fit_inputs=0)
    trained = network.trainable(fidelity=fidelity)
    trained(x).square().sum().backward()
    layer(x).square().sum().backward()
    (one,) = trained.layers().values()
    assert_close(one.weight.grad.numpy(), layer.weight.grad.numpy(), 1e-3)


def test_an_unknown_spacing_is_refused():
    with pytest.raises(InputError, match="levels='volts' is not one of cell, memory"):
        plan(levels="volts")
