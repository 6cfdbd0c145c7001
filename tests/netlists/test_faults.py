import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists import (
    FaultKind,
    FaultMap,
    FaultRates,
    InputError,
    OneR,
    OneTransistorTwoR,
    TileSpec,
    Wires,
    read_faultmap,
    read_faultmap_csv,
    sample_faults,
    write_faultmap,
    write_faultmap_csv,
)

WIRES = Wires(r_row_segment=1.0, r_col_segment=1.0)


def spec(rows=16, cols=16, cell=None):
    return TileSpec(rows=rows, cols=cols, wires=WIRES, cell=cell or OneR())


def rng(seed):
    return np.random.default_rng(seed)


maps = st.builds(
    lambda rows, cols, total, ocr, seed: sample_faults(
        spec(rows, cols), FaultRates.from_ocr(total, ocr), rng=rng(seed)
    ),
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0, 1),
    st.floats(0, 100),
    st.integers(0, 1000),
)


@given(faults=maps)
def test_files_give_back_the_same_map(faults, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    back = read_faultmap(write_faultmap(faults, folder / "map"))
    assert np.array_equal(back.kind, faults.kind)
    assert (back.sha256, back.seed, back.requested) == (
        faults.sha256,
        faults.seed,
        faults.requested,
    )
    write_faultmap_csv(faults, folder / "map.csv")
    assert read_faultmap_csv(folder / "map.csv", faults.kind.shape).sha256 == faults.sha256


def test_the_hash_sees_shape_and_content():
    kind = np.zeros((2, 3), dtype=np.int8)
    hashes = {FaultMap(kind=kind).sha256, FaultMap(kind=kind.T).sha256}
    kind[0, 0] = 1
    assert len(hashes | {FaultMap(kind=kind).sha256}) == 3


def test_files_of_different_maps_are_refused(tmp_path):
    one = write_faultmap(
        sample_faults(spec(), FaultRates(stuck_lrs=0.5), rng=rng(1)), tmp_path / "a"
    )
    write_faultmap(sample_faults(spec(), FaultRates(stuck_lrs=0.5), rng=rng(2)), tmp_path / "b")
    (tmp_path / "b.npz").write_bytes(one.read_bytes())
    with pytest.raises(InputError, match="not of one map"):
        read_faultmap(tmp_path / "b")


@pytest.mark.parametrize("total, ocr", [(0.01, 1.0), (0.1, 5.0), (0.3, 0.2), (1.0, 1.0)])
def test_realised_rates_are_the_requested_ones(total, ocr):
    rates = FaultRates.from_ocr(total, ocr)
    faults = sample_faults(spec(256, 256), rates, rng=rng(3))
    n = 256 * 256
    for name in ("stuck_lrs", "stuck_hrs"):
        p = getattr(rates, name)
        assert abs(getattr(faults.realised, name) - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-12
    assert faults.requested == rates


def test_the_open_close_ratio_is_stuck_hrs_to_stuck_lrs():
    rates = FaultRates.from_ocr(0.4, 3.0)
    assert (rates.stuck_lrs, rates.stuck_hrs) == pytest.approx((0.1, 0.3))


def test_same_seed_same_map_other_seed_other_map():
    rates = FaultRates(stuck_lrs=0.1, stuck_hrs=0.1)
    a, b, c = (sample_faults(spec(), rates, rng=rng(s)).sha256 for s in (1, 1, 2))
    assert a == b != c


def test_maps_at_rising_rates_are_nested():
    low = sample_faults(spec(), FaultRates.from_ocr(0.1, 1.0), rng=rng(4)).kind
    high = sample_faults(spec(), FaultRates.from_ocr(0.3, 1.0), rng=rng(4)).kind
    assert (high[low > 0] == low[low > 0]).all() and (high > 0).sum() > (low > 0).sum() > 0


def test_first_memories_of_1t2r_are_stuck_like_those_of_1t1r():
    rates = FaultRates.from_ocr(0.2, 1.0)
    one = sample_faults(spec(), rates, rng=rng(5)).kind
    two = sample_faults(spec(cell=OneTransistorTwoR()), rates, rng=rng(5)).kind
    assert two.shape == (16, 16, 2)
    assert np.array_equal(two[..., 0], one) and not np.array_equal(two[..., 1], one)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: FaultRates(stuck_lrs=1.2), "stuck_lrs=1.2"),
        (lambda: FaultRates(stuck_hrs=-0.1), "stuck_hrs=-0.1"),
        (lambda: FaultRates(stuck_lrs=float("nan")), "nan"),
        (lambda: FaultRates(stuck_lrs=0.6, stuck_hrs=0.6), "exceeds 1"),
        (lambda: FaultRates.from_ocr(0.1, -1.0), "ocr=-1.0"),
        (lambda: FaultRates.from_sa(sa0=0.1), "convention=None"),
        (lambda: FaultRates.from_sa(sa0=0.1, convention="mine"), "rramedy"),
        (lambda: FaultMap(kind=np.full((2, 2), 7)), "kind"),
    ],
)
def test_impossible_faults_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_sa0_and_sa1_follow_the_named_convention():
    assert FaultRates.from_sa(sa0=0.1, convention="rramedy").stuck_hrs == 0.1
    assert FaultRates.from_sa(sa1=0.1, convention="drop-connect").stuck_hrs == 0.1


def test_csv_with_sa_names_needs_a_convention(tmp_path):
    path = tmp_path / "tester.csv"
    path.write_text("row,col,kind\n0,1,SA0\n1,0,SA1\n")
    with pytest.raises(InputError, match="opposite"):
        read_faultmap_csv(path, (2, 2))
    kind = read_faultmap_csv(path, (2, 2), convention="rramedy").kind
    assert kind.tolist() == [[0, FaultKind.STUCK_HRS], [FaultKind.STUCK_LRS, 0]]
    with pytest.raises(InputError, match="off the array"):
        read_faultmap_csv(path, (1, 1), convention="rramedy")
    path.write_text("row,col,kind\n0,1,BROKEN\n")
    with pytest.raises(InputError, match="BROKEN"):
        read_faultmap_csv(path, (2, 2))


@given(total=st.floats(0, 1), ocr=st.floats(0, 1e9))
def test_a_total_is_split_by_its_ratio_and_never_exceeded(total, ocr):
    rates = FaultRates.from_ocr(total, ocr)
    assert rates.total <= 1 and rates.total == pytest.approx(total, rel=1e-12)
    assert rates.stuck_hrs == pytest.approx(ocr * rates.stuck_lrs, rel=1e-6, abs=1e-15)
    assert FaultRates.from_ocr(1.0, 3.1).total == 1.0
