"""Every tolerance of the suite, relative to the scale of the problem it is used in."""

import numpy as np

NGSPICE_LINEAR = 1e-10  # nodal against ngspice, linear tiles, of the largest current
BADCROSSBAR = 1e-10
CLOSED_FORM = 1e-11
OPERATOR = 1e-11  # operator times vector against solve
EXACT = 1e-12
KCL = 1e-9  # node balance, limited by differences of nearly equal voltages
DEVICE_TWIN = 1e-12  # a memory's Python twin against its SPICE card, no wires between
STATE_DYNAMICS = 5e-5  # a written state, of its range: twin by scipy against the card in ngspice
WRITE_CURRENT = 2e-6  # of a write deck, whose reltol is 1e-6
PULSE_TWIN = 1e-4  # fast twin after one pulse against a transient in ngspice, of the state range
SURFACE_MAX, SURFACE_P99 = 1e-4, 1e-5  # cell surface against ngspice, of full-scale current
NONLINEAR_MAX, NONLINEAR_P99 = 1e-4, 2e-5  # tiles by surface against ngspice, of full scale
NONLINEAR_SAME_LAW = 1e-8  # tiles with one equation in both, no fit between
DEFECTS_LINEAR = 1e-9  # any solver against ngspice, linear tiles with defects, of full scale
DEFECTS_NONLINEAR = 1e-6  # by surface against ngspice, transistor tiles with defects, of full scale
LINEAR_FIDELITY = 5e-3  # calibrated secants against transistors, of full scale, 10 kohm cells


def assert_close(actual, expected, relative, *, scale=None):
    """Largest difference within `relative` of the scale (by default the largest expected value)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{actual.shape} != {expected.shape}"
    assert np.isfinite(actual).all(), "not finite"
    scale = float(np.abs(expected).max()) if scale is None else scale
    worst = float(np.abs(actual - expected).max())
    assert worst <= relative * scale, (
        f"off by {worst:.3e} = {worst / (scale or 1):.3e} of {scale:.3e}"
    )
