"""A mapped network -> the same network on a chip whose devices are not perfect."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from netlists.defect_rates import DefectRates
from netlists.faults import FaultRates
from netlists.sampling import sample_defects, sample_faults
from netlists.variation import Variation, vary
from nnmap.convert import mapped_layers, replace_layers
from nnmap.fitting import fit_linear
from nnmap.layers import MappedLayer, ReadNoise


def inject_faults(
    mapped: nn.Module,
    rates: FaultRates,
    *,
    rng: np.random.Generator,
    offset_faults: bool = True,
    defects: DefectRates | None = None,
) -> nn.Module:
    """The same network on a faulty chip: every tile gets its own map, drawn from its own stream.

    defects: rates of what breaks beside the memories, drawn for every tile too; None leaves the
    layers what they had. `offset_faults` spares the memories of an offset column alone.

    Streams depend on `rng`'s seed and on the tile's place alone, so that two networks of one shape
    get the same faults whatever their cells, and maps at rising rates are nested. The layers keep
    their fidelity; operators are extracted anew.
    """
    streams = iter(rng.spawn(_tiles(mapped)))

    def damage(_: str, layer: MappedLayer) -> nn.Module:
        spec = layer.matrix.spec
        maps, broken = [], []
        for _tile in range(layer.matrix.placement.tiles):
            stream = next(streams)
            if defects is not None:
                broken.append(sample_defects(spec, defects, rng=stream))
            faults = sample_faults(spec, rates, rng=stream)
            if layer.matrix.encoding.name == "offset" and not offset_faults:
                kind = faults.kind.copy()
                kind[:, -1] = 0
                faults = replace(faults, kind=kind)
            maps.append(faults)
        matrix = layer.matrix.with_faults(maps)
        if defects is not None:
            matrix = matrix.with_defects(broken)
        return layer.with_matrix(matrix, layer.fidelity)

    return fit_linear(replace_layers(mapped, MappedLayer, damage))


def vary_devices(
    mapped: nn.Module, kinds: Sequence[Variation], *, rng: np.random.Generator
) -> nn.Module:
    """The same network on a chip whose memories vary; faults it has stay as they are.

    One stream a tile, from `rng`'s seed and the tile's place alone: one seed is one chip. The
    layers keep their fidelity; operators are extracted anew.
    """
    streams = iter(rng.spawn(_tiles(mapped)))

    def spread(_: str, layer: MappedLayer) -> nn.Module:
        g = np.stack([vary(tile, kinds, rng=next(streams)) for tile in layer.matrix.g])
        return layer.with_matrix(replace(layer.matrix, g=g), layer.fidelity)

    return fit_linear(replace_layers(mapped, MappedLayer, spread))


def with_read_noise(mapped: nn.Module, sigma: float, *, seed: int) -> nn.Module:
    """The same chip with cycle-to-cycle noise: every read sees every memory at G (1 + sigma n).

    Layers draw from streams of their own, seeded by `seed` and their place, in the order of their
    reads: the same inputs in the same order give the same answers on a fresh copy.
    Raises InputError for a negative sigma.
    """
    places = {name: k for k, (name, _) in enumerate(mapped_layers(mapped))}

    def noisy(name: str, layer: MappedLayer) -> nn.Module:
        stream = int(np.random.SeedSequence(seed, spawn_key=(places[name],)).generate_state(1)[0])
        copied = copy.deepcopy(layer)
        copied.noise = ReadNoise(sigma=sigma, seed=stream)
        return copied

    return replace_layers(mapped, MappedLayer, noisy)


def _tiles(mapped: nn.Module) -> int:
    return sum(layer.matrix.placement.tiles for _, layer in mapped_layers(mapped))
