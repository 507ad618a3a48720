"""A room imports only from those below it; the compiled world has one door."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nbnet

PACKAGE = Path(nbnet.__file__).parent

# From the bottom up, as docs/architecture.md tells it. A room is a package or a module.
ROOMS = (
    "nbnet.version",
    "nbnet.kernels.compile",
    "nbnet.kernels.machine",
    "nbnet.kernels",
    "nbnet.graph",
    "nbnet.training",
    "nbnet.estimators",
    "nbnet.inspection",
    "nbnet",
)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name, source, is_package=False):
    """Every module that `source` imports, wherever in it: at the top or inside a function."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join(base + (node.module or "").split(".")).strip(".")
            for alias in node.names:
                # `from nbnet import graph` imports a module, `from nbnet.graph import input` a name
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def imports(name):
    path = MODULES[name]
    return set(imports_of(name, path.read_text(encoding="utf-8"), path.name == "__init__.py"))


def room_of(name):
    """The position of the innermost room that a module lies in."""
    return next(i for i, room in enumerate(ROOMS) if f"{name}.".startswith(f"{room}."))


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_from_those_below_it(name):
    ours = {other for other in imports(name) if other in MODULES}
    around = {other for other in ours if name.startswith(f"{other}.")}  # a package by its name
    assert not {other for other in ours - around if room_of(other) > room_of(name)}
    assert "nbnet" not in ours - {name} or name in ("nbnet.__main__", "nbnet")


def test_no_two_files_import_each_other():
    """Nor do more of them in a circle; what only type checkers import counts too."""
    TopologicalSorter(
        {name: {other for other in imports(name) if other in MODULES} for name in MODULES}
    ).prepare()  # raises CycleError


@pytest.mark.parametrize("name", MODULES)
def test_numba_is_imported_by_kernels_alone(name):
    roots = {other.split(".")[0] for other in imports(name)}
    if name.startswith("nbnet.kernels"):
        # joblib counts the cores and threadpoolctl knows the limits; scikit-learn and SciPy, which
        # bring both, stay outside
        allowed = {"nbnet", "numba", "llvmlite", "numpy", "joblib", "threadpoolctl"}
        assert roots <= allowed | sys.stdlib_module_names
    else:
        assert not roots & {"numba", "llvmlite"}


def test_every_way_to_import_is_seen():
    source = """
import numba.core as core, os
from nbnet import graph, MLPClassifier
from .kernels import entry
from . import graph as g
from .kernels.entry import train
def inside():
    from llvmlite import ir
"""
    assert set(imports_of("nbnet.training", source)) == {
        "numba.core",
        "os",
        "nbnet",
        "nbnet.graph",
        "nbnet.kernels.entry",
        "llvmlite",
    }
