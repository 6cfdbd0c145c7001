"""Files that are not what they should be: one sentence each, whatever their bytes."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists import (
    Bridge,
    DefectRates,
    Defects,
    FaultMap,
    FaultRates,
    InputError,
    TileSpec,
    Wires,
    read_defects,
    read_faultmap,
    read_faultmap_csv,
    sample_faults,
    write_defects,
    write_faultmap,
    write_faultmap_csv,
)

HEAD = "row,col,device,kind,siemens\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def faults_of():
    spec = TileSpec(rows=5, cols=3, wires=Wires(r_row_segment=1.0, r_col_segment=2.0))
    rates = FaultRates(stuck_lrs=0.2, stuck_hrs=0.2, stuck_at=0.2)
    return sample_faults(spec, rates, rng=np.random.default_rng(0))


def defects_of():
    bridges = [Bridge(kind="row", row=0, col=1, r=5.0)]
    found = Defects.at(4, 3, open_row=[(1, 2)], transistor_open=[(2, 0)], bridges=bridges)
    return Defects(
        **{name: getattr(found, name) for name in ("rows", "cols", "transistor", "open_row")},
        bridges=found.bridges,
        requested=DefectRates(open_row=0.1),
    )


KINDS = {
    "faults": (write_faultmap, read_faultmap, faults_of),
    "defects": (write_defects, read_defects, defects_of),
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line names the columns .* it is missing"),
        ("0,1,STUCK_LRS\n1,0,STUCK_HRS\n", "the first line names the columns"),
        ("row,col\n0,1\n", "the first line names the columns"),
        (HEAD + "0,1,0,STUCK_LRS,\n1,1,0,STUCK_LRS,\n0,1,0,STUCK_HRS,\n", "line 4: .*in line 2"),
        (HEAD + "0,1,0,STUCK_LRS,\n0,1,0,STUCK_LRS,\n", "a memory has one state"),
        (HEAD + "0,1,0\n", "line 2 has 3 values for 5 columns"),
        (HEAD + "0,1,0,STUCK_LRS,,7\n", "line 2 has 6 values"),
        (HEAD + "a,1,0,STUCK_LRS,\n", "row 'a' is no whole number"),
        (HEAD + ",1,0,STUCK_LRS,\n", "row '' is no whole number"),
        (HEAD + "0,1.0,0,STUCK_LRS,\n", "col '1.0' is no whole number"),
        (HEAD + "0,1,2,STUCK_LRS,\n", "device 2 lies off the array"),
        (HEAD + "-1,1,0,STUCK_LRS,\n", "row -1 lies off the array"),
        (HEAD + "0,1,0,STUCK_AT,nan\n", "siemens 'nan'"),
        (HEAD + "0,1,0,STUCK_AT,-1\n", "siemens '-1'"),
        (HEAD + "0,1,0,STUCK_AT,\n", "STUCK_AT needs a conductance"),
        (HEAD + "0,1,0,NONE,\n", "kind 'NONE' is none of"),
        ("row,col,kind,devise\n0,1,STUCK_LRS,1\n", "column 'devise' is unknown"),
        ("row,col,kind,row\n0,1,STUCK_LRS,1\n", "column 'row' is unknown or there twice"),
        (HEAD + '0,1,0,"STUCK_LRS\n', "is no CSV file"),
    ],
)
def test_a_csv_that_cannot_be_meant_is_refused(tmp_path, text, words):
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_faultmap_csv(path, (2, 2, 2))


def test_a_csv_s_device_is_read_and_defaults_to_the_first(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("\ufeffRow, col ,kind,device\n0,1,stuck_lrs,1\n\n1,0,STUCK_HRS,0\n")
    kind = read_faultmap_csv(path, (2, 3, 2)).kind
    assert [tuple(place) for place in np.argwhere(kind).tolist()] == [(0, 1, 1), (1, 0, 0)]
    path.write_text("row,col,kind\n0,1,STUCK_LRS\n")
    assert np.argwhere(read_faultmap_csv(path, (2, 3, 2)).kind).tolist() == [[0, 1, 0]]
    path.write_text(HEAD)
    assert not read_faultmap_csv(path, (2, 3)).kind.any()


def test_a_csv_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_faultmap_csv(tmp_path / "none.csv", (2, 2))


@pytest.mark.parametrize("name", KINDS)
def test_what_is_missing_damaged_or_of_another_map_is_refused(tmp_path, name):
    write, read, make = KINDS[name]
    path = write(make(), tmp_path / "map.npz")
    assert read(path).sha256 == make().sha256
    npz, sidecar = path.read_bytes(), path.with_suffix(".json").read_text()
    for content, words in [
        (b"", "is damaged or no npz"),
        (npz[: len(npz) // 2], "is damaged or no npz"),
        (b"no zip", "is damaged or no npz"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read(path)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        read(path)
    path.write_bytes(npz)
    for text, words in [
        ("{", "is no JSON"),
        ("[]", "format None"),
        ("null", "format None"),
        (sidecar.replace('"sha256"', '"sha"'), "damaged"),
        (sidecar.replace('"sha256": "', '"sha256": "0'), "are not of one map"),
        (json.dumps(json.loads(sidecar) | {"requested": [1]}), "damaged"),
    ]:
        path.with_suffix(".json").write_text(text)
        with pytest.raises(InputError, match=words):
            read(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"map.json cannot be read"):
        read(path)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_csv_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "map.csv"
    for head in (b"", HEAD.encode()):
        path.write_bytes(head + content)
        with contextlib.suppress(InputError):
            assert isinstance(read_faultmap_csv(path, (3, 2), convention="rramedy"), FaultMap)


@given(data=st.data())
def test_any_damage_to_a_csv_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("csv") / "map.csv"
    write_faultmap_csv(faults_of(), path)
    path.write_bytes(damaged(data, path.read_bytes()))
    with contextlib.suppress(InputError):
        assert read_faultmap_csv(path, (5, 3)).kind.shape == (5, 3)


def damaged(data, content):
    """Some bytes changed, then cut or lengthened."""
    found = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(found)) | st.just(len(found)))
    return bytes(found[:kept]) + data.draw(st.binary(max_size=5))


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_any_damage_to_a_map_is_noticed_or_harmless(tmp_path_factory, name, data):
    write, read, make = KINDS[name]
    path = write(make(), tmp_path_factory.mktemp("map") / "map.npz")
    which = data.draw(st.sampled_from([path, path.with_suffix(".json")]))
    how = data.draw(st.sampled_from(["damage", "bytes", "value"]))
    if how == "damage":
        which.write_bytes(damaged(data, which.read_bytes()))
    elif how == "bytes":
        which.write_bytes(data.draw(st.binary(max_size=100)))
    else:
        sidecar = json.loads(path.with_suffix(".json").read_text())
        key = data.draw(st.sampled_from(sorted(sidecar)))
        path.with_suffix(".json").write_text(json.dumps(sidecar | {key: data.draw(JSON)}))
    with contextlib.suppress(InputError):
        assert read(path).sha256 == make().sha256
