"""The one place that knows how the package maps a network and puts it on a chip."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from netlists import Level1Nmos, OneR, OneTransistorOneR, OneTransistorTwoR, TileSpec, Wires
from netlists.defects import Bridge, Defects
from netlists.devices import OhmicRram, SinhRram
from netlists.faults import FaultMap
from nnmap import (
    Fidelity,
    LayerOnChip,
    MappedLayer,
    MappedNetwork,
    MappingPlan,
    MeasuredChip,
    map_network,
    mapped_layers,
)
from nnmap import mapping_table as table_of
from nnmap.mapping.decode import decoded_weights
from nnmap.networks.pretrained import images, plan, pretrained
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
    network = map_case(case)
    chip = chip_of(network, case.chip)
    readings = {}
    for fidelity in case.fidelities:
        running = network.on(chip, Fidelity(fidelity))
        logits = running(case.tensor(case.inputs)).double().numpy()
        layers = mapped_layers(running)
        readings[fidelity] = Reading(
            logits=logits,
            clips={name: vars(layer.clips) for name, layer in layers.items()},
            currents={name: currents(layers[name], v) for name, v in case.probes.items()},
        )
    return Results(layers=described(network, chip), readings=readings)


@torch.no_grad()
def run_shipped(name: str, kind: str, fidelity: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float64, and labels of a shipped network, as `read.shipped` says.

    kind: "fault_free" or "faulty".
    """
    data = images(name)
    network = map_network(
        pretrained(name),
        replace(plan(name), levels="memory"),
        rng=np.random.default_rng(0),
        sample=data.train_x[:256],
    )
    maps = {}
    for place, (layer, programme) in enumerate(network.programmes.items()):
        tiles, *g_shape = programme.target.shape
        maps[layer] = LayerChip(kind=ruled_kinds(place, tiles, tuple(g_shape)))
    chip = chip_of(network, maps if kind == "faulty" else {})
    logits = network.on(chip, Fidelity(fidelity))(data.test_x[:500])
    return logits.double().numpy(), data.test_y[:500].numpy()


def revive(value: Any) -> Any:
    """Nested keyword values -> an object of the package where they name a type."""
    if isinstance(value, Mapping):
        arguments = {name: revive(part) for name, part in value.items() if name != "type"}
        return TYPES[value["type"]](**arguments)
    return tuple(value) if isinstance(value, list) else value


def plan_of(case: Case) -> MappingPlan:
    """The case's plan; what is recorded was recorded with levels of memories."""
    return MappingPlan(levels="memory", **{k: revive(value) for k, value in case.plan.items()})


def map_case(case: Case) -> MappedNetwork:
    """The network on tiles; the generator is not used where there is a sample."""
    return map_network(
        case.network(),
        plan_of(case),
        rng=np.random.default_rng(0),
        sample=case.tensor(case.sample),
    )


def chip_of(network: MappedNetwork, truth: Mapping[str, LayerChip]) -> MeasuredChip:
    """The chip that is stored."""
    faults, defects, held = {}, {}, {}
    for name, programme in network.programmes.items():
        one = truth.get(name, LayerChip())
        tiles = range(programme.placement.tiles)
        if one.g is not None:
            held[name] = one.g
        if one.kind is not None:
            stuck = one.g_stuck
            faults[name] = [
                FaultMap(kind=one.kind[k], g_stuck=None if stuck is None else stuck[k])
                for k in tiles
            ]
        if one.has_defects:
            defects[name] = [_defects(one, k, programme.spec) for k in tiles]
    return MeasuredChip(faults=faults, defects=defects, held=held)


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
    """Currents of the read columns, A [reads, vectors, columns], for v [reads, vectors, rows]."""
    found = []
    for k, group in enumerate(layer.row_groups):
        entering = layer.reader.applied(torch.from_numpy(v[k].T.copy()))
        found.append(layer.reader.currents(k, entering[group.rows]).T.numpy())
    return np.stack(found)


def described(network: MappedNetwork, chip: MeasuredChip) -> dict[str, LayerResult]:
    """What the mapping made of every layer."""
    rows = {row.layer: row for row in table_of(network).rows}
    found = {}
    for name, programme in network.programmes.items():
        p, row, periphery = programme.placement, rows[name], network.peripheries[name]
        held = LayerOnChip(name=name, programme=programme, chip=chip)
        row_tiles, col_tiles = p.places[:, 1].max() + 1, p.places[:, 2].max() + 1
        numbers = {**vars(row), "col_tiles": col_tiles, "row_tiles": row_tiles}
        group = p.row_groups[0]
        found[name] = LayerResult(
            kind=row.kind,
            matrix=row.matrix,
            read_columns=tuple(group.columns.tolist()),
            scale=float(programme.scale[0]),
            x_max=periphery.dac.x_max,
            i_max=_ranges(programme, periphery.adc),
            g=programme.target,
            weights=decoded_weights(programme, held.shown()),
            **{k: numbers[k] for k in NUMBERS_OF_LAYER},
        )
    return found


def _ranges(programme: Any, adc: Any) -> np.ndarray | None:
    """Converter ranges, A, as one number or [row groups, read columns]."""
    if adc.bits is None:
        return None
    if np.ndim(adc.i_max) == 0:
        return np.array(adc.i_max, dtype=np.float64)
    groups = programme.placement.row_groups
    return np.stack([adc.i_max[g.tiles].ravel()[g.columns] for g in groups])
