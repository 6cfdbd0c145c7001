"""A study's TOML file -> the study."""

from pathlib import Path
from typing import Any

from netlists.errors import InputError
from netlists.fault_patterns import (
    Clusters,
    Independent,
    Lines,
    Lognormal,
    Pattern,
    StuckStates,
)
from nnmap import Chip, Fidelity
from nnmap.measures.diagnosis import Diagnosis
from nnmap.measures.measure import (
    Accuracy,
    CostOfInference,
    Detection,
    Measure,
    Power,
    WriteError,
)
from nnmap.mitigations import MITIGATIONS, Mitigation
from nnmap.training.device import torch_device
from validation.condition import Condition
from validation.files.base import require_checkpoint
from validation.files.chip_sections import StuckSection
from validation.files.network_section import OwnSection
from validation.files.study_file import Point, StudyFile, StudyGrid
from validation.files.tile_section import tile_spec
from validation.own_network import require_fit
from validation.precision import Precision
from validation.sources import NetworkIdentity, Own, Perceptron, Source, identify, pinned, source_of
from validation.study import Progress, Study, silent

MEASURES: dict[str, type[Any]] = {
    "accuracy": Accuracy,
    "cost": CostOfInference,
    "detection": Detection,
    "diagnosis": Diagnosis,
    "power": Power,
    "write_error": WriteError,
}
SHARES = ("accuracy", "detection", "diagnosis")  # measures in [0, 1], which have points
POINT = 0.01
LEAST = 30  # chips before the first look at an interval, see `Precision`
UNKNOWN = NetworkIdentity(name="", structure="", weights="", data="")


def study_of(grid: StudyGrid, *, progress: Progress = silent) -> Study:
    """The study that a file describes; perceptrons that it asks for are trained first.

    Raises InputError where the toolkit refuses what the file says, for a device that is not there,
    and where a network of one's own does not fit its data.
    """
    common = grid.common
    if common.run.scheduler is None:  # a cluster's devices are not this machine's
        torch_device(common.run.device)
    for point in grid.points:  # what the toolkit refuses shows before anything is trained
        condition_of(point, UNKNOWN)
    found: dict[Any, Source] = {}
    for point in grid.points:
        section = point.file.network
        key = section.model_dump_json()
        if key not in found:
            if isinstance(section, OwnSection) and section.checkpoint is not None:
                require_checkpoint(Path(section.checkpoint))
            found[key] = source_of(section, beside=grid.beside, out=common.folder())
    for source in found.values():
        if isinstance(source, Own):
            require_fit(source)
    _train(list(found.values()), progress)
    identities = {key: identify(source) for key, source in found.items()}
    return Study(
        name=common.name,
        conditions=tuple(
            condition_of(point, identities[point.file.network.model_dump_json()])
            for point in grid.points
        ),
        sources={identities[key]: pinned(source, identities[key]) for key, source in found.items()},
        chips=common.faults.chips,
        precision=_precision(grid),
    )


def _train(sources: list[Source], progress: Progress) -> None:
    waiting = [source for source in sources if isinstance(source, Perceptron)]
    if not waiting:
        return
    waiting[0].folder.mkdir(parents=True, exist_ok=True)
    with progress("training", sum(source.recipe.epochs for source in waiting)) as done:
        for source in waiting:
            source.train(done)


def _precision(grid: StudyGrid) -> Precision | None:
    """The rule that [precision] asks for; raises InputError for a measure that has no points."""
    wanted, chips = grid.common.precision, grid.common.faults.chips
    if wanted is None:
        return None
    for kind in dict.fromkeys(point.file.measure.kind for point in grid.points):
        if kind not in SHARES:
            raise InputError(
                f"precision.half_width is in points of a share, and measure.kind = {kind!r} is "
                f"none; leave [precision] out or measure one of {', '.join(SHARES)}."
            )
    return Precision(
        half_width=wanted.half_width * POINT,
        confidence=wanted.confidence,
        max_chips=wanted.max_chips,
        min_chips=min(max(LEAST, chips), wanted.max_chips),
    )


def condition_of(point: Point, network: NetworkIdentity) -> Condition:
    """The condition of one point of a study."""
    file = point.file
    measure: Measure = file.measure.made(MEASURES, key="measure")
    return Condition(
        network=network,
        plan=file.mapping.plan(tile_spec(file.tile, file.cell.build())),
        mitigations=_mitigations(file),
        chip=chip_of(file),
        fidelity=Fidelity(file.measure.fidelity),
        measure=measure,
        images=file.measure.images,
        axes=point.axes,
    )


def _mitigations(file: StudyFile) -> tuple[Mitigation, ...]:
    return tuple(
        one.made(MITIGATIONS, key=f"mitigation.{one.name or one.kind}") for one in file.mitigation
    )


def chip_of(file: StudyFile) -> Chip:
    """The chips' recipe."""
    drift = file.noise.drift
    return Chip(
        rates=file.faults.rates(),
        pattern=_pattern(file),
        states=StuckStates(lrs=_law(file.faults.stuck_lrs), hrs=_law(file.faults.stuck_hrs)),
        defects=file.defects.rates(),
        variation=file.variations(),
        drift=None if drift is None else drift.build(),
        read_noise=file.noise.read,
        seed=file.faults.seed,
    )


def _pattern(file: StudyFile) -> Pattern:
    faults = file.faults
    match faults.pattern:
        case "rows":
            return Lines(along="row", share=faults.pattern_share)
        case "columns":
            return Lines(along="col", share=faults.pattern_share)
        case "clusters":
            return Clusters(radius=faults.cluster_radius, share=faults.pattern_share)
        case _:
            return Independent()


def _law(section: StuckSection | None) -> Lognormal | None:
    return None if section is None else Lognormal(median=section.median, sigma=section.sigma)
