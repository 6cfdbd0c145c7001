"""Attention whose projections are layers.

torch's MultiheadAttention multiplies by its four matrices itself, in one fused call where it can,
so that no layer of it could go to tiles. Here queries, keys, values and the output each have a
linear layer; the products of activations, queries by keys and weights by values, are plain digital
products.
"""

import torch
from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.skeleton import replace_modules, with_hooks_of


class Attention(nn.Module):
    """What `nn.MultiheadAttention` computes, with its arguments, by four linear layers.

    q_proj, k_proj, v_proj, out_proj: the projections.
    """

    # Both tell torch's encoder layers not to take their fused path around the projections.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, torch_layer: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.dropout = torch_layer.num_heads, torch_layer.dropout
        self.embed_dim, self.batch_first = torch_layer.embed_dim, torch_layer.batch_first
        if torch_layer.in_proj_weight is not None:
            weights = torch_layer.in_proj_weight.chunk(3)
        else:
            named = (f"{name}_proj_weight" for name in "qkv")
            weights = tuple(torch_layer.get_parameter(name) for name in named)
        bias = torch_layer.in_proj_bias
        biases = (None, None, None) if bias is None else bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(w, b) for w, b in zip(weights, biases, strict=True)
        )
        out = torch_layer.out_proj
        self.out_proj = _linear(out.weight, out.bias)
        self.train(torch_layer.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(outputs, attention weights or None), shaped and masked as `nn.MultiheadAttention` does.

        Raises InputError for is_causal without attn_mask, which is then a mere hint.
        """
        if is_causal and attn_mask is None:
            raise InputError("is_causal=True is a hint about attn_mask; give attn_mask too.")
        batched = query.ndim == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )  # [batch, heads, length, width]
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        if attn_mask is not None:
            by_head = attn_mask.ndim == 3
            mask = attn_mask.unflatten(0, (-1, self.num_heads)) if by_head else attn_mask
            scores = scores + _additive(mask, scores)
        if key_padding_mask is not None:
            scores = scores + _additive(key_padding_mask, scores)[:, None, None]
        shares = nn.functional.dropout(scores.softmax(-1), self.dropout, self.training)
        y = self.out_proj((shares @ v).transpose(1, 2).flatten(2))
        weights = (shares.mean(1) if average_attn_weights else shares) if need_weights else None
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as what is added to scores: -inf where a boolean one is true."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))


def separated(model: nn.Module) -> nn.Module:
    """A copy whose `nn.MultiheadAttention` are `Attention`, and that takes no fused path.

    Attention that computes something else (a subclass, extra key and value rows, weights that are
    computed) stays as it is.
    """

    def change(_: str, layer: nn.MultiheadAttention) -> nn.Module:
        return with_hooks_of(Attention(layer), layer) if _plain(layer) else layer

    result = replace_modules(model, nn.MultiheadAttention, change)
    for module in result.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return result


def _plain(layer: nn.MultiheadAttention) -> bool:
    own = type(layer).forward is nn.MultiheadAttention.forward and "forward" not in vars(layer)
    stored = not (hasattr(layer, "parametrizations") or hasattr(layer.out_proj, "parametrizations"))
    return own and stored and layer.bias_k is None and not layer.add_zero_attn
