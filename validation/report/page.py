"""Store -> the self-contained HTML page of a study."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from netlists import InputError
from nnmap.measures.measure import UNITS
from validation.campaign.store import Store
from validation.pivot import Pivot, pivot, shown
from validation.report.plots import audit_figure, curve_figure, drop_figure
from validation.statistics import t_interval
from validation.study import Results, counted_table, precision_kept

CURVES = 6  # at most on one figure
CURRENTS = ("names", "i_spice", "i_fast")


def reference_figures(name: str) -> dict[str, Any]:
    """A paper's transcribed figures, "paper:table"; raises InputError where there are none."""
    paper, _, table = name.partition(":")
    file = resources.files("validation") / "reference" / f"{paper}.toml"
    if not file.is_file():
        raise InputError(f"reference={name!r}: no figures of a paper {paper!r} are transcribed.")
    tables = tomllib.loads(file.read_text())
    if table not in tables:
        raise InputError(f"reference={name!r}: {paper} has {', '.join(tables)}.")
    found: dict[str, Any] = tables[table]
    return found


def write_report(results: Results, store: Store, audits: Sequence[Mapping[str, Any]]) -> Path:
    """Keep in the store what the page is made of, and write report.html beside it."""
    results.keep(store)
    store.set_meta("audits", list(audits))
    return report_of_store(results.folder, store)


def report_of_store(folder: Path, store: Store) -> Path:
    """Write report.html from a store alone.

    Raises InputError when the store holds no finished evaluation, where every chip failed, and
    when the folder cannot be written.
    """
    if store.meta("counted") is not None:
        counted_table(store).require_measured()
    missing = [key for key in ("study", "quantity", "audits") if store.meta(key) is None]
    if missing:
        raise InputError(
            f"{folder} holds no finished evaluation; run `xbarverify evaluate` with the same file "
            "again."
        )
    path = folder / "report.html"
    page = render(store)
    try:
        path.write_text(page)
    except OSError as problem:
        raise InputError(
            f"{path} cannot be written: {problem.strerror}; give the folder write permission or "
            "copy it elsewhere."
        ) from None
    return path


def render(store: Store) -> str:
    """The report as one HTML page without outside references."""
    study, quantity = store.meta("study"), store.meta("quantity")
    table = counted_table(store)
    precision = precision_kept(store)
    interval = t_interval if precision is None else precision.interval
    summary = table.summarise([quantity], interval=interval)
    found = pivot(summary, table.axes)
    percent = is_share(summary)
    tile, audits = store.meta("tile"), store.meta("audits")
    reference = reference_figures(study["reference"]) if study["reference"] else None
    return (
        _environment()
        .get_template("report.html")
        .render(
            study=study,
            quantity=quantity,
            axes=table.axes,
            rows=summary.to_dicts(),
            realised=_realised(table),
            unit=unit_of(quantity, percent=percent),
            pivot=found,
            shown=lambda cell: "" if cell is None else shown(cell, percent=percent),
            figures=_figures(found, quantity, percent, reference),
            reference=reference,
            failures=table.failures(),
            audits=audits,
            audit=audit_summary(audits),
            audit_figure=audit_figure(
                [a["max_relative"] for a in audits], [a["ideal_max_relative"] for a in audits]
            )
            if audits
            else None,
            tile=tile,
            currents=tile and list(zip(*(tile[k] for k in CURRENTS), strict=True)),
            drop_figure=tile and drop_figure(tile["drop"]),
            networks=store.meta("networks") or [],
            calibrations=store.meta("calibrations") or [],
            unfinished=store.meta("unfinished") or [],
            losses=store.meta("losses") or [],
            versions=store.meta("versions"),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("validation.report"), autoescape=True, undefined=StrictUndefined
    )


def is_share(summary: Any) -> bool:
    """Whether a summarised quantity has no unit and lies in [0, 1], so that it is in per cent."""
    means = summary["mean"].drop_nulls()
    if any(name in UNITS for name in summary["quantity"]):
        return False
    return len(means) > 0 and float(means.min()) >= 0 and float(means.max()) <= 1


def unit_of(quantity: str, *, percent: bool) -> str:
    """The unit that a quantity is shown in; nothing where it has none."""
    return "%" if percent else UNITS.get(quantity, "")


def _figures(
    found: Pivot, quantity: str, percent: bool, reference: Mapping[str, Any] | None
) -> list[str]:
    if not found.numeric:
        return []
    unit, points = unit_of(quantity, percent=percent), None
    if reference is not None and "rate" in reference and found.down.startswith("faults."):
        points = (reference["locator"], reference["rate"], reference["accuracy"])
    return [
        curve_figure(found, columns, quantity=quantity, unit=unit, reference=points)
        for columns in found.facets(CURVES)
    ]


def _realised(table: Any) -> list[dict[str, Any]]:
    """Realised rates of stuck memories and shares of clipped conversions, per condition."""
    names = [
        name
        for name in ("stuck_lrs", "stuck_hrs", "stuck_at", "adc_clipped", "dac_clipped")
        if name in table.quantities
    ]
    if not names:
        return []
    frames = table.summarise(names).to_dicts()
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in frames:
        key = tuple(row[axis] for axis in table.axes)
        line = merged.setdefault(key, {axis: row[axis] for axis in table.axes})
        line[row["quantity"]] = row["mean"]
    return list(merged.values())


def audit_summary(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Worst and typical audit errors, or None without an audit."""
    if not audits:
        return None
    steps = [a["max_adc_steps"] for a in audits if a["max_adc_steps"] == a["max_adc_steps"]]
    return {
        "fidelity": audits[0]["fidelity"].upper(),
        "reads": len(audits),
        "columns": sum(a["columns"] for a in audits),
        "max_relative": max(a["max_relative"] for a in audits),
        "mean_relative": sum(a["mean_relative"] for a in audits) / len(audits),
        "max_adc_steps": max(steps) if steps else None,
        "ideal_max_relative": max(a["ideal_max_relative"] for a in audits),
        "solver": audits[0]["solver"],
    }
