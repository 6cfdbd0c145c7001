import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError, OneR, OneTransistorOneR, OneTransistorTwoR, TileSpec
from nnmap import ENCODINGS, Programme, Shape, place
from nnmap.mapping.decode import decoders
from nnmap.mapping.encode import encoding, normalise
from tests.nnmap.making import PERFECT
from tests.tolerances import EXACT, assert_close


def total(g):
    return g if g.ndim == 2 else g.sum(axis=2)


def programme(w, cell, name, *, rows, cols, levels="cell"):
    """Weights [inputs, outputs] on one tile."""
    spec, chosen = TileSpec(rows=rows, cols=cols, wires=PERFECT, cell=cell), encoding(name)
    placement = place(Shape(inputs=w.shape[0], outputs=w.shape[1]), spec, chosen)
    order = {"spec": spec, "encoding": chosen, "placement": placement, "levels": levels}
    made = Programme.of(w[None], 1.0, **order)
    assert placement.tiles == 1
    return made


def decode(made, i, g_cell=np.asarray):
    """Currents of all columns [batch, cols] -> weighted sums, volt times weight."""
    (decoder,) = decoders(made, g_cell)
    read = np.flatnonzero(made.placement.col_slot[0] >= 0)
    found = np.zeros((len(i), made.placement.shape.outputs))
    np.add.at(found.T, decoder.output, (i[:, read][:, decoder.column] * decoder.weight).T)
    return found


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("cell", [OneR(), OneTransistorOneR(), OneTransistorTwoR()])
@given(seed=st.integers(0, 10_000), outputs=st.integers(1, 4))
def test_currents_of_memories_decode_to_the_weighted_sums(name, cell, seed, outputs):
    rng = np.random.default_rng(seed)
    w = rng.uniform(-1, 1, (6, outputs))
    made = programme(w, cell, name, rows=6, cols=9, levels="memory")
    g = made.target[0]
    assert g.min() >= cell.rram.g_hrs * (1 - 1e-12) and g.max() <= cell.rram.g_lrs * (1 + 1e-12)
    v = rng.uniform(0, 0.2, (5, 6))
    assert_close(decode(made, v @ total(g)), v @ w, EXACT, scale=6 * 0.2)


def test_binary_weights_take_the_states_of_table_1():
    cell = OneR()
    on, off = cell.rram.g_lrs, cell.rram.g_hrs
    w = np.array([[1.0], [-1.0]])
    assert_close(
        programme(w, cell, "pair", rows=2, cols=2).target[0], [[on, off], [off, on]], EXACT
    )
    mid = (on + off) / 2
    assert_close(
        programme(w, cell, "offset", rows=2, cols=2).target[0], [[on, mid], [off, mid]], EXACT
    )


def test_one_stuck_memory_of_1t2r_zeroes_an_offset_weight_and_two_flip_it():
    """bnn-1t2r, Fig. 2(b): the range is {-2, 0, +2} in units of one memory."""
    cell = OneTransistorTwoR()
    made = programme(np.array([[1.0]]), cell, "offset", rows=1, cols=2, levels="memory")
    g = made.target[0].copy()

    def weight(g):
        return decode(made, total(g)).item()

    assert weight(g) == pytest.approx(1.0)
    g[0, 0, 0] = cell.rram.g_hrs
    assert weight(g) == pytest.approx(0.0, abs=1e-12)
    g[0, 0, 1] = cell.rram.g_hrs
    assert weight(g) == pytest.approx(-1.0)


@pytest.mark.ngspice
def test_the_offset_follows_the_transistor():
    """Levels of memories: the offset is weighed for what the transistor makes of binary cells."""
    from circuitsim import calibrate

    cell = OneTransistorOneR()
    model = calibrate(cell, 0.2)
    made = programme(np.array([[1.0, -1.0]]), cell, "offset", rows=1, cols=3, levels="memory")
    found = decode(made, model(made.target[0]), model)[0].tolist()
    assert found == pytest.approx([1.0, -1.0])


def test_places_without_a_weight_are_hrs():
    cell = OneR()
    g = programme(np.ones((1, 1)), cell, "pair", rows=3, cols=5).target[0].copy()
    assert (g[0, :2] != [cell.rram.g_hrs] * 2).any()
    g[0, :2] = cell.rram.g_hrs
    assert (g == cell.rram.g_hrs).all()


@pytest.mark.parametrize("name", ENCODINGS)
def test_levels_of_a_place_without_a_weight_add_nothing(name):
    chosen = encoding(name)
    levels = chosen.levels(np.array([np.nan, 0.25, -1.0]))
    assert levels.shape == (3, len(chosen.significances)) and np.isfinite(levels).all()
    w = (levels * chosen.significances - chosen.middles).sum(axis=1)
    assert_close(w, [0.0, 0.25, -1.0], EXACT)


def test_weights_are_scaled_to_one_and_bad_ones_refused():
    w, scale = normalise(torch.tensor([[0.5, -2.0]]))
    assert scale == 2.0 and w.tolist() == [[0.25], [-1.0]]
    assert normalise(torch.zeros(2, 2))[1] == 1.0
    with pytest.raises(InputError, match="NaN"):
        normalise(torch.tensor([[float("nan")]]))
    with pytest.raises(InputError, match="encoding='gray'"):
        encoding("gray")
