"""What all layers on tiles share: reads of both signs and every bit, flipped rows, counts."""

import pytest
import torch
from torch import nn

from netlists import FaultRates, InputError, LognormalSpread
from nnmap import Chip, Fidelity, MappedLinear
from nnmap.layers.records import ClipCount, ReadNoise
from tests.nnmap.making import (
    ENCODED,
    WIRED,
    half_flipped,
    layer_of,
    mapped,
    placed,
    rows_mixed,
)
from tests.tolerances import EXACT, assert_close


def linear(inputs=20, outputs=5):
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs).double(), torch.randn(6, inputs).double()


def test_voltages_of_all_reads_are_those_of_both_signs_and_every_bit():
    layer, x = linear(20, 3)
    chip = layer_of(mapped(layer, x, rows=12, dac_bits=4, inputs="serial").on())
    v = chip.row_voltages(x)
    assert [volts.shape for volts in v] == [(6 * 2 * 4, 12)] * 2
    assert set(torch.cat(v).unique().tolist()) == {0.0, 0.2}
    assert chip.reads_per_vector(x) == 8 and chip.reads_per_vector(x.abs()) == 4
    codes = torch.round(x / x.abs().max() * 15)
    bits = v[0].reshape(2, 4, 6, 12)  # signs, bits, inputs
    found = torch.einsum("sbnr,b->snr", bits / 0.2, torch.tensor([1.0, 2, 4, 8]).double())
    assert torch.equal(found[0] - found[1], codes[:, :12])


@pytest.mark.parametrize("options", [{}, {"dac_bits": 6}, {"dac_bits": 6, "inputs": "serial"}])
@pytest.mark.parametrize("encoded", ENCODED)
def test_one_read_at_both_signs_gives_what_two_reads_do(encoded, options):
    layer, x = linear()
    two, one = (
        mapped(layer, x, negative=negative, **options, **encoded)
        for negative in ("second read", "negative drive")
    )
    chip = Chip(rates=FaultRates.from_ocr(0.1, 1.0), variation=(LognormalSpread(sigma=0.1),))
    for change in (lambda p: p, half_flipped, lambda p: half_flipped(rows_mixed(p))):
        a, b = placed(two, change), placed(one, change)
        for fidelity in (Fidelity.IDEAL, Fidelity.LINEAR):
            found, expected = (n.on(chip, fidelity)(x) for n in (b, a))
            assert_close(found.numpy(), expected.numpy(), EXACT, scale=float(expected.abs().max()))


def test_reads_are_counted_by_signs_flips_and_bits():
    layer, x = linear()

    def reads(x, change=lambda p: p, **options):
        network = placed(mapped(layer, x, **options), change)
        return layer_of(network.on()).reads_per_vector(x)

    assert reads(x.abs()) == 1 and reads(x) == 2
    assert reads(x.abs(), half_flipped) == reads(x, half_flipped) == 2
    serial = {"dac_bits": 5, "inputs": "serial"}
    assert reads(x.abs(), **serial) == 5 and reads(x, half_flipped, **serial) == 10
    both = {"negative": "negative drive"}
    assert reads(x, **both) == reads(x, half_flipped, **both) == 1


def test_flipped_rows_are_driven_with_the_negative_input():
    layer, x = linear()
    for negative in ("second read", "negative drive"):
        network = placed(mapped(layer, x, negative=negative), half_flipped)
        chip = layer_of(network.on())
        p = chip.programme.placement
        for group, v in zip(p.row_groups, chip.row_voltages(x), strict=True):
            signed = torch.where(torch.from_numpy(group.flip), -1.0, 1.0) * x[:, group.inputs]
            signed = signed / x.abs().max() * 0.2
            found = v[:, group.rows]
            if negative == "second read":
                assert (found >= 0).all() and len(found) == 12
                found = found[:6] - found[6:]
            assert_close(found.numpy(), signed.numpy(), EXACT)


def test_row_groups_that_a_read_does_not_drive_are_not_read():
    layer, x = linear(40)
    network = placed(mapped(layer, x.abs(), dac_bits=8, adc_bits=8), only_first_flipped)
    chip = layer_of(network.on())
    first, *others = chip.row_voltages(x.abs())
    assert (first != 0).any(1).all() and all((v[6:] == 0).all() for v in others)
    assert [len(v) for v in (first, *others)] == [12, 12, 12]
    chip(x.abs())
    columns = [len(g.columns) for g in chip.row_groups]
    assert chip.clips.adc_of == 6 * (2 * columns[0] + columns[1] + columns[2])


def only_first_flipped(p):
    rows = half_flipped(p).row_flip.copy()
    rows[1:] = False
    return p.flipped(rows)


def test_saturation_is_counted_on_both_sides():
    layer, x = linear()
    network = mapped(layer, x, dac_bits=8, adc_bits=8, adc_headroom=0.5)
    chip = layer_of(network.on())
    assert chip.clips == ClipCount()
    chip(x)
    assert chip.clips.dac == 0 < chip.clips.adc < chip.clips.adc_of
    before = chip.clips.adc_of
    chip(2 * x)
    assert chip.clips.adc_of == 2 * before
    assert chip.clips.dac == int((x.abs() > x.abs().max() / 2).sum())
    with chip.unrecorded():
        chip(x)
    assert chip.clips.adc_of == 2 * before


def test_a_layer_may_take_leading_axes_and_batches_beyond_one_chunk(monkeypatch):
    layer, _ = linear()
    x = torch.randn(3, 4, 20).double()
    chip = mapped(layer, x.flatten(0, 1)).on()
    assert isinstance(chip, MappedLinear)
    expected = layer(x).detach().numpy()
    assert_close(chip(x).numpy(), expected, EXACT)
    monkeypatch.setattr("nnmap.layers.layer.CHUNK", 5)
    assert_close(chip(x).numpy(), expected, EXACT)
    assert chip.vectors_of(x) == 12
    with pytest.raises(InputError, match=r"x\.shape=\(20,\) != \(batch, inputs\)"):
        chip(x[0, 0])


def test_peaks_are_the_largest_currents_of_every_read_column():
    layer, x = linear()
    chip = layer_of(mapped(layer, x, wires=WIRED).on(fidelity=Fidelity.LINEAR))
    volts, peaks = chip.row_voltages(x), chip.peak_currents(x)
    for k in range(chip.programme.placement.tiles):
        number = chip.programme.placement.group_of[k]
        assert len(chip.row_groups[number].tiles) == 1
        expected = chip.currents_of(k, volts[number]).abs().amax(0)
        assert_close(peaks[number].numpy(), expected.numpy(), EXACT)


def test_noise_stops_where_it_is_not_recorded_and_bad_noise_is_refused():
    layer, x = linear()
    network = mapped(layer, x)
    chip = layer_of(network.on(Chip(read_noise=0.1)))
    assert chip.noise == ReadNoise(sigma=0.1, seed=Chip().noise_seed(""))
    with chip.unrecorded():
        assert torch.equal(chip(x), network.on()(x))
    first = chip(x)
    chip.noise = chip.noise  # starts its stream anew
    assert torch.equal(chip(x), first) and not torch.equal(chip(x), first)
    with pytest.raises(InputError, match=r"sigma=-1\.0"):
        ReadNoise(sigma=-1.0, seed=0)


def test_a_layer_says_what_it_is_made_of():
    layer, x = linear()
    assert "20x5 on 2 tiles, linear" in repr(mapped(layer, x).on(fidelity=Fidelity.LINEAR))
    grouped = mapped(nn.Conv2d(4, 6, 3, groups=2), torch.rand(1, 4, 5, 5)).on()
    assert "2 groups of 18x3 on 4 tiles, ideal" in repr(grouped)
