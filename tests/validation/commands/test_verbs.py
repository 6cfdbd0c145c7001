import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import validation
from netlists import InputError, MissingToolError
from validation import cli
from validation.commands.verbs import VERBS, verb

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ROOT / "validation" / "commands"
LIGHT = {"__init__.py", "terminal.py", "verbs.py"}


def test_every_file_is_a_verb_and_its_help_is_what_is_listed():
    files = {file.name for file in COMMANDS.glob("*.py")} - LIGHT
    assert files == {f"{name}.py" for name in VERBS}
    for name, line in VERBS.items():
        tree = ast.parse((COMMANDS / f"{name}.py").read_text())
        [function] = [n for n in tree.body if getattr(n, "name", "") == "command"]
        assert ast.get_docstring(function).splitlines()[0] == line


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_explains_itself(name):
    result = CliRunner().invoke(cli.app, [name, "--help"], prog_name="xbarverify")
    assert result.exit_code == 0 and f"xbarverify {name}" in result.output
    assert verb(name).help.splitlines()[0] == VERBS[name]


def test_a_listing_loads_no_library_that_takes_time():
    code = (
        "import sys\nfrom validation.cli import main\n"
        "sys.argv = ['xbarverify', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'numpy', 'scipy', 'torch', 'pydantic', 'netlists', 'circuitsim', 'nnmap'}\n"
        "print(heavy & set(sys.modules))"
    )
    words = [sys.executable, "-c", code]
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    assert time.perf_counter() - start < 5  # 0.2 s, on a machine that does nothing else
    assert "evaluate" in done.stdout and done.stdout.splitlines()[-1] == "set()"


def test_unknown_verbs_get_a_suggestion():
    result = CliRunner().invoke(cli.app, ["solv"])
    assert result.exit_code == 2 and "Did you mean 'solve'?" in result.output


@pytest.mark.parametrize(
    "problem, code, words",
    [
        (InputError("rows=0 [b] is wrong."), 2, "error: rows=0 [b] is wrong."),
        (MissingToolError("no tool."), 2, "error: no tool."),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_failures_exit_with_their_code_and_sentence(monkeypatch, capsys, problem, code, words):
    def fail():
        raise problem

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == code and capsys.readouterr().err.strip() == words


def test_mistakes_of_the_program_are_not_hidden(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_public_names_come_when_they_are_asked_for():
    for name in validation.__all__:
        assert getattr(validation, name).__name__ == name
    assert set(validation.__all__) <= set(dir(validation))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = validation.nothing
