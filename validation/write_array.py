"""Arrays written with and without verifying: what conductances the devices end up with."""

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from circuitsim import (
    Programmed,
    PulseAgreement,
    PulseTwin,
    Writing,
    program,
    pulse_agreement,
)
from netlists import DeviceSpread, InputError
from validation.files.write_file import WriteFile
from validation.report.plots import write_error_figure
from validation.statistics import Interval
from validation.written_network import written_network

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteOutcome:
    """One way of writing. accuracy: of the network over chips, None where there is none."""

    modulation: float
    verify: bool
    written: Programmed
    accuracy: Interval | None

    @property
    def within(self) -> float:
        """Fraction of devices nearer to their level than to its neighbours."""
        return float((np.abs(self.written.error) < 0.5).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenArray:
    """All ways of writing, and how far the fast twin is from ngspice on this cell.

    agreement: by "set" and "reset"; empty where none was asked for.
    perfect: accuracy of the network with every device on its level.
    """

    outcomes: list[WriteOutcome]
    agreement: dict[str, PulseAgreement]
    perfect: float | None
    folder: Path

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What the command prints."""
        for name, agreed in self.agreement.items():
            yield (
                f"{name} pulse on {agreed.devices} devices: fast twin within {agreed.worst:.1e} of "
                f"the state range of ngspice's transient, which moved them by {agreed.moved:.1e}"
            )
        names = ["spread", "verify", "std", "max", "within 1/2", "given up", "pulses", "most"]
        if self.perfect is not None:
            names.append("accuracy, %")
        title = "achieved - target conductance, in level steps"
        table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for one in self.outcomes:
            error = one.written.error
            cells = [
                f"{one.modulation:g}",
                "on" if one.verify else "off",
                f"{error.std():.3f}",
                f"{np.abs(error).max():.2f}",
                f"{one.within:.2%}",
                str(one.written.never) if one.verify else "-",
                f"{one.written.pulses.mean():.1f}",
                str(one.written.pulses.max()),
            ]
            if one.accuracy is not None:
                half = 100 * (one.accuracy.high - one.accuracy.mean)
                cells.append(f"{100 * one.accuracy.mean:.1f} ± {half:.1f}")
            table.add_row(*cells)
        yield table
        chips = self.outcomes[0].accuracy
        if self.perfect is not None and chips is not None:
            yield (
                f"accuracy at IDEAL, mean and 95 % interval over {chips.n} chips; with every "
                f"device on its level {self.perfect:.2%}"
            )
        yield f"tables and figure: {self.folder}"


def write_array(config: WriteFile, *, progress: Progress) -> WrittenArray:
    """Write the array in every way and leave summary.csv, devices.csv and error.png behind.

    Every way meets the same devices: one seed draws one array, whatever the modulation's spread.
    Raises InputError on what cannot be written, MissingToolError where ngspice is needed and
    missing.
    """
    cell, scheme = config.cell.build(), config.write.scheme()
    pulses = PulseTwin(cell=cell)
    seed = config.array.seed
    target = np.random.default_rng(seed).choice(scheme.targets(cell), config.array.devices)
    agreement = {}
    widest = DeviceSpread(
        threshold=config.spread.threshold, modulation=max(config.spread.modulations)
    )
    if config.array.check:
        for name, pulse in (("set", scheme.set_pulse), ("reset", scheme.reset_pulse)):
            agreement[name] = pulse_agreement(
                cell,
                pulse,
                widest,
                rising=name == "set",
                rng=np.random.default_rng(seed),
                devices=config.array.check,
            )
    outcomes = []
    ways = [(m, verify) for m in config.spread.modulations for verify in (False, True)]
    writings = [
        Writing(
            pulses=pulses,
            scheme=scheme,
            spread=DeviceSpread(threshold=config.spread.threshold, modulation=modulation),
            verify=verify,
        )
        for modulation, verify in ways
    ]
    network = None
    if config.network is not None:
        network = written_network(config, config.network, writings, progress=progress)
    with progress("writing", len(ways)) as done:
        for k, (modulation, verify) in enumerate(ways):
            drawn = writings[k].spread.draw(target.shape, rng=np.random.default_rng(seed + 1))
            outcomes.append(
                WriteOutcome(
                    modulation=modulation,
                    verify=verify,
                    written=program(pulses, scheme, target, drawn, verify=verify),
                    accuracy=None if network is None else network.accuracies[k],
                )
            )
            done(1)
    found = WrittenArray(
        outcomes=outcomes,
        agreement=agreement,
        perfect=None if network is None else network.perfect,
        folder=config.folder(),
    )
    _write(found)
    return found


def _summary_row(one: WriteOutcome) -> dict[str, str | int | float]:
    """What summary.csv says of one way of writing; errors in level steps."""
    error = one.written.error
    row: dict[str, str | int | float] = {
        "modulation": one.modulation,
        "verify": "on" if one.verify else "off",
        "devices": error.size,
        "error_mean": float(error.mean()),
        "error_std": float(error.std()),
        "error_max": float(np.abs(error).max()),
        "within_half_step": one.within,
        "given_up": one.written.never if one.verify else 0,
        "pulses_mean": float(one.written.pulses.mean()),
        "pulses_max": int(one.written.pulses.max()),
    }
    if one.accuracy is not None:
        half = one.accuracy.high - one.accuracy.mean
        row |= {"accuracy": one.accuracy.mean, "accuracy_half": half, "chips": one.accuracy.n}
    return row


def _write(found: WrittenArray) -> None:
    try:
        found.folder.mkdir(parents=True, exist_ok=True)
        rows = [_summary_row(one) for one in found.outcomes]
        with (found.folder / "summary.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        with (found.folder / "devices.csv").open("w", newline="") as file:
            plain = csv.writer(file, lineterminator="\n")
            plain.writerow(["modulation", "verify", "target_S", "g_S", "pulses", "reached"])
            for one in found.outcomes:
                way = [one.modulation, "on" if one.verify else "off"]
                for target, g, pulses, reached in zip(
                    one.written.target.tolist(),
                    one.written.g.tolist(),
                    one.written.pulses.tolist(),
                    one.written.reached.tolist(),
                    strict=True,
                ):
                    plain.writerow([*way, f"{target:.6e}", f"{g:.6e}", pulses, int(reached)])
    except OSError as problem:
        raise InputError(f"{found.folder} cannot be written: {problem.strerror}.") from None
    panels = {
        "written once" if not verify else "write and verify": {
            f"modulation {one.modulation:g} of its mean": one.written.error
            for one in found.outcomes
            if one.verify == verify
        }
        for verify in (False, True)
    }
    write_error_figure(panels, found.folder / "error.png")
