"""Twin, derivative and SPICE card of a device are one thing."""

from dataclasses import replace

import numpy as np
import pytest

from circuitsim import solve
from circuitsim.spice.batch import solve_circuit
from netlists import (
    Bsim4Nmos,
    Drive,
    InputError,
    Level1Nmos,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    SinhRram,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    YakopcicRram,
    build_circuit,
    to_spice,
)
from tests.tolerances import DEVICE_TWIN, assert_close

# A new memory joins the contract with one line.
MEMORIES = [
    OhmicRram(),
    SinhRram(),
    SinhRram(v0=0.1, v_max=0.3),
    YakopcicRram(),
    YakopcicRram.hp_tio2(),
    VteamRram(),
]
TRANSISTORS = [Level1Nmos(), Bsim4Nmos()]
STATES = np.array([[1.2345678901234567e-4, 3e-5, 1e-6]])


def one_row(cell, g=STATES):
    wires = Wires(r_row_segment=0.0, r_col_segment=0.0)
    return Tile(spec=TileSpec(rows=1, cols=g.shape[1], wires=wires, cell=cell), g=g)


@pytest.mark.ngspice
@pytest.mark.parametrize("rram", MEMORIES, ids=repr)
def test_memory_twin_against_its_card(rram):
    v = np.linspace(-0.3, 0.3, 13)
    assert rram.v_max >= 0.3
    found = solve(one_row(OneR(rram=rram)), Drive(v=v[:, None]), "ngspice").i_out
    twin = rram.current(v[:, None], STATES)
    assert_close(found / STATES, twin / STATES, DEVICE_TWIN)


@pytest.mark.parametrize("rram", MEMORIES, ids=repr)
def test_memory_slope_is_the_derivative_of_its_current(rram):
    v, h = np.linspace(-0.29, 0.29, 12), 1e-6  # not 0 V, where two directions may meet
    difference = (rram.current(v + h, 1e-4) - rram.current(v - h, 1e-4)) / (2 * h)
    assert_close(rram.slope(v, 1e-4), difference, 1e-8)
    assert rram.current(0.2, 1e-4) == pytest.approx(rram.secant_factor(0.2) * 0.2 * 1e-4)
    assert rram.current(-0.2, 1e-4) == pytest.approx(rram.secant_factor(-0.2) * -0.2 * 1e-4)
    assert rram.slope(0.0, 1e-4) == pytest.approx(1e-4)  # the state is the low-field conductance


@pytest.mark.parametrize("rram", MEMORIES, ids=repr)
def test_memories_refuse_voltages_beyond_their_range(rram):
    if rram.v_max == float("inf"):
        return
    for ask in (rram.current, rram.slope):
        with pytest.raises(InputError, match=r"across the memory exceeds the fitted range"):
            ask(-1.01 * rram.v_max, 1e-4)


def test_two_directions_differ_where_the_device_says_so():
    rram = YakopcicRram.hp_tio2()
    forward, back = rram.current([0.2, -0.2], 1e-4)
    assert -back / forward == pytest.approx(3.8 / 2.3)


def transistor_currents(nmos, *, v_gate, v_drain, v_source):
    """Drain currents [n] of the card in ngspice, through a memory of 1 mohm, and its own drop."""
    cell = OneTransistorOneR(nmos=nmos, v_gate=v_gate)
    tile = one_row(cell, np.full((1, len(v_source)), 1e3))
    circuit = build_circuit(tile, Drive(v=v_drain[:, None]))
    volts = circuit.sources.v.copy()
    volts[:, circuit.layout.outputs] = v_source
    return solve_circuit(replace(circuit, sources=replace(circuit.sources, v=volts))).i_out


@pytest.mark.ngspice
@pytest.mark.parametrize("v_gate", [0.5, 1.2, 2.0])
def test_level_1_twin_against_its_card(v_gate):
    nmos = Level1Nmos()
    v_drain, v_source = np.linspace(-0.1, 1.5, 17), np.linspace(-0.1, 0.6, 8)
    arguments = {"v_gate": v_gate, "v_drain": v_drain, "v_source": v_source}
    found = transistor_currents(nmos, **arguments)
    drain = v_drain[:, None] - 1e-3 * found  # after the drop over the memory
    assert_close(nmos.current(drain, v_gate, v_source), found, 1e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize("nmos", TRANSISTORS, ids=lambda nmos: type(nmos).__name__)
def test_transistor_ends_are_alike_and_more_voltage_is_more_current(nmos):
    ends = np.linspace(0.0, 0.4, 5)
    gates = [0.9, 1.2, 1.5]
    drawn = np.array(
        [transistor_currents(nmos, v_gate=g, v_drain=ends, v_source=ends) for g in gates]
    )
    antisymmetric = np.abs(drawn + drawn.transpose(0, 2, 1)).max()
    assert antisymmetric <= 1e-5 * drawn.max()  # 1 mohm in the drain alone, and solver tolerance
    assert (np.diff(drawn, axis=1) > 0).all() and (np.diff(drawn, axis=2) < 0).all()
    forward = drawn[:, ends[:, None] > ends]
    assert (np.diff(forward, axis=0) > 0).all() and (forward > 0).all()


@pytest.mark.ngspice
def test_bsim4_conducts_both_ways_and_not_at_all_below_threshold():
    v = np.array([-0.05, 0.0, 0.05, 0.2])
    on, off = (
        transistor_currents(Bsim4Nmos(vth0=vth0), v_gate=1.2, v_drain=v, v_source=np.zeros(1))[:, 0]
        for vth0 in (0.35, 1.19)
    )
    assert (np.diff(on) > 0).all() and on[0] < 0 < on[2] and abs(on[1]) < 1e-12
    assert 1e-4 < on[3] < 1e-3
    assert abs(off[3]) < 0.05 * on[3]


def test_cards_say_their_level():
    circuits = {
        nmos.level: to_spice(build_circuit(one_row(OneTransistorOneR(nmos=nmos)), Drive(v=[0.2])))
        for nmos in (Level1Nmos(), Bsim4Nmos())
    }
    assert "(level=1 vto=0.4" in circuits[1]
    assert "(level=54 version=4.8 toxe=2.3e-09" in circuits[54]


def test_bad_devices_and_voltages_are_refused():
    with pytest.raises(InputError, match=r"0.6 V across the memory exceeds"):
        SinhRram().current(0.6, 1e-4)
    with pytest.raises(InputError, match=r"SinhRram: v0=0.0"):
        SinhRram(v0=0.0)
    with pytest.raises(InputError, match=r"SinhRram: r_lrs=2000.0 must be below"):
        SinhRram(r_lrs=2e3, r_hrs=1e3)
    with pytest.raises(InputError, match=r"v_max=20.0 V is more than 40 times"):
        SinhRram(v_max=20.0)
    with pytest.raises(InputError, match=r"Bsim4Nmos: toxe=0.0"):
        Bsim4Nmos(toxe=0.0)
    with pytest.raises(InputError, match=r"does not exceed the threshold 0.35 V"):
        OneTransistorOneR(nmos=Bsim4Nmos(), v_gate=0.3)
