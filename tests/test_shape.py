"""The tree itself: layering, and documents whose code runs."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("netlists", "circuitsim", "nnmap", "validation")
# Each room and module imports only what stands before it.
ROOMS = {
    "netlists": "errors arrays identity devices transistors gate_lines bridges cells defect_rates "
    "defects faults fault_patterns wires tile sampling faultmap_io variation circuit gate_nodes "
    "build checks spice pulse_deck",
    "circuitsim": "solution compare_solutions dissection spice cells linear laws nonlinear writing "
    "solvers verification calibration",
    "nnmap": "mapping chip fidelity layers skeleton attention watch trainable network training "
    "to_tiles measures mitigations deploy networks",
    "validation": "files modules mapping structure sources own_network campaign axes statistics "
    "precision table pivot condition runner pilot study study_of_file dry_run losses audit report "
    "evaluate written_network write_array doctor commands cli",
}


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


def modules_of(package):
    """Every module of a package, in folders too, by name."""
    found = importlib.import_module(package)
    yield found
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        yield importlib.import_module(module.name)


def imports_within(package, file):
    """Modules of the package that a file imports, as (room, full name)."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            yield node.module.split(".")[1], node.module
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            yield from ((alias.name, f"{package}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_only_what_stands_before_them(package):
    order = ROOMS[package].split()
    there = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
    assert there - {"README", "reference"} == set(order)
    links = nx.DiGraph()
    for file in (ROOT / package).rglob("*.py"):
        inside = file.relative_to(ROOT / package)
        room = inside.parts[0].removesuffix(".py")
        name = ".".join((package, *inside.with_suffix("").parts))
        for other, module in imports_within(package, file):
            if room != "__init__":
                assert order.index(other) <= order.index(room), f"{file} imports {module}"
            links.add_edge(name, module)
    assert nx.is_directed_acyclic_graph(links), nx.find_cycle(links)


@pytest.mark.parametrize("package", ROOMS)
def test_no_module_is_hidden_by_what_its_package_exports(package):
    for module in list(modules_of(package)):
        parent, _, name = module.__name__.rpartition(".")
        if parent:
            assert isinstance(getattr(sys.modules[parent], name), ModuleType), module.__name__


@pytest.mark.parametrize(
    "package, without",
    [("netlists", {"scipy", "torch", "numba", "PySpice"}), ("circuitsim", {"torch", "PySpice"})],
)
def test_imports_are_lean(package, without):
    code = f"import sys, {package}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert package in loaded.stdout.split()
    assert not without & set(loaded.stdout.split())


def test_every_folder_with_code_is_a_package():
    for layer in LAYERS:
        for folder in {file.parent for file in (ROOT / layer).rglob("*.py")}:
            assert (folder / "__init__.py").is_file(), f"{folder} would be missing from the wheel"


def test_heavy_libraries_have_one_home():
    homes = {
        "PySpice": {"worker.py"},
        "matplotlib": {"plots.py"},
        "dask": {"backends.py"},
        "distributed": {"backends.py"},
        "polars": {"table.py", "pivot.py"},
        "sqlite3": {"store.py", "rows.py", "store_errors.py", "operator_store.py"},
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
        shared = {"__name__": "readme"}  # the blocks of a page continue each other
        for block in blocks:
            exec(compile(block, str(page), "exec"), shared)
    assert capsys.readouterr().out


def test_doctests_hold():
    results = [doctest.testmod(module) for layer in LAYERS for module in modules_of(layer)]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 0
