"""Figures of a report, as inline PNG."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from validation.pivot import Pivot

FloatArray = NDArray[np.float64]

# Colour-blind safe (Okabe-Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("-", "--", ":", "-.")


def _inline(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _vector(figure: Figure) -> str:
    """As SVG: sharp at any size, and the same bytes every time."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "xbarverify"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def curve_figure(
    table: Pivot,
    columns: Sequence[int],
    *,
    quantity: str,
    unit: str,
    reference: tuple[str, Sequence[float], Sequence[float]] | None,
) -> str:
    """A quantity over the axis that goes down, a curve per column with its interval over chips.

    Columns that differ only in the last axis share a colour. unit: "%" for shares, empty for none.
    reference: (label, x, per cent).
    """
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    factor = 100.0 if unit == "%" else 1.0
    groups = [tuple(table.columns[k].values())[:-1] for k in columns]
    order = list(dict.fromkeys(groups))
    for place, k in enumerate(columns):
        points = [(x, table.cells[x, k]) for x in table.lines if (x, k) in table.cells]
        x = np.array([float(at or 0) for at, _ in points])
        low, mean, high = (
            factor * np.array([getattr(point, part) for _, point in points])
            for part in ("low", "mean", "high")
        )
        colour = _COLOURS[order.index(groups[place]) % len(_COLOURS)]
        style = _LINES[groups[:place].count(groups[place]) % len(_LINES)]
        axes.plot(x, mean, style, color=colour, marker="o", ms=3.5, label=table.title(k))
        known = np.isfinite(low) & np.isfinite(high)
        axes.fill_between(x[known], low[known], high[known], color=colour, alpha=0.18, lw=0)
    if reference is not None:
        label, at, percents = reference
        axes.plot(np.array(at), percents, "k^", ms=6, label=f"paper: {label.split(',')[0]}")
    axes.set_xlabel(table.down)
    axes.set_ylabel(f"{quantity} ({unit})" if unit else quantity)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    return _vector(figure)


def drop_figure(drop: Sequence[Sequence[float]]) -> str:
    """Heat map of the read voltage lost to the wires, per cell, in percent."""
    figure, axes = plt.subplots(figsize=(4.8, 4.0))
    image = axes.imshow(100 * np.array(drop), cmap="magma", origin="upper", aspect="auto")
    axes.set_xlabel("column")
    axes.set_ylabel("row (inputs enter from the left, currents leave below)", fontsize=8)
    figure.colorbar(image, label="read voltage lost to wires (%)")
    return _inline(figure)


def audit_figure(linear: Sequence[float], ideal: Sequence[float]) -> str:
    """Largest error of each audited read against ngspice, per cent of full scale, sorted."""
    figure, axes = plt.subplots(figsize=(4.8, 4.0))
    for values, label, colour in (
        (ideal, "IDEAL", _COLOURS[1]),
        (linear, "LINEAR", _COLOURS[0]),
    ):
        axes.semilogy(np.sort(np.maximum(100 * np.array(values), 1e-9)), ".", c=colour, label=label)
    axes.set_xlabel("audited reads, sorted")
    axes.set_ylabel("largest column error (% of full scale)")
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize=8)
    return _inline(figure)


def cell_figure(
    curves: Sequence[tuple[str, FloatArray, FloatArray, FloatArray]],
    maps: Sequence[tuple[str, FloatArray, FloatArray, FloatArray]],
    *,
    full_scale: float,
) -> str:
    """One gate voltage: I-V curves of every state, and error maps of some.

    curves: (state, v_drive, surface's current, ngspice's current) at the lowest sense voltage, V
    and A.  maps: (state, v, measured current [drive, sense], error of the surface, same shape).
    """
    figure = plt.figure(figsize=(11.4, 3.0 * len(maps)), layout="constrained")
    grid = figure.add_gridspec(len(maps), 3, width_ratios=(1.25, 1, 1))
    axes = figure.add_subplot(grid[:, 0])
    unit, factor = _ampere_unit(max(float(np.abs(i).max()) for _, _, i, _ in curves))
    for k, (name, v, fitted, measured) in enumerate(curves):
        colour = plt.get_cmap("viridis")(0.08 + 0.8 * k / max(len(curves) - 1, 1))
        axes.plot(v, factor * fitted, "-", color=colour, lw=1.8, label=name)
        axes.plot(v[::5], factor * measured[::5], "o", ms=4, mfc="white", mec=colour, mew=1)
    axes.set_title(f"surface (lines) and ngspice (dots), sense line at {v[0]:g} V", fontsize=9)
    axes.set_xlabel("drive line (V)")
    axes.set_ylabel(f"cell current ({unit})")
    axes.grid(alpha=0.25)
    if len(curves) <= 8:
        axes.legend(fontsize=8, frameon=False)
    for k, (name, v, measured, off) in enumerate(maps):
        unit, factor = _ampere_unit(float(np.abs(measured).max()))
        panels = (
            (factor * measured.T, "RdBu_r", f"{name}: current ({unit})"),
            (off.T / full_scale, "PuOr_r", f"{name}: surface - ngspice, of full scale"),
        )
        for column, (values, colours, title) in enumerate(panels, start=1):
            panel = figure.add_subplot(grid[k, column])
            most = max(float(np.abs(values).max()), 1e-16)
            image = panel.pcolormesh(
                v,
                v,
                values,
                cmap=colours,
                vmin=-most,
                vmax=most,
                shading="nearest",
                rasterized=True,
            )
            if column == 1:
                levels = np.linspace(-most, most, 13)
                panel.contour(v, v, values, levels=levels, colors="k", linewidths=0.35)
            panel.set_aspect("equal")
            panel.set_title(title, fontsize=9)
            panel.set_xlabel("drive line (V)", fontsize=8)
            panel.set_ylabel("sense line (V)", fontsize=8)
            panel.tick_params(labelsize=8)
            bar = figure.colorbar(image, ax=panel, shrink=0.9)
            bar.ax.ticklabel_format(axis="y", scilimits=(-2, 3))
            bar.ax.tick_params(labelsize=8)
    return _inline(figure)


def error_figure(
    rows: Sequence[tuple[str, float, float]], *, limits: tuple[float, float], title: str
) -> str:
    """Errors of some cases, (name, max, p99) of full scale, on one logarithmic axis with limits."""
    figure, axes = plt.subplots(figsize=(5.4, 0.9 + 0.24 * len(rows)), layout="constrained")
    y = np.arange(len(rows))[::-1]
    floor = 1e-13
    most = np.maximum([row[1] for row in rows], floor)
    p99 = np.maximum([row[2] for row in rows], floor)
    axes.hlines(y, p99, most, color="#b8c2cc", lw=1.4, zorder=1)
    axes.scatter(most, y, s=26, color=_COLOURS[1], label="maximum", zorder=2)
    axes.scatter(p99, y, s=26, color=_COLOURS[0], label="p99", zorder=3)
    for limit, colour in zip(limits, (_COLOURS[1], _COLOURS[0]), strict=True):
        axes.axvline(limit, color=colour, lw=1, ls="--")
    axes.set_xscale("log")
    axes.set_xlim(min(float(p99.min()), 1e-7) / 3, max(float(most.max()), limits[0]) * 4)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks(y, [row[0] for row in rows], fontsize=8)
    axes.set_xlabel("error of full scale; dashed: what it is meant to stay below", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.grid(alpha=0.25, axis="x")
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    return _inline(figure)


def _ampere_unit(peak: float) -> tuple[str, float]:
    """The unit in which a current reads as a number from 1 to 1000, and what turns A into it."""
    for unit, factor in (("mA", 1e3), ("µA", 1e6), ("nA", 1e9)):
        if peak * factor >= 1:
            return unit, factor
    return "pA", 1e12


def write_error_figure(panels: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Histograms of (achieved - target) conductance in level steps: title -> label -> errors.

    The panels share their axes, so that what verifying narrows shows.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3.4), sharex=True, sharey=True, squeeze=False
    )
    most = max(float(np.abs(e).max()) for panel in panels.values() for e in panel.values())
    bins = np.linspace(-most, most, 121)
    for place, (title, panel) in zip(axes[0], panels.items(), strict=True):
        for colour, (label, errors) in zip(_COLOURS, panel.items(), strict=False):
            place.hist(
                errors,
                bins,
                weights=np.full(errors.size, 100 / errors.size),
                histtype="step",
                color=colour,
                label=label,
                lw=1.4,
            )
        place.axvspan(-0.5, 0.5, color="0.9", zorder=0)
        place.set_title(title, fontsize=10)
        place.set_xlabel("achieved - target (level steps)")
        place.set_yscale("log")
        place.grid(alpha=0.25)
        place.legend(fontsize=8)
    axes[0, 0].set_ylabel("devices (%)")
    figure.savefig(path, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
