import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from circuitsim import NgspicePulses, PulseTwin, WriteScheme, Writing, program, pulse_agreement
from circuitsim.writing.pulse_twin import travel
from netlists import (
    Deviation,
    DeviceSpread,
    Drive,
    InputError,
    OneR,
    OneTransistorOneR,
    Pulse,
    SinhRram,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    vary,
)
from tests.tolerances import PULSE_TWIN, assert_close

PULSE = Pulse(height=4.5, width=2e-10, edge=5e-11)
COARSE = Pulse(height=4.5, width=2e-9, edge=5e-10)
SCHEME = WriteScheme(set_pulse=PULSE, reset_pulse=PULSE)
BARE = OneR(rram=YakopcicRram())
CELLS = {
    "1R yakopcic": (BARE, PULSE, PULSE),
    "1T1R yakopcic": (OneTransistorOneR(rram=YakopcicRram(), v_gate=6.5), PULSE, PULSE),
    "1T1R yakopcic, long pulses": (
        OneTransistorOneR(rram=YakopcicRram(), v_gate=6.5, drive_line="SL"),
        COARSE,
        COARSE,
    ),
    "1T1R vteam": (
        OneTransistorOneR(rram=VteamRram(), v_gate=4.0),
        Pulse(height=2.2, width=5e-11, edge=1e-11),
        Pulse(height=0.9, width=5e-11, edge=1e-11),
    ),
}


@pytest.mark.ngspice
@pytest.mark.parametrize(("cell", "set_pulse", "reset_pulse"), CELLS.values(), ids=CELLS)
def test_fast_twin_against_ngspice_transients(cell, set_pulse, reset_pulse):
    for rising, pulse in ((True, set_pulse), (False, reset_pulse)):
        found = pulse_agreement(
            cell, pulse, DeviceSpread(modulation=0.2), rising=rising, rng=np.random.default_rng(1)
        )
        assert found.devices == 64 and found.moved > 100 * found.worst
        assert found.worst <= PULSE_TWIN


@pytest.mark.ngspice
def test_a_device_written_by_ngspice_gets_what_the_twin_gives_it():
    cell = OneTransistorOneR(rram=YakopcicRram(), v_gate=6.5)
    scheme = WriteScheme(set_pulse=COARSE, reset_pulse=PULSE, levels=4)
    rng = np.random.default_rng(3)
    target = scheme.targets(cell)[[0, 1, 2, 3, 1]]
    drawn = DeviceSpread().draw((5,), rng=rng)
    twin, spice = (
        program(kind(cell=cell), scheme, target, drawn) for kind in (PulseTwin, NgspicePulses)
    )
    assert_close(twin.error, spice.error, 1e-3, scale=1.0)
    assert (twin.pulses == spice.pulses).all() and spice.reached.all()


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("rram", [YakopcicRram(), YakopcicRram.hp_tio2(), VteamRram()], ids=type)
def test_travel_is_the_integral_of_one_over_the_window(rram, rising):
    path = travel(rram, rising=rising)
    for low, high in ((0.02, 0.5), (0.5, 0.98), (0.3, 0.995), (1e-3, 0.1)):
        expected = quad(
            lambda x: 1 / rram.window(x, rising=rising), low, high, limit=400, epsabs=1e-10
        )[0]
        found = path.there(np.array([low, high]))
        assert found[1] - found[0] == pytest.approx(expected, rel=1e-6)
    x = np.array([1e-6, 0.1, 0.5, 0.99, 1 - 1e-6])
    assert_close(path.back(path.there(x)), x, 1e-7)


@given(x=st.floats(0.0, 1.0), count=st.integers(0, 200), rising=st.booleans())
def test_pulses_move_one_way_and_stay_inside(x, count, rising):
    start = np.array([x])
    found = PulseTwin(cell=BARE).apply(start, PULSE, np.array([count]), Deviation(), rising=rising)
    assert 0 <= found[0] <= 1
    assert found[0] >= x - 1e-8 if rising else found[0] <= x + 1e-8
    twice = PulseTwin(cell=BARE).apply(found, PULSE, np.array([count]), Deviation(), rising=rising)
    both = PulseTwin(cell=BARE).apply(
        start, PULSE, np.array([2 * count]), Deviation(), rising=rising
    )
    assert abs(twice[0] - both[0]) < 1e-6


def test_nominal_devices_are_written_without_verifying():
    target = SCHEME.targets(BARE)
    found = program(PulseTwin(cell=BARE), SCHEME, target, verify=False)
    assert np.abs(found.error).max() < 0.06  # half a pulse
    assert found.reached.all() and found.pulses[0] == 0 and (np.diff(found.pulses) > 0).all()


@pytest.mark.parametrize("modulation", [0.1, 0.2])
def test_verifying_narrows_what_the_spread_of_devices_widens(modulation):
    rng = np.random.default_rng(0)
    target = rng.choice(SCHEME.targets(BARE), (40, 50))
    drawn = DeviceSpread(modulation=modulation).draw(target.shape, rng=rng)
    loose, tight = (
        program(PulseTwin(cell=BARE), SCHEME, target, drawn, verify=verify)
        for verify in (False, True)
    )
    # An open-loop device is off by its own relative speed, here of up to 15 steps.
    speed = YakopcicRram().strength(4.5, drawn) / YakopcicRram().strength(4.5)
    middle = (target > 0.3 * target.max()) & (target < 0.7 * target.max()) & (speed < 1.4)
    expected = (speed - 1) * target / loose.step
    assert np.abs(loose.error - expected)[middle].max() < 0.3
    assert tight.never == 0 and np.abs(tight.error).max() <= SCHEME.tolerance
    assert tight.pulses.mean() > loose.pulses.mean()
    assert loose.error.std() > 5 * tight.error.std()


def test_a_device_that_cannot_move_is_given_up_and_counted():
    target = np.full(3, SCHEME.targets(BARE)[8])
    drawn = Deviation(threshold_set=np.array([1.0, 1.2, 1.0]))  # beyond the pulse's height
    scheme = WriteScheme(set_pulse=PULSE, reset_pulse=PULSE, max_pulses=30)
    found = program(PulseTwin(cell=BARE), scheme, target, drawn)
    assert found.reached.tolist() == [True, False, True] and found.never == 1
    assert found.g[1] == pytest.approx(BARE.rram.g_hrs) and np.isfinite(found.g).all()
    assert found.pulses[1] == found.pulses[0] + 30


def test_writing_is_a_variation_and_its_result_a_tile():
    wires = Wires(r_row_segment=1.0, r_col_segment=1.0)
    spec = TileSpec(rows=6, cols=5, wires=wires, cell=BARE)
    meant = np.random.default_rng(1).choice(SCHEME.targets(BARE), spec.g_shape)
    spread = DeviceSpread(modulation=0.2)
    writing = Writing(pulses=PulseTwin(cell=BARE), scheme=SCHEME, spread=spread, verify=True)
    first, again = (vary(meant, [writing], rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    tile = Tile(spec=spec, g=first)
    assert 0 < np.abs(tile.g - meant).max() <= 0.26 * SCHEME.step(BARE)
    assert Drive(v=np.ones(6)).for_tile(tile.spec).shape == (1, 6)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(InputError, match="with SinhRram cannot be written"):
        program(PulseTwin(cell=OneR(rram=SinhRram())), SCHEME, np.full(2, 1e-5))
    with pytest.raises(InputError, match=r"target 0.001 S lies outside the states"):
        program(PulseTwin(cell=BARE), SCHEME, np.array([1e-6, 1e-3]))
    huge = Pulse(height=6.0, width=1e-6, edge=1e-9)
    with pytest.raises(InputError, match="make set_pulse higher or longer, or shorter"):
        program(
            PulseTwin(cell=BARE),
            WriteScheme(set_pulse=huge, reset_pulse=PULSE),
            SCHEME.targets(BARE),
        )
    with pytest.raises(InputError, match=r"levels=1 must be at least 2"):
        WriteScheme(set_pulse=PULSE, reset_pulse=PULSE, levels=1)
    with pytest.raises(InputError, match=r"tolerance=0\.5 of a level step"):
        WriteScheme(set_pulse=PULSE, reset_pulse=PULSE, tolerance=0.5)
