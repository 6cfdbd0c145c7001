import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from circuitsim import Calibration
from tests.tolerances import NONLINEAR_MAX
from validation.campaign.store import Store
from validation.cli import main
from validation.study import STORE, counted_table

ROOT = Path(__file__).resolve().parents[2]
TILE = "[tile]\nrows = 4\ncols = 3\n[cell]\nkind = '1r'\n"
BRIDGE = "[[defects.bridges]]\nkind = '{}'\nrow = {}\ncol = 0\nr = 1.0\n"
CAMPAIGN = """
name = "t"
[network]
dataset = "digits"
hidden = [8]
epochs = 1
[tile]
rows = 16
cols = 16
[cell]
kind = "1r"
[faults]
rates = [0.1]
chips = 2
[measure]
fidelities = ["ideal", "linear"]
images = 20
[audit]
samples = 0
"""
OWN = 'name = "t"\n[network]\nmake = "{}"\ndata = "{}"\n[faults]\nrates = [0.1]\n'
WRITE = """
name = "w"
[cell]
memory = "vteam"
[write]
set = { height = 1.0, width = 1e-6, edge = 1e-8 }
reset = { height = -1.0, width = 1e-6, edge = 1e-8 }
"""
NAMED = 'name = "t"\n[network]\nname = "lenet-mnist"\n[faults]\nrates = [0.1]\n'


def run(monkeypatch, capsys, *words):
    """(exit code, stdout, stderr) of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["xbarverify", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def xbarverify(monkeypatch, capsys):
    return lambda *words: run(monkeypatch, capsys, *words)


def write(path, text):
    path.write_text(text)
    return path


BAD = [
    ("solve", TILE + "[tlie]\nrows = 3\n", "unknown key 'tlie'"),
    ("solve", TILE.replace("rows = 4", "rwos = 4"), "unknown key 'tile.rwos'"),
    ("solve", TILE.replace("rows = 4", "rows = 0"), "tile.rows = 0"),
    ("solve", "[tile]\nr_row_segment = -1.0\n", "r_row_segment="),
    ("solve", "[tile]\nr_col_segment = nan\n", "tile.r_col_segment = nan"),
    ("solve", "[tile]\nr_row_segment = inf\n", "tile.r_row_segment = inf"),
    ("solve", "[tile]\nr_row_segment = 1e-310\n", "r_row_segment=1e-310 ohm is beyond"),
    ("solve", "[tile]\nr_driver = 1e300\n", "r_driver=1e+300 ohm is beyond"),
    ("solve", "[tile]\nv_read = 1e-320\n", "v_read=1e-320"),
    ("solve", "[tile]\nrows = 100000\n", "tile.rows = 100000"),
    ("solve", TILE + "r_lrs = 1e-310\n", "r_lrs=1e-310 ohm is no memory's"),
    ("solve", TILE + "r_hrs = inf\n", "cell.r_hrs = inf"),
    ("solve", TILE + "[drive]\nbatch = 1e9\n", "drive.batch = 1000000000"),
    ("solve", "[tile]\nrows=1024\ncols=1024\n[drive]\nbatch = 1000\n", "take at most 64"),
    ("solve", TILE + "[drive]\nseed = -1\n", "drive.seed = -1"),
    ("solve", TILE + "[faults]\nseed = -1\n", "faults.seed = -1"),
    ("solve", TILE + "[program]\nseed = -1\n", "program.seed = -1"),
    ("solve", TILE + "[defects]\nseed = -1\n", "defects.seed = -1"),
    ("solve", TILE + "[defects]\nr_short = inf\n", "defects.r_short = inf"),
    ("solve", TILE + BRIDGE.format("row", 0).replace("1.0", "1e-310"), "for a perfect short"),
    ("solve", TILE + "[program]\nfile = '/dev/zero'\n", "a folder, a pipe or a device"),
    ("solve", TILE + "[drive]\nfile = 'bad.toml'\n", "is not a readable .npy file"),
    ("solve", TILE + "[drive]\nfile = 'many.npz'\n", "is not a readable .npy file"),
    ("solve", "a = " + "[" * 5000, "is not TOML"),
    ("solve", "a = " + "1" * 5000, "is not TOML"),
    ("calibrate", "[verify]\nseed = -1\n", "verify.seed = -1"),
    ("calibrate", "[verify]\ntiles = 1_000_000\n", "verify.tiles = 1000000"),
    ("calibrate", "[range]\nlevels = []\n", "range.levels"),
    ("calibrate", "[range]\nv_high = inf\n", "range.v_high = inf"),
    (
        "calibrate",
        "[cell]\nkind = 'subckt'\npath = 'a\\u0000b'\n".replace("'a", '"a').replace("b'", 'b"'),
        "cell.path",
    ),
    ("evaluate", CAMPAIGN.replace('name = "t"', 'name = ".."'), "name = '..'"),
    ("evaluate", CAMPAIGN.replace('name = "t"', 'name = "."'), "name = '.'"),
    ("evaluate", CAMPAIGN.replace("chips = 2", "chips = 1e8"), "faults.chips = 100000000"),
    (
        "evaluate",
        CAMPAIGN.replace("chips = 2", "chips = 100_000").replace(
            "[0.1]", str([k / 100 for k in range(50)])
        ),
        "tasks, more than",
    ),
    ("evaluate", CAMPAIGN.replace("rates = [0.1]", "rates = []"), "faults.rate"),
    ("evaluate", CAMPAIGN.replace("rates = [0.1]", "seed = -1"), "faults.seed = -1"),
    ("evaluate", CAMPAIGN + "seed = -1\n", "audit.seed = -1"),
    ("evaluate", CAMPAIGN + "[mapping]\nlayers = []\n", "mapping.layers"),
    ("evaluate", CAMPAIGN.replace("[8]", "[1_000_000_000]"), "network.hidden.0 = 1000000000"),
    ("evaluate", CAMPAIGN.replace("rows = 16", "rows = 1_000_000"), "tile.rows = 1000000"),
    ("evaluate", OWN.format(":", "a:b"), "network.make = ':'"),
    ("evaluate", OWN.format("a:b", ":"), "network.data = ':'"),
    ("program", WRITE.replace('"w"', '".."'), "name = '..'"),
    ("program", WRITE + "[array]\nseed = -1\n", "array.seed = -1"),
    ("program", WRITE + "[array]\ndevices = 1e12\n", "array.devices = 1000000000000"),
    ("program", WRITE.replace("1e-8", "inf"), "write.set.edge = inf"),
    ("solve", TILE + "[faults]\nrate = 1.5\n", "faults.rate = 1.5"),
    ("solve", TILE + "[faults]\nocr = -1.0\nrate = 0.1", "ocr=-1.0"),
    ("solve", TILE + "[defects]\nopen_row = [[9, 9]]\n", "open_row: (9, 9) lies off a 4x3 tile"),
    ("solve", TILE + "[defects]\nopen_col = [[0, -1]]\n", "(0, -1) lies off a 4x3 tile"),
    ("solve", TILE + "[defects]\nopen_col = 1.5\n", "open_col = 1.5: value error, must be a rate"),
    ("solve", TILE + "[defects]\nopen_row = [[1]]\n", "or a list of positions [row, col]"),
    ("solve", TILE + "[defects]\ntransistor_open = 0.1\n", "OneR has no transistor"),
    ("solve", TILE + BRIDGE.format("row", 3), "ends at (4, 0), off a 4x3 tile"),
    ("solve", TILE + BRIDGE.format("diagonal", 0), "defects.bridges.0.kind = 'diagonal'"),
    ("solve", TILE.replace("'1r'", "'1t1r'\ngate_line = 'x'"), "cell.gate_line = 'x'"),
    ("solve", TILE + "[program]\nfile = 'none.npy'\n", "none.npy"),
    ("solve", TILE + "[program]\nfile = 'g.npy'\n", "g.shape=(2, 2) != spec.g_shape=(4, 3)"),
    ("solve", TILE + "[drive]\nfile = 'g.npy'\n", "v.shape=(2, 2) != (batch, rows)=(*, 4)"),
    ("solve", "rows == 4", "is not TOML"),
    ("evaluate", CAMPAIGN.replace("[0.1]", "[0.1, 1.1]"), "faults.rate = 1.1"),
    ("evaluate", CAMPAIGN.replace("digits", "cats"), "network.dataset = 'cats'"),
    ("evaluate", CAMPAIGN.replace('name = "t"', 'name = "../x"'), "name = '../x'"),
    ("evaluate", CAMPAIGN.replace('dataset = "digits"', ""), "[network] needs one of 'name'"),
    ("evaluate", CAMPAIGN.replace("dataset", "name"), "unknown key 'network.hidden'"),
    ("evaluate", NAMED.replace("lenet-mnist", "vgg99"), "network.name = 'vgg99': value error, no"),
    ("evaluate", CAMPAIGN + "[sweep]\n'tile.rwos' = [1]\n", "unknown key 'tile.rwos'"),
    ("evaluate", CAMPAIGN + "[sweep]\n'tile.rows' = []\n", "tile.rows"),
    ("evaluate", CAMPAIGN + "[[mitigation]]\nkind = 'magic'\n", "'magic' is not one of"),
    ("evaluate", CAMPAIGN.replace('"1r"', '"subckt"'), "needs 'path'"),
    ("solve", TILE + "name = 'x'\n", "[cell] kind = '1r' has no key 'name'"),
    ("solve", "[cell]\nkind = 'subckt'\nr_lrs = 1.0\n", "kind = 'subckt' has no key 'r_lrs'"),
    ("solve", "[cell]\nkind = 'subckt'\npath = 'x'\n", "needs 'name', 'ports', 'states'"),
]


PLAN = "[network]\nmake = 'lenet'\ninput = [1, 28, 28]\n"
BAD_PLANS = [
    (PLAN.replace("lenet", ":"), "network.make = ':'"),
    (PLAN + "seed = -1\n", "network.seed = -1"),
    (PLAN.replace("[1, 28, 28]", "[100000, 100000]"), "must have at most"),
    (PLAN.replace("[1, 28, 28]", "[]"), "network.input"),
    (PLAN + "[mapping]\nadc_headroom = inf\n", "mapping.adc_headroom = inf"),
    (PLAN + "[mapping]\nfit_inputs = 1e9\n", "mapping.fit_inputs = 1000000000"),
    (PLAN + "[tile]\ncols = 1e6\n", "tile.cols = 1000000"),
]


@pytest.mark.parametrize("command", ["map", "extract", "audit", "cost"])
@pytest.mark.parametrize("text, words", BAD_PLANS, ids=[words for _, words in BAD_PLANS])
def test_bad_plans_get_one_sentence(xbarverify, tmp_path, command, text, words):
    output = ["--operators", tmp_path / "kept"] if command == "extract" else []
    plan = write(tmp_path / "plan.toml", text)
    code, _, error = xbarverify(command, tmp_path / "none.safetensors", plan, *output)
    assert code == 2 and words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "kept").exists()


def test_a_pipe_in_place_of_a_file_is_refused_at_once(xbarverify, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code, _, error = xbarverify("solve", tmp_path / "pipe")
    assert code == 2 and "a folder, a pipe or a device" in error


@pytest.mark.ngspice
def test_ngspice_s_patience_is_an_option(xbarverify, tmp_path, monkeypatch):
    monkeypatch.setenv("XBARVERIFY_NGSPICE_TIMEOUT", "600")
    file = write(tmp_path / "t.toml", "[tile]\nrows = 100\ncols = 100\n[cell]\nkind = '1t1r'\n")
    words = ("solve", file, "--solver", "ngspice", "--timeout")
    code, _, error = xbarverify(*words, "0.01")
    assert code == 1 and "no answer within 0.01 s" in error and "--timeout" in error
    code, _, _ = xbarverify(*words, "300")
    assert code == 0
    monkeypatch.setenv("XBARVERIFY_NGSPICE_TIMEOUT", "soon")
    code, _, error = xbarverify(*words[:-1])
    assert code == 2 and "XBARVERIFY_NGSPICE_TIMEOUT='soon'" in error


@pytest.mark.parametrize("command, text, words", BAD, ids=[b[2] for b in BAD])
def test_bad_files_get_one_sentence_and_exit_code_2(xbarverify, tmp_path, command, text, words):
    np.save(tmp_path / "g.npy", np.ones((2, 2)))
    np.savez(tmp_path / "many.npz", a=np.ones(2))
    output = ["-o", tmp_path / "out.json"] if command == "calibrate" else []
    code, _, error = xbarverify(command, write(tmp_path / "bad.toml", text), *output)
    assert code == 2 and words in error
    assert "Traceback" not in error and len(error.strip().splitlines()) == 1


def test_other_bad_input_exits_with_2(xbarverify, tmp_path, monkeypatch):
    tile = write(tmp_path / "tile.toml", TILE)
    campaign = write(tmp_path / "c.toml", CAMPAIGN)
    assert xbarverify("solve", tmp_path / "none.toml")[0] == 2
    assert xbarverify("solve", tile, "--solver", "magic")[0] == 2
    assert xbarverify("netlist", tile, "-o", tmp_path / "no" / "where.cir")[0] == 2
    assert xbarverify("report", tmp_path)[0] == 2
    (tmp_path / "file").write_text("")
    assert xbarverify("evaluate", campaign, "--out", tmp_path / "file")[0] == 2
    mnist = write(tmp_path / "m.toml", CAMPAIGN.replace("digits", "mnist"))
    monkeypatch.setenv("XBARVERIFY_DATA", str(tmp_path / "gone"))
    code, _, error = xbarverify("evaluate", mnist, "--out", tmp_path)
    assert code == 2 and "gone is not a folder" in error.replace("\n", " ")


def test_a_machine_without_ngspice_is_told_what_to_install(tmp_path):
    env = {**os.environ, "NGSPICE_LIBRARY_PATH": "libngspice-that-is-not-there.so"}
    tile = write(tmp_path / "tile.toml", TILE)
    done = subprocess.run(
        [sys.executable, "-m", "validation.cli", "solve", tile, "--solver", "ngspice"],
        capture_output=True, text=True, env=env, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "apt-get install" in done.stderr
    assert "Traceback" not in done.stderr


def test_single_tiles_do_without_torch(tmp_path):
    tile = write(tmp_path / "tile.toml", TILE)
    code = (
        "import sys\nfrom validation.cli import app\n"
        f"app(['solve', {str(tile)!r}], standalone_mode=False)\n"
        "print({'torch', 'matplotlib', 'dask'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_netlist_goes_to_stdout_or_a_file(xbarverify, tmp_path):
    tile = write(tmp_path / "tile.toml", TILE)
    code, text, _ = xbarverify("netlist", tile)
    assert code == 0 and text.startswith("* 4x3 OneR tile") and text.endswith(".end\n")
    assert xbarverify("netlist", tile, "-o", tmp_path / "t.cir")[0] == 0
    assert (tmp_path / "t.cir").read_text() == text


@pytest.mark.ngspice
def test_a_tile_file_takes_every_defect(xbarverify):
    file = ROOT / "examples" / "tile_defects.toml"
    code, text, _ = xbarverify("netlist", file)
    assert code == 0
    for element in ("rshort_2_3 ", "rbrow_2_5 x_2_5 x_3_5 20.0", "rleak_7_12 gate_7_12 0"):
        assert element in text
    assert "rrow_4_10 " not in text and "rcol_11_6 " not in text and "rrow_4_9 " in text
    code, text, _ = xbarverify("solve", file, "--solver", "newton", "--solver", "ngspice")
    line = text.replace("\n", " ").split("largest relative difference ")[1]
    assert code == 0 and float(line.split()[0]) <= 1e-6


@pytest.mark.ngspice
def test_solve_prints_the_agreement(xbarverify):
    code, text, _ = xbarverify(
        "solve", ROOT / "examples" / "tile_64.toml", "--solver", "nodal", "--solver", "ngspice"
    )
    line = text.replace("\n", " ").split("largest relative difference ")[1]
    assert code == 0 and float(line.split()[0]) <= 1e-10


@pytest.mark.ngspice
def test_doctor_names_what_it_looks_at(xbarverify):
    code, text, _ = xbarverify("doctor")
    assert code == 0
    for word in ("Python", "PySpice", "libngspice", "KLU", "torch", "threads", "data folder"):
        assert word in text


@pytest.mark.ngspice
def test_evaluate_report_and_table_end_to_end(xbarverify, tmp_path):
    file = write(tmp_path / "c.toml", CAMPAIGN)
    code, text, _ = xbarverify("evaluate", file, "--out", tmp_path, "--set", "faults.chips=3")
    assert code == 0 and "accuracy, %" in text and "ideal" in text
    page = tmp_path / "t" / "report.html"
    first = page.read_bytes()
    page.unlink()
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "t", moved)
    assert xbarverify("report", moved)[0] == 0
    assert (moved / "report.html").read_bytes() == first
    code, text, _ = xbarverify("table", moved, "-o", tmp_path / "rows.csv")
    assert code == 0 and text.startswith("6 rows")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 7
    assert xbarverify("table", moved, "-o", tmp_path / "rows.xls")[0] == 2
    assert xbarverify("table", tmp_path / "nowhere", "-o", tmp_path / "rows.csv")[0] == 2


@pytest.mark.ngspice
def test_chips_that_fail_are_told_after_the_table(xbarverify, tmp_path):
    file = write(tmp_path / "c.toml", CAMPAIGN)
    words = ["--out", tmp_path, "--set", "sweep.'measure.images'=[20,99999]"]
    code, text, complaints = xbarverify("evaluate", file, *words)
    assert code == 2 and "accuracy, %" in text and "report:" in text
    told = [line for line in complaints.splitlines() if line.startswith("error:")]
    assert len(told) == 2 and "measure.images = 99999" in told[0]
    assert "2 of 2 chips failed, with InputError: images = 99999 test images" in told[0]


@pytest.mark.ngspice
def test_a_dry_run_says_what_it_takes_and_keeps_nothing(xbarverify, tmp_path):
    file = write(tmp_path / "c.toml", CAMPAIGN)
    code, text, _ = xbarverify("evaluate", file, "--out", tmp_path, "--dry-run")
    assert code == 0 and "2 conditions, 4 tasks, 0 of them done" in text
    assert not (tmp_path / "t" / "results.sqlite").exists()
    words = ["--set", "sweep.'measure.images'=[20,99999]", "--dry-run"]
    code, text, _ = xbarverify("evaluate", file, "--out", tmp_path, *words)
    assert code == 2 and "4 conditions, 8 tasks" in text and "MiB per process" in text
    assert "2 of 4 conditions cannot run" in text
    assert "measure.fidelity = linear: InputError: images = 99999 test images" in text
    precise = ["--set", "precision.half_width=5", "--set", "measure.images=0"]
    code, text, _ = xbarverify("evaluate", file, "--out", tmp_path, "--dry-run", *precise)
    assert code == 0 and "for the wanted interval:" in text and "chips of" in text


@pytest.mark.ngspice
@pytest.mark.parametrize("kind, quantity, unit", [("cost", "energy", "J"), ("power", "power", "W")])
def test_small_quantities_are_told_with_their_unit(xbarverify, tmp_path, kind, quantity, unit):
    file = write(tmp_path / "c.toml", CAMPAIGN)
    chosen = [f"measure.kind={kind}", 'measure.fidelities=["ideal"]', "audit.samples=0"]
    settings = [word for one in chosen for word in ("--set", one)]
    code, text, _ = xbarverify("evaluate", file, "--out", tmp_path, *settings)
    assert code == 0 and " ".join(text.split()).startswith(f"{quantity}, {unit}, mean")
    with Store(tmp_path / "t" / STORE, create=False) as store:
        rows = counted_table(store).summarise([quantity]).to_dicts()
    assert all(0 < row["mean"] < 0.1 for row in rows)
    page = (tmp_path / "t" / "report.html").read_text()
    for row in rows:
        assert f"{row['mean']:.3g}" in text and f"<td>{row['mean']:.3g}" in page
    assert f", in {unit}." in page


def test_mitigations_are_listed(xbarverify):
    code, text, _ = xbarverify("mitigations")
    assert code == 0
    for word in ("batch_norm_reestimation", "row_assignment", "masked_retraining", "map", "fpt"):
        assert word in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "operations per inference" in lines["output_compensation"]
    assert "memories" in lines["committee"] and "memories" not in lines["drop_connect"]
    assert "memories: on tiles" in text


@pytest.mark.ngspice
def test_ctrl_c_keeps_finished_chips_and_the_same_command_continues(tmp_path):
    text = CAMPAIGN.replace("chips = 2", "chips = 60").replace(
        "rows = 16\ncols = 16", "rows = 8\ncols = 8"
    )
    file = write(tmp_path / "c.toml", text)
    words = [sys.executable, "-m", "validation.cli", "evaluate", str(file), "--out", str(tmp_path)]
    started = subprocess.Popen(
        words,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # Whatever started the tests may ignore interrupts, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    store = tmp_path / "t" / "results.sqlite"
    for _ in range(600):
        if store.exists() and _finished(store) >= 5:
            break
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    _, error = started.communicate(timeout=60)
    kept = _finished(store)
    assert started.returncode == 130 and 5 <= kept < 120, error.decode()[-2000:]
    assert b"Traceback" not in error and b"the same command continues" in error
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _finished(store) == 120


def _finished(path):
    import sqlite3

    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM draw").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


CELL = "[cell]\ntransistor = 'bsim4'\n"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A calibration that the command wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("calibrated")
    text = CELL + "[range]\nv_gate = [0.6, 1.2]\nlevels = 3\n[verify]\ntiles = 1\n"
    words = ["calibrate", write(folder / "cell.toml", text), "-o", folder / "cell.json"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr(sys, "argv", ["xbarverify", *map(str, words)])
        with contextlib.suppress(SystemExit):
            main()
    return folder / "cell.json", out.getvalue()


def test_train_writes_what_evaluate_and_map_read(xbarverify, digits_network, tmp_path):
    code, out, err = xbarverify("train", "digits", "-o", tmp_path / "w")
    assert code == 0, err
    assert "digits (full): unmapped" in out and "training" in err
    assert {p.suffix for p in (tmp_path / "w").iterdir()} == {".json", ".safetensors"}
    code, _, err = xbarverify("train", "nobody", "-o", tmp_path / "w")
    assert code == 2 and "network='nobody' is not one of" in err.replace("\n", " ")


@pytest.mark.ngspice
def test_calibrate_writes_a_surface_a_page_and_their_errors(calibrated):
    target, out = calibrated
    for words in ("0.6 V", "level 2 of 3", "between", "2 random tiles against ngspice"):
        assert words in out
    found = Calibration.load(target)
    assert [s.v_gate for s in found.surfaces] == [0.6, 1.2] and len(found.tiles) == 2
    assert "Bsim4Nmos" in found.surfaces[0].cell and not found.shortfalls
    page = target.with_suffix(".html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "On target." in page
    for surface in found.surfaces:
        assert surface.netlist_sha256 in page and f"{surface.held_out_max:.1e}" in page


@pytest.mark.ngspice
def test_a_calibrated_surface_takes_the_place_of_calibration(
    xbarverify, calibrated, tmp_path, monkeypatch
):
    def never(*_):
        raise AssertionError("calibrated again")

    monkeypatch.setattr(sys.modules["circuitsim.linear.resistor_tile"], "calibrate", never)
    monkeypatch.setattr(sys.modules["circuitsim.laws.of_tile"], "calibrate_surface", never)
    tile = write(tmp_path / "tile.toml", "[tile]\nrows = 6\ncols = 5\n" + CELL)
    names = [word for name in ("newton", "nodal", "ngspice") for word in ("--solver", name)]
    code, out, _ = xbarverify("solve", "--surface", calibrated[0], *names, tile)
    assert code == 0 and "newton against ngspice" in out
    for text, words in [
        (tile.read_text() + "v_gate = 0.9\n", "v_gate=0.9 V is not among the calibrated gate"),
        ("[tile]\nrows = 6\n", "was calibrated for"),
        (TILE, "leave the surface out"),
    ]:
        other = write(tmp_path / "other.toml", text)
        code, _, problem = xbarverify("solve", "--surface", calibrated[0], other)
        assert code == 2 and words in problem and len(problem.strip().splitlines()) == 1


@pytest.mark.ngspice
def test_what_cannot_be_calibrated_is_told(xbarverify, tmp_path):
    target = tmp_path / "cell.json"
    for text, words in [
        ("[cell]\nkind = '1r'\n", "needs no surface"),
        (CELL + "[range]\nv_low = 0.1\n", "must be a range that holds 0 V"),
        (CELL + "[range]\nlevels = [1.0]\n", "level 1 S lies outside the states"),
        (CELL + "[range]\nlevels = 1\n", "range.levels"),
        (CELL + "[range]\nv_gate = [0.2]\n", "does not exceed the threshold"),
    ]:
        code, _, problem = xbarverify("calibrate", write(tmp_path / "c.toml", text), "-o", target)
        assert code == 2 and words in problem and not target.exists()


@pytest.mark.ngspice
def test_an_error_above_the_target_is_never_silent(xbarverify, tmp_path, monkeypatch):
    monkeypatch.setattr("circuitsim.cells.surface.TARGET_MAX", 1e-12)
    file = write(tmp_path / "cell.toml", CELL)
    code, _, warned = xbarverify("calibrate", file, "--no-verify", "-o", tmp_path / "cell.json")
    assert code == 0 and "warning: gate 1.2 V, LRS: held-out error at most" in warned
    assert json.loads((tmp_path / "cell.json").read_text())["on_target"] is False
    assert "Misses its target." in (tmp_path / "cell.html").read_text()


KIT = (ROOT / "examples" / "cell_kit.toml").read_text().split("[range]")[0]


@pytest.mark.ngspice
def test_a_cell_of_one_s_own_from_every_file(xbarverify, tmp_path):
    shutil.copytree(ROOT / "examples" / "kit", tmp_path / "kit")
    cell = write(tmp_path / "cell.toml", KIT + "[verify]\ntiles = 1\n")
    code, out, _ = xbarverify("calibrate", cell, "-o", tmp_path / "cell.json")
    assert code == 0 and "1 random tiles against ngspice" in out
    assert not Calibration.load(tmp_path / "cell.json").shortfalls
    tile = write(tmp_path / "tile.toml", "[tile]\nrows = 6\ncols = 5\n" + KIT)
    names = ["--solver", "newton", "--solver", "ngspice"]
    code, out, _ = xbarverify("solve", "--surface", tmp_path / "cell.json", *names, tile)
    error = float(out.replace("\n", " ").split("largest relative difference ")[1].split()[0])
    assert code == 0 and error <= NONLINEAR_MAX
    campaign = CAMPAIGN.replace('[cell]\nkind = "1r"\n', "") + KIT
    code, out, _ = xbarverify(
        "evaluate", write(tmp_path / "c.toml", campaign), "--out", tmp_path, "--workers", 1
    )
    assert code == 0 and "linear" in out


@pytest.mark.ngspice
@pytest.mark.parametrize("memory", ["sinh", "yakopcic", "vteam"])
def test_solve_compares_newton_with_ngspice(xbarverify, tmp_path, memory):
    text = "[tile]\nrows = 6\ncols = 5\n[cell]\ntransistor = 'bsim4'\n"
    text += f"memory = '{memory}'\n"
    file = write(tmp_path / "tile.toml", text)
    code, out, _ = xbarverify("solve", file, "--solver", "newton", "--solver", "ngspice")
    assert code == 0 and "newton against ngspice" in out
