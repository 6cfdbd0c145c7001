"""Figures of a report, as inline PNG."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from validation.stats import Interval

# Colour-blind safe (Okabe-Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = {"ideal": "--", "linear": "-", "nonlinear": ":"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy of one variant over fault rates; `group` shares a colour, `fidelity` its line."""

    label: str
    group: str
    fidelity: str
    rates: tuple[float, ...]
    points: tuple[Interval, ...]


def _inline(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def accuracy_figure(
    curves: Sequence[Curve], *, reference: tuple[str, Sequence[float], Sequence[float]] | None
) -> str:
    """Accuracy against fault rate with intervals over chips; `reference` is (label, rates, %)."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2))
    groups = list(dict.fromkeys(curve.group for curve in curves))
    for curve in curves:
        colour = _COLOURS[groups.index(curve.group) % len(_COLOURS)]
        x = 100 * np.array(curve.rates)
        low, mean, high = (
            100 * np.array([getattr(point, part) for point in curve.points])
            for part in ("low", "mean", "high")
        )
        style = _STYLES[curve.fidelity]
        axes.plot(x, mean, style, color=colour, marker="o", ms=3.5, label=curve.label)
        faint = curve.fidelity == "ideal"
        axes.fill_between(x, low, high, color=colour, alpha=0.10 if faint else 0.22, lw=0)
    if reference is not None:
        label, rates, percent = reference
        axes.plot(100 * np.array(rates), percent, "k^", ms=6, label=label)
    axes.set_xlabel("memories stuck (%)")
    axes.set_ylabel("test accuracy (%)")
    axes.set_ylim(0, 101)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    return _inline(figure)


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
