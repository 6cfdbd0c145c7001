import numpy as np
import pytest
import torch

from circuitsim import effective_conductance
from circuitsim.linear.differentiable import differentiable_conductance
from netlists import InputError, Tile, TileSpec, Wires
from tests.tolerances import EXACT, OPERATOR, assert_close

WIRES = Wires(r_row_segment=2.0, r_col_segment=1.0, r_driver=3.0, r_sense=4.0)


def cells(*shape, seed=0):
    return torch.from_numpy(10 ** np.random.default_rng(seed).uniform(-5, -3, shape))


def test_forward_is_the_operator():
    g = cells(3, 7, 5)
    spec = TileSpec(rows=7, cols=5, wires=WIRES)
    expected = effective_conductance([Tile(spec=spec, g=part.numpy()) for part in g])
    assert_close(differentiable_conductance(g, WIRES).numpy(), expected, EXACT)


def test_gradcheck():
    g = cells(2, 4, 3).requires_grad_()
    # Scaled so that finite differences of micro-siemens are well resolved.
    assert torch.autograd.gradcheck(
        lambda x: 1e3 * differentiable_conductance(x * 1e-3, WIRES),
        (g * 1e3).detach().requires_grad_(),
        eps=1e-6,
        atol=1e-9,
        rtol=1e-6,
    )


def test_gradient_is_minus_the_product_of_the_drops():
    """dG_eff[n, m] / dg[i, j] = -(dl_n)[i, j] (du_m)[i, j], drops from the sparse solver."""
    from circuitsim import solve
    from netlists import Drive

    g = cells(1, 5, 4, seed=3)
    tile = Tile(spec=TileSpec(rows=5, cols=4, wires=WIRES), g=g[0].numpy())
    under_rows = solve(tile, Drive(v=np.eye(5)), solver="nodal")
    du = under_rows.v_row - under_rows.v_col
    turned = Wires(r_row_segment=1.0, r_col_segment=2.0, r_driver=4.0, r_sense=3.0)
    mirrored = Tile(spec=TileSpec(rows=4, cols=5, wires=turned), g=g[0].numpy()[::-1, ::-1].T)
    under_cols = solve(mirrored, Drive(v=np.eye(4)), solver="nodal")
    dl = -(under_cols.v_row - under_cols.v_col)[::-1, ::-1, ::-1].transpose(0, 2, 1)
    n, m = 2, 3
    leaf = g.clone().requires_grad_()
    differentiable_conductance(leaf, WIRES)[0, n, m].backward()
    assert_close(leaf.grad[0].numpy(), -dl[n] * du[m], OPERATOR)


def test_a_column_trains_through_its_wires():
    """Gradient descent finds conductances whose currents through real wires are the wanted ones."""
    wires = Wires(r_row_segment=50.0, r_col_segment=50.0)
    torch.manual_seed(0)
    x = torch.rand(64, 6, dtype=torch.float64)
    target = x @ torch.rand(6, 3, dtype=torch.float64) * 5e-5
    logits = torch.zeros(1, 6, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)

    def loss():
        operator = differentiable_conductance(1e-4 * torch.sigmoid(logits), wires)[0]
        return ((x @ operator.T - target) / 1e-4).square().mean()

    before = loss().item()
    for _ in range(150):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < 1e-3 * before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_gpu_gives_the_same_numbers():
    g = cells(2, 33, 20)
    expected = differentiable_conductance(g, WIRES).numpy()
    assert_close(differentiable_conductance(g.cuda(), WIRES).cpu().numpy(), expected, OPERATOR)


@pytest.mark.parametrize(
    "g, wires, words",
    [
        (torch.ones(2, 2), WIRES, "tiles, rows, cols"),
        (torch.full((1, 2, 2), float("nan")), WIRES, "not finite"),
        (-torch.ones(1, 2, 2), WIRES, "negative"),
        (torch.ones(1, 2, 2), Wires(r_row_segment=0.0, r_col_segment=1.0), "0 ohm"),
        (torch.ones(1, 2, 2), Wires(r_row_segment=np.ones((3, 3)), r_col_segment=1.0), "shape"),
    ],
)
def test_poisoned_input_is_refused_by_name(g, wires, words):
    with pytest.raises(InputError, match=words):
        differentiable_conductance(g, wires)
