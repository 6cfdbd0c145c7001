from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists import (
    Access,
    Bridge,
    DefectRates,
    Defects,
    Drive,
    FaultMap,
    FaultRates,
    InputError,
    OneR,
    OneTransistorOneR,
    Tile,
    TileSpec,
    TransistorState,
    Wires,
    build_circuit,
    check,
    inject,
    read_defects,
    read_faultmap,
    read_faultmap_csv,
    sample_defects,
    sample_faults,
    write_defects,
    write_faultmap,
    write_faultmap_csv,
)

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)
EVERY = tuple(name for name in DefectRates.__dataclass_fields__ if not name.startswith("r_"))


def spec(rows=6, cols=7, cell=None):
    return TileSpec(rows=rows, cols=cols, wires=WIRES, cell=cell or OneTransistorOneR())


def rng(seed=0):
    return np.random.default_rng(seed)


def circuit_of(defects, cell=None):
    tile = Tile(spec=spec(defects.rows, defects.cols, cell), g=np.full((6, 7), 1e-5))
    return build_circuit(inject(tile, defects), Drive(v=np.full(defects.rows, 0.1)))


def every_rate(rate, **others):
    return DefectRates(**dict.fromkeys(EVERY, rate), **others)


@given(rate=st.floats(0, 0.5), seed=st.integers(0, 1000), column=st.booleans())
def test_files_give_back_the_same_defects(rate, seed, column, tmp_path_factory):
    cell = OneTransistorOneR(gate_line="column" if column else "row")
    drawn = sample_defects(spec(cell=cell), every_rate(rate, r_bridge=3), rng=rng(seed))
    back = read_defects(write_defects(drawn, tmp_path_factory.mktemp("d") / "map"))
    assert (back.sha256, back.seed, back.requested) == (drawn.sha256, drawn.seed, drawn.requested)
    assert back.counts() == drawn.counts() and back.bridges == drawn.bridges


def test_files_of_different_defects_are_refused(tmp_path):
    one, _ = (
        write_defects(sample_defects(spec(), every_rate(0.3), rng=rng(seed)), tmp_path / name)
        for seed, name in enumerate("ab")
    )
    (tmp_path / "b.npz").write_bytes(one.read_bytes())
    with pytest.raises(InputError, match="not of one map"):
        read_defects(tmp_path / "b")
    with pytest.raises(InputError, match="format"):
        read_faultmap(tmp_path / "a")


def test_the_hash_sees_every_part():
    shape = {"rows": 2, "cols": 2}
    mark = np.eye(2, dtype=np.int8)
    bridge = Bridge(kind="row", row=0, col=0, r=1.0)
    variants = [
        Defects(**shape),
        Defects(rows=2, cols=3),
        Defects(**shape, transistor=mark),
        Defects(**shape, transistor=2 * mark),
        *(Defects(**shape, **{name: mark}) for name in ("open_row", "open_col", "open_gate")),
        Defects(**shape, bridges=(bridge,)),
        Defects(**shape, bridges=(replace(bridge, r=2.0),)),
        Defects(**shape, r_short=1.0),
    ]
    assert len({defects.sha256 for defects in variants}) == len(variants)
    assert Defects(**shape, bridges=(replace(bridge, r=np.float64(1)),)).sha256 == (
        variants[-3].sha256
    )


def test_realised_rates_are_the_requested_ones():
    n = 128
    cell = OneTransistorOneR()
    drawn = sample_defects(spec(n, n, cell), every_rate(0.1), rng=rng(3)).counts()
    assert set(drawn) == set(EVERY)
    for name, count in drawn.items():
        sites = n * (n - 1) if name in ("bridge_row", "bridge_col", "bridge_gate") else n * n
        assert abs(count / sites - 0.1) <= 5 * np.sqrt(0.1 * 0.9 / sites), name


@given(seed=st.integers(0, 1000), low=st.floats(0, 0.25), more=st.floats(0, 0.25))
def test_maps_at_rising_rates_are_nested(seed, low, more):
    a, b = (sample_defects(spec(), every_rate(rate), rng=rng(seed)) for rate in (low, low + more))
    assert (a.transistor[a.transistor > 0] == b.transistor[a.transistor > 0]).all()
    for name in ("open_row", "open_col", "open_gate"):
        assert not (getattr(a, name) & ~getattr(b, name)).any()
    assert set(a.bridges) <= set(b.bridges)


def test_one_kind_does_not_move_another():
    one = sample_defects(spec(), DefectRates(open_col=0.3), rng=rng(1))
    both = sample_defects(spec(), DefectRates(open_col=0.3, transistor_open=0.5), rng=rng(1))
    assert np.array_equal(one.open_col, both.open_col) and both.of_transistors
    drawn = rng(2)
    sample_defects(spec(), every_rate(0.3), rng=drawn)
    assert np.array_equal(drawn.random(5), rng(2).random(5))


def test_defects_join():
    drawn = Defects.at(
        2,
        2,
        transistor_open=[(0, 0), (1, 1)],
        open_row=[(0, 1)],
        bridges=[Bridge(kind="row", row=0, col=1, r=5)],
    )
    listed = Defects.at(
        2,
        2,
        transistor_shorted=[(1, 1)],
        open_row=[(1, 0)],
        bridges=[Bridge(kind="row", row=0, col=1, r=7)],
        r_short=3.0,
    )
    joined = drawn.joined(listed)
    assert joined.transistor.tolist() == [[TransistorState.OPEN, 0], [0, TransistorState.SHORTED]]
    assert joined.open_row.sum() == 2 and [b.r for b in joined.bridges] == [7]
    assert joined.r_short == 3.0
    with pytest.raises(InputError, match="do not join"):
        drawn.joined(Defects(rows=1, cols=2))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Defects(rows=2, cols=2, open_row=np.zeros((2, 3))), r"open_row.shape=\(2, 3\)"),
        (lambda: Defects(rows=1, cols=1, transistor=[[7]]), "transistor"),
        (lambda: Defects(rows=1, cols=1, r_short=-1.0), "r_short=-1"),
        (lambda: Defects.at(2, 2, open_row=[(2, 0)]), r"open_row: \(2, 0\) lies off a 2x2"),
        (
            lambda: Defects.at(2, 2, transistor_open=[(1, 1)], transistor_shorted=[(1, 1)]),
            "as open and as shorted",
        ),
        (lambda: Bridge(kind="rwo", row=0, col=0, r=1.0), "kind='rwo'"),
        (lambda: Bridge(kind="row", row=-1, col=0, r=1.0), "no position"),
        (lambda: Bridge(kind="row", row=0, col=0, r=float("inf")), "r=inf"),
        (lambda: Defects.at(2, 2, bridges=[Bridge(kind="row", row=1, col=0, r=1.0)]), "off a 2x2"),
        (lambda: Defects.at(2, 2, bridges=[Bridge(kind="cell", row=0, col=0, r=1.0)] * 2), "two"),
        (lambda: DefectRates(open_row=1.1), "open_row=1.1"),
        (lambda: DefectRates(r_bridge=-1.0), "r_bridge=-1"),
        (lambda: DefectRates(transistor_open=0.6, transistor_shorted=0.6), "exceeds 1"),
        (lambda: OneTransistorOneR(gate_line="diagonal"), "gate_line='diagonal'"),
        (
            lambda: sample_defects(spec(cell=OneR()), DefectRates(transistor_open=0.1), rng=rng()),
            "OneR has no transistor",
        ),
        (
            lambda: circuit_of(Defects.at(6, 7, open_gate=[(0, 0)]), cell=OneR()),
            "OneR has none",
        ),
        (lambda: Tile(spec=spec(), g=np.ones((6, 7)), defects=Defects(rows=2, cols=2)), "2x2"),
        (
            lambda: circuit_of(
                Defects.at(6, 7, bridges=[Bridge(kind="gate", row=5, col=0, r=1.0)])
            ),
            "off a 6x7",
        ),
    ],
)
def test_impossible_defects_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_gate_line_is_cut_from_the_driver_on():
    for line, expected in (("row", [[0, 0, 1, 1]]), ("column", [[0, 0, 1, 0]])):
        cell = OneTransistorOneR(gate_line=line)
        tile = Tile(spec=spec(1, 4, cell), g=np.full((1, 4), 1e-5))
        cut = inject(tile, Defects.at(1, 4, open_gate=[(0, 2)]))
        assert cut.access.tolist() == expected
        assert np.array_equal(cut.g_reachable > 0, cut.access != Access.OFF)


def test_a_bridge_brings_a_cut_gate_line_back_whatever_its_resistance():
    cuts = {"open_gate": [(1, 2), (2, 3)]}
    chain = [Bridge(kind="gate", row=i, col=5, r=r) for i, r in ((1, 1e9), (2, 0.0))]
    tile = Tile(spec=spec(), g=np.full((6, 7), 1e-5))

    def off(bridges):
        defects = Defects.at(6, 7, **cuts, bridges=bridges)
        return inject(tile, defects).access == Access.OFF

    assert off([])[1, 2:].all() and off([])[2, 3:].all() and off([]).sum() == 9
    assert off(chain[:1]).sum() == 9  # two islands together still float
    assert not off(chain).any()  # row 3 drives both, one through the other


def test_what_is_broken_stands_in_the_netlist():
    bridges = [Bridge(kind=kind, row=3, col=4, r=2.0) for kind in ("row", "column", "gate", "cell")]
    defects = Defects.at(
        6,
        7,
        transistor_open=[(0, 1)],
        transistor_shorted=[(2, 2)],
        open_row=[(1, 1)],
        open_col=[(4, 5)],
        open_gate=[(3, 4), (5, 0)],
        bridges=bridges,
    )
    circuit = circuit_of(defects)
    resistors = dict(zip(circuit.resistors.names, circuit.resistors.r.tolist(), strict=True))
    ends = {
        name: (circuit.nodes[a], circuit.nodes[b])
        for name, a, b in zip(
            circuit.resistors.names, circuit.resistors.a, circuit.resistors.b, strict=True
        )
    }
    assert "mcell_0_1" not in circuit.mosfets.names and "rcell_0_1" in resistors
    assert "mcell_2_2" not in circuit.mosfets.names and resistors["rshort_2_2"] == 100.0
    assert "rrow_1_1" not in resistors and "rcol_4_5" not in resistors
    assert ends["rbrow_3_4"] == ("x_3_4", "x_4_4") and resistors["rbrow_3_4"] == 2.0
    assert ends["rbcolumn_3_4"] == ("y_3_4", "y_3_5")
    assert ends["rbcell_3_4"] == ("x_3_4", "y_3_4")
    assert ends["rbgate_3_4"] == ("gate_3_4", "gate_4")
    assert "rleak_3_4" not in resistors and ends["rleak_5_0"] == ("gate_5_0", "0")
    gates = dict(zip(circuit.mosfets.names, circuit.mosfets.gate, strict=True))
    assert circuit.nodes[gates["mcell_3_3"]] == "gate_3"
    assert circuit.nodes[gates["mcell_3_6"]] == "gate_3_4"
    assert check(circuit).solvable and not check(circuit).islands


def test_an_island_behind_an_off_transistor_is_one():
    defects = Defects.at(6, 7, open_row=[(2, 3)], open_gate=[(2, 3)])
    floating = set(check(circuit_of(defects)).floating)
    assert {"x_2_3", "x_2_6", "mid_2_4"} <= floating and "y_2_4" not in floating


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_memories_stuck_anywhere(rate, tmp_path):
    rates = FaultRates(stuck_lrs=0.1, stuck_hrs=0.1, stuck_at=rate)
    faults = sample_faults(spec(64, 64, OneR()), rates, rng=rng(6))
    assert abs(faults.realised.stuck_at - rate) < 0.03
    only_states = sample_faults(spec(64, 64, OneR()), replace(rates, stuck_at=0.0), rng=rng(6)).kind
    assert (faults.kind[only_states > 0] == only_states[only_states > 0]).all()
    tile = Tile(spec=spec(64, 64, OneR()), g=np.full((64, 64), 1e-5), faults=faults)
    at = faults.kind == 3
    assert ((tile.g_device[at] > 1e-6) & (tile.g_device[at] < 1e-4)).all()
    assert len(np.unique(tile.g_device[at])) == at.sum()
    back = read_faultmap(write_faultmap(faults, tmp_path / "map"))
    write_faultmap_csv(faults, tmp_path / "map.csv")
    table = read_faultmap_csv(tmp_path / "map.csv", (64, 64))
    assert back.sha256 == table.sha256 == faults.sha256


def test_a_stuck_state_needs_its_conductance():
    with pytest.raises(InputError, match="g_stuck must give"):
        FaultMap(kind=np.full((1, 1), 3))
    with pytest.raises(InputError, match="at least 0"):
        FaultMap(kind=np.full((1, 1), 3), g_stuck=np.full((1, 1), -1.0))
