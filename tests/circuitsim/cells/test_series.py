import numpy as np
import pytest
from scipy.optimize import brentq

from circuitsim.cells.series import SeriesSurface, spline_coefficients
from circuitsim.cells.series_kernels import spline
from netlists import Level1Nmos, OhmicRram, SinhRram
from tests.tolerances import assert_close

N, HIGH = 65, 0.2
NMOS, GATE = Level1Nmos(), 0.55


def surface_of(*, bend=0.0, memory_on_drive=True):
    """A surface whose transistor is the level 1 equations themselves; no simulator."""
    low = np.linspace(0.0, HIGH, N)
    table = spline_coefficients(NMOS.current(low[:, None] + low, GATE, low[:, None]))
    return SeriesSurface(
        cell="",
        cell_id="",
        netlist_sha256="",
        v_gate=GATE,
        v_low=0.0,
        v_high=HIGH,
        g_low=1e-7,
        g_high=1e-3,
        full_scale=2e-5,
        source="",
        options="",
        bend=bend,
        backward=1.0,
        memory_on_drive=memory_on_drive,
        table=table,
    )


def balanced(rram, v_drive, v_sense, g, *, memory_on_drive):
    """The same circuit by bisection on the node between."""

    def off(middle):
        ends = (v_drive, middle) if memory_on_drive else (middle, v_sense)
        transistor = (middle, v_sense) if memory_on_drive else (v_drive, middle)
        return float(rram.current(ends[0] - ends[1], g)), float(
            NMOS.current(transistor[0], GATE, transistor[1])
        )

    low, high = sorted((v_drive, v_sense))
    sign = 1 if memory_on_drive else -1
    middle = brentq(lambda m: sign * (off(m)[0] - off(m)[1]), low, high, xtol=1e-15)
    return off(middle)[0]


def test_the_spline_goes_through_its_values_and_is_exact_for_cubics():
    x = np.arange(9.0)
    values = (x**3 - 4 * x)[:, None] * (2 * x**3 + x**2)
    table = spline_coefficients(values)
    for at, along in [(0.0, 0.0), (8.0, 8.0), (3.4, 7.9), (0.2, 5.5), (7.7, 1.1)]:
        value, by_x, by_y = spline(table, at, along)
        f, g = at**3 - 4 * at, 2 * along**3 + along**2
        scale = np.abs(values).max()
        assert_close(value, f * g, 1e-12, scale=scale)
        assert_close(by_x, (3 * at**2 - 4) * g, 1e-11, scale=scale)
        assert_close(by_y, f * (6 * along**2 + 2 * along), 1e-11, scale=scale)


@pytest.mark.parametrize("rram", [OhmicRram(), SinhRram(v0=0.05, v_max=0.3)], ids=["ohmic", "sinh"])
@pytest.mark.parametrize("memory_on_drive", [True, False])
def test_the_node_between_is_found_wherever_it_is(rram, memory_on_drive):
    bend = 1 / rram.v0 if isinstance(rram, SinhRram) else 0.0
    surface = surface_of(bend=bend, memory_on_drive=memory_on_drive)
    rng = np.random.default_rng(0)
    drive, sense = rng.uniform(0.0, HIGH, (2, 200))
    g = 10 ** rng.uniform(-7, -3, 200)
    expected = [
        balanced(rram, *at, memory_on_drive=memory_on_drive)
        for at in zip(drive.tolist(), sense.tolist(), g.tolist(), strict=True)
    ]
    # The level 1 current has a kink in its slope, which a spline of 65 knots rounds off.
    assert_close(surface(drive, sense, g), expected, 5e-5, scale=surface.full_scale)
    assert (surface(drive, sense, 0.0) == 0).all() and surface(0.1, 0.1, 1e-4) == 0


@pytest.mark.parametrize("bend", [0.0, 8.0])
@pytest.mark.parametrize("memory_on_drive", [True, False])
def test_slopes_are_derivatives(bend, memory_on_drive):
    surface = surface_of(bend=bend, memory_on_drive=memory_on_drive)
    rng = np.random.default_rng(1)
    drive, sense = rng.uniform(0.01, HIGH - 0.01, (2, 100))
    g, h = 10 ** rng.uniform(-6, -3, 100), 1e-7
    by_drive = (surface(drive + h, sense, g) - surface(drive - h, sense, g)) / (2 * h)
    by_sense = (surface(drive, sense - h, g) - surface(drive, sense + h, g)) / (2 * h)
    for found, expected in zip(surface.slopes(drive, sense, g), (by_drive, by_sense), strict=True):
        assert_close(found / g, expected / g, 1e-5)
    assert (np.array(surface.slopes(0.0, 0.0, g)) > 0.5 * np.minimum(g, 1e-4)).all()
