"""Kernels are compiled once per machine, and again when their source changes."""

import json
import shutil
from pathlib import Path

import pytest

import nbnet

# Printed is the list of functions that had to be compiled in this process.
COUNT_COMPILES = """
import json, warnings
import numpy as np
from numba.core import event

class Listener(event.Listener):
    compiled = []
    def on_start(self, event): self.compiled.append(event.data["dispatcher"].py_func.__qualname__)
    def on_end(self, event): pass

event.register("numba:compile", Listener())
warnings.simplefilter("ignore")  # convergence
"""

FIT_EVERYTHING = f"""{COUNT_COMPILES}
import scipy.sparse
from nbnet import MLPClassifier, MLPRegressor, graph
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from nbnet.network import Network

X = np.random.default_rng(0).random((40, 3))
y = np.arange(40) % 3

for activation in [*ACTIVATIONS, "maxout"]:
    for solver in ["sgd", "adam", "lbfgs"]:
        model = MLPClassifier((4, 3), activation, solver=solver, max_iter=2).fit(X, y)
        model.predict_proba(X)
    model = MLPClassifier(5, activation, max_iter=2).fit(X.astype(np.float32), y)
    model.predict(X.astype(np.float32))
    MLPClassifier(5, activation, max_iter=2).fit(scipy.sparse.csr_array(X), y).predict(X)
for loss in ["squared_error", "absolute_error", "poisson"]:
    MLPRegressor(loss, early_stopping=True, max_iter=2).fit(X, y).predict(X)
MLPClassifier(max_iter=2).fit(X, y > 0).predict(X)
MLPClassifier().partial_fit(X, y, classes=[0, 1, 2], sample_weight=X[:, 0])

x = graph.input(3)
h = graph.maxout(x, 3, pieces=2)
network = Network(graph.dense(graph.concat(graph.add(h, x), graph.multiply(h, x)), 2))
params = network.init(random_state=0)
for name, row in LOSSES.items():
    target = (y[:, None] > 0) * np.ones((1, row.raw_per_target * 2 or 1))
    network.loss_and_gradient(params, X, target, loss=name)
    network.gradients(params, X, target, loss=name, wrt=[x])
    network.forward(params, X, loss=name)
print(json.dumps(Listener.compiled))
"""

FIT = f"""{COUNT_COMPILES}
from nbnet import MLPClassifier

X = np.random.default_rng(0).random((40, 3)).astype(np.float32)
y = np.arange(40) % 3
model = MLPClassifier(5, activation="relu", max_iter=2, random_state=0).fit(X, y)
print(json.dumps([Listener.compiled, model.loss_curve_]))
"""


def test_a_second_process_compiles_nothing(run_python, tmp_path):
    cache = tmp_path / "cache"
    first = json.loads(run_python("-c", FIT_EVERYTHING, NUMBA_CACHE_DIR=cache))
    assert first != []
    assert json.loads(run_python("-c", FIT_EVERYTHING, NUMBA_CACHE_DIR=cache)) == []


@pytest.fixture
def copied_package(tmp_path, run_python):
    """A copy of the package that may be edited, and a function that fits with it."""
    package = tmp_path / "nbnet"  # the process runs in tmp_path, so that this one is imported
    shutil.copytree(
        Path(nbnet.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    return package, lambda: json.loads(
        run_python("-c", FIT, NUMBA_CACHE_DIR=tmp_path / "cache", PYTHONDONTWRITEBYTECODE=1)
    )


def test_an_edit_in_another_file_is_noticed(copied_package):
    """A stale cache would go on with the old activation: its callers' files are unchanged."""
    package, fit = copied_package
    _, before = fit()
    compiled, again = fit()
    assert compiled == []
    assert again == before
    with open(package / "kernels" / "activations.py", "a") as file:
        file.write(
            "\n\n@kernel\ndef activate(code, h, negative_slope):\n"
            "    for i in range(h.size):\n        h[i] = h.dtype.type(0)\n"
        )
    compiled, after = fit()
    assert compiled != []
    assert after != before


@pytest.mark.slow
def test_an_edit_in_any_kernel_source_is_noticed(copied_package):
    package, fit = copied_package
    fit()
    for source in sorted((package / "kernels").glob("*.py")):
        assert fit()[0] == []
        with open(source, "a") as file:
            file.write("\n# edited\n")
        assert fit()[0] != [], source.name
