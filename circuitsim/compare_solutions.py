"""How far apart two solutions of the same tile are."""

from dataclasses import dataclass

import numpy as np

from circuitsim.solution import Solution
from netlists.errors import InputError


def converter_steps(bits: int) -> int:
    """Steps of a converter of `bits` from 0 to its full scale: 2^bits codes, one step between two.

    >>> converter_steps(8)
    255
    """
    return int(2**bits - 1)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Differences of output currents between two solutions.

    max_abs: A.  max_relative, p99_relative: relative to full scale, the largest output current of
    the reference.  max_voltage: largest node-voltage difference, V.
    """

    max_abs: float
    max_relative: float
    p99_relative: float
    max_voltage: float
    full_scale: float

    def adc_steps(self, bits: int, *, full_scale: float | None = None) -> float:
        """Largest difference in steps of a converter of `bits` over `full_scale` amperes."""
        return self.max_abs / (full_scale or self.full_scale) * converter_steps(bits)


def compare(a: Solution, b: Solution) -> Agreement:
    """Compare `a` with the reference `b`; raises InputError when they differ in shape."""
    if a.i_out.shape != b.i_out.shape:
        raise InputError(f"i_out.shape: {a.i_out.shape} != {b.i_out.shape}.")
    difference = np.abs(a.i_out - b.i_out)
    full_scale = float(np.abs(b.i_out).max())
    # A tile without current agrees with another only to the last ampere.
    scale = full_scale or 1.0
    voltage = np.abs(np.concatenate([(a.v_row - b.v_row).ravel(), (a.v_col - b.v_col).ravel()]))
    defined = voltage[~np.isnan(voltage)]
    return Agreement(
        max_abs=float(difference.max()),
        max_relative=float(difference.max()) / scale,
        p99_relative=float(np.quantile(difference, 0.99)) / scale,
        max_voltage=float(defined.max(initial=0.0)),
        full_scale=full_scale,
    )
