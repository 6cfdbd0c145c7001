import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError, OneR, OneTransistorOneR, OneTransistorTwoR
from nnmap import ENCODINGS
from nnmap.mapping.encode import encoding, normalise
from tests.tolerances import EXACT, assert_close


def total(g):
    return g if g.ndim == 2 else g.sum(axis=2)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("cell", [OneR(), OneTransistorOneR(), OneTransistorTwoR()])
@given(seed=st.integers(0, 10_000), outputs=st.integers(1, 4))
def test_ideal_currents_decode_to_the_weighted_sums(name, cell, seed, outputs):
    rng = np.random.default_rng(seed)
    chosen = encoding(name)
    w = rng.uniform(-1, 1, (6, outputs))
    g = chosen.program(w, cell, rows=6, cols=9)
    assert g.min() >= cell.rram.g_hrs * (1 - 1e-12) and g.max() <= cell.rram.g_lrs * (1 + 1e-12)
    v = rng.uniform(0, 0.2, (5, 6))
    found = chosen.decode(torch.as_tensor(v @ total(g)), cell, np.asarray).numpy()
    assert_close(found[:, :outputs], v @ w, EXACT, scale=6 * 0.2)


def test_binary_weights_take_the_states_of_table_1():
    cell = OneR()
    on, off = cell.rram.g_lrs, cell.rram.g_hrs
    w = np.array([[1.0], [-1.0]])
    assert_close(encoding("pair").program(w, cell, rows=2, cols=2), [[on, off], [off, on]], EXACT)
    mid = (on + off) / 2
    assert_close(
        encoding("offset").program(w, cell, rows=2, cols=2), [[on, mid], [off, mid]], EXACT
    )


def test_one_stuck_memory_of_1t2r_zeroes_an_offset_weight_and_two_flip_it():
    """bnn-1t2r, Fig. 2(b): the range is {-2, 0, +2} in units of one memory."""
    cell, chosen = OneTransistorTwoR(), encoding("offset")
    g = chosen.program(np.array([[1.0]]), cell, rows=1, cols=2)

    def weight(g):
        return chosen.decode(torch.as_tensor(total(g)), cell, np.asarray).item()

    assert weight(g) == pytest.approx(1.0)
    g[0, 0, 0] = cell.rram.g_hrs
    assert weight(g) == pytest.approx(0.0, abs=1e-12)
    g[0, 0, 1] = cell.rram.g_hrs
    assert weight(g) == pytest.approx(-1.0)


@pytest.mark.ngspice
def test_the_offset_follows_the_transistor():
    """With calibrated cells a zero weight must still read zero: the offset is weighed for it."""
    from circuitsim import calibrate

    cell, chosen = OneTransistorOneR(), encoding("offset")
    model = calibrate(cell, 0.2)
    g = model(chosen.program(np.array([[1.0, -1.0]]), cell, rows=1, cols=3))
    found = chosen.decode(torch.as_tensor(g), cell, model)[0].tolist()
    assert found == pytest.approx([1.0, -1.0])


def test_places_without_a_weight_are_hrs():
    cell = OneR()
    g = encoding("pair").program(np.ones((1, 1)), cell, rows=3, cols=5)
    g[0, :2] = cell.rram.g_hrs
    assert (g == cell.rram.g_hrs).all()


def test_weights_are_scaled_to_one_and_bad_ones_refused():
    w, scale = normalise(torch.tensor([[0.5, -2.0]]))
    assert scale == 2.0 and w.tolist() == [[0.25], [-1.0]]
    with pytest.raises(InputError, match="NaN"):
        normalise(torch.tensor([[float("nan")]]))
    with pytest.raises(InputError, match="encoding='gray'"):
        encoding("gray")
