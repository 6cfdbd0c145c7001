import pickle
from dataclasses import replace

import numpy as np
import pytest

from netlists import (
    Drive,
    FaultMap,
    InputError,
    Level1Nmos,
    OhmicRram,
    OneR,
    OneTransistorOneR,
    OneTransistorTwoR,
    Tile,
    TileSpec,
    VteamRram,
    Wires,
    inject,
)
from netlists.identity import digest

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)


def spec(**changes):
    return TileSpec(**{"rows": 2, "cols": 3, "wires": WIRES, **changes})


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Wires(r_row_segment=-1.0, r_col_segment=1.0), "r_row_segment=.*-1.0"),
        (lambda: Wires(r_row_segment=1.0, r_col_segment=np.nan), "r_col_segment=.*nan"),
        (lambda: Wires(r_row_segment=1, r_col_segment=1, r_driver=np.inf), "r_driver=.*inf"),
        (
            lambda: spec(wires=Wires(r_row_segment=[1.0, 2.0], r_col_segment=1.0)),
            r"\(2,\) != \(2, 3\)",
        ),
        (lambda: spec(rows=0), "rows=0"),
        (lambda: spec(v_read=0.0), "v_read=0.0"),
        (lambda: Tile(spec=spec(), g=np.ones((3, 2))), r"\(3, 2\) != spec.g_shape=\(2, 3\)"),
        (lambda: Tile(spec=spec(), g=np.full((2, 3), np.nan)), r"g\[0, 0\]=.*nan"),
        (lambda: Tile(spec=spec(), g=-np.ones((2, 3))), "at least 0"),
        (
            lambda: inject(Tile(spec=spec(), g=np.ones((2, 3))), FaultMap(kind=np.zeros((2, 2)))),
            "kind",
        ),
        (lambda: Drive(v=np.full(2, np.inf)), "not a finite voltage"),
        (lambda: Drive(v=np.ones((1, 2, 3))), "batch"),
        (lambda: OhmicRram(r_lrs=-5.0), "r_lrs=-5.0"),
        (lambda: spec(cell=OneR(rram=VteamRram()), v_read=0.4), r"0.4 V across the memory exceeds"),
        (lambda: OhmicRram(r_lrs=1e6, r_hrs=1e3), "swap"),
        (lambda: Level1Nmos(w=0.0), "w=0.0"),
        (lambda: OneTransistorOneR(v_gate=0.2), "threshold"),
        (lambda: OneTransistorOneR(drive_line="WL"), "'WL'"),
    ],
)
def test_what_has_no_physical_meaning_is_refused_by_name(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_shapes_follow_the_cell():
    assert spec(cell=OneR()).g_shape == (2, 3)
    assert spec(cell=OneTransistorTwoR()).g_shape == (2, 3, 2)


def test_faults_overwrite_devices_and_injection_leaves_the_original():
    tile = Tile(spec=spec(), g=np.full((2, 3), 3e-5))
    kind = np.array([[0, 1, 2], [0, 0, 0]])
    faulty = inject(tile, FaultMap(kind=kind))
    assert faulty.g_device.tolist() == [[3e-5, 1e-4, 1e-6], [3e-5, 3e-5, 3e-5]]
    assert tile.g_device.tolist() == [[3e-5] * 3] * 2


def test_arrays_cannot_be_changed_behind_a_tile():
    g = np.full((2, 3), 1e-5)
    tile = Tile(spec=spec(), g=g)
    g[0, 0] = 1.0
    assert tile.g[0, 0] == 1e-5
    with pytest.raises(ValueError):
        tile.g[0, 0] = 1.0


def test_specs_and_wires_are_values():
    rows = np.arange(6.0).reshape(2, 3)
    for make in (
        lambda: Wires(r_row_segment=1, r_col_segment=2.0, r_driver=3.0),
        lambda: Wires(r_row_segment=rows, r_col_segment=rows.tolist(), r_sense=[1.0, 2.0, 3.0]),
    ):
        assert make() == make() and hash(make()) == hash(make())
        assert pickle.loads(pickle.dumps(make())) == make()
        assert spec(wires=make()) == spec(wires=make())
        assert hash(spec(wires=make())) == hash(spec(wires=make()))
    assert replace(WIRES, r_driver=1.0) != WIRES and WIRES != "wires"
    assert Wires(r_row_segment=rows, r_col_segment=1.0) != Wires(
        r_row_segment=rows + np.eye(2, 3), r_col_segment=1.0
    )
    assert spec() != spec(cell=OneTransistorOneR()) and spec() != spec(rows=3)


def test_scalar_wires_stay_scalars_and_are_expanded_on_use():
    wires = spec().wires
    assert wires.r_row_segment == 1.0 and isinstance(wires.r_row_segment, float)
    assert digest(spec()) == digest(spec(wires=replace(WIRES)))
    assert [part.shape for part in wires.in_series(2, 3)] == [(2, 3), (2, 3)]


def test_drivers_and_sense_resistances_are_part_of_the_segments_at_the_border():
    along, down = Wires(
        r_row_segment=1.0, r_col_segment=[[1.0, 2.0]] * 3, r_driver=[10.0, 20.0, 30.0], r_sense=5.0
    ).in_series(3, 2)
    assert along.tolist() == [[11.0, 1.0], [21.0, 1.0], [31.0, 1.0]]
    assert down.tolist() == [[1.0, 2.0], [1.0, 2.0], [6.0, 7.0]]
    with pytest.raises(InputError, match=r"r_driver.shape=\(3,\) != \(2,\)"):
        Wires(r_row_segment=1.0, r_col_segment=1.0, r_driver=[1.0] * 3).in_series(2, 2)
