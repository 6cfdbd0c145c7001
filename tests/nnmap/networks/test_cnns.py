import numpy as np
import pytest
import torch
from torch import nn

from netlists import TileSpec, Wires
from nnmap import MappingPlan, map_network, mapping_table
from nnmap.networks import cnns
from tests.tolerances import assert_close

# Parameters at the published size, worked out by hand from the papers' layer sizes.
SIZES = [
    (cnns.lenet_caffe, (1, 28, 28), 431_080),
    (cnns.convnet_quick, (3, 32, 32), 145_578),
    (cnns.vgg13, (3, 32, 32), 9_416_010),
    (cnns.mobilenet_v2, (3, 32, 32), 2_236_682),
    (cnns.bnn_vgg, (3, 32, 32), 14_022_016 + 2 * (2 * (128 + 256 + 512) + 2 * 1024 + 10)),
]


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("make, image, parameters", SIZES)
def test_published_sizes(make, image, parameters):
    assert size(make()) == parameters


def test_alexnet_has_the_weights_it_states():
    with torch.device("meta"):
        assert size(cnns.alexnet()) == 58_322_314
        assert size(cnns.alexnet(classes=1000)) == 62_378_344


@pytest.mark.parametrize("make, image, _", [*SIZES, (cnns.alexnet, (3, 32, 32), 0)])
def test_narrow_networks_map_whole_and_keep_their_answers(make, image, _):
    torch.manual_seed(0)
    model, x = make(width=1 / 16).double(), torch.rand(2, *image).double()
    for _warm_up in range(3):  # statistics in batch norms, so that no binary sum lies on the fence
        model(torch.rand(8, *image).double())
    model.eval()
    plan = MappingPlan(
        spec=TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=1.0, r_col_segment=1.0)),
        dac_bits=None,
        adc_bits=None,
    )
    network = map_network(model, plan, rng=np.random.default_rng(0), sample=x)
    matrices = sum(isinstance(m, nn.Linear | nn.Conv2d) for m in model.modules())
    assert len(network.programmes) == len(mapping_table(network).rows) == matrices
    with torch.no_grad():
        assert_close(network.on()(x).numpy(), model(x).numpy(), 1e-9)


def test_pointwise_layers_of_mobilenet_stay_digital_by_rule():
    model = cnns.mobilenet_v2(width=1 / 16).eval()
    spec = TileSpec(rows=64, cols=64, wires=Wires(r_row_segment=1.0, r_col_segment=1.0))
    plan = MappingPlan(spec=spec, weight_bits=8, digital_1x1=True)
    x = torch.rand(2, 3, 32, 32)
    table = mapping_table(map_network(model, plan, rng=np.random.default_rng(0), sample=x))
    on_tiles = {row.matrix[1] for row in table.rows if row.tiles}
    pointwise = [line for line in str(table).splitlines() if "widen" in line]
    assert 9 in on_tiles and pointwise and all("digital" in line for line in pointwise)


def test_binary_networks_binarise_what_flows_between_layers():
    torch.manual_seed(0)
    model = cnns.bnn_vgg(width=1 / 16)
    x = torch.rand(4, 3, 32, 32)
    model(x)[0].square().sum().backward()
    assert model[0].parametrizations.weight.original.grad.abs().sum() > 0
    seen = []
    model[3].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model.eval()(x)
    assert set(seen[0].unique().tolist()) == {-1.0, 1.0}
