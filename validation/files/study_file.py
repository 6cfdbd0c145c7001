"""A study from its TOML file: the points that it makes, each checked.

name = "..."                    reference = "paper:figure"
[network]                       a network of the catalogue, a perceptron, or one's own
[tile] [cell] [mapping]         as in a mapping plan
[faults] [defects] [noise]      the chips, and [[variation]]
[[mitigation]] [[variant]]      what is done against faults
[measure] [precision] [audit]   what is found, how well, and how SPICE checks it
[run]                           where and on what it runs
[sweep]                         keys that take several values, see `sweep`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from netlists.errors import InputError
from netlists.variation import Variation
from validation.files.base import Name, findings, read_table
from validation.files.cell_section import OF_BUILT_IN, OF_SUBCKT, OneCell
from validation.files.chip_sections import (
    DefectRatesSection,
    FaultsSection,
    NoiseSection,
    VariationSection,
)
from validation.files.keys import Raw, require_known
from validation.files.network_section import NetworkSection
from validation.files.plan_file import MappingSection
from validation.files.settings import read_settings, with_settings
from validation.files.study_sections import (
    AuditSection,
    MeasureSection,
    PrecisionSection,
    RunSection,
)
from validation.files.sweep import SHORTHANDS, Scalar, points, swept, written_out
from validation.files.tile_section import TileSection, tile_spec
from validation.files.variants import (
    NONE,
    MitigationSection,
    concerns,
    variants,
    with_variant,
)

# One value for all points of a study: a sweep of these changes no result, or is said otherwise.
COMMON = ("name", "reference", "precision", "audit", "run", "sweep")
OTHERWISE = {
    "faults.chips": "every point has the same chips",
    "mitigation": "list [[variant]] tables instead",
    "variant": "list [[variant]] tables instead",
}


MOST_TASKS = 1_000_000  # points times chips of a study; more is taken for a slip


class StudyFile(OneCell):
    """One point of a study: every key has one value, and one variant is chosen."""

    name: Name
    reference: str | None = None
    network: NetworkSection
    tile: TileSection = TileSection()
    mapping: MappingSection = MappingSection()
    faults: FaultsSection = FaultsSection()
    defects: DefectRatesSection = DefectRatesSection()
    variation: tuple[VariationSection, ...] = ()
    noise: NoiseSection = NoiseSection()
    variant: str = NONE
    mitigation: tuple[MitigationSection, ...] = ()
    measure: MeasureSection = MeasureSection()
    precision: PrecisionSection | None = None
    audit: AuditSection = AuditSection()
    run: RunSection = RunSection()

    def variations(self) -> tuple[Variation, ...]:
        """The toolkit's variations, in order."""
        return tuple(one.build() for one in self.variation)

    def folder(self) -> Path:
        """Where everything of this study is written."""
        return Path(self.run.out) / self.name


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a study.

    axes: value of each key that the study varies, as a table shows it; None where the key says
    nothing about this point. "variant" is among them where the study has mitigations.
    """

    axes: Mapping[str, Scalar]
    file: StudyFile


@dataclass(frozen=True, kw_only=True)
class StudyGrid:
    """A study as read: its points in a stable order, and what they have in common.

    beside: folder from which one's own code is imported.
    """

    points: tuple[Point, ...]
    beside: Path

    @property
    def common(self) -> StudyFile:
        """A point's file, to ask for name, precision, audit and run: those are one for all."""
        return self.points[0].file


def read_study(path: str | Path, settings: Sequence[str] = (), *, trust: bool = False) -> StudyGrid:
    """Read a study; `settings` are "key=value" and overrule the file.

    trust: whether SPICE files that it names may run commands.
    Raises InputError with the key, the value and the mend.
    """
    return study_grid(
        read_table(path),
        settings=settings,
        source=str(path),
        beside=Path(path).parent,
        trust=trust,
    )


def study_grid(
    raw: Mapping[str, Any],
    *,
    beside: Path,
    settings: Sequence[str] = (),
    source: str = "study",
    trust: bool = False,
) -> StudyGrid:
    """The points of a study given as TOML reads it; file names in it count from `beside`.

    source: what errors call it.  trust: see `read_study`.
    Raises InputError with the key, the value and the mend.
    """
    for key in read_settings(settings):
        require_known(key.removeprefix("sweep."), StudyFile, also=(*SHORTHANDS, "sweep", "zip"))
    try:
        found: list[Point] = []
        for axes, content in _expanded(with_settings(raw, settings)):
            where = _change(found[-1].axes, axes) if found else ""
            file = _checked(content, beside, where, trust)
            found.append(Point(axes=axes, file=file))
    except ValidationError as problem:
        raise InputError(f"{source}: {findings(problem)}.") from None
    except InputError as problem:
        raise InputError(f"{source}: {problem}") from None
    chips = found[0].file.faults.chips
    if chips * len(found) > MOST_TASKS:
        raise InputError(
            f"{source}: {len(found)} points of {chips} chips are {chips * len(found)} tasks, more "
            f"than {MOST_TASKS}; take fewer chips or points."
        )
    return StudyGrid(points=tuple(found), beside=beside.resolve())


def _expanded(raw: Raw) -> list[tuple[dict[str, Scalar], Raw]]:
    """Axes and content of each point; variants vary fastest."""
    full = written_out(raw)
    keys = list(swept(full))
    for key in keys:
        require_known(key, StudyFile)
        if key.split(".")[0] in COMMON or key in OTHERWISE:
            why = OTHERWISE.get(key, "it is one for the whole study")
            raise InputError(f"[sweep] {key!r} cannot be swept: {why}.")
    chosen, kinds = variants(full), swept(full).get("cell.kind", [])
    found: dict[tuple[Scalar, ...], tuple[dict[str, Scalar], Raw]] = {}
    for axes, content in points(full):
        one, unused = _cell_of_its_kind(content, kinds)
        for variant in chosen:
            shown = {
                key: value if key not in unused and concerns(key, one, variant) else None
                for key, value in axes.items()
            }
            if full.get("mitigation"):
                shown["variant"] = variant.name
            found.setdefault(tuple(shown.values()), (shown, with_variant(one, variant)))
    return list(found.values())


def _cell_of_its_kind(raw: Raw, kinds: Sequence[Any]) -> tuple[Raw, set[str]]:
    """The content with the keys of [cell] that its kind has, and the dotted keys left out.

    Only where the swept kinds take turns with a subcircuit: each then finds its own keys there.
    """
    cell = raw.get("cell")
    if not isinstance(cell, Mapping) or len({kind == "subckt" for kind in kinds}) < 2:
        return raw, set()
    other = OF_BUILT_IN if cell.get("kind") == "subckt" else OF_SUBCKT
    kept = {key: value for key, value in cell.items() if key not in other}
    return {**raw, "cell": kept}, {f"cell.{key}" for key in other}


def _change(before: Mapping[str, Scalar], axes: Mapping[str, Scalar]) -> str:
    """In what a point differs from the one before, which was good: the likely cause of an error."""
    new = (f"{key} = {value!r}" for key, value in axes.items() if value != before[key])
    return f" (at {', '.join(new)})"


def _checked(content: Raw, beside: Path, where: str, trust: bool) -> StudyFile:
    try:
        file = StudyFile.model_validate(content, context={"beside": beside, "trust": trust})
        if file.cell.kind != "subckt":  # whose states ngspice may have to measure
            tile_spec(file.tile, file.cell.build())
    except ValidationError as problem:
        raise InputError(f"{findings(problem)}{where}.") from None
    except InputError as problem:
        raise InputError(f"{str(problem).removesuffix('.')}{where}.") from None
    return file
