"""Area, energy and latency of a mapped network, from published figures.

The figures are data, `figures/*.toml`, each with its source. What an inference asks of the tiles is
counted on the network itself: vectors multiplied, rows driven, columns converted.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from netlists.errors import InputError
from nnmap.layers.layer import MappedLayer
from nnmap.mapping.pattern import pattern_name
from nnmap.watch import mapped_layers, watch

FOLDER = Path(__file__).parent / "figures"
Unit = Literal["memory", "row", "column", "tile"]


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """What one inference asks of a layer's tiles.

    reads: times that each tile is read.  columns_read: columns converted in one read of all tiles.
    rows_driven: rows with an input, summed over tiles.  macs: multiplications by a weight.
    dac_bits, adc_bits: of one read and one conversion; None without converters.
    correction_operations: multiplications and additions of a digital correction.
    """

    layer: str
    tiles: int
    rows: int
    cols: int
    memories_per_cell: int
    reads: int
    rows_driven: int
    columns_read: int
    macs: int
    dac_bits: int | None
    adc_bits: int | None
    correction_operations: int = 0

    @property
    def memories(self) -> int:
        """Memories on all tiles, in use or not."""
        return self.tiles * self.rows * self.cols * self.memories_per_cell

    def built(self, unit: Unit) -> int:
        """How many of a unit the layer's tiles have: what area is charged for."""
        return {
            "memory": self.memories,
            "row": self.tiles * self.rows,
            "column": self.tiles * self.cols,
            "tile": self.tiles,
        }[unit]

    def used(self, unit: Unit) -> int:
        """How often an inference uses a unit: what energy is charged for."""
        driven = self.rows_driven * self.cols * self.memories_per_cell
        once = {
            "memory": driven,
            "row": self.rows_driven,
            "column": self.columns_read,
            "tile": self.tiles,
        }
        return once[unit] * self.reads


@dataclass(frozen=True, kw_only=True)
class Component:
    """One published figure: power or energy, and area, of `units` units of one kind.

    power_w: drawn while in use, for the time of a read.  energy_j: of one use, in its place.
    """

    name: str
    per: Unit
    units: int = 1
    power_w: float = 0.0
    energy_j: float = 0.0
    area_mm2: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A published set of figures.

    read_s: time of an array read.  samples_per_s: conversions of one tile's converter.
    dac_bits, adc_bits: resolution that the converters' figures hold for; None where not stated.
    write_j: energy to program one memory, or None where the source has none.
    """

    title: str
    source: str
    read_s: float
    samples_per_s: float
    components: tuple[Component, ...]
    dac_bits: int | None = None
    adc_bits: int | None = None
    write_j: float | None = None

    def read_time(self, work: LayerWork) -> float:
        """Time of one read of a tile, s: the array settles while the last read is converted."""
        columns = -(-work.columns_read // work.tiles)
        return max(self.read_s, columns / self.samples_per_s)


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer: area in mm2; energy in J and latency in s of one inference."""

    layer: str
    tiles: int
    macs: int
    area_mm2: float
    energy_j: float
    latency_s: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A network on the figures of one source; `str` renders it.

    Layers run one after another, the tiles of a layer side by side, every layer on one copy of its
    weights: no pipelining between layers or inferences is counted.

    energy_by_component: J of one inference.  write_j: J to program all memories once, or None.
    notes: where the figures do not fit the plan.
    """

    figures: str
    layers: tuple[LayerCost, ...]
    energy_by_component: dict[str, float]
    write_j: float | None
    notes: tuple[str, ...]

    @property
    def area_mm2(self) -> float:
        """Of all tiles with their periphery."""
        return sum(layer.area_mm2 for layer in self.layers)

    @property
    def energy_j(self) -> float:
        """Of one inference."""
        return sum(layer.energy_j for layer in self.layers)

    @property
    def latency_s(self) -> float:
        """Of one inference."""
        return sum(layer.latency_s for layer in self.layers)

    def __str__(self) -> str:
        lines = [("layer", "tiles", "MACs", "area mm2", "energy uJ", "latency us")]
        for row in self.layers:
            lines.append(
                (
                    pattern_name(row.layer),
                    str(row.tiles),
                    str(row.macs),
                    f"{row.area_mm2:.4g}",
                    f"{1e6 * row.energy_j:.4g}",
                    f"{1e6 * row.latency_s:.4g}",
                )
            )
        area, energy, latency = self.area_mm2, 1e6 * self.energy_j, 1e6 * self.latency_s
        tiles, macs = (sum(getattr(row, n) for row in self.layers) for n in ("tiles", "macs"))
        numbers = f"{area:.4g}", f"{energy:.4g}", f"{latency:.4g}"
        lines.append(("total", str(tiles), str(macs), *numbers))
        widths = [max(len(line[k]) for line in lines) for k in range(6)]
        text = [
            "  ".join(
                cell.rjust(width) if k else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        shares = sorted(self.energy_by_component.items(), key=lambda item: -item[1])
        text.append(
            "energy: "
            + ", ".join(f"{name} {part / self.energy_j:.0%}" for name, part in shares if part)
        )
        if self.write_j is not None:
            text.append(f"programming every memory once: {1e6 * self.write_j:.4g} uJ")
        return "\n".join([f"figures: {self.figures}", *text, *(f"note: {n}" for n in self.notes)])


@cache
def figures(name: str) -> Figures:
    """A published set by name; raises InputError for an unknown one."""
    known = sorted(path.stem for path in FOLDER.glob("*.toml"))
    if name not in known:
        raise InputError(f"figures={name!r} is not one of {', '.join(known)}.")
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    components = tuple(Component(**one) for one in content.pop("component"))
    return Figures(components=components, **content)


def workload(chip: nn.Module, x: Tensor) -> tuple[LayerWork, ...]:
    """What one inference asks of every layer on tiles, counted on the inputs x [batch, ...].

    Inputs of both signs, and flipped rows, take two reads unless rows are driven at both signs;
    bit-serial inputs take a read for every bit. A layer used in several places does the work of all
    of them; one that never runs has none and is left out. Raises InputError for a network without
    layers on tiles.
    """
    layers = mapped_layers(chip)
    vectors: dict[str, int] = {}
    reads: dict[str, int] = {}

    def see(name: str, layer: nn.Module, inputs: Tensor) -> None:
        assert isinstance(layer, MappedLayer)
        here = layer.vectors_of(inputs)
        vectors[name] = vectors.get(name, 0) + here
        reads[name] = reads.get(name, 0) + here * layer.reads_per_vector(inputs)

    watch(chip, layers, see, x)
    return tuple(
        _layer_work(layers[name], vectors[name] / len(x), reads[name] / len(x)) for name in vectors
    )


def _layer_work(layer: MappedLayer, vectors: float, reads: float) -> LayerWork:
    spec, p = layer.programme.spec, layer.programme.placement
    correction = layer.periphery.correction
    return LayerWork(
        layer=layer.name,
        tiles=p.tiles,
        rows=spec.rows,
        cols=spec.cols,
        memories_per_cell=spec.cell.n_rram,
        reads=round(reads),
        rows_driven=int((p.row_input >= 0).sum()),
        columns_read=int((p.col_slot >= 0).sum()),
        macs=round(vectors) * p.shape.groups * p.shape.inputs * p.shape.outputs,
        dac_bits=1 if layer.dac.serial else layer.dac.bits,
        adc_bits=layer.adc.bits,
        correction_operations=0 if correction is None else round(vectors) * correction.operations,
    )


def _misfit(converter: str, published: int | None, planned: list[int | None]) -> str:
    """What to say where the plan's converters are not those of the figures; else nothing."""
    if published is None or set(planned) == {published}:
        return ""
    named = ", ".join("none" if b is None else f"{b} bits" for b in sorted(set(planned), key=str))
    return f"the {converter}'s figures are for {published}-bit conversions; the plan has {named}."


def cost(work: tuple[LayerWork, ...], source: Figures) -> Cost:
    """What the counted work costs on the figures of one source."""
    by_component = dict.fromkeys((part.name for part in source.components), 0.0)
    layers = []
    for one in work:
        area = energy = 0.0
        for part in source.components:
            area += part.area_mm2 / part.units * one.built(part.per)
            each = part.energy_j or part.power_w * source.read_s / part.units
            spent = each * one.used(part.per)
            by_component[part.name] += spent
            energy += spent
        layers.append(
            LayerCost(
                layer=one.layer,
                tiles=one.tiles,
                macs=one.macs,
                area_mm2=area,
                energy_j=energy,
                latency_s=one.reads * source.read_time(one),
            )
        )
    notes = (
        _misfit("ADC", source.adc_bits, [one.adc_bits for one in work]),
        _misfit("DAC", source.dac_bits, [one.dac_bits for one in work]),
    )
    memories = sum(one.memories for one in work)
    return Cost(
        figures=f"{source.title} ({source.source})",
        layers=tuple(layers),
        energy_by_component={name: part for name, part in by_component.items() if part},
        write_j=None if source.write_j is None else source.write_j * memories,
        notes=tuple(note for note in notes if note),
    )


@dataclass(frozen=True, kw_only=True)
class ChipRate:
    """Peak rates of an accelerator, applied to a count of operations as drop-connect does.

    ops_per_s_mm2, ops_per_j: as published.  chip_mm2, chips: silicon that works in parallel.
    """

    ops_per_s_mm2: float
    ops_per_j: float
    chip_mm2: float
    chips: int

    def latency_s(self, operations: float) -> float:
        """Time at full utilisation, s."""
        return operations / (self.ops_per_s_mm2 * self.chip_mm2 * self.chips)

    def energy_j(self, operations: float) -> float:
        """Energy at the published efficiency, J."""
        return operations / self.ops_per_j


# ISAAC, Table IV as printed in the proceedings (the authors' later correction gives 627.5 GOPS/W),
# and Table I; 64 chips. Table II of drop-connect follows from these with one operation for a
# multiply-accumulate, in ns and uJ an inference: its head says s and kW.
ISAAC_64 = ChipRate(ops_per_s_mm2=478.95e9, ops_per_j=363.7e9, chip_mm2=85.4, chips=64)
