"""The same pulses by transient analysis in ngspice: what the fast twin is measured against."""

from dataclasses import dataclass

import numpy as np

from circuitsim.spice.session import default_session
from circuitsim.writing.pulse_twin import PulseTwin
from netlists.arrays import FloatArray, IntArray
from netlists.cells import Cell
from netlists.devices import Deviation, DeviceSpread
from netlists.pulse_deck import Pulse, write_deck

CELLS = 256  # at most, in one deck
STEPS = 20  # of an edge, at least


@dataclass(frozen=True, kw_only=True)
class NgspicePulses:
    """Pulses on cells of one kind, as `PulseTwin`, every pulse integrated by ngspice."""

    cell: Cell

    def apply(
        self,
        x: FloatArray,
        pulse: Pulse,
        count: IntArray,
        deviation: Deviation,
        *,
        rising: bool,
    ) -> FloatArray:
        """See `PulseTwin.apply`; raises MissingToolError without ngspice."""
        found = np.array(x, dtype=np.float64)
        for k in range(int(np.max(count, initial=0))):
            waiting = np.flatnonzero(count > k)
            for some in np.split(waiting, range(CELLS, len(waiting), CELLS)):
                own = deviation.at(some)
                deck = write_deck(self.cell, pulse, found[some], own, rising=rising)
                vectors = default_session().transient(
                    deck, step=pulse.edge / STEPS, stop=pulse.duration
                )
                found[some] = [vectors[f"s_{n}"][-1] for n in range(len(some))]
        return found


@dataclass(frozen=True, kw_only=True)
class PulseAgreement:
    """How far the fast twin is from ngspice after one pulse.

    devices: how many were tried, each with its own deviation, from random states.
    worst: largest difference of their states, of the range from off to on.
    moved: median distance that ngspice moved them, of the same.
    """

    devices: int
    worst: float
    moved: float


def pulse_agreement(
    cell: Cell,
    pulse: Pulse,
    spread: DeviceSpread,
    *,
    rising: bool,
    rng: np.random.Generator,
    devices: int = 64,
) -> PulseAgreement:
    """One pulse on random devices in random states, by both.

    Raises InputError for a cell that cannot be written, MissingToolError without ngspice.
    """
    x = rng.random(devices)
    drawn = spread.draw((devices,), rng=rng)
    once = np.ones(devices, dtype=np.int64)
    fast, spice = (
        kind(cell=cell).apply(x, pulse, once, drawn, rising=rising)
        for kind in (PulseTwin, NgspicePulses)
    )
    return PulseAgreement(
        devices=devices,
        worst=float(np.abs(fast - spice).max()),
        moved=float(np.median(np.abs(spice - x))),
    )
