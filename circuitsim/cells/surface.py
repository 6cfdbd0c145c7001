"""A calibrated cell as a surface: current over both its voltages and its state, error known."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from netlists.arrays import FloatArray
from netlists.errors import InputError

SLACK = 1e-6  # how far a state may lie beyond the range, relative
TARGET_MAX, TARGET_P99 = 1e-4, 1e-5  # held-out error of the current, of full scale


@dataclass(frozen=True, kw_only=True)
class StateError:
    """Error on random held-out voltages in one state, or in a band of random states.

    name: "LRS", "HRS", "level 2 of 4", "between", ...  g_low, g_high: S, equal for one state.
    samples: how many.  max, p99: error of the current relative to the surface's full scale.
    """

    name: str
    g_low: float
    g_high: float
    samples: int
    max: float
    p99: float

    @property
    def on_target(self) -> bool:
        """Whether the error is as small as a surface is meant to have it."""
        return self.max <= TARGET_MAX and self.p99 <= TARGET_P99


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSurface(ABC):
    """I(v_drive, v_sense; g) of one cell at its own gate voltage.

    cell: the calibrated cell, as text.  cell_id: its `Cell.calibrated_as`.
    netlist_sha256: of the netlist that ngspice was given.  v_gate: V.
    v_low, v_high: range of both voltages, V.
    g_low, g_high: range of the state, S (the sum over parallel memories).
    full_scale: current of the cell with all memories LRS from v_high to v_low, A.
    errors: held-out error by state.  source: the simulator.  options: its tolerances.
    """

    cell: str
    cell_id: str
    netlist_sha256: str
    v_gate: float
    v_low: float
    v_high: float
    g_low: float
    g_high: float
    full_scale: float
    source: str
    options: str
    errors: tuple[StateError, ...] = ()

    @property
    def scale(self) -> float:
        """du / d|d| = dt / d(lower voltage), 1/V, of d and t scaled to [-1, 1]."""
        return 2.0 / (self.v_high - self.v_low)

    @property
    def held_out(self) -> int:
        """How many samples the fit has not seen."""
        return sum(error.samples for error in self.errors)

    @property
    def held_out_max(self) -> float:
        """Largest error on them, of full scale."""
        return max(error.max for error in self.errors)

    @property
    def held_out_p99(self) -> float:
        """The 99 % quantile in the state that has the largest, of full scale."""
        return max(error.p99 for error in self.errors)

    @property
    def on_target(self) -> bool:
        """Whether every state's error is as small as a surface is meant to have it."""
        return all(error.on_target for error in self.errors)

    def checked_states(self, g: ArrayLike) -> FloatArray:
        """States as an array, S; raises InputError outside the calibrated range, 0 S aside."""
        states = np.asarray(g, dtype=np.float64)
        # Measured states of a subcircuit agree between simulators to their tolerance.
        low, high = self.g_low * (1 - SLACK), self.g_high * (1 + SLACK)
        outside = (states != 0) & ~((states >= low) & (states <= high))
        if outside.any():
            raise InputError(
                f"memory conductance {states[outside].flat[0]:.6g} S lies outside the calibrated "
                f"range [{self.g_low:.6g}, {self.g_high:.6g}] S; calibrate a wider range."
            )
        return states

    def _checked_voltages(
        self, v_drive: ArrayLike, v_sense: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        drive, sense = np.broadcast_arrays(
            *(np.asarray(a, dtype=np.float64) for a in (v_drive, v_sense))
        )
        slack = 1e-9 * (self.v_high - self.v_low)
        for name, volts in (("v_drive", drive), ("v_sense", sense)):
            inside = (volts >= self.v_low - slack) & (volts <= self.v_high + slack)
            if not inside.all():
                raise InputError(
                    f"{name}={volts[~inside].flat[0]:.6g} V lies outside the calibrated range "
                    f"[{self.v_low:.6g}, {self.v_high:.6g}] V; calibrate a wider range."
                )
        return drive, sense

    @abstractmethod
    def __call__(self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike) -> FloatArray:
        """Current from the drive to the sense line, A; the arguments broadcast.

        Raises InputError outside the calibrated range of voltages or states.
        """

    @abstractmethod
    def slopes(
        self, v_drive: ArrayLike, v_sense: ArrayLike, g: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """(dI/dv_drive, -dI/dv_sense), S; both positive where the fit is monotone.

        Raises InputError outside the calibrated range of voltages or states.
        """
