"""The bench runs a chip, counts what is asked of it, and holds one network at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from netlists import InputError
from nnmap import Chip, Fidelity, MappedLayer
from nnmap.mitigations import Bench, Needs, truth_of
from nnmap.mitigations.bench import blind_to_wires, specs_of, with_specs
from tests.nnmap.small import BROKEN, FAULTY, ROUGH, binary, convolutional, dense, inputs, mapped
from tests.tolerances import EXACT, assert_close

DOUBLE = {"dtype": torch.float64}


@pytest.mark.parametrize("fidelity", [Fidelity.IDEAL, Fidelity.LINEAR])
def test_it_answers_as_the_chip_does(fidelity):
    network, x = mapped(dense()), inputs(dense())
    bench = Bench(FAULTY, fidelity, **DOUBLE)
    with bench.run(network) as run:
        found = run(x)
    assert torch.equal(found, network.on(FAULTY, fidelity)(x).detach())
    assert not found.requires_grad


def test_reads_are_tiles_times_vectors_times_signs_times_bits():
    for plan, factor in (({}, 1), ({"inputs": "serial", "dac_bits": 5}, 5)):
        network, x = mapped(dense(), **plan), inputs(dense(), 3)
        assert [p.placement.tiles for p in network.programmes.values()] == [4, 2]
        bench = Bench(FAULTY, Fidelity.IDEAL)
        with bench.run(network) as run:
            run(x)
            assert bench.meter.reads == factor * 3 * (4 + 2) * 2  # both signs in both layers
            run(x.abs())
            assert bench.meter.reads == factor * 3 * ((4 + 2) * 2 + 4 + 2 * 2)
    network, x = mapped(convolutional()), inputs(convolutional(), 3)
    bench = Bench(FAULTY, Fidelity.IDEAL)
    with bench.run(network) as run:
        run(x)
    tiles = [p.placement.tiles for p in network.programmes.values()]
    # 3 x 5 positions of both signs, 2 x 4 after a ReLU, one after tanh of both signs
    assert bench.meter.reads == 3 * (15 * 2 * tiles[0] + 8 * tiles[1] + 2 * tiles[2])


def test_writes_are_memories_whose_order_changed():
    network = mapped(dense())
    one = network.programmes["0"]
    bench = Bench(FAULTY, Fidelity.IDEAL)
    bench.write(network)
    bench.write(network)
    assert bench.meter.writes == 0  # a blank chip is programmed in every deployment
    w = one.weights.copy()
    w[0, 2, 3] *= 0.5
    changed = replace(network, programmes={**network.programmes, "0": one.with_weights(w)})
    bench.write(changed)
    assert bench.meter.writes == 2
    with bench.run(network):
        assert bench.meter.writes == 4
    bench.write(network)
    assert bench.meter.writes == 4


def test_small_changes_add_up_to_a_write():
    network = mapped(dense())
    bench = Bench(FAULTY, Fidelity.IDEAL)
    bench.write(network)
    one, counts = network.programmes["0"], []
    for k in range(1, 5):
        target = one.target.copy()
        target[0, 0, 0] += k * 0.4e-6 * one.spec.cell.rram.g_lrs
        bench.write(replace(network, programmes={"0": replace(one, target=target)}))
        counts.append(bench.meter.writes)
    assert counts == [0, 0, 1, 1]


def test_a_run_lasts_until_the_chip_is_used_otherwise():
    network, x = mapped(dense()), inputs(dense())
    bench = Bench(FAULTY, Fidelity.IDEAL, **DOUBLE)
    with bench.run(network) as run:
        first = run(x)
        with bench.run(network) as inner:
            assert torch.equal(inner(x), first)
            with pytest.raises(InputError, match="no longer holds"):
                run(x)
        with pytest.raises(InputError, match="no longer holds"):
            run(x)
    with bench.run(network) as run:
        one = network.programmes["0"]
        other = one.with_weights(-one.weights)
        bench.write(replace(network, programmes={**network.programmes, "0": other}))
        with pytest.raises(InputError, match="no longer holds"):
            run(x)
    reads = bench.meter.reads
    with pytest.raises(InputError, match="open another"):
        run(x)
    assert bench.meter.reads == reads


def test_digital_layers_know_no_tile():
    network = mapped(binary())
    bench = Bench(FAULTY, Fidelity.IDEAL, **DOUBLE)
    with bench.run(network) as run:
        names = list(run.digital(nn.Module))
        assert names == ["1", "2", "4"]
        assert list(run.digital(nn.BatchNorm1d)) == ["1", "4"]
        for module in run.digital(nn.Module).values():
            assert not any(isinstance(part, MappedLayer) for part in module.modules())
        run.digital(nn.BatchNorm1d)["4"].bias.data.fill_(7.0)
        after = run.network()
    assert (after.skeleton[4].bias == 7).all() and not (network.skeleton[4].bias == 7).any()
    assert after.programmes == network.programmes
    nested = mapped(nn.Sequential(nn.Sequential(*binary()), nn.Sequential(nn.Tanh())).eval())
    with Bench(FAULTY, Fidelity.IDEAL).run(nested) as run:
        assert list(run.digital(nn.Sequential)) == ["1"]


def test_the_chip_keeps_its_wires_whatever_a_method_sees():
    network, x = mapped(dense(), adc_bits=None), inputs(dense())
    blind = blind_to_wires(network)
    for name, programme in blind.programmes.items():
        wires = programme.spec.wires
        every = (wires.r_row_segment, wires.r_col_segment, wires.r_driver, wires.r_sense)
        assert not any(np.any(r) for r in every)
        assert np.array_equal(programme.target, network.programmes[name].target)
    bench = Bench(FAULTY, Fidelity.LINEAR, **DOUBLE)
    bench.write(network)
    with bench.run(blind) as run:
        found = run(x)
    real = network.on(FAULTY, Fidelity.LINEAR)(x).detach()
    assert torch.equal(found, real)
    assert (blind.on(FAULTY, Fidelity.LINEAR)(x) - real).abs().max() > 1e-3
    restored = with_specs(blind, specs_of(network))
    assert torch.equal(restored.on(FAULTY, Fidelity.LINEAR)(x).detach(), real)
    trained = bench.train(blind)
    assert_close(trained.eval()(x).detach(), real, EXACT)


def test_other_tiles_than_the_chip_has_are_refused():
    network, other = mapped(dense()), mapped(dense(), rows=8)
    bench = Bench(FAULTY, Fidelity.IDEAL)
    bench.write(network)
    with pytest.raises(InputError, match="0: the tiles became others"), bench.run(other):
        pass
    renamed = replace(network, programmes={"9": network.programmes["0"]})
    with pytest.raises(InputError, match="9: the tiles became others"):
        with_specs(renamed, specs_of(network))


def test_the_circuit_is_for_those_who_declare_it():
    network = mapped(dense())
    bench = Bench(FAULTY, Fidelity.LINEAR)
    seen = bench.seen_by("Nosy", Needs.MAP | Needs.WIRES)
    with pytest.raises(InputError, match="Nosy asks for CIRCUIT, which it does not declare"):
        seen.train(network)
    assert bench.seen_by("Open", Needs.CIRCUIT).train(network).training
    with seen.run(network) as run:
        run(inputs(dense()))
    assert seen.meter is bench.meter and bench.meter.reads > 0
    bench.write(network)
    assert bench.meter.writes == 0  # both know what is programmed


def test_layers_compute_in_the_precision_of_the_bench():
    network, x = mapped(dense(), adc_bits=None), inputs(dense())
    found = {}
    for dtype in (torch.float32, torch.float64):
        with Bench(FAULTY, Fidelity.LINEAR, dtype=dtype).run(network) as run:
            found[dtype] = run(x)
    assert found[torch.float32].dtype == torch.float64
    error = (found[torch.float32] - found[torch.float64]).abs().max()
    assert 0 < error < 1e-5


def test_the_truth_is_what_the_chip_holds():
    network = mapped(dense())
    chip = replace(FAULTY, defects=BROKEN)
    truth = truth_of(replace(chip, variation=ROUGH.variation, drift=ROUGH.drift, read_noise=0.1))
    for name, programme in network.programmes.items():
        for k in range(programme.placement.tiles):
            one, other = (c.tile(name, programme, k) for c in (chip, truth))
            assert np.array_equal(one.g_device, other.g_device)
            assert one.defects.sha256 == other.defects.sha256
    assert truth.read_noise == 0.0 and truth_of(Chip()) == Chip()
