"""Strange files for every reader: no traceback, no hang, nothing written outside the output folder.

`make fuzz` runs it for ten minutes, `python -m scripts.fuzz SECONDS` for another while. Files are
made of good ones: a value in a TOML table replaced, a key moved, bytes changed. A finding is
shrunk and printed by hypothesis, which also tries it first the next time.
"""

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitsim import Calibration, SecantModel
from netlists import InputError, read_defects, read_faultmap, read_faultmap_csv
from netlists.cells.spice_files import read_spice
from validation.cli import main
from validation.files.study_file import read_study
from validation.study_of_file import UNKNOWN, condition_of

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MINUTES = 10
HANGS = 120  # seconds after which a file is said to hang
ROUND = 100  # examples between two looks at the clock

TILE = "[tile]\nrows = 4\ncols = 3\n[cell]\nkind = '1r'\n[faults]\nrate = 0.1\n[drive]\nbatch = 2\n"
STUDY = (EXAMPLES / "quickstart.toml").read_text()
PLAN = (EXAMPLES / "map_resnet20.toml").read_text()
CELL = (EXAMPLES / "cell_kit.toml").read_text()
WRITE = """
name = "w"
[cell]
kind = "1r"
memory = "nothing"
[write]
set = { height = 1.0, width = 1e-6, edge = 1e-8 }
reset = { height = -1.0, width = 1e-6, edge = 1e-8 }
levels = 4
[spread]
threshold = 0.02
[array]
devices = 8
check = 0
seed = 0
"""
DECK = ".subckt cell a b g=1e-5\nr1 a b {1/g}\n.ends\n.include other.lib\n.lib k.lib tt\n"
ODD = st.sampled_from(
    [
        "-1",
        "0",
        "1e9",
        "1e400",
        "-0.0",
        "nan",
        "inf",
        "1e-320",
        "''",
        "'..'",
        "':'",
        "'/dev/zero'",
        "[]",
        "[[]]",
        "{}",
        "true",
        "1979-05-27",
        "[-1]",
        "['x']",
        "{a=1}",
        "99999999999999999999",
        "'\\u0000'",
        '"\\n"',
        "[1e308,-1e308]",
    ]
)


@contextlib.contextmanager
def _in_a_folder() -> Iterator[Path]:
    """An empty folder as the current one, and an alarm for what hangs."""
    before = Path.cwd()

    def told(*_: object) -> None:
        raise AssertionError(f"no answer within {HANGS} s")

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        signal.signal(signal.SIGALRM, told)
        signal.alarm(HANGS)
        try:
            yield Path(folder)
        finally:
            signal.alarm(0)
            os.chdir(before)


@st.composite
def strange(draw: st.DrawFn, text: str) -> str:
    """A TOML text with some values replaced, lines moved or characters changed."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        k = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[k].partition("=")
        how = draw(st.sampled_from(["value", "drop", "move", "noise"]))
        if how == "value" and equals:
            lines[k] = f"{key}= {draw(ODD)}"
        elif how == "drop":
            del lines[k]
        elif how == "move":
            lines.insert(draw(st.integers(0, len(lines))), lines[k])
        else:
            lines[k] += draw(st.text(max_size=3))
        lines = lines or [""]
    return "\n".join(lines)


def _command(*words: str) -> None:
    """Run a command: it ends with a code of its own, in one sentence, and leaves no other file."""
    there = set(Path.cwd().iterdir())
    said = io.StringIO()
    sys.argv = ["xbarverify", *words]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as stop:
        assert (stop.code or 0) in (0, 1, 2, 3), stop.code
    left = {path.name for path in set(Path.cwd().iterdir()) - there}
    assert left <= {"out"}, left
    assert "Traceback" not in said.getvalue(), said.getvalue()


@given(text=strange(TILE), verb=st.sampled_from(["netlist", "solve"]))
def tiles(text: str, verb: str) -> None:
    """`netlist` and `solve`."""
    with _in_a_folder() as folder:
        (folder / "t.toml").write_text(text, errors="replace")
        _command(verb, "t.toml", *(["-o", "out"] if verb == "netlist" else []))


@given(text=strange(PLAN), verb=st.sampled_from(["map", "audit", "cost"]))
def plans(text: str, verb: str) -> None:
    """The plans of `map`, `audit` and `cost`, without a checkpoint to map."""
    with _in_a_folder() as folder:
        (folder / "p.toml").write_text(text, errors="replace")
        _command(verb, "none.safetensors", "p.toml")


@given(text=strange(CELL) | strange(WRITE), verb=st.sampled_from(["calibrate", "program"]))
def cells(text: str, verb: str) -> None:
    """The cells of `calibrate` and the arrays of `program`, whose kit or memory is not there."""
    with _in_a_folder() as folder:
        (folder / "c.toml").write_text(text, errors="replace")
        _command(verb, "c.toml", *(["-o", "out"] if verb == "calibrate" else []))


@given(text=strange(STUDY))
def studies(text: str) -> None:
    """The studies of `evaluate`, up to what would be run."""
    with _in_a_folder() as folder:
        (folder / "s.toml").write_text(text, errors="replace")
        with contextlib.suppress(InputError):
            for point in read_study("s.toml").points[:4]:
                condition_of(point, UNKNOWN)
        assert {path.name for path in folder.iterdir()} == {"s.toml"}


def _bytes(good: bytes) -> st.SearchStrategy[bytes]:
    places = st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=4)

    def changed(places: list[tuple[int, int]]) -> bytes:
        found = bytearray(good)
        for place, value in places:
            found[place] = value
        return bytes(found)

    return places.map(changed) | st.binary(max_size=200)


READERS: dict[str, Callable[[Path], Any]] = {
    "map.csv": lambda path: read_faultmap_csv(path, (3, 2), convention="rramedy"),
    "map.npz": read_faultmap,
    "defects.npz": read_defects,
    "cell.json": Calibration.load,
    "secant.json": SecantModel.load,
    "deck.sp": read_spice,
}


@given(
    name=st.sampled_from(sorted(READERS)),
    content=_bytes(DECK.encode()) | _bytes(b"row,col,device,kind,siemens\n0,1,0,STUCK_AT,1e-5\n"),
    sidecar=st.sampled_from([b"{}", b'{"format": "xbarverify-faultmap-1"}', b"[]"]),
)
def other_files(name: str, content: bytes, sidecar: bytes) -> None:
    """Fault maps, calibrations and decks."""
    with _in_a_folder() as folder:
        if name.endswith("npz"):
            (folder / name).with_suffix(".json").write_bytes(sidecar)
        (folder / name).write_bytes(content)
        with contextlib.suppress(InputError):
            READERS[name](folder / name)


def run(seconds: float) -> None:
    """Take turns until the time is over; what hypothesis finds is raised."""
    profile = settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck))
    checks = [profile(check) for check in (tiles, plans, cells, studies, other_files)]
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for check in checks:
            if time.monotonic() >= end:
                break
            check()
            count += ROUND
            print(f"{check.__name__}: {count} files so far", flush=True)


if __name__ == "__main__":
    run(float(sys.argv[1]) if len(sys.argv) > 1 else 60 * MINUTES)
