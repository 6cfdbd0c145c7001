"""The one place that knows how the package maps a network and puts it on a chip."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netlists import Level1Nmos, OneR, OneTransistorOneR, OneTransistorTwoR, TileSpec, Wires
from netlists.defects import Bridge, Defects
from netlists.devices import OhmicRram, SinhRram
from netlists.faults import FaultMap
from nnmap import Fidelity, MappedLayer, MappingPlan, at_fidelity, map_network, mapped_layers
from nnmap import mapping_table as table_of
from nnmap.convert import replace_layers
from nnmap.matrix import Matrix
from nnmap.pretrained import images, plan, pretrained
from tests.nnmap.baseline.read import (
    NUMBERS_OF_LAYER,
    Case,
    LayerChip,
    LayerResult,
    Reading,
    Results,
    ruled_kinds,
)

TYPES = {
    kind.__name__: kind
    for kind in (
        Level1Nmos,
        OhmicRram,
        OneR,
        OneTransistorOneR,
        OneTransistorTwoR,
        SinhRram,
        TileSpec,
        Wires,
    )
}


@torch.no_grad()
def run(case: Case) -> Results:
    """Everything that a case records, computed anew from what it stores."""
    mapped = map_case(case)
    chip = on_chip(mapped, case.chip)
    readings = {}
    for fidelity in case.fidelities:
        # Layers count what they clip; every fidelity gets layers that have not run yet.
        network = at_fidelity(chip, Fidelity(fidelity))
        logits = network(case.tensor(case.inputs)).double().numpy()
        layers = dict(mapped_layers(network))
        readings[fidelity] = Reading(
            logits=logits,
            clips={name: vars(layer.clips) for name, layer in layers.items()},
            currents={name: currents(layers[name], v) for name, v in case.probes.items()},
        )
    return Results(layers=described(mapped, chip), readings=readings)


@torch.no_grad()
def run_shipped(name: str, kind: str, fidelity: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float64, and labels of a shipped network, as `read.shipped` says.

    kind: "fault_free" or "faulty".
    """
    data = images(name)
    mapped = map_network(
        pretrained(name), plan(name), rng=np.random.default_rng(0), sample=data.train_x[:256]
    )
    layers = enumerate(mapped_layers(mapped))
    shapes = {layer: (place, module.matrix.g.shape) for place, (layer, module) in layers}
    maps = {
        layer: LayerChip(kind=ruled_kinds(place, tiles, tuple(g_shape)))
        for layer, (place, (tiles, *g_shape)) in shapes.items()
    }
    chip = on_chip(mapped, maps if kind == "faulty" else {})
    logits = at_fidelity(chip, Fidelity(fidelity))(data.test_x[:500])
    return logits.double().numpy(), data.test_y[:500].numpy()


def revive(value: Any) -> Any:
    """Nested keyword values -> an object of the package where they name a type."""
    if isinstance(value, Mapping):
        arguments = {name: revive(part) for name, part in value.items() if name != "type"}
        return TYPES[value["type"]](**arguments)
    return tuple(value) if isinstance(value, list) else value


def plan_of(case: Case) -> MappingPlan:
    """The case's plan."""
    return MappingPlan(**{name: revive(value) for name, value in case.plan.items()})


def map_case(case: Case) -> nn.Module:
    """The network on fault-free tiles; the generator is not used where there is a sample."""
    return map_network(
        case.network(),
        plan_of(case),
        rng=np.random.default_rng(0),
        sample=case.tensor(case.sample),
    )


def on_chip(mapped: nn.Module, chip: Mapping[str, LayerChip]) -> nn.Module:
    """The network at IDEAL, its layers' matrices damaged as the chip says."""

    def damage(name: str, layer: MappedLayer) -> nn.Module:
        matrix: Matrix = layer.matrix
        spec, truth = matrix.spec, chip.get(name, LayerChip())
        tiles = range(matrix.placement.tiles)
        if truth.g is not None:
            matrix = replace(matrix, g=truth.g)
        if truth.kind is not None:
            stuck = truth.g_stuck
            matrix = matrix.with_faults(
                [
                    FaultMap(kind=truth.kind[k], g_stuck=None if stuck is None else stuck[k])
                    for k in tiles
                ]
            )
        if truth.has_defects:
            matrix = matrix.with_defects([_defects(truth, k, spec) for k in tiles])
        return layer.with_matrix(matrix, layer.fidelity)

    return replace_layers(mapped, MappedLayer, damage)


def _defects(truth: LayerChip, tile: int, spec: TileSpec) -> Defects:
    planes = {
        name: None if getattr(truth, name) is None else getattr(truth, name)[tile]
        for name in ("transistor", "open_row", "open_col", "open_gate")
    }
    bridges = tuple(
        Bridge(**{name: value for name, value in bridge.items() if name != "tile"})
        for bridge in truth.bridges
        if bridge["tile"] == tile
    )
    return Defects(rows=spec.rows, cols=spec.cols, bridges=bridges, **planes)


def currents(layer: MappedLayer, v: np.ndarray) -> np.ndarray:
    """Currents of all columns, A [reads, vectors, columns], for v [reads, vectors, rows]."""
    return layer.currents(torch.from_numpy(v.copy())).flatten(2).numpy()


def described(mapped: nn.Module, chip: nn.Module) -> dict[str, LayerResult]:
    """What the mapping made of every layer."""
    rows = {row.layer: row for row in table_of(mapped).rows}
    damaged = dict(mapped_layers(chip))
    found = {}
    for name, layer in mapped_layers(mapped):
        matrix, row = layer.matrix, rows[name]
        p = matrix.placement
        numbers = {**vars(row), **{k: getattr(p, k) for k in ("row_tiles", "col_tiles", "bundles")}}
        found[name] = LayerResult(
            kind=row.kind,
            matrix=row.matrix,
            read_columns=tuple(matrix.columns()),
            scale=matrix.scale,
            x_max=layer.dac.x_max,
            i_max=None if layer.adc.bits is None else _array(layer.adc.i_max),
            g=matrix.g,
            weights=damaged[name].matrix.weights(),
            **{k: numbers[k] for k in NUMBERS_OF_LAYER},
        )
    return found


def _array(value: float | Tensor) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.array(value, dtype=np.float64)
