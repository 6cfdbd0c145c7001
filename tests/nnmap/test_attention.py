"""Attention taken apart is torch's own."""

import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap.attention import separated
from tests.tolerances import assert_close


def pair(**options):
    """torch's attention with random weights, and its parts."""
    torch.manual_seed(0)
    one = nn.MultiheadAttention(8, 2, **options).double().eval()
    for parameter in one.parameters():
        nn.init.normal_(parameter)
    return one, separated(nn.Sequential(one))[0]


MASK = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) > 0.8


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 7}, {"bias": False}])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": MASK},
        {"attn_mask": torch.arange(144.0).double().view(6, 4, 6) / 50, "is_causal": True},
        {"key_padding_mask": MASK[:3]},
    ],
)
def test_answers_and_weights_are_those_of_torch(batch_first, options, asked):
    one, parts = pair(batch_first=batch_first, **options)
    q, k, v = (torch.randn(3, n, w).double() for n, w in ((4, 8), (6, one.kdim), (6, one.vdim)))
    if not batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    with torch.no_grad():
        for mine, theirs in zip(parts(q, k, v, **asked), one(q, k, v, **asked), strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert_close(mine.numpy(), theirs.numpy(), 1e-10)


def test_one_sequence_without_a_batch():
    one, parts = pair()
    x = torch.randn(4, 8).double()
    for mine, theirs in zip(parts(x, x, x), one(x, x, x), strict=True):
        assert mine.shape == theirs.shape
        assert_close(mine.detach().numpy(), theirs.detach().numpy(), 1e-10)


def test_a_hint_without_its_mask_is_refused_as_torch_does():
    _, parts = pair()
    x = torch.randn(4, 3, 8).double()
    with pytest.raises(InputError, match="give attn_mask too"):
        parts(x, x, x, is_causal=True)


def test_hooks_of_attention_stay_and_the_original_is_untouched():
    one, _ = pair()
    one.register_forward_hook(lambda module, args, y: (y[0] + 1, y[1]))
    parts, x = separated(one), torch.randn(4, 3, 8).double()
    assert_close(parts(x, x, x)[0].detach().numpy(), one(x, x, x)[0].detach().numpy(), 1e-10)
    assert isinstance(one, nn.MultiheadAttention) and len(list(parts.children())) == 4
