"""State dynamics: the twin integrated by scipy against the SPICE card integrated by ngspice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from circuitsim import default_session
from netlists import (
    Deviation,
    DeviceSpread,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorTwoR,
    VteamRram,
    YakopcicRram,
)
from netlists.pulse_deck import Pulse, write_deck
from tests.tolerances import STATE_DYNAMICS, WRITE_CURRENT, assert_close


def pulse(height, width, edge):
    return Pulse(height=height, width=width, edge=edge)


# A new memory with dynamics joins with one line: the device, a set and a reset pulse.
DYNAMIC = [
    (YakopcicRram(), pulse(4.5, 5e-9, 1e-9), pulse(4.5, 5e-9, 1e-9)),
    (YakopcicRram.hp_tio2(), pulse(1.6, 20e-3, 1e-3), pulse(1.0, 10e-3, 1e-3)),
    (VteamRram(), pulse(2.2, 5e-10, 1e-10), pulse(0.9, 5e-10, 1e-10)),
]
NAMES = ["yakopcic", "yakopcic-hp", "vteam"]
STARTS = np.array([0.001, 0.3, 0.5, 0.97, 0.995])
DEVIATION = Deviation(
    threshold_set=np.array([1.0, 0.98, 1.03, 1.0, 1.0]),
    threshold_reset=np.array([1.02, 1.0, 1.0, 0.97, 1.0]),
    modulation_set=1.2,
    modulation_reset=np.array([0.7, 1.0, 1.0, 1.0, 1.1]),
)


def by_scipy(rram, pulse, x0, deviation, *, rising):
    sign = rram.set_sign * (1 if rising else -1)
    corners = [0, pulse.edge, pulse.edge + pulse.width, pulse.duration]

    def rate(t, x):
        return rram.rate(sign * pulse.height * np.interp(t, corners, [0, 1, 1, 0]), x, deviation)

    found = solve_ivp(
        rate, (0, pulse.duration), [x0], rtol=1e-9, atol=1e-12, max_step=pulse.edge / 4
    )
    return found.y[0, -1]


@pytest.mark.ngspice
@pytest.mark.parametrize("rising", [True, False], ids=["set", "reset"])
@pytest.mark.parametrize(("rram", "set_pulse", "reset_pulse"), DYNAMIC, ids=NAMES)
def test_a_pulse_moves_card_and_twin_alike(rram, set_pulse, reset_pulse, rising):
    pulse = set_pulse if rising else reset_pulse
    deck = write_deck(OneR(rram=rram), pulse, STARTS, DEVIATION, rising=rising)
    vectors = default_session().transient(deck, step=pulse.edge / 20, stop=pulse.duration)
    found = np.array([vectors[f"s_{k}"][-1] for k in range(len(STARTS))])
    expected = [
        by_scipy(rram, pulse, x0, DEVIATION.at(np.array([k])), rising=rising)
        for k, x0 in enumerate(STARTS)
    ]
    assert_close(found, expected, STATE_DYNAMICS, scale=1.0)
    assert (np.sign(found - STARTS) == (1 if rising else -1)).all()


@pytest.mark.ngspice
@pytest.mark.parametrize(("rram", "set_pulse", "reset_pulse"), DYNAMIC, ids=NAMES)
def test_reading_moves_nothing_and_the_card_draws_the_twin_s_current(rram, set_pulse, reset_pulse):
    low = Pulse(height=0.9 * rram.v_max, width=set_pulse.width, edge=set_pulse.edge)
    deck = write_deck(OneR(rram=rram), low, np.array([0.6]), rising=True)
    vectors = default_session().transient(deck, step=low.edge / 20, stop=low.duration)
    assert_close(vectors["s_0"], np.full(len(vectors["time"]), 0.6), 1e-9)
    v = vectors["drive"] - vectors["sense"]
    drawn = -vectors["vdrive#branch"]
    assert_close(drawn, rram.current(v, rram.conductance(0.6)), WRITE_CURRENT)


@given(x=st.floats(0.0, 1.0), i=st.floats(-1e-3, 1e-3))
@pytest.mark.parametrize("rram", [entry[0] for entry in DYNAMIC], ids=NAMES)
def test_states_and_drops_are_inverses(rram, x, i):
    g = rram.conductance(x)
    assert abs(rram.state(g) - x) < 1e-9
    v = rram.drop(i, 1e-3)
    if abs(v) <= rram.v_max:
        assert rram.current(v, 1e-3) == pytest.approx(i, abs=1e-15)


@given(v=st.floats(-4.4, 4.4), x=st.floats(0.0, 1.0))
@pytest.mark.parametrize("rram", [entry[0] for entry in DYNAMIC], ids=NAMES)
def test_the_state_stays_between_off_and_on(rram, v, x):
    rate = float(rram.rate(v, x))
    assert rram.rate(v, 1.0) <= 0 <= rram.rate(v, 0.0)
    if abs(v) <= rram.v_max:
        assert rate == 0
    assert rate * v * rram.set_sign >= 0
    for rising in (True, False):
        assert 0 <= rram.window(x, rising=rising) <= 1


@given(v=st.floats(-4.9, 4.9))
@pytest.mark.parametrize("rram", [entry[0] for entry in DYNAMIC], ids=NAMES)
def test_an_edge_is_the_mean_over_its_ramp(rram, v):
    deviation = Deviation(threshold_set=1.03, threshold_reset=0.96, modulation_set=1.4)
    ramp = v * (np.arange(20_000) + 0.5) / 20_000
    expected = float(rram.strength(ramp, deviation).mean())
    few = 1e-5 * abs(float(rram.strength(v, deviation)))  # samples just beyond a threshold
    assert rram.mean_strength(v, deviation) == pytest.approx(expected, rel=1e-4, abs=1e-9 + few)


def test_spread_has_the_moments_it_was_asked_for():
    drawn = DeviceSpread(threshold=0.02, modulation=0.2).draw(
        (200, 200), rng=np.random.default_rng(0)
    )
    assert np.std(drawn.threshold_set) == pytest.approx(0.02, rel=0.02)
    assert np.std(drawn.modulation_reset) == pytest.approx(0.2, rel=0.02)
    both = np.corrcoef(np.ravel(drawn.modulation_set), np.ravel(drawn.modulation_reset))
    assert abs(both[0, 1]) < 0.02


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"r_lrs=10000.0 ohm is below the 125000 ohm"):
        YakopcicRram(r_lrs=10e3)
    with pytest.raises(InputError, match=r"x_p=1.5 must lie between"):
        YakopcicRram(x_p=1.5)
    with pytest.raises(InputError, match=r"v_on=0.3 must be negative"):
        VteamRram(v_on=0.3)
    with pytest.raises(InputError, match=r"p=0 must be a whole number"):
        VteamRram(p=0)
    with pytest.raises(InputError, match=r"no state between off and on has 0.001 S"):
        YakopcicRram().state([1e-6, 1e-3])
    with pytest.raises(InputError, match=r"modulation=-0.1"):
        DeviceSpread(modulation=-0.1)
    with pytest.raises(InputError, match=r"Pulse: width=0.0"):
        Pulse(height=1.0, width=0.0, edge=1e-9)
    pulse = Pulse(height=1.0, width=1e-9, edge=1e-9)
    for cell in (OneR(rram=OhmicRram()), OneTransistorTwoR(rram=VteamRram())):
        with pytest.raises(InputError, match="cannot be written"):
            write_deck(cell, pulse, np.array([0.5]), rising=True)
