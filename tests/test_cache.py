"""Kernels are compiled once per machine, and again when their source changes."""

import json
import shutil
from pathlib import Path

import pytest
from numba import config, njit

import nbnet
from nbnet.kernels._cache import KernelCache

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
from nbnet.estimators.targets import REGRESSION_LOSSES
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES

X = np.random.default_rng(0).random((40, 3))
y = np.arange(40) % 3

for activation in [*ACTIVATIONS, "maxout"]:
    for solver in ["sgd", "adam", "lbfgs"]:
        model = MLPClassifier((4, 3), activation, solver=solver, max_iter=2).fit(X, y)
        model.predict_proba(X)
    model = MLPClassifier(5, activation, max_iter=2).fit(X.astype(np.float32), y)
    model.predict(X.astype(np.float32))
    MLPClassifier(5, activation, max_iter=2).fit(scipy.sparse.csr_array(X), y).predict(X)
for loss in REGRESSION_LOSSES:
    for data in (X, X.astype(np.float32), scipy.sparse.csr_array(X)):
        MLPRegressor(loss, early_stopping=True, max_iter=2).fit(data, y).predict(data)
MLPRegressor("gaussian", covariance="full", max_iter=2).fit(X, X).predict(X, return_cov=True)
MLPClassifier(loss="pinned_log_loss", max_iter=2).fit(X, y).predict(X)
body = lambda x: graph.add(graph.relu(graph.dense(x, 3)), graph.maxout(x, 3, pieces=4), x)
for Estimator in (MLPClassifier, MLPRegressor):
    for data in (X, X.astype(np.float32), scipy.sparse.csr_array(X)):
        model = Estimator(architecture=body, max_iter=2).fit(data, y)
        model.predict(data)
        model.transform(data, layer=0)
        network, params = model.to_network()
        network.jacobian(params, data)
MLPClassifier(max_iter=2).fit(X, y > 0).predict(X)
MLPClassifier().partial_fit(X, y, classes=[0, 1, 2], sample_weight=X[:, 0])

x = graph.input(3)
h = graph.maxout(x, 3, pieces=2)
network = graph.Network(graph.dense(graph.concat(graph.add(h, x), graph.multiply(h, x)), 2))
params = network.init(random_state=0)
for name, row in LOSSES.items():
    target = (y[:, None] > 0) * np.ones((1, 1 if row.integer_targets else row.n_targets(2)))
    network.loss_and_gradient(params, X, target, loss=name)
    network.gradients(params, X, target, loss=name, wrt=[x])
    network.forward(params, X, loss=name)
print(json.dumps(Listener.compiled))
"""

# Printed are the functions compiled, the loss curve, and what was logged.
FIT = f"""{COUNT_COMPILES}
import logging
from nbnet import MLPClassifier

class Log(logging.Handler):
    lines = []
    def emit(self, record): self.lines.append(f"{{record.levelname}} {{record.getMessage()}}")

logging.getLogger().addHandler(Log())
logging.getLogger().setLevel("INFO")
X = np.random.default_rng(0).random((40, 3)).astype(np.float32)
y = np.arange(40) % 3
model = MLPClassifier(5, activation="relu", max_iter=2, random_state=0).fit(X, y)
print(json.dumps([Listener.compiled, model.loss_curve_, Log.lines]))
"""


@pytest.fixture
def copied_package(tmp_path, run_python):
    """A copy of the package that may be edited, and a function that fits with it."""
    package = tmp_path / "nbnet"  # the process runs in tmp_path, so that this one is imported
    shutil.copytree(
        Path(nbnet.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )

    def fit(**environment):
        settings = {
            "NUMBA_CACHE_DIR": tmp_path / "cache",
            "PYTHONDONTWRITEBYTECODE": 1,
            "HOME": tmp_path,
        }
        return json.loads(run_python("-c", FIT, **{**settings, **environment}))

    return package, fit


def test_after_a_warm_up_nothing_is_compiled(copied_package, run_python, tmp_path):
    cache = tmp_path / "cache"
    own = {"NUMBA_CACHE_DIR": cache, "HOME": tmp_path}  # of the copy there is no other cache
    said = run_python("-W", "error", "-m", "nbnet.warmup", **own).splitlines()
    assert len(said) == 9  # training and prediction, two dtypes, plain and general; and the sum
    assert all("compiled in" in line for line in said[:-1])
    assert "0 loaded" in said[-1]
    assert str(cache) in said[-1]
    assert json.loads(run_python("-c", FIT_EVERYTHING, **own)) == []


def machine_code(folder):
    return [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]


def test_an_edit_in_another_file_is_noticed(copied_package, tmp_path):
    """A stale cache would go on with the old activation: its callers' files are unchanged."""
    package, fit = copied_package
    _, before, log = fit()
    assert len(log) == 1  # whatever the number of kernels
    assert log[0].startswith(f"INFO compiling kernels, which takes some seconds; machine code is "
                             f"kept in {tmp_path / 'cache'}")  # fmt: skip
    assert machine_code(tmp_path) == machine_code(tmp_path / "cache") != []
    assert fit() == [[], before, []]
    with open(package / "kernels" / "activations.py", "a") as file:
        file.write(
            "\n\n@kernel\ndef activate(code, h, negative_slope):\n"
            "    for i in range(h.size):\n        h[i] = h.dtype.type(0)\n"
        )
    compiled, after, _ = fit()
    assert compiled != []
    assert after != before


def test_an_edit_in_any_kernel_source_changes_the_stamp(copied_package, run_python):
    package, _ = copied_package
    ask = "from nbnet.kernels import _jit; print(_jit.__file__, _jit._STAMP.hex())"

    def stamp():
        file, stamp = run_python("-c", ask).split()
        assert Path(file) == package / "kernels" / "_jit.py"
        return stamp

    sources = sorted((package / "kernels").glob("*.py"))
    stamps = [stamp()]
    for source in sources:
        with open(source, "a") as file:
            file.write("\n# edited\n")
        stamps.append(stamp())
    assert len(set(stamps)) == len(sources) + 1 > 10
    assert stamp() == stamps[-1]


def test_a_fit_needs_no_place_to_write(copied_package, tmp_path):
    """A read-only installation, no home, and a cache folder that cannot be."""
    package, fit = copied_package
    (package / "kernels" / "__pycache__").write_text("not a folder")
    (tmp_path / "file").write_text("not a folder")
    nowhere = tmp_path / "file" / "folder"
    compiled, curve, log = fit(NUMBA_CACHE_DIR=nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert compiled != []
    assert len(curve) == 2
    assert len(log) == 1
    assert log[0].endswith("machine code is not kept: no folder is writable")
    assert machine_code(tmp_path) == []


# The cache of one small function, as the kernels have it.


def add(a, b):
    return a + b


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call `add` as a new process would; return whether it was compiled or loaded."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))

    def compiled_or_loaded(stamp=b"stamp"):
        function = njit(add)
        function._cache = KernelCache(add, stamp)
        assert function(2, 3) == 5
        stats = function.stats
        assert len(stats.cache_misses) + len(stats.cache_hits) == 1
        return "compiled" if stats.cache_misses else "loaded"

    return compiled_or_loaded


def test_machine_code_is_kept_until_the_stamp_changes(call):
    assert [call(), call(), call(b"other"), call(b"other")] == [
        "compiled", "loaded", "compiled", "loaded",
    ]  # fmt: skip


def read_only(monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("os.replace", refuse)


def test_a_cache_that_cannot_be_written_is_read(call, monkeypatch):
    """As in an image that was filled when it was built."""
    call()
    read_only(monkeypatch)
    assert call() == "loaded"
    assert KernelCache(add, b"stamp").folder is None
    assert call(b"other") == "compiled"


def test_a_cache_that_became_unwritable_does_not_stop_a_fit(call, monkeypatch, caplog):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert [call(), call()] == ["compiled", "compiled"]
    assert "is not kept: No space left on device" in caplog.text


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_file_cut_short_does_not_stop_a_fit(call, suffix, tmp_path):
    call()
    [path] = (tmp_path / "cache").rglob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:20])
    assert call() == "compiled"
    assert call() == "loaded"
