"""The tree itself: layering, and documents whose code runs."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("netlists", "circuitsim", "nnmap", "validation")


def imported_packages(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_packages_import_only_what_stands_left_of_them(layer):
    later = set(LAYERS[LAYERS.index(layer) + 1 :])
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    for file in files:
        assert not later & set(imported_packages(file)), file


def test_heavy_libraries_have_one_home():
    homes = {
        "PySpice": {"ngspice_worker.py"},
        "matplotlib": {"plots.py"},
        "dask": {"campaign.py", "former.py", "backends.py"},
        "distributed": {"backends.py"},
        "polars": {"table.py"},
    }
    for library, home in homes.items():
        users = {
            file.name
            for layer in LAYERS
            for file in (ROOT / layer).rglob("*.py")
            if library in imported_packages(file)
        }
        assert users == home


@pytest.mark.ngspice
def test_readme_blocks_run(capsys):
    pages = [ROOT / "README.md", *(ROOT / layer / "README.md" for layer in LAYERS)]
    found = [re.findall(r"```python\n(.*?)```", page.read_text(), re.S) for page in pages]
    assert found[0]
    for page, blocks in zip(pages, found, strict=True):
        for block in blocks:
            exec(compile(block, str(page), "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_doctests_hold():
    tried = 0
    for layer in LAYERS:
        package = importlib.import_module(layer)
        for module in pkgutil.walk_packages(package.__path__, f"{layer}."):
            if not module.name.endswith("ngspice_worker"):
                result = doctest.testmod(importlib.import_module(module.name))
                assert result.failed == 0, module.name
                tried += result.attempted
    assert tried > 0
