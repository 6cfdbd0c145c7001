import csv

import pytest

from netlists import InputError
from tests.validation.test_cli import write, xbarverify  # noqa: F401
from validation.commands.terminal import bar
from validation.files.base import read_toml
from validation.files.write_file import WriteFile
from validation.write_array import write_array

PULSE = "{ height = 4.5, width = 2e-10, edge = 5e-11 }"
FILE = f"""
name = "written"
[cell]
kind = "1r"
memory = "yakopcic"
[write]
set = {PULSE}
reset = {PULSE}
[array]
devices = 400
check = 8
"""


def config(tmp_path, text=FILE):
    return read_toml(write(tmp_path / "p.toml", text + f'[run]\nout = "{tmp_path}"\n'), WriteFile)


@pytest.mark.ngspice
def test_program_prints_and_leaves_the_distribution(xbarverify, tmp_path):  # noqa: F811
    file = write(tmp_path / "p.toml", FILE + f'[run]\nout = "{tmp_path}"\n')
    code, out, _ = xbarverify("program", file)
    assert code == 0 and "set pulse on 8 devices: fast twin within" in out
    folder = tmp_path / "written"
    assert (folder / "error.png").stat().st_size > 5_000
    rows = list(csv.DictReader((folder / "summary.csv").open()))
    assert [(row["modulation"], row["verify"]) for row in rows] == [
        ("0.1", "off"),
        ("0.1", "on"),
        ("0.2", "off"),
        ("0.2", "on"),
    ]
    spread = [float(row["error_std"]) for row in rows]
    assert spread[2] > spread[0] > 5 * spread[1] and float(rows[1]["error_max"]) <= 0.25
    devices = list(csv.DictReader((folder / "devices.csv").open()))
    assert len(devices) == 4 * 400 and {row["reached"] for row in devices[400:800]} == {"1"}


def test_the_same_file_gives_the_same_tables(tmp_path):
    text = FILE.replace("check = 8", "check = 0\n[spread]\nmodulations = [0.1]")
    found = config(tmp_path, text.replace("devices = 400", "devices = 50"))
    texts = []
    for _ in range(2):
        result = write_array(found, progress=bar)
        assert result.agreement == {} and result.perfect is None
        texts.append([(result.folder / name).read_bytes() for name in ("devices.csv", "error.png")])
    assert texts[0] == texts[1]


@pytest.mark.data
def test_a_network_on_written_chips(tmp_path):
    text = FILE.replace("check = 8", "check = 0")
    text += "[spread]\nmodulations = [0.2]\n[network]\nname = 'lenet-mnist'\nchips = 2\n"
    text = text.replace("[array]", "max_pulses = 10\n[array]")
    found = write_array(config(tmp_path, text + "test_images = 200\n"), progress=bar)
    once, verified = (one.accuracy for one in found.outcomes)
    assert verified.mean > once.mean and verified.n == 2
    assert found.perfect > 0.95
    with pytest.raises(InputError, match=r"write.levels = 12 is no power of 2"):
        text = text.replace("max_pulses = 10", "max_pulses = 10\nlevels = 12")
        write_array(config(tmp_path, text), progress=bar)


def test_bad_input_is_one_sentence(xbarverify, tmp_path):  # noqa: F811
    for change, message in [
        (('memory = "yakopcic"', 'memory = "sinh"'), "SinhRram cannot be written"),
        (("height = 4.5", "height = 3.9"), "no train of up to"),
        (("[array]", "[spread]\nthreshold = -1.0\n[array]"), "threshold=-1.0 must be finite"),
        (('name = "written"\n', ""), "key 'name' is missing"),
    ]:
        file = write(tmp_path / "p.toml", FILE.replace("check = 8", "check = 0").replace(*change))
        code, _, problem = xbarverify("program", file)
        assert code == 2 and message in problem and "Traceback" not in problem
