"""Transformers on tiles: projections and feed-forward layers there, other products digital."""

import pytest
import torch
from torch import nn

from netlists import FaultRates, InputError
from nnmap import (
    Chip,
    Fidelity,
    Recipe,
    accuracy,
    fit,
    mapped_layers,
    mapping_table,
    quantise_aware,
)
from nnmap.training.data import load
from tests.nnmap.making import WIRED, mapped
from tests.tolerances import assert_close


class Vit(nn.Module):
    """A classifier of 8x8 images by four patches of 4x4."""

    def __init__(self, width=16):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.position = nn.Parameter(torch.zeros(1, 4, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x.view(-1, 1, 8, 8)).flatten(2).mT + self.position
        return self.head(self.encoder(x).mean(1))


PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")


def test_a_vision_transformer_trained_on_digits_runs_on_a_chip():
    data = load("digits")
    model = fit(Vit, Recipe(epochs=25, lr=3e-3), data).eval()
    x, y = data.test_x[:200], data.test_y[:200]
    plain = accuracy(model, x, y)
    assert plain > 0.85
    network = mapped(model, data.train_x[:64], rows=64, cols=64, wires=WIRED)
    inside = [f"encoder.layers.{k}.{p}" for k in range(2) for p in (*PARTS, "linear1", "linear2")]
    assert list(network.programmes) == ["patches", *inside, "head"]
    with torch.no_grad():
        assert_close(network.on()(x).numpy(), model(x).numpy(), 1e-4)
        eight = mapped(model, data.train_x[:64], rows=64, cols=64, dac_bits=8, adc_bits=8)
        assert accuracy(eight.on(), x, y) > plain - 0.03
    broken = network.on(Chip(rates=FaultRates.from_ocr(0.3, 1.0), seed=1), Fidelity.LINEAR)
    assert accuracy(broken, x, y) < plain
    rows = {(row.layer, row.kind): row for row in mapping_table(network).rows}
    for k in range(2):
        name = f"encoder.layers.{k}.self_attn"
        products = [r for r in mapping_table(network).rows if (r.layer, r.tiles) == (name, 0)]
        assert [r.matrix for r in products] == [(2, 8, 4), (2, 4, 8)]
        assert rows[name + ".q_proj", "Linear"].tiles > 0
    assert "activations" in str(mapping_table(network))


class Masked(nn.Module):
    """Encoder and decoder, with masks."""

    def __init__(self, norm_first):
        super().__init__()
        self.both = nn.Transformer(
            8, 2, 1, 1, 12, dropout=0.1, batch_first=True, norm_first=norm_first
        )

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=x.dtype)
        ignored = torch.zeros(x.shape[:2], dtype=torch.bool)
        ignored[:, 4] = True
        return self.both(
            x,
            x,
            tgt_mask=mask,
            src_key_padding_mask=ignored,
            memory_key_padding_mask=ignored,
            tgt_is_causal=True,
        )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoders_and_decoders_answer_alike_with_masks(norm_first):
    torch.manual_seed(0)
    model, x = Masked(norm_first).double().eval(), torch.randn(3, 5, 8).double()
    network = mapped(model, x)
    assert len(network.programmes) == 3 * 4 + 2 * 2
    assert len([r for r in mapping_table(network).rows if r.kind == "activations"]) == 6
    with torch.no_grad():
        assert_close(network.on()(x)[:, :4].numpy(), model(x)[:, :4].numpy(), 1e-9)
    assert any(p.requires_grad for p in model.parameters())  # the model is not changed
    assert isinstance(model.both.encoder.layers[0].self_attn, nn.MultiheadAttention)


def test_gradients_run_through_attention_on_tiles():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True).double()
    x = torch.randn(3, 5, 8).double()
    trained = mapped(model, x).trainable()
    trained(x).square().mean().backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in trained.layers().values())
    assert len(trained.layers()) == 6


class Attends(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.attention(x, x, x, need_weights=True)[0])


def test_attention_can_stay_digital_whole_or_in_part():
    model, x = Attends().eval(), torch.rand(2, 5, 6)
    for digital, left in ((("attention",), 1), (("attention.[qk]_proj",), 3), ((), 5)):
        network = mapped(model, x, digital=digital)
        assert len(network.programmes) == left
        assert_close(network.on()(x).detach().numpy(), model(x).detach().numpy(), 1e-5)


class OwnAttention(nn.MultiheadAttention):
    def forward(self, *args, **kwargs):
        y, weights = super().forward(*args, **kwargs)
        return y + 1, weights


def test_attention_that_cannot_be_taken_apart_is_refused_and_may_stay_digital():
    rows, own = Attends(add_bias_kv=True).eval(), Attends().eval()
    own.attention = OwnAttention(6, 2, batch_first=True).eval()
    x = torch.rand(2, 5, 6)
    for model in (rows, own):
        with pytest.raises(InputError, match=r"attention: MultiheadAttention .*'attention',"):
            mapped(model, x)
        network = mapped(model, x, digital=("attention",))
        assert list(network.programmes) == ["head"]
        assert_close(network.on()(x).detach().numpy(), model(x).detach().numpy(), 1e-5)


def test_quantised_attention_is_trained_as_it_is_mapped():
    torch.manual_seed(0)
    aware, x = quantise_aware(Attends(), 4).double().eval(), torch.rand(2, 5, 6).double()
    network = mapped(aware, x, weight_bits=4, device_bits=2)
    assert len(network.programmes) == 5
    assert_close(network.on()(x).numpy(), aware(x).detach().numpy(), 1e-9)
    assert len(aware.attention.q_proj.weight.unique()) <= 15


def test_fused_attention_of_other_modules_is_told_as_digital():
    class Fused(Attends):
        def forward(self, x):
            q = self.head(x).unsqueeze(1)
            return nn.functional.scaled_dot_product_attention(q, q, q).squeeze(1)

    model, x = Fused().eval(), torch.rand(2, 5, 6)
    network = mapped(model, x, digital=("attention",))
    told = [row.matrix for row in mapping_table(network).rows if row.kind == "activations"]
    assert told == [(1, 3, 5), (1, 5, 3)]
    assert list(mapped_layers(network.on())) == ["head"]
