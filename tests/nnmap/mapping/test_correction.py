"""Digital corrections: what they add, what they cost, and which layers they fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import Shape
from nnmap.mapping.correction import Correction, LowRank, Sparse
from nnmap.measures.cost import workload
from tests.nnmap.making import layer_of, mapped, only, rng
from tests.nnmap.small import convolutional, dense, inputs
from tests.tolerances import EXACT, assert_close


def low_rank(rank=2, n_in=5, n_out=3, at=(1, 2), seed=0):
    random = rng(seed)
    return LowRank(
        inputs=np.arange(at[0], at[0] + n_in),
        outputs=np.arange(at[1], at[1] + n_out),
        down=random.normal(size=(rank, n_in)),
        up=random.normal(size=(n_out, rank)),
    )


def test_branches_add_up_and_are_counted():
    shape = Shape(inputs=7, outputs=6)
    branch = low_rank()
    dense_part = np.zeros((6, 7))
    dense_part[2:5, 1:6] = branch.up @ branch.down
    sparse = Sparse(
        inputs=np.array([0, 0, 6]), outputs=np.array([1, 1, 5]), values=np.array([2.0, 3.0, -1.0])
    )
    expected = dense_part.copy()
    expected[1, 0] += 5.0
    expected[5, 6] -= 1.0
    found = Correction(shape=shape, branches=(branch,)).plus(sparse)
    assert_close(found.matrix, expected, EXACT)
    assert branch.operations == 2 * 2 * (5 + 3) and sparse.operations == 2 * 3
    assert found.operations == branch.operations + sparse.operations
    gain = np.array([[1.0, 2.0, 0.5]])
    assert replace(found, gain=gain).operations == found.operations + 2
    again = Sparse.of(expected)
    assert_close(Correction(shape=shape, branches=(again,)).matrix, expected, EXACT)
    assert len(again.values) == np.count_nonzero(expected)


def test_it_is_a_value():
    one, same, other = low_rank(), low_rank(), low_rank(seed=1)
    shape = Shape(inputs=7, outputs=6)
    corrections = [Correction(shape=shape, branches=(b,)) for b in (one, same, other)]
    assert corrections[0] == corrections[1] != corrections[2]
    assert corrections[0] != replace(corrections[0], gain=np.full((1, 2), 2.0))


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("bits", [None, 4])
def test_a_layer_adds_its_branches_to_what_it_reads(make, bits):
    """Compiled and step by step alike, on the inputs as the converter rounds them."""
    model = make()
    x = inputs(model, 6) - 0.3
    network = mapped(model, x, dac_bits=bits)
    name, programme = next(iter(network.programmes.items()))
    shape = programme.placement.shape
    matrix = rng(3).normal(size=(shape.all_outputs, shape.all_inputs))
    correction = Correction(shape=shape, branches=(Sparse.of(matrix),))
    plain, corrected = (n.on() for n in (network, network.corrected({name: correction})))
    layers = [dict(n.named_modules())[name] for n in (plain, corrected)]
    before, after = (layer(x) for layer in layers)
    rounded = torch.cat(list(layers[0].entering(x)), dim=1)
    added = torch.from_numpy(matrix) @ rounded
    size = after.shape[2:]
    shaped = added.unflatten(1, (len(x), *size)).transpose(0, 1) if len(size) else added.T
    assert_close(after, before + shaped, 1e-10)
    stepwise = layers[1](x.clone().requires_grad_(True))
    assert_close(stepwise.detach(), after, 1e-10)
    exact = torch.cat(list(mapped(model, x).on().get_submodule(name).entering(x)), dim=1)
    assert torch.equal(rounded, exact) == (bits is None)


def test_gains_multiply_the_readings_of_columns():
    model = nn.Sequential(nn.Linear(9, 4, bias=True)).double()
    x = torch.rand(5, 9, dtype=torch.float64)
    network = mapped(model, x)
    programme = only(network.programmes)
    p = programme.placement
    gain = rng(1).uniform(0.5, 1.5, size=(p.tiles, p.cols))
    correction = Correction(shape=p.shape, gain=gain)
    found = network.corrected({"0": correction}).on()(x)
    g = programme.target.copy() * gain[:, None, :]
    currents = x.numpy() @ g[0, :9, :8]
    held = programme.spec.cell.rram
    scale = programme.scale / (held.g_lrs - held.g_hrs)
    expected = (currents[:, 0::2] - currents[:, 1::2]) * scale + model[0].bias.detach().numpy()
    assert_close(found.detach(), expected, 1e-10)


def test_what_does_not_fit_is_refused():
    shape = Shape(inputs=7, outputs=6)
    with pytest.raises(InputError, match=r"inputs must lie in 0\.\.6"):
        Correction(shape=shape, branches=(low_rank(at=(4, 0)),))
    with pytest.raises(InputError, match=r"down.shape=\(2, 5\) != \(2, 4\)"):
        replace(low_rank(), inputs=np.arange(4))
    with pytest.raises(InputError, match="entries of different numbers"):
        Sparse(inputs=np.arange(2), outputs=np.arange(3), values=np.zeros(2))
    with pytest.raises(InputError, match="must be finite"):
        Correction(shape=shape, gain=np.array([[np.nan]]))
    model = dense()
    network = mapped(model, inputs(model, 4))
    with pytest.raises(InputError, match="'nowhere' is none of the layers"):
        network.corrected({"nowhere": Correction(shape=shape)})
    name = next(iter(network.programmes))
    with pytest.raises(InputError, match="made for other tiles"):
        network.corrected({name: Correction(shape=shape)}).on()
    own = network.programmes[name].placement.shape
    with pytest.raises(InputError, match="made for other tiles"):
        network.corrected({name: Correction(shape=own, gain=np.ones((1, 1)))}).on()


def test_the_workload_counts_it_per_input_vector():
    model = convolutional()
    x = inputs(model, 2)
    network = mapped(model, x)
    name, programme = next(iter(network.programmes.items()))
    branch = low_rank(rank=1, n_in=2, n_out=2, at=(0, 0))
    correction = Correction(shape=programme.placement.shape, branches=(branch,))
    running = network.corrected({name: correction}).on()
    work = {one.layer: one for one in workload(running, x)}
    vectors = dict(running.named_modules())[name].vectors_of(x[:1])
    assert vectors > 1
    assert work.pop(name).correction_operations == 2 * 4 * vectors
    assert all(one.correction_operations == 0 for one in work.values())


def test_a_training_layer_reads_with_its_correction():
    model = nn.Sequential(nn.Linear(9, 4)).double()
    x = torch.rand(5, 9, dtype=torch.float64)
    network = mapped(model, x)
    shape = only(network.programmes).placement.shape
    correction = Correction(shape=shape, branches=(low_rank(at=(1, 0)),))
    corrected = network.corrected({"0": correction})
    trainable = corrected.trainable()
    assert_close(trainable(x).detach(), corrected.on()(x), 1e-10)
    assert only(trainable.programmed().peripheries).correction == correction
    assert layer_of(corrected.on()).periphery.correction is correction
