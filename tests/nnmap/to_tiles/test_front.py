"""What comes in by the front door is right on tiles, or refused by name with a mend that works."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from netlists import InputError
from nnmap import Fidelity, map_network, mapped_layers, mapping_table, mlp, quantise_aware
from tests.nnmap.making import mapped, plan, rng
from tests.tolerances import assert_close


class Net(nn.Module):
    """Two layers, and whatever a test does between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.between(self.fc(x)))

    def between(self, x):
        return x


def agrees(model, x, tolerance=1e-5, **options):
    """The network of the model, which answers as the model does."""
    network = mapped(model, x, **options)
    with torch.no_grad():
        assert_close(network.on()(x).numpy(), model.eval()(x).numpy(), tolerance)
    return network


def refused(model, x, words, **options):
    with pytest.raises(InputError, match=words) as caught:
        mapped(model, x, **options)
    assert "\n" not in str(caught.value)


def double_input(module, args):
    return (2 * args[0],)


def double_by_name(module, args, kwargs):
    return args, {"input": 2 * kwargs["input"]}


def add_one(module, args, output):
    return output + 1


def test_hooks_run_on_every_chip_and_in_training():
    model, x = Net().double(), torch.rand(4, 6).double()
    model.fc.register_forward_pre_hook(double_input)
    model.head.register_forward_hook(add_one)
    network = agrees(model, x, 1e-9)
    for other in (copy.deepcopy(network.on()), network.on(fidelity=Fidelity.LINEAR)):
        assert_close(other(x).numpy(), model(x).detach().numpy(), 1e-9)
    trained = network.trainable()
    assert_close(trained(x).detach().numpy(), model(x).detach().numpy(), 1e-9)
    assert_close(trained.programmed().on()(x).numpy(), model(x).detach().numpy(), 1e-9)
    assert list(mapped_layers(network.on())) == ["fc", "head"]


def test_keyword_calls_and_their_hooks_run():
    class ByName(Net):
        def forward(self, x):
            return self.head(input=self.fc(input=x))

    model, x = ByName(), torch.rand(4, 6)
    model.fc.register_forward_pre_hook(double_by_name, with_kwargs=True)
    agrees(model, x, 1e-2, dac_bits=12, adc_bits=12)


def test_what_hooks_of_layers_see_sets_the_range_of_the_converter():
    model, x = Net(), torch.rand(4, 6)
    model.fc.register_forward_pre_hook(double_input)
    layer = mapped_layers(mapped(model, x, dac_bits=8).on())["fc"]
    assert layer.dac.x_max == pytest.approx(2 * float(x.max()))


def test_a_hook_that_asks_for_weights_is_refused_by_name():
    model = Net()
    model.fc.register_forward_hook(lambda module, args, y: y + module.weight.sum())
    refused(
        model, torch.rand(4, 6), r"^fc lies on tiles and has no weight there.*digital=\('fc',\)"
    )
    agrees(model, torch.rand(4, 6), digital=("fc",))


def test_rounded_inputs_of_training_are_rounded_without_a_converter_too():
    aware, x = quantise_aware(mlp((6, 5, 3)), 6, input_bits=2).double(), torch.rand(9, 6).double()
    aware(x)
    agrees(aware, x, 1e-9, weight_bits=6, device_bits=3)


class OwnForward(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class OwnCall(nn.Linear):
    def __call__(self, x):
        return super().__call__(x) + 1


class OwnConvolution(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight, bias) + 1


def with_instance_forward():
    layer = nn.Linear(6, 5)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight) + 1
    return layer


def with_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(6, 5))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: OwnForward(6, 5), "0: OwnForward with another forward"),
        (lambda: OwnCall(6, 5), "0: OwnCall with another __call__"),
        (lambda: OwnConvolution(6, 5, 1), "0: OwnConvolution with another _conv_forward"),
        (with_instance_forward, "0: Linear with forward of its own"),
        (with_weight_norm, "0: Linear with a weight that a hook.*remove_weight_norm"),
        (lambda: prune.l1_unstructured(nn.Linear(6, 5), "weight", 3), r"prune\.remove"),
        (lambda: nn.LazyLinear(5), "no weight yet"),
    ],
)
def test_layers_that_compute_something_else_are_refused_by_name(make, words):
    model = nn.Sequential(make(), nn.Flatten(), nn.Linear(5, 3))
    x = torch.rand(4, 6, 1, 1) if isinstance(model[0], nn.Conv2d) else torch.rand(4, 6)
    refused(model, x, words + r".* digital=\('0',\)\.$")
    if not isinstance(model[0], nn.LazyLinear):
        agrees(model, x, digital=("0",))


def test_weights_made_permanent_or_parametrised_map():
    x = torch.rand(4, 6)
    pruned = prune.l1_unstructured(nn.Linear(6, 5), "weight", 3)
    agrees(nn.Sequential(prune.remove(pruned, "weight"), nn.Linear(5, 3)), x)
    agrees(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.Linear(5, 3)), x)


class ByBuffer(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mixing", torch.rand(5, 5))

    def between(self, x):
        return nn.functional.linear(x, self.mixing)


class ByList(Net):
    def __init__(self):
        super().__init__()
        self.mats = [torch.rand(5, 4), torch.rand(4, 5)]

    def between(self, x):
        return x @ self.mats[0] @ self.mats[1]


class ByEinsum(Net):
    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.rand(5, 5))

    def between(self, x):
        return torch.einsum("bi,io->bo", x, self.mixing.T.contiguous())


class ByOwn(Net):
    def __init__(self):
        super().__init__()
        self.own = nn.Bilinear(5, 5, 5)

    def between(self, x):
        return self.own(x, x)


class Recurrent(Net):
    def __init__(self):
        super().__init__()
        self.own = nn.LSTM(5, 5)

    def between(self, x):
        return self.own(x)[0]


class Unnamed(Net):
    def between(self, x):
        return x @ torch.ones(5, 5).tril()


@pytest.mark.parametrize(
    "make, names",
    [
        (ByBuffer, ["mixing"]),
        (ByList, ["mats.0", "mats.1"]),
        (ByEinsum, ["mixing"]),
        (ByOwn, ["own"]),
        (Recurrent, ["own"]),
        (Unnamed, ["(root)"]),
    ],
)
def test_matrices_outside_of_layers_are_found_and_named(make, names):
    model, x = make().eval(), torch.rand(4, 6)
    for name in names:
        refused(model, x, rf"{name.strip('()')}\)?: .*digital=\(.*'{name.replace('(', '.')[:4]}")
    network = agrees(model, x, digital=tuple(names))
    assert list(network.programmes) == ["fc", "head"]
    digital = [row.layer for row in mapping_table(network).rows if row.tiles == 0]
    assert {name.replace("(root)", "") for name in names} == set(digital)


def test_quantised_layers_are_found_and_named():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    packed = torch.ao.quantization.quantize_dynamic(model, {"0"})
    refused(packed, torch.rand(4, 6), r"0: Linear; .*digital=\('0',\)")
    network = agrees(packed, torch.rand(4, 6), digital=("0",))
    assert list(network.programmes) == ["2"]
    assert mapping_table(network).rows[-1].matrix == (1, 6, 5)
    whole = torch.ao.quantization.quantize_dynamic(model)
    refused(whole, torch.rand(4, 6), "0: Linear, 2: Linear")


class Tied(nn.Module):
    """An autoencoder whose decoder uses the encoder's weight."""

    def __init__(self):
        super().__init__()
        self.enc, self.out = nn.Linear(6, 4), nn.Linear(6, 6)

    def forward(self, x):
        return self.out(nn.functional.linear(self.enc(x), self.enc.weight.t()))


class Borrowed(Net):
    def forward(self, x):
        return self.head(nn.functional.linear(x, self.fc.weight))


@pytest.mark.parametrize("make, name", [(Tied, "enc"), (Borrowed, "fc")])
def test_weights_used_outside_of_their_layer_are_refused_and_may_stay_digital(make, name):
    model, x = make(), torch.rand(4, 6)
    refused(model, x, rf"^{name} lies on tiles and has no weight there.*digital=\('{name}',\)\.$")
    network = agrees(model, x, digital=(name,))
    assert name in [row.layer.split(".")[0] for row in mapping_table(network).rows]


def test_layers_that_share_a_parameter_map_each_for_itself():
    class Shared(Net):
        def __init__(self):
            super().__init__()
            self.fc, self.again = nn.Linear(6, 6), nn.Linear(6, 6)
            self.again.weight, self.head = self.fc.weight, nn.Linear(6, 3)

        def between(self, x):
            return self.again(x)

    assert list(agrees(Shared(), torch.rand(4, 6)).programmes) == ["fc", "head", "again"]


class Positioned(nn.Module):
    """A block with a position for every input and norms over both axes."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm((5, 6)))
        self.encoder.position = nn.Parameter(torch.rand(1, 5, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.encoder(x + self.encoder.position))


def test_positions_and_norms_are_no_matrices():
    network = agrees(Positioned(), torch.rand(4, 5, 6))
    assert list(network.programmes) == ["encoder.0", "head"]
    assert len(mapping_table(network).rows) == 2


def test_the_root_is_named_as_patterns_take_it():
    model, x = nn.Linear(6, 5), torch.rand(4, 6)
    refused(model, x, r"no nn\.Linear.* among \(root\)", digital=("(root)",))
    network = agrees(model, x, layers=("(root)",))
    on = network.on(fidelity={"(root)": Fidelity.LINEAR})
    assert on.fidelity is Fidelity.LINEAR
    with pytest.raises(InputError, match=r"none of the layers \(root\)\.$"):
        network.on(fidelity={"root": Fidelity.LINEAR})


@pytest.mark.parametrize("make", [lambda: nn.Linear(6, 5), lambda: nn.Conv1d(2, 3, 2)])
def test_whole_numbers_are_refused_with_the_conversion(make):
    model = make()
    x = torch.rand(4, 6) if isinstance(model, nn.Linear) else torch.rand(4, 2, 6)
    chip = mapped(model, x).on()
    for run in (chip, lambda pixels: mapped(model, pixels)):
        with pytest.raises(
            InputError, match=r"^\(root\): x\.dtype=torch\.uint8 .*x\.float\(\) / 255"
        ):
            run((x * 255).to(torch.uint8))


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.Linear(6, 5), (3, 6)),
        (lambda: nn.Conv1d(2, 3, 2), (2, 6)),
        (lambda: nn.Conv2d(2, 3, 2), (2, 6, 5)),
    ],
)
@pytest.mark.parametrize("fidelity", [Fidelity.IDEAL, Fidelity.NONLINEAR])
def test_an_empty_batch_gives_an_empty_answer(make, shape, fidelity):
    model = make()
    chip = mapped(model, torch.rand(4, *shape)).on(fidelity=fidelity)
    empty = torch.empty(0, *shape)
    assert chip(empty).shape == model(empty).shape
    refused(model, empty, "holds no inputs")


def test_a_layer_that_sees_only_zeros_has_no_range():
    class Dark(Net):
        def between(self, x):
            return 0 * x

    x = torch.rand(4, 6)
    refused(Dark(), x, r"nothing but zeros reaches head .* digital=\('head',\)\.$", dac_bits=8)
    agrees(Dark(), x, 0.1, dac_bits=8, digital=("head",))
    agrees(Dark(), x)  # without a converter there is no range to know


def test_an_embedding_of_what_enters_is_refused_and_one_of_positions_is_not():
    class Words(Net):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(9, 6), nn.Embedding(4, 6)

        def forward(self, x):
            return super().forward(self.words(x) + self.places(torch.arange(x.shape[1])))

    x = torch.randint(9, (3, 4))
    refused(Words(), x, r"layers have matrices but no mapping: words: Embedding; ")
    network = mapped(Words(), x, digital=("words",))
    assert list(network.programmes) == ["fc", "head"]
    assert network.on()(x).shape == (3, 4, 3)


def test_a_state_dict_is_refused_before_any_of_it_is_loaded():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 5)).eval()
    chip, other = mapped(model, torch.rand(4, 6)).on(), copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.fill_(7.0)
    elsewhere = mapped(other, torch.rand(4, 6)).on().state_dict()
    for state in (elsewhere, chip[1].state_dict(prefix="0.")):
        with pytest.raises(InputError, match="load_state_dict does not reach the weights of 1, "):
            chip.load_state_dict(state)
    for module in (chip, copy.deepcopy(chip)):
        module.load_state_dict(chip.state_dict())
        for strict in (True, False):
            with pytest.raises(InputError, match="load the state into the torch model and map it"):
                module.load_state_dict(other.state_dict(), strict=strict)
        assert (module[0].weight == 1).all()
    with pytest.raises(InputError, match="load_state_dict"):
        chip[1].load_state_dict({})
    trained = mapped(model, torch.rand(4, 6)).trainable()
    state = {k: v + 1 for k, v in trained.state_dict().items()}
    trained.load_state_dict(state)
    assert torch.equal(trained.state_dict()["model.1.weight"], state["model.1.weight"])


def test_networks_that_do_not_run_or_are_no_python_are_told():
    model, x = Net(), torch.rand(4, 6)
    refused(model, torch.rand(4, 7), r"does not run on inputs of shape \(4, 7\).*RuntimeError")
    with pytest.raises(InputError, match="give sample=inputs"):
        map_network(nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 2)), plan(), rng=rng())
    scripted = torch.jit.trace(nn.Linear(6, 5), x)
    refused(nn.Sequential(scripted, nn.Linear(5, 3)), x, "^0 is TorchScript")
    agrees(torch.compile(model, backend="eager"), x)


def test_a_layer_in_the_dark_has_no_adc_range_either():
    class Dark(Net):
        def between(self, x):
            return 0 * x

    model, x = Dark(), torch.rand(4, 6)
    refused(model, x, "zeros reaches head on the sample, so that the ADC has no", adc_bits=8)
    agrees(model, x, 0.02, adc_bits=12, adc_range="full")


@pytest.mark.parametrize("converters", [{}, {"dac_bits": 8, "adc_bits": 8}])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_sample_that_is_not_finite_is_refused(bad, converters):
    x = torch.rand(130, 6)
    x[128, 2] = bad
    refused(Net(), x, f"brings {abs(bad)} to fc,", **converters)


def test_a_network_that_makes_its_sample_infinite_is_refused_by_layer():
    class Divided(Net):
        def between(self, x):
            return x / 0

    refused(Divided(), torch.rand(4, 6), "brings (inf|nan) to head,")


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("odd", [nn.Linear(5, 0), nn.Linear(0, 3)])
def test_a_layer_of_no_weights_is_refused_and_may_stay_digital(odd):
    class Halved(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.odd = nn.Linear(6, 5), odd

        def forward(self, x):
            h = self.fc(x)
            return h + self.odd(h[:, : self.odd.in_features]).sum()

    x = torch.rand(4, 6)
    refused(Halved(), x, r"odd: Linear with a weight of shape .*digital=\('odd',\)")
    agrees(Halved(), x, digital=("odd",))


def test_batch_norms_do_not_fold_over_nothing():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    refused(model, torch.empty(0, 6), "holds no inputs", fold_batch_norm=True)
