"""Whatever is imported is declared in pyproject.toml, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import nbnet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = Path(nbnet.__file__).parent
# Not for users of the package but for those who work on it.
FOR_DEVELOPMENT = {"bench", "dev", "docs", "test"}
# The benchmarks compare with these where they are installed; no extra asks for them.
PEERS = {"jax", "torch"}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras):
    """Names of the distributions that the package and these extras ask for."""
    asked = [*PROJECT["dependencies"]]
    for extra in extras:
        asked += PROJECT["optional-dependencies"][extra]
    return {canonical(re.match(r"[\w.-]+", requirement)[0]) for requirement in asked}


def imports(source, inside=True):
    """Top-level names of the modules imported, `inside` functions too or while loading alone."""

    def visit(node):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        if inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    return {name.split(".")[0] for name in visit(ast.parse(source))}


def distributions(files, inside=True):
    """Names of the distributions that files import, without this project's and Python's own."""
    files = list(files)
    assert files
    ours = {"nbnet", "benchmarks"} | {path.stem for path in (ROOT / "tests").glob("*.py")}
    providers = packages_distributions()
    found = set()
    for path in files:
        for name in imports(path.read_text(encoding="utf-8"), inside):
            if name not in ours | sys.stdlib_module_names:
                # Where it is not installed, the module's name is taken for the distribution's.
                found |= {canonical(provider) for provider in providers.get(name, [name])}
    return found


def test_what_loading_the_package_needs_is_always_installed():
    assert distributions(PACKAGE.rglob("*.py"), inside=False) <= declared()


def test_what_the_package_imports_on_use_is_declared():
    for_users = PROJECT["optional-dependencies"].keys() - FOR_DEVELOPMENT
    assert distributions(PACKAGE.rglob("*.py")) <= declared(*for_users)


def test_the_package_asks_for_nothing_that_it_does_not_import():
    assert declared() <= distributions(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize(
    ("files", "extra", "besides"),
    [
        ("tests/*.py", "test", set()),
        ("benchmarks/*.py", "bench", PEERS),
        ("examples/plot_*.py", "docs", set()),  # the gallery
        ("examples/[!p]*.py", "test", set()),
        ("examples/quickstart.py", "plot", set()),  # as the README says
        ("docs/*.py", "docs", {"docutils"}),  # what Sphinx builds on and always brings
    ],
)
def test_an_extra_holds_what_its_files_import(files, extra, besides):
    assert distributions(ROOT.glob(files)) <= declared(extra) | besides


def test_bounds_can_be_turned_into_the_oldest_versions():
    """The gate installs these once and runs the suite with them."""
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        assert re.fullmatch(r"[\w-]+>=\d+(\.\d+)+", requirement)


def test_every_way_to_import_is_seen():
    source = """
import numpy as np, scipy.sparse
from sklearn.base import clone
from . import graph
from .kernels import step
if True:
    import numba
class Lazy:
    import joblib
    def method(self):
        from matplotlib import pyplot
"""
    while_loading = {"numpy", "scipy", "sklearn", "numba", "joblib"}
    assert imports(source, inside=False) == while_loading
    assert imports(source) == while_loading | {"matplotlib"}
