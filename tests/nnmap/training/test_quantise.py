import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError, TileSpec, Wires
from nnmap import (
    Dac,
    MappingPlan,
    Recipe,
    accuracy,
    bnn_mlp,
    fit,
    lenet,
    map_network,
    mapped_layers,
    mlp,
    plain,
    quantise_aware,
    resnet20,
)
from nnmap.mapping.encode import normalise
from nnmap.mapping.slicing import Slicing
from nnmap.training.data import load
from nnmap.training.quantise import FixedPoint, InputQuantiser, unquantised
from tests.tolerances import assert_close

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)


def plan(bits, *, rows=64, **options):
    return MappingPlan(
        spec=TileSpec(rows=rows, cols=64, wires=WIRES),
        weight_bits=bits,
        device_bits=min(bits, 4),
        **{"dac_bits": None, "adc_bits": None, **options},
    )


@given(bits=st.integers(2, 24), seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6))
def test_training_rounds_weights_as_the_devices_do(bits, seed, scale):
    weight = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, 5))) * scale
    quantised = FixedPoint(bits)(weight)
    slicing = Slicing(weight_bits=bits, device_bits=1)
    w, largest = normalise(weight)
    expected = slicing.integers(w).T / slicing.largest * largest
    assert_close(quantised.numpy(), expected, 1e-12)
    assert_close(FixedPoint(bits)(quantised).numpy(), expected, 1e-12)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize(
    "make, shape",
    [(lambda: mlp((12, 9, 4)), (12,)), (lambda: resnet20(width=1 / 8), (3, 32, 32))],
)
def test_the_trained_network_is_the_mapped_one(bits, make, shape):
    torch.manual_seed(bits)
    aware, x = quantise_aware(make(), bits).double().eval(), torch.rand(2, *shape).double()
    options = {"rng": np.random.default_rng(0), "sample": x}
    from_aware = map_network(aware, plan(bits), **options)
    from_plain = map_network(plain(aware), plan(bits), **options)
    with torch.no_grad():
        wanted = aware(x).numpy()
        assert_close(plain(aware)(x).numpy(), wanted, 1e-12)
        assert_close(from_aware.on()(x).numpy(), wanted, 1e-9)
        assert_close(from_plain.on()(x).numpy(), wanted, 1e-9)
        if bits == 2:
            assert abs(unquantised(aware)(x).numpy() - wanted).max() > 1e-3


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_training_rounds_inputs_as_the_converter_does(bits):
    torch.manual_seed(bits)
    x = torch.randn(64).double()
    quantiser = InputQuantiser(bits)
    dac = Dac(bits=bits, x_max=float(x.abs().max()), v_read=1.0)
    expected = (dac(x.clamp(min=0)) - dac((-x).clamp(min=0))) * dac.x_max
    assert_close(quantiser(x).numpy(), expected.numpy(), 1e-6)
    quantiser.eval()
    assert float(quantiser(10 * x).abs().max()) == pytest.approx(dac.x_max)


def test_a_network_trained_with_rounded_inputs_equals_its_mapped_self():
    torch.manual_seed(0)
    aware, x = (
        quantise_aware(mlp((12, 9, 4)), 6, input_bits=4).double(),
        torch.rand(32, 12).double(),
    )
    aware(x)  # sets the ranges that the converters get from the same sample
    network = map_network(aware.eval(), plan(6, dac_bits=4), rng=np.random.default_rng(0), sample=x)
    chip = network.on()
    with torch.no_grad():
        wanted = aware(x).numpy()
        assert_close(chip(x).numpy(), wanted, 1e-6)
        assert abs(plain(aware)(x).numpy() - wanted).max() > 1e-3
    for layer, bare in zip(mapped_layers(chip).values(), (aware[0], aware[2]), strict=True):
        assert layer.dac.x_max == pytest.approx(float(bare.input_quantiser.x_max), rel=1e-5)


def test_plain_networks_are_ordinary_and_the_original_stays():
    model = lenet()
    aware = quantise_aware(model, 4, 4)
    back = plain(aware)
    assert back.state_dict().keys() == model.state_dict().keys()
    assert not any(module._forward_pre_hooks for module in back.modules())
    assert all(type(a) is type(b) for a, b in zip(back.modules(), model.modules(), strict=True))
    assert len(model[1].weight.unique()) > 15 >= len(back[1].weight.unique())
    assert torch.equal(unquantised(aware)[1].weight, model[1].weight)
    assert torch.equal(aware[1].weight, back[1].weight)  # still usable


def test_gradients_pass_and_low_bits_learn():
    data = load("digits")
    aware = fit(lambda: quantise_aware(mlp((64, 32, 10)), 3, 4), Recipe(epochs=8), data)
    assert accuracy(aware, data.test_x, data.test_y) > 0.9
    assert accuracy(plain(aware), data.test_x, data.test_y) > 0.9


def test_binary_layers_keep_their_form_and_bad_bits_are_refused():
    aware = quantise_aware(bnn_mlp((8, 4, 2)), 8)
    assert set(aware[0].weight.unique().tolist()) <= {-1.0, 1.0}
    with pytest.raises(InputError, match="already"):
        quantise_aware(quantise_aware(mlp((4, 2))))
    with pytest.raises(InputError, match="weight_bits=1"):
        quantise_aware(mlp((4, 2)), 1)
    with pytest.raises(InputError, match="input_bits=0"):
        quantise_aware(mlp((4, 2)), 8, 0)
