"""The README's recipes for a memory and for a cell: what is added here goes everywhere."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from circuitsim import (
    Outcome,
    compare,
    effective_conductance,
    prepare_nonlinear,
    pulse_agreement,
    solve,
)
from netlists import (
    Cell,
    DeviceSpread,
    Drive,
    InputError,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    Pulse,
    Rram,
    Tile,
    TileSpec,
    Wires,
    YakopcicRram,
    build_circuit,
    inject,
    to_spice,
)
from netlists.cells import Instance, Memory, Resistor, Transistor
from netlists.defects import Defects
from netlists.devices import DeviceCard, require_positive
from netlists.identity import digest
from tests.strategies import random_drive, random_tile, with_random_defects
from tests.tolerances import (
    DEFECTS_LINEAR,
    DEFECTS_NONLINEAR,
    KCL,
    NGSPICE_LINEAR,
    NONLINEAR_SAME_LAW,
    PULSE_TWIN,
    assert_close,
)


@dataclass(frozen=True, kw_only=True)
class CubicRram(Rram):
    """I = g (v + (v / bend_at)^2 v): a memory of a law that nothing else here knows."""

    bend_at: float = 0.3
    v_max: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        require_positive("CubicRram", bend_at=self.bend_at, v_max=self.v_max)

    def current(self, v, g):
        volts = self.checked(v)
        return np.asarray(np.asarray(g) * (volts + volts**3 / self.bend_at**2))

    def slope(self, v, g):
        return np.asarray(np.asarray(g) * (1 + 3 * self.checked(v) ** 2 / self.bend_at**2))

    def read_card(self):
        return DeviceCard(
            name="cubicrram",
            ports=("a", "b"),
            arguments={"g": 1.0},
            constants={"c": 1 / self.bend_at**2},
            elements=("b1 a b i={g}*(v(a,b)+{c}*v(a,b)*v(a,b)*v(a,b))",),
        )


@dataclass(frozen=True, kw_only=True)
class SelectorCell(Cell):
    """1S1R: a selector that is on, a resistor, between the drive line and the memories."""

    rram: Rram = field(default_factory=OhmicRram)
    r_selector: float = 800.0

    @property
    def series(self):
        return Resistor(r=self.r_selector), Memory()


@dataclass(frozen=True, kw_only=True)
class TwinSelectorCell(SelectorCell):
    """1S2R: two memories in parallel behind one selector."""

    n_rram: ClassVar[int] = 2


@dataclass(frozen=True, kw_only=True)
class ContactCell(OneTransistorOneR):
    """1T1R with the resistance of a contact on the source line."""

    r_contact: float = 300.0

    @property
    def series(self):
        return *super().series, Resistor(r=self.r_contact)


CUBIC = OneR(rram=CubicRram())
CELLS = [
    CUBIC,
    SelectorCell(),
    SelectorCell(rram=CubicRram()),
    TwinSelectorCell(rram=CubicRram()),
    ContactCell(),
    OneTransistorOneR(rram=CubicRram()),
]
NAMES = ["1R cubic", "1S1R", "1S1R cubic", "1S2R cubic", "1T1R contact", "1T1R cubic"]


def one_cell(cell, g):
    wires = Wires(r_row_segment=0.0, r_col_segment=0.0)
    spec = TileSpec(rows=1, cols=1, wires=wires, cell=cell)
    return Tile(spec=spec, g=np.full(spec.g_shape, g))


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_a_new_kind_is_a_value(cell):
    assert digest(cell) == digest(type(cell)(rram=cell.rram)) and hash(cell) == hash(cell)
    spec = random_tile(2, 3, 1, cell=cell).spec
    assert spec == TileSpec(rows=2, cols=3, wires=spec.wires, cell=type(cell)(rram=cell.rram))


def test_its_elements_stand_in_the_netlist_in_their_order():
    text = to_spice(build_circuit(one_cell(SelectorCell(), 1e-4), Drive(v=[0.1])))
    assert "rseries_0_0 in_0 mid_0_0 800.0" in text and "rcell_0_0 mid_0_0 out_0 10000.0" in text
    text = to_spice(build_circuit(one_cell(ContactCell(), 1e-4), Drive(v=[0.1])))
    assert "rcell_0_0 in_0 mid_0_0" in text and "mcell_0_0 mid_0_0 gate_0 mid1_0_0" in text
    assert "rseries_0_0 mid1_0_0 out_0 300.0" in text


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
@pytest.mark.parametrize("defects", [False, True], ids=["", "defects"])
def test_newton_is_ngspice_on_the_emitted_netlist(cell, defects):
    tile = random_tile(6, 5, 11, stuck=0.2, cell=cell)
    if defects:
        tile = with_random_defects(tile, 12, 0.08, r_bridge=3.0)
    drive = random_drive(tile, 13)
    found, spice = solve(tile, drive, "newton"), solve(tile, drive, "ngspice")
    limit = NONLINEAR_SAME_LAW if cell.is_bare else DEFECTS_NONLINEAR
    assert compare(found, spice).max_relative <= limit
    assert found.outcome is not Outcome.NOT_CONVERGED and found.kcl_residual <= KCL


@pytest.mark.ngspice
@pytest.mark.parametrize("defects", [False, True], ids=["", "defects"])
def test_an_ohmic_cell_with_a_selector_is_linear_to_every_solver(defects):
    tile = random_tile(7, 4, 21, stuck=0.2, cell=SelectorCell())
    if defects:
        tile = with_random_defects(tile, 22, 0.08, r_bridge=3.0)
    drive = random_drive(tile, 23)
    spice = solve(tile, drive, "ngspice")
    for solver in ("dissection", "nodal"):
        assert compare(solve(tile, drive, solver), spice).max_relative <= DEFECTS_LINEAR
    assert_close(drive.v @ effective_conductance(tile).T, spice.i_out, DEFECTS_LINEAR)


@pytest.mark.ngspice
def test_linear_reads_the_secant_at_the_read_voltage():
    tile = one_cell(CUBIC, 1e-4)
    found = solve(tile, Drive(v=[tile.spec.v_read])).i_out[0, 0]
    assert found == pytest.approx(float(CUBIC.rram.current(tile.spec.v_read, 1e-4)))
    tile = one_cell(SelectorCell(), 1e-4)
    assert effective_conductance(tile)[0, 0] == pytest.approx(1 / (800.0 + 1e4), rel=NGSPICE_LINEAR)


def test_a_memory_keeps_its_fitted_range():
    with pytest.raises(InputError, match=r"fitted up to v_max=0.6 V"):
        prepare_nonlinear(one_cell(CUBIC, 1e-4), v_low=-0.4, v_high=0.4)


@pytest.mark.ngspice
def test_a_memory_with_a_narrow_range_is_calibrated_within_it():
    cell = OneTransistorOneR(rram=CubicRram(bend_at=0.1, v_max=0.12))
    spec = TileSpec(
        rows=3, cols=2, wires=Wires(r_row_segment=1.0, r_col_segment=2.0), cell=cell, v_read=0.1
    )
    tile = Tile(spec=spec, g=np.full(spec.g_shape, 1e-4))
    drive = Drive(v=[0.1, 0.05, 0.0])
    found = compare(solve(tile, drive, "newton"), solve(tile, drive, "ngspice"))
    assert found.max_relative <= DEFECTS_NONLINEAR


@pytest.mark.ngspice
def test_a_shorted_transistor_leaves_what_else_is_in_series():
    tile = inject(one_cell(ContactCell(), 1e-4), Defects.at(1, 1, transistor_shorted=[(0, 0)]))
    expected = 0.1 / (1e4 + 300.0 + tile.defects.r_short)
    for solver in ("newton", "dissection", "ngspice"):
        assert solve(tile, Drive(v=[0.1]), solver).i_out[0, 0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.ngspice
def test_a_new_cell_is_written_like_any_other():
    cell = SelectorCell(rram=YakopcicRram(), r_selector=2e4)
    pulse = Pulse(height=4.6, width=1e-8, edge=1e-9)
    rng = np.random.default_rng(0)
    found = pulse_agreement(cell, pulse, DeviceSpread(), rising=True, rng=rng, devices=8)
    assert found.worst <= PULSE_TWIN < found.moved


def test_cells_that_cannot_be_are_told():
    @dataclass(frozen=True, kw_only=True)
    class NoGate(SelectorCell):
        @property
        def series(self):
            return Memory(), Transistor(nmos=OneTransistorOneR().nmos)

    @dataclass(frozen=True, kw_only=True)
    class TwoSelectors(SelectorCell):
        @property
        def series(self):
            return Resistor(r=1.0), Memory(), Resistor(r=2.0)

    with pytest.raises(InputError, match="does not say its gate"):
        build_circuit(one_cell(NoGate(), 1e-4), Drive(v=[0.1]))
    with pytest.raises(InputError, match="twice"):
        build_circuit(one_cell(TwoSelectors(), 1e-4), Drive(v=[0.1]))
    assert Instance() not in SelectorCell().series


@pytest.mark.ngspice
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__ + type(c.rram).__name__)
def test_a_network_is_mapped_onto_it(cell):
    torch = pytest.importorskip("torch")
    from netlists import FaultRates
    from nnmap import Chip, Fidelity, MappingPlan, map_network

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(9, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    ).double()
    x = torch.rand(12, 9, dtype=torch.float64)
    spec = TileSpec(rows=8, cols=12, wires=Wires(r_row_segment=1.5, r_col_segment=2.5), cell=cell)
    plan = MappingPlan(spec=spec, weight_bits=4, device_bits=2, dac_bits=None, adc_bits=None)
    network = map_network(model, plan, rng=np.random.default_rng(0), sample=x)
    chip = Chip(rates=FaultRates(stuck_lrs=0.05, stuck_hrs=0.1), seed=3)
    read = {f: network.on(chip, f)(x[:3]).detach() for f in Fidelity}
    scale = read[Fidelity.SPICE].abs().max()
    assert (read[Fidelity.NONLINEAR] - read[Fidelity.SPICE]).abs().max() <= 1e-5 * scale
    assert (read[Fidelity.LINEAR] - read[Fidelity.SPICE]).abs().max() <= 5e-2 * scale
    assert (read[Fidelity.IDEAL] - read[Fidelity.SPICE]).abs().max() > 0
