"""A module imports only from those above it; the compiled world has one door."""

import ast
import sys
from pathlib import Path

import pytest

import nbnet

PACKAGE = Path(nbnet.__file__).parent

# Top to bottom, as docs/architecture.md tells it.
ORDER = (
    "nbnet.kernels",
    "nbnet.kernels.compile",
    "nbnet.kernels.compile.stamp",
    "nbnet.kernels.compile.pipeline",
    "nbnet.kernels.compile.canary",
    "nbnet.kernels.compile.cache",
    "nbnet.kernels.compile.jit",
    "nbnet.kernels._elementary",
    "nbnet.kernels._tile",
    "nbnet.kernels.barrier",
    "nbnet.kernels.layout",
    "nbnet.kernels.matmul",
    "nbnet.kernels.activations",
    "nbnet.kernels.losses",
    "nbnet.kernels.optimizers",
    "nbnet.kernels.ops",
    "nbnet.kernels.step",
    "nbnet.kernels.threads",
    "nbnet.nodes",
    "nbnet.plan",
    "nbnet.picture",
    "nbnet.drawing",
    "nbnet.network",
    "nbnet.graph",
    "nbnet.training",
    "nbnet.base",
    "nbnet.estimators",
    "nbnet.linear_regions",
    "nbnet.inspection",
    "nbnet.ahead",
    "nbnet",
    "nbnet.__main__",
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


def test_the_order_names_every_module():
    assert set(MODULES) == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_from_those_above_it(name):
    ours = {other for other in imports(name) if other.split(".")[0] == "nbnet"}
    assert ours <= set(ORDER[: ORDER.index(name)])


@pytest.mark.parametrize("name", ORDER)
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
from .kernels import step
from . import plan
from .kernels.step import train
def inside():
    from llvmlite import ir
"""
    assert set(imports_of("nbnet.training", source)) == {
        "numba.core",
        "os",
        "nbnet",
        "nbnet.graph",
        "nbnet.kernels.step",
        "nbnet.plan",
        "llvmlite",
    }
