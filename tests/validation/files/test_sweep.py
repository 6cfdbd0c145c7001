import copy
import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlists import InputError
from validation.files.settings import read_settings, with_settings
from validation.files.sweep import points, written_out

BASE = """
[tile]
rows = 4
cols = 3
[mapping]
layers = ["a"]
[[variation]]
kind = "gaussian_spread"
sigma = 0.5
[[variation]]
kind = "lognormal_spread"
sigma = 0.5
[sweep]
"""


def read(text):
    return tomllib.loads(BASE + text)


def test_a_study_without_a_sweep_is_one_point():
    raw = {"tile": {"rows": 4}}
    assert points(raw) == [({}, raw)]


def test_keys_are_multiplied_and_the_first_varies_slowest():
    raw = read('"tile.rows" = [8, 16]\n"tile.cols" = [1, 2, 3]\n')
    found = points(raw)
    assert [tuple(axes.values()) for axes, _ in found] == [
        (8, 1), (8, 2), (8, 3), (16, 1), (16, 2), (16, 3),
    ]  # fmt: skip
    assert found[3][1]["tile"] == {"rows": 16, "cols": 1}
    assert "sweep" not in found[0][1]


def test_zipped_keys_move_together_where_the_first_of_them_stands():
    raw = read(
        '"tile.cols" = [5, 6]\n"mapping.adc_bits" = [4, 8]\n"tile.rows" = [7, 9]\n'
        'zip = [["tile.cols", "tile.rows"]]\n'
    )
    found = [(one["tile"]["cols"], one["mapping"]["adc_bits"], one["tile"]["rows"])
             for _, one in points(raw)]  # fmt: skip
    assert found == [(5, 4, 7), (5, 8, 7), (6, 4, 9), (6, 8, 9)]
    repeated = read(
        '"tile.cols" = [5, 6]\n"tile.rows" = [7, 7]\nzip = [["tile.cols", "tile.rows"]]'
    )
    assert len(points(repeated)) == 2


def test_quoted_and_bare_keys_are_the_same():
    assert points(read('"tile.rows" = [1, 2]')) == points(read("tile.rows = [1, 2]"))


def test_values_may_be_lists_and_tables_and_lie_inside_lists_of_tables():
    raw = read(
        '"mapping.layers" = [["a"], ["b", "c"]]\n'
        '"variation.lognormal_spread.sigma" = [0.1]\n"variation.0.sigma" = [0.2]\n'
        'network = [{ name = "x" }, { name = "y", weights = "w" }]\n'
    )
    axes, last = points(raw)[-1]
    assert last["mapping"]["layers"] == ["b", "c"]
    assert [one["sigma"] for one in last["variation"]] == [0.2, 0.1]
    assert last["network"] == {"name": "y", "weights": "w"}
    assert axes["mapping.layers"] == '["b", "c"]' and axes["network"] == "y"
    same_name = read('network = [{ name = "x" }, { name = "x", weights = "w" }]')
    assert points(same_name)[1][0]["network"] == '{"name": "x", "weights": "w"}'


SWEEPS = st.dictionaries(
    st.sampled_from(["tile.rows", "tile.cols", "faults.ocr", "cell.kind"]),
    st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True),
)


@given(SWEEPS)
def test_every_combination_is_there_once_and_nothing_given_is_changed(sweep):
    raw = {"tile": {"rows": 1}, "sweep": sweep}
    before = copy.deepcopy(raw)
    found = points(raw)
    assert raw == before and found == points(raw)
    assert len(found) == math.prod(map(len, sweep.values()))
    assert len({tuple(axes.values()) for axes, _ in found}) == len(found)
    for axes, point in found:
        for key, value in axes.items():
            section, name = key.split(".")
            assert point[section][name] == value and value in sweep[key]


@pytest.mark.parametrize(
    "text, words",
    [
        ('"tile.rows" = []', "'tile.rows' lists no value, which leaves nothing to run"),
        ('"tile.rows" = 3', "'tile.rows' = 3 must be a list"),
        ('"tile.rows" = [3, 4, 3]', "'tile.rows' lists 3 twice"),
        ('"tile.rows" = [3, 3.0]', "'tile.rows' lists 3.0 twice"),
        ('"tile.rows" = [3]\ntile.rows = [3]', "lists 'tile.rows' twice"),
        ('"mapping.layers" = [["a"], ["a"]]', r"lists \[\"a\"\] twice"),
        ('"tile.rows" = [3, 4]\n"tile.cols" = [1]\nzip = [["tile.rows", "tile.cols"]]',
         "equally many values: 'tile.rows' has 2, 'tile.cols' has 1"),
        ('"tile.rows" = [3, 3]\n"tile.cols" = [1, 1]\nzip = [["tile.rows", "tile.cols"]]',
         "'tile.rows' with 'tile.cols' lists 3, 1 twice"),
        ('"tile.rows" = [3]\nzip = [["tile.rows", "tile.cols"]]', "zip names 'tile.cols', which"),
        ('"tile.rows" = [3]\nzip = [["tile.rows"]]', "must be a list of lists of two or more"),
        ('"tile.rows" = [3]\nzip = [["tile.rows", "tile.rows"]]', "zip names 'tile.rows' twice"),
        ('"tile.rows.x" = [3]', "'tile.rows.x' enters 4, which is no table"),
        ('"variation.drift.nu" = [3]', "'drift' is not in its list, there are 'gaussian_spread', "),
        (f'"tile.rows" = {list(range(400))}\n"tile.cols" = {list(range(400))}', "160000 points"),
    ],
)  # fmt: skip
def test_sweeps_that_cannot_be_are_told(text, words):
    with pytest.raises(InputError, match=words):
        points(read(text))


def test_a_name_that_two_tables_share_needs_a_place():
    raw = {"variation": [{"kind": "a", "s": 1}, {"kind": "a", "s": 2}]}
    with pytest.raises(InputError, match="names 2 tables called 'a'"):
        points({**raw, "sweep": {"variation.a.s": [3]}})
    [(_, point)] = points({**raw, "sweep": {"variation.1.s": [3]}})
    assert [one["s"] for one in point["variation"]] == [1, 3]


def test_shorthands_are_sweeps_after_those_that_are_listed():
    raw = {"faults": {"rates": [0.2, 0.1], "ocr": 2.0}, "sweep": {"tile.rows": [1, 2]}}
    found = points(written_out(raw))
    assert [tuple(axes.values()) for axes, _ in found] == [(1, 0.2), (1, 0.1), (2, 0.2), (2, 0.1)]
    assert found[0][1]["faults"] == {"ocr": 2.0, "rate": 0.2}
    for section, sweep, words in [
        ({"rates": 0.1}, {}, "faults.rates = 0.1 must be a list"),
        ({"rates": [0.1], "rate": 0.1}, {}, "say the same twice"),
        ({"rates": [0.1]}, {"faults.rate": [0.1]}, "say the same twice"),
        ({"rates": []}, {}, "'faults.rates' lists no value"),
        ({}, {"faults.rates": [[0.1]]}, "sweep 'faults.rate'"),
    ]:
        with pytest.raises(InputError, match=words):
            written_out({"faults": section, "sweep": sweep})


def test_settings_are_toml_values_and_bare_words_are_text():
    texts = ["a.b=32", "c = 1t1r", "d=[0.1, 0.2]", "e='x=y'", "f=true", 'sweep."a.b"=[1]', "a.b=33"]
    assert read_settings(texts) == {
        "a.b": 33, "c": "1t1r", "d": [0.1, 0.2], "e": "x=y", "f": True, "sweep.a.b": [1],
    }  # fmt: skip


@pytest.mark.parametrize(
    "text, words",
    [
        ("rows", "is not of the form key=value"),
        ("rows=", "is not of the form key=value"),
        ("=3", "is not of the form key=value"),
        ("rows=1\ncols=2", "is not of the form key=value"),
        ("a..b=3", "'a..b' is no key"),
        ("rows=[1, 2", "is no TOML value"),
    ],
)
def test_settings_of_another_form_are_told(text, words):
    with pytest.raises(InputError, match=words):
        read_settings([text])


def test_what_is_set_is_no_longer_swept():
    raw = read(
        '"tile.rows" = [8, 16]\n"tile.cols" = [5, 6]\n"mapping.adc_bits" = [4, 8]\n'
        'zip = [["tile.rows", "tile.cols"]]\n'
    )
    found = points(with_settings(raw, ["tile.rows=9"]))
    assert [(axes["tile.cols"], one["tile"]["rows"]) for axes, one in found] == [
        (5, 9), (5, 9), (6, 9), (6, 9),
    ]  # fmt: skip
    assert "tile.rows" not in found[0][0]
    swept = points(with_settings(raw, ['sweep."mapping.adc_bits"=[1, 2, 3]']))
    assert len(swept) == 6 and {one["tile"]["cols"] for _, one in swept} == {5, 6}
    with pytest.raises(InputError, match=r"--set tile.rows: \[sweep\] lists 'tile' as a whole"):
        with_settings({"sweep": {"tile": [{"rows": 1}]}}, ["tile.rows=2"])


def test_setting_a_shorthand_or_its_key_replaces_the_other():
    raw = {"faults": {"rates": [0.1, 0.2]}}
    assert with_settings(raw, ["faults.rate=0.3"]) == {"faults": {"rate": 0.3}}
    swept = {"faults": {"rate": 0.5}, "sweep": {"faults.rate": [0.1, 0.2]}}
    assert with_settings(swept, ["faults.rates=[0.3]"]) == {"faults": {"rates": [0.3]}}
    again = with_settings(raw, ['sweep."faults.rate"=[0.4]'])
    assert again == {"faults": {}, "sweep": {"faults.rate": [0.4]}}
