import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitsim import measure_states, solve
from circuitsim.spice.session import NgspiceSession
from netlists import Drive, InputError, SubcktCell, Tile, TileSpec, Wires
from netlists.cells.spice_files import read_spice
from netlists.identity import digest
from validation.cli import main

CELL = ".subckt cell a b g=1e-5\nr1 a b {1/g}\n.ends\n"
STATES = {"lrs": 1e-4, "hrs": 1e-6}
PORTS = {"drive": "a", "sense": "b"}


def cell_of(path, **change):
    return SubcktCell(**{"path": path, "name": "cell", "ports": PORTS, "states": STATES} | change)


RUNS = [
    (".control\nshell touch pwned\n.endc\n", "'.control', which begins with 'shell'|'shell'"),
    (" .CONTROL\nop\n.endc\n", "'.control', which begins with 'op'"),
    (".control\n", "'.control'"),
    ("*#shell touch pwned\n", "'shell' in a comment"),
    ("*# shell touch pwned\n", "'shell' in a comment"),
    (".control\npre_shell touch pwned\n.endc\n", "'pre_shell'"),
    (".control\nwrite out.raw\n.endc\n", "'write'"),
    (".control\nCodeModel ./x.cm\n.endc\n", "'codemodel'"),
    (".control\npre_osdi x.osdi\n.endc\n", "'pre_osdi'"),
    ('.model p d_process (process_file="./x")\n', "'d_process'"),
    ("r2 a b 1\n+ 2\n.model p\n+ d_cosim simulation=x\n", "'d_cosim'"),
    ("* fine\0\n", "NUL"),
]


@pytest.mark.parametrize(("text", "name"), RUNS)
@pytest.mark.parametrize("included", [False, True])
def test_what_a_file_would_run_is_refused_by_name(tmp_path, text, name, included):
    (tmp_path / "deep").mkdir()
    body = text + CELL
    if included:
        (tmp_path / "deep" / "a.inc").write_text("* one\n.lib b.lib tt\n")
        (tmp_path / "deep" / "b.lib").write_text(f".lib tt\n{text}.endl\n")
        body = ".INCLUDE 'deep/a.inc'\n" + CELL
    path = tmp_path / "cell.sp"
    path.write_text(body)
    with pytest.raises(InputError, match=name) as refused:
        cell_of(path)
    assert ("b.lib" if included else "cell.sp") in str(refused.value)
    assert "--trust" in str(refused.value)
    assert cell_of(path, trust=True).name == "cell"


def test_includes_stay_in_the_folder_and_in_named_libraries(tmp_path):
    for name in ("mine", "pdk", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "pdk" / "card.lib").write_text(".model n nmos\n.include ../other/more.lib\n")
    (tmp_path / "other" / "more.lib").write_text("* more\n")
    path = tmp_path / "mine" / "cell.sp"
    path.write_text(".include ../pdk/card.lib\n" + CELL)
    with pytest.raises(InputError, match=r"card.lib, outside its own folder"):
        cell_of(path)
    with pytest.raises(InputError, match=r"card.lib includes .*more.lib, outside"):
        cell_of(path, libraries=[tmp_path / "pdk"])
    named = cell_of(path, libraries=[tmp_path / "pdk", tmp_path / "other"])
    assert named == cell_of(path, trust=True)
    (tmp_path / "mine" / "link.lib").symlink_to(tmp_path / "other" / "more.lib")
    path.write_text(".include link.lib\n" + CELL)
    with pytest.raises(InputError, match="outside its own folder"):
        cell_of(path)
    path.write_text(".include /etc/hostname\n" + CELL)
    with pytest.raises(InputError, match="outside its own folder"):
        cell_of(path)


@pytest.mark.parametrize("trust", [False, True])
def test_pipes_and_devices_are_no_files(tmp_path, trust):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "cell.sp"
    path.write_text(".include pipe\n" + CELL)
    with pytest.raises(InputError, match=r"pipe, which .*cell.sp includes, is a folder, a pipe"):
        cell_of(path, trust=trust)
    for odd in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(InputError, match="a folder, a pipe or a device"):
            cell_of(odd, trust=trust)


@pytest.mark.parametrize(
    "change",
    [
        {"parameter": "g\n.control\nshell touch pwned\n.endc\n"},
        {"states": {"lrs": {"g\nrx": 1e-4}, "hrs": {"g\nrx": 1e-6}}},
        {"states": {"lrs": {"g=1 m": 1e-4}, "hrs": {"g=1 m": 1e-6}}},
        {"section": "tt\n.include x"},
        {"section": ""},
        {"name": "cell\nshell"},
    ],
)
def test_names_cannot_end_their_line(tmp_path, change):
    (tmp_path / "cell.sp").write_text(CELL)
    with pytest.raises(InputError, match=r"is no (name|word)"):
        cell_of(tmp_path / "cell.sp", **change)


def test_states_that_are_no_numbers_are_refused(tmp_path):
    (tmp_path / "cell.sp").write_text(CELL)
    states = {"lrs": {"g": float("nan")}, "hrs": {"g": 1e-6}}
    with pytest.raises(InputError, match="g=nan"):
        cell_of(tmp_path / "cell.sp", states=states)


@pytest.mark.parametrize("odd", ["a\nb", 'a"b'])
def test_paths_cannot_end_their_quotes(tmp_path, odd):
    (tmp_path / odd).mkdir()
    (tmp_path / odd / "cell.sp").write_text(CELL)
    with pytest.raises(InputError, match="at which ngspice cuts the path"):
        cell_of(tmp_path / odd / "cell.sp")


@pytest.mark.parametrize("odd", ["a`touch x`.osdi", "a;b.osdi", "a$b.osdi", "a b.osdi"])
def test_a_library_s_path_is_no_command(tmp_path, odd):
    (tmp_path / "cell.sp").write_text(CELL)
    (tmp_path / odd).write_bytes(b"")
    with pytest.raises(InputError, match="at which ngspice cuts the path"):
        cell_of(tmp_path / "cell.sp", osdi=tmp_path / odd)


@pytest.mark.parametrize("verb", ["netlist", "solve", "calibrate"])
def test_the_command_line_trusts_when_it_is_told_to(tmp_path, monkeypatch, capsys, verb):
    (tmp_path / "cell.sp").write_text(".control\nshell touch pwned\n.endc\n" + CELL)
    text = (
        "[cell]\nkind = 'subckt'\npath = 'cell.sp'\nname = 'cell'\n"
        "ports = { drive = 'a', sense = 'b' }\nstates = { lrs = 1e-4, hrs = 1e-6 }\n"
    )
    (tmp_path / "c.toml").write_text(text)
    output = [] if verb == "solve" else ["-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["xbarverify", verb, str(tmp_path / "c.toml"), *output])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "--trust" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "pwned").exists()
    if verb == "netlist":
        monkeypatch.setattr(sys, "argv", [*sys.argv, "--trust"])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code and "cell.sp" in (tmp_path / "out").read_text()


def test_a_toml_file_cannot_trust_itself_nor_load_machine_code(tmp_path, monkeypatch, capsys):
    (tmp_path / "cell.sp").write_text(CELL)
    (tmp_path / "m.osdi").write_bytes(b"")
    base = (
        "[cell]\nkind = 'subckt'\npath = 'cell.sp'\nname = 'cell'\n"
        "ports = { drive = 'a', sense = 'b' }\nstates = { lrs = 1e-4, hrs = 1e-6 }\n"
    )
    for line, words in [("trust = true", "unknown key"), ("osdi = 'm.osdi'", "machine code")]:
        (tmp_path / "c.toml").write_text(base + line)
        monkeypatch.setattr(sys, "argv", ["xbarverify", "netlist", str(tmp_path / "c.toml")])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2 and words in capsys.readouterr().err


@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "cell.sp").write_bytes(content)
    try:
        assert read_spice(folder / "cell.sp")
    except InputError as problem:
        assert "\n" not in str(problem).replace(str(folder), "") or b"\n" in content


def test_an_edited_kit_is_noticed_and_windows_line_ends_are_not(tmp_path):
    (tmp_path / "card.lib").write_bytes(b"* a card\r\n")
    (tmp_path / "cell.sp").write_bytes(b".include card.lib\r\n" + CELL.encode())
    cell = cell_of(tmp_path / "cell.sp")
    cell.require_unchanged()
    (tmp_path / "card.lib").write_bytes(b"* another card\r\n")
    with pytest.raises(InputError, match=r"card.lib has changed or gone"):
        cell.require_unchanged()
    (tmp_path / "card.lib").unlink()
    with pytest.raises(InputError, match=r"card.lib has changed or gone"):
        cell.require_unchanged()


def test_a_moved_kit_has_the_same_identity_and_a_changed_one_another(tmp_path):
    found = []
    for name, text in [("a", CELL), ("b", CELL), ("c", CELL.replace("r1", "r2"))]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cell.sp").write_text(text)
        found.append(cell_of(tmp_path / name / "cell.sp"))
    here, moved, changed = found
    assert digest(here) == digest(moved) != digest(changed)
    assert here.calibrated_as == moved.calibrated_as != changed.calibrated_as
    other = cell_of(tmp_path / "a" / "cell.sp", states={"lrs": 2e-4, "hrs": 1e-6})
    assert digest(other) != digest(here) and other.calibrated_as != here.calibrated_as
    column = cell_of(tmp_path / "a" / "cell.sp", gate_line="column")
    assert digest(column) != digest(here) and column.calibrated_as == here.calibrated_as


@pytest.mark.ngspice
def test_ngspice_obeys_no_file_of_the_current_folder_and_leaves_none(tmp_path, monkeypatch):
    (tmp_path / ".spiceinit").write_text("shell touch pwned\n")
    (tmp_path / "cell.sp").write_text(CELL)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    cell = measure_states(cell_of("cell.sp"))
    wires = Wires(r_row_segment=1.0, r_col_segment=2.0)
    tile = Tile(spec=TileSpec(rows=2, cols=3, wires=wires, cell=cell), g=np.full((2, 3), 1e-5))
    session = NgspiceSession()
    monkeypatch.setattr("circuitsim.spice.batch.default_session", lambda: session)
    assert solve(tile, Drive(v=[[0.1, 0.2]]), "ngspice").i_out.shape == (1, 3)
    session.close()
    assert sorted(tmp_path.iterdir()) == before
