"""Batch norms folded into the layers before them."""

import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import bnn_mlp, resnet20
from nnmap.training.batch_norm import fold_batch_norms
from tests.tolerances import assert_close


def warmed(model, *shape):
    torch.manual_seed(0)
    for _ in range(3):
        model(torch.randn(32, *shape))
    return model.eval()


def test_folding_a_copy_leaves_a_binary_network_usable():
    torch.manual_seed(0)
    model, x = bnn_mlp((64, 8, 10)).eval(), torch.rand(4, 64)
    before = model(x)
    fold_batch_norms(model)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize(
    "make, shape, left",
    [
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), (2, 5, 5), 0),
        (lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4)), (6,), 0),
        (lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4)), (6,), 1),  # follows no layer
        (lambda: resnet20(width=0.25), (3, 32, 32), 0),
    ],
)
def test_folded_networks_answer_alike(make, shape, left):
    torch.manual_seed(1)
    model, x = warmed(make(), *shape), torch.randn(4, *shape)
    folded = fold_batch_norms(model)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    assert sum(isinstance(m, norms) for m in folded.modules()) == left
    with torch.no_grad():
        assert_close(folded(x).numpy(), model(x).numpy(), 1e-5)


class Shared(nn.Module):
    """The layer's output goes elsewhere too, so that its batch norm stays."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

    def forward(self, x):
        y = self.layer(x)
        return y + self.norm(y)


class Untraceable(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_batch_norm_beside_the_layers_output_stays_and_what_cannot_be_traced_is_told():
    model, x = warmed(Shared(), 6), torch.randn(4, 6)
    folded = fold_batch_norms(model)
    assert isinstance(folded.norm, nn.BatchNorm1d)
    with torch.no_grad():
        assert_close(folded(x).numpy(), model(x).numpy(), 1e-6)
    with pytest.raises(InputError, match="cannot trace this network"):
        fold_batch_norms(Untraceable())
    bare = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(InputError, match="without running statistics"):
        fold_batch_norms(bare)
