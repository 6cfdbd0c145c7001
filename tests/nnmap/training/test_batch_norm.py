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
    fold_batch_norms(model, x)
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
    folded = fold_batch_norms(model, x)
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
    folded = fold_batch_norms(model, x)
    assert isinstance(folded.norm, nn.BatchNorm1d)
    with torch.no_grad():
        assert_close(folded(x).numpy(), model(x).numpy(), 1e-6)
    with pytest.raises(InputError, match="cannot trace this network"):
        fold_batch_norms(Untraceable(), x)
    bare = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(InputError, match="without running statistics"):
        fold_batch_norms(bare, torch.rand(4, 3))


class ByTime(nn.Module):
    """A batch norm over the time steps of [batch, time, features]."""

    def __init__(self, steps, features):
        super().__init__()
        self.layer, self.norm = nn.Linear(5, features), nn.BatchNorm1d(steps)

    def forward(self, x):
        return self.norm(self.layer(x))


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(input=self.layer(input=x))


@pytest.mark.parametrize(
    "make, shape, left",
    [
        (lambda: ByTime(4, 4), (4, 5), 1),
        (lambda: ByTime(3, 4), (3, 5), 1),
        (ByKeyword, (5,), 0),
        (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)), (2, 8), 0),
    ],
)
def test_a_batch_norm_folds_where_its_channels_are_the_layers_outputs(make, shape, left):
    model, x = warmed(make(), *shape), torch.randn(6, *shape)
    folded = fold_batch_norms(model, x)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in folded.modules()) == left
    with torch.no_grad():
        assert_close(folded(x).numpy(), model(x).numpy(), 1e-5)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def heard_linear():
    layer = nn.Linear(5, 4)
    layer.register_forward_hook(lambda module, args, y: y + 1)
    return layer


@pytest.mark.parametrize("make", [lambda: Doubled(5, 4), heard_linear])
def test_a_layer_that_answers_otherwise_keeps_its_batch_norm(make):
    model, x = warmed(nn.Sequential(make(), nn.BatchNorm1d(4)), 5), torch.randn(6, 5)
    folded = fold_batch_norms(model, x)
    assert isinstance(folded[1], nn.BatchNorm1d)
    with torch.no_grad():
        assert_close(folded(x).numpy(), model(x).numpy(), 1e-6)
