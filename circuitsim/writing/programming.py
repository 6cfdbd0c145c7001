"""Writing memories to target conductances, with and without verifying what was written.

Without verifying, a device gets as many equal set pulses as bring the nominal device nearest to the
target: what it then holds depends on its own threshold and modulation. Write-and-verify reads it
back and corrects it with single set and reset pulses until it lies within a tolerance (remeco,
Section 2.2 and Fig. 2 c, d). Reading is taken as exact.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from circuitsim.writing.pulse_twin import PulseTwin
from netlists.arrays import FloatArray, IntArray
from netlists.cells import Cell
from netlists.devices import NOMINAL, Deviation, DeviceSpread
from netlists.errors import InputError
from netlists.pulse_deck import Pulse, writable

LONGEST_TRAIN = 4096  # set pulses in the table of the nominal device


class Pulses(Protocol):
    """What applies pulses to devices: `PulseTwin`, or `NgspicePulses` for some tens of them."""

    @property
    def cell(self) -> Cell:
        """The cell that is written."""
        ...

    def apply(
        self,
        x: FloatArray,
        pulse: Pulse,
        count: IntArray,
        deviation: Deviation,
        *,
        rising: bool,
    ) -> FloatArray:
        """See `PulseTwin.apply`."""
        ...


@dataclass(frozen=True, kw_only=True)
class WriteScheme:
    """How an array is written.

    set_pulse, reset_pulse: the pulses that raise and lower a conductance.
    levels: number of conductances, evenly spaced from HRS to LRS.
    tolerance: error at which verifying is content, of the step between levels.
    max_pulses: correcting pulses before a device is given up.
    """

    set_pulse: Pulse
    reset_pulse: Pulse
    levels: int = 16
    tolerance: float = 0.25
    max_pulses: int = 300

    def __post_init__(self) -> None:
        if self.levels < 2 or self.max_pulses < 0:
            raise InputError(
                f"WriteScheme: levels={self.levels!r} must be at least 2 and "
                f"max_pulses={self.max_pulses!r} at least 0."
            )
        if not 0 < self.tolerance < 0.5:
            raise InputError(
                f"WriteScheme: tolerance={self.tolerance!r} of a level step must lie between 0 and "
                "0.5, or neighbouring levels meet."
            )

    def targets(self, cell: Cell) -> FloatArray:
        """Conductances of the levels, S [levels]."""
        return np.linspace(cell.rram.g_hrs, cell.rram.g_lrs, self.levels)

    def step(self, cell: Cell) -> float:
        """Conductance between neighbouring levels, S."""
        return (cell.rram.g_lrs - cell.rram.g_hrs) / (self.levels - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Programmed:
    """An array after writing; g is what a Tile takes.

    target, g: S [...].  pulses: how many each device got, corrections included.
    reached: whether verifying was content with it.  step: conductance between levels, S.
    """

    target: FloatArray
    g: FloatArray
    pulses: IntArray
    reached: NDArray[np.bool_]
    step: float

    @property
    def error(self) -> FloatArray:
        """(g - target) / step [...]."""
        return (self.g - self.target) / self.step

    @property
    def never(self) -> int:
        """Devices that lie outside the tolerance."""
        return int(np.count_nonzero(~self.reached))


@functools.lru_cache(maxsize=32)
def nominal_train(cell: Cell, scheme: WriteScheme) -> FloatArray:
    """Conductances of the nominal device after 0, 1, 2 ... set pulses from HRS, S, rising.

    The train ends where a pulse adds less than a ten-thousandth of a level step.
    """
    rram = writable(cell)
    pulses, least = PulseTwin(cell=cell), 1e-4 * scheme.step(cell)
    once = np.ones(1, dtype=np.int64)
    x = np.array([rram.state(rram.g_hrs)])
    g = [float(rram.g_hrs)]
    while len(g) < LONGEST_TRAIN:
        x = pulses.apply(x, scheme.set_pulse, once, NOMINAL, rising=True)
        g.append(float(rram.conductance(x)[0]))
        if g[-1] - g[-2] < least:
            break
    return np.array(g)


def pulse_counts(cell: Cell, scheme: WriteScheme, target: FloatArray) -> IntArray:
    """How many set pulses bring the nominal device from HRS nearest to each target [...].

    Raises InputError where no number of pulses comes within a level step of a target.
    """
    g, step = nominal_train(cell, scheme), scheme.step(cell)
    distinct, where = np.unique(target, return_inverse=True)
    off = np.abs(g - distinct[:, None])
    least = off.min(axis=1)
    if (least > step).any():
        worst = float(distinct[np.argmax(least)])
        raise InputError(
            f"no train of up to {len(g) - 1} set pulses brings the nominal device within a level "
            f"of {worst:.6g} S; make set_pulse higher or longer, or shorter where it overshoots."
        )
    # An end that is approached ever more slowly is reached when 1 % of a level is left.
    enough = off <= (least + 0.01 * step)[:, None]
    return np.asarray(np.argmax(enough, axis=1)[where.reshape(target.shape)])


def program(
    pulses: Pulses,
    scheme: WriteScheme,
    target: FloatArray,
    deviation: Deviation = NOMINAL,
    *,
    verify: bool = True,
) -> Programmed:
    """Write an array of devices, all HRS before, to target conductances, S [...].

    deviation: how each device [...] differs from its model. Raises InputError for targets outside
    HRS to LRS, or a cell that cannot be written.
    """
    cell = pulses.cell
    rram = writable(cell)
    low, high = rram.g_hrs * (1 - 1e-9), rram.g_lrs * (1 + 1e-9)
    wrong = ~((target >= low) & (target <= high))
    if wrong.any():
        raise InputError(
            f"program: target {np.asarray(target)[wrong].flat[0]:.6g} S lies outside the states "
            f"from {rram.g_hrs:.6g} S to {rram.g_lrs:.6g} S."
        )
    wanted = np.ravel(target)
    own = deviation.at(np.ones(np.shape(target), dtype=bool))
    count = pulse_counts(cell, scheme, wanted)
    x = np.full(wanted.shape, float(rram.state(rram.g_hrs)))
    x = pulses.apply(x, scheme.set_pulse, count, own, rising=True)
    margin = scheme.tolerance * scheme.step(cell)
    off = rram.conductance(x) - wanted
    for _ in range(scheme.max_pulses if verify else 0):
        for some, pulse, rising in (
            (np.flatnonzero(off < -margin), scheme.set_pulse, True),
            (np.flatnonzero(off > margin), scheme.reset_pulse, False),
        ):
            if some.size:
                once = np.ones(some.size, dtype=np.int64)
                x[some] = pulses.apply(x[some], pulse, once, own.at(some), rising=rising)
                off[some] = rram.conductance(x[some]) - wanted[some]
                count[some] += 1
    shape = np.shape(target)
    return Programmed(
        target=np.asarray(target),
        g=rram.conductance(x).reshape(shape),
        pulses=count.reshape(shape),
        reached=(np.abs(off) <= margin).reshape(shape),
        step=scheme.step(cell),
    )


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Programming as a `netlists.Variation`: conductances as meant -> as a chip takes them.

    `vary`, and `nnmap.vary_devices` for whole networks, take it among the other kinds.
    """

    pulses: Pulses
    scheme: WriteScheme
    spread: DeviceSpread
    verify: bool

    def apply(self, g: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """See `Variation.apply`; raises InputError as `program` does."""
        drawn = self.spread.draw(np.shape(g), rng=rng)
        return program(self.pulses, self.scheme, g, drawn, verify=self.verify).g
