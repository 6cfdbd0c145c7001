"""Plans, networks and placements that the tests of nnmap share."""

from dataclasses import replace

import numpy as np
import pytest

from netlists import OneR, OneTransistorTwoR, TileSpec, Wires
from nnmap import LayerOnChip, MappingPlan, map_network, mapped_layers
from nnmap.mapping.decode import decoded_weights

PERFECT = Wires(r_row_segment=0.0, r_col_segment=0.0)
WIRED = Wires(r_row_segment=1.0, r_col_segment=2.0, r_driver=3.0)
SLICED = {"weight_bits": 8, "device_bits": 4}
WITH_AND_WITHOUT_TRANSISTOR = [
    pytest.param(OneR(), id="1r"),
    pytest.param(OneTransistorTwoR(), id="1t2r", marks=pytest.mark.ngspice),
]
# Both encodings, with a device that holds any value and with two of four bits.
ENCODED = [
    pytest.param({"encoding": encoding, **bits}, id=f"{encoding}{'-sliced' * bool(bits)}")
    for encoding in ("pair", "offset")
    for bits in ({}, SLICED)
]


def rng(seed=0):
    return np.random.default_rng(seed)


def plan(*, rows=16, cols=12, wires=PERFECT, cell=None, **options):
    spec = TileSpec(rows=rows, cols=cols, wires=wires, cell=cell or OneR())
    return MappingPlan(spec=spec, **{"dac_bits": None, "adc_bits": None, **options})


def mapped(model, x, **options):
    return map_network(model, plan(**options), rng=rng(), sample=x)


def only(things):
    """The one programme, periphery or layer there is."""
    (thing,) = things.values()
    return thing


def layer_of(chip):
    """The only layer on tiles of a network on a chip."""
    return only(mapped_layers(chip))


def held_weights(network, chip=None):
    """What the only layer's devices decode to on a chip, [groups, inputs, outputs]."""
    layer = layer_of(network.on(chip)).on_chip
    return decoded_weights(layer.programme, layer.shown())


def fault_maps(network, chip):
    """Fault maps of all tiles, layer by layer."""
    layers = (LayerOnChip(name=n, programme=p, chip=chip) for n, p in network.programmes.items())
    return [la.tile(k).faults for la in layers for k in range(la.programme.placement.tiles)]


def placed(network, change):
    """The network with every layer's placement changed."""
    return network.with_programmes(
        {name: p.placed(change(p.placement)) for name, p in network.programmes.items()}
    )


def orders(tiles, size, seed=0):
    """A permutation per tile, [tiles, size]."""
    return rng(seed).permuted(np.tile(np.arange(size), (tiles, 1)), axis=1)


def rows_mixed(p, seed=0):
    return p.with_rows(orders(p.tiles, p.rows, seed))


def columns_mixed(p, seed=0):
    return p.with_columns(orders(p.tiles, p.cols, seed))


def half_flipped(p, seed=0):
    return p.flipped(rng(seed).random((p.tiles, p.rows)) < 0.5)


def spread_out(p, rows, cols, seed=0):
    """The placement on larger tiles: spare rows and columns lie between those in use."""
    random = rng(seed)
    lines = {}
    for kind, size in (("row", rows), ("col", cols)):
        old = p.rows if kind == "row" else p.cols
        at = np.stack([np.sort(random.permutation(size)[:old]) for _ in range(p.tiles)])
        for name in ("row_input", "row_flip") if kind == "row" else ("col_output", "col_slot"):
            lines[name] = np.full((p.tiles, size), False if name == "row_flip" else -1)
            np.put_along_axis(lines[name], at, getattr(p, name), axis=1)
        if kind == "col":
            lines["col_share"] = np.ones((p.tiles, size))
            np.put_along_axis(lines["col_share"], at, p.col_share, axis=1)
    return replace(p, **lines)


def held_again(p, shares, *, chosen=lambda slot: True):
    """Each chosen column held several times in its tile with these shares, on wider tiles."""
    output, slot, share = ([] for _ in range(3))
    width = p.cols * len(shares)
    for k in range(p.tiles):
        parts = [
            (o, s, c * part)
            for o, s, c in zip(p.col_output[k], p.col_slot[k], p.col_share[k], strict=True)
            for part in (shares if s >= 0 and chosen(int(s)) else (1.0,))
        ]
        parts += [(-1, -1, 1.0)] * (width - len(parts))
        for found, values in zip((output, slot, share), zip(*parts, strict=True), strict=True):
            found.append(values)
    return replace(p, col_output=output, col_slot=slot, col_share=share)
