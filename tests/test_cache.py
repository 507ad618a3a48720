"""Kernels are compiled once per machine, and again when their source changes."""

import compileall
import json
import py_compile
import shutil
from pathlib import Path

import numpy as np
import pytest
from numba import config, njit, types
from numba.core.compiler import CompileResult

import nbnet
from nbnet.kernels.compile import stamp
from nbnet.kernels.compile.cache import KernelCache

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
        shares = (1 + y) / 3  # what every loss admits
        MLPRegressor(loss, early_stopping=True, max_iter=2).fit(data, shares).predict(data)
MLPRegressor("gaussian", covariance="full", max_iter=2).fit(X, X).predict(X, return_cov=True)
MLPClassifier(loss="pinned_log_loss", max_iter=2).fit(X, y).predict(X)
def body(x):
    h = graph.layer_norm(graph.relu(graph.dense(x, 3)))
    return graph.add(h, graph.maxout(x, 3, pieces=4), x)
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
    target = np.ones((40, 1 if row.integer_targets else row.n_targets(2)))
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
    said = run_python("-W", "error", "-m", "nbnet", "warmup", **own).splitlines()
    assert (
        len(said) == 13
    )  # training and prediction, two dtypes, plain, general, extra; and the sum
    assert all("compiled in" in line for line in said[:-1])
    assert "0 loaded" in said[-1]
    assert str(cache) in said[-1]
    assert json.loads(run_python("-c", FIT_EVERYTHING, **own)) == []


def machine_code(folder):
    return [path for path in folder.rglob("*") if path.suffix == ".nbnet"]


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
            "\n\n@kernel\ndef activate(code, h, number, extras):\n"
            "    for i in range(h.size):\n        h[i] = h.dtype.type(0)\n"
        )
    compiled, after, _ = fit()
    assert compiled != []
    assert after != before


ASK = "from nbnet.kernels.compile import jit; print(jit.__file__, jit._stamp().hex())"


def test_an_edit_in_any_kernel_source_changes_the_stamp(copied_package, run_python):
    package, _ = copied_package

    def stamp(*options):
        file, stamp = run_python(*options, "-c", ASK, PYTHONDONTWRITEBYTECODE=1).split()
        assert Path(file) == package / "kernels" / "compile" / "jit.py"
        return stamp

    sources = sorted((package / "kernels").rglob("*.py"))
    stamps = [stamp()]
    for source in sources:
        with open(source, "a") as file:
            file.write("\nEDITED = 1\n")
        stamps.append(stamp())
    assert len(set(stamps)) == len(sources) + 1 > 10
    with open(sources[0], "a") as file:
        file.write("# a comment\n")
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
        function._cache = KernelCache(add, lambda: stamp)
        assert function(2, 3) == 5
        stats = function.stats
        assert len(stats.cache_misses) + len(stats.cache_hits) == 1
        return "compiled" if stats.cache_misses else "loaded"

    return compiled_or_loaded


def test_machine_code_is_kept_until_the_stamp_changes(call):
    assert [call(), call(), call(b"other"), call(b"other")] == [
        "compiled", "loaded", "compiled", "loaded",
    ]  # fmt: skip


def test_nothing_is_loaded_or_kept_where_the_code_cannot_be_known(call, tmp_path):
    call()
    kept = machine_code(tmp_path)
    assert [call(None), call(None)] == ["compiled", "compiled"]
    assert machine_code(tmp_path) == kept
    assert KernelCache(add, lambda: None).folder is None


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
    assert KernelCache(add, lambda: b"stamp").folder is None
    assert call(b"other") == "compiled"


def test_a_cache_that_became_unwritable_does_not_stop_a_fit(call, monkeypatch, caplog):
    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert [call(), call()] == ["compiled", "compiled"]
    assert "is not kept: No space left on device" in caplog.text


def test_a_damaged_file_is_as_if_it_were_not_there(call, tmp_path):
    """Whatever bit is flipped, wherever it ends: reading it must not fail, crash or be believed."""
    call()
    [path] = machine_code(tmp_path)
    whole = path.read_bytes()
    cache = KernelCache(add, lambda: b"stamp")
    function = njit(add)
    signature = (types.int64, types.int64)
    function.compile(signature)  # the target of numba is initialised
    context = function.targetctx

    rng = np.random.default_rng(0)
    bits = {0, 255, 256, 8 * len(whole) - 1, *rng.integers(8 * len(whole), size=2000).tolist()}
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert cache.load_overload(signature, context) is None, bit
    for length in {0, 1, 31, 32, 33, len(whole) - 1, *rng.integers(len(whole), size=200).tolist()}:
        path.write_bytes(whole[:length])
        assert cache.load_overload(signature, context) is None, length
    path.write_bytes(whole + b"more")
    assert cache.load_overload(signature, context) is None
    path.write_bytes(whole)
    assert cache.load_overload(signature, context) is not None

    path.write_bytes(whole[:100])
    assert [call(), call()] == ["compiled", "loaded"]
    assert machine_code(tmp_path) == [path]


def test_a_file_of_another_purpose_is_not_believed(call, tmp_path, monkeypatch):
    call()
    [path] = machine_code(tmp_path)
    monkeypatch.setattr(config, "LOOP_VECTORIZE", 0)
    call()
    [other] = set(machine_code(tmp_path)) - {path}
    shutil.copy(path, other)
    assert call() == "compiled"


def test_a_whole_file_that_numba_cannot_read_does_not_stop_a_fit(call, monkeypatch):
    call()
    monkeypatch.setattr(CompileResult, "_rebuild", lambda *args: [][0])
    assert call() == "compiled"


def test_code_that_cannot_be_pickled_is_not_kept(call, monkeypatch, caplog):
    monkeypatch.setattr(CompileResult, "_reduce", lambda self: lambda: None)
    assert [call(), call()] == ["compiled", "compiled"]
    assert "the machine code of add is not kept" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPT", type(config.OPT)("0")),
        ("LOOP_VECTORIZE", 0),
        ("SLP_VECTORIZE", 1),
        ("BOUNDSCHECK", 1),
        ("CPU_FEATURES", "+sse2"),
        ("DEBUGINFO_DEFAULT", 1),
        ("A_SETTING_OF_TOMORROW", 1),
    ],
)
def test_other_settings_have_machine_code_of_their_own(name, value, call, monkeypatch):
    assert [call(), call()] == ["compiled", "loaded"]
    with monkeypatch.context() as patch:
        patch.setattr(config, name, value, raising=False)
        assert [call(), call()] == ["compiled", "loaded"]
    assert call() == "loaded"  # one does not overwrite the other


def test_settings_that_shape_no_code_share_it(call, monkeypatch):
    call()
    for name, value in [("NUMBA_NUM_THREADS", 1), ("SHOW_HELP", 1), ("CUDA_LOG_SIZE", 1)]:
        monkeypatch.setattr(config, name, value)
    assert call() == "loaded"


def test_every_harmless_setting_is_one_of_numba():
    assert {name for name in stamp._HARMLESS if not hasattr(config, name)} == set()


def test_optimisation_levels_of_a_process_do_not_mix(copied_package):
    """What was compiled quickly and badly must not slow down the others."""
    _, fit = copied_package
    assert fit(NUMBA_OPT=0)[0] != []
    assert fit()[0] != []
    assert fit(NUMBA_OPT=0)[0] == fit()[0] == []


def test_a_flush_forgets_one_function(call, tmp_path):
    call()
    other = machine_code(tmp_path)[0].with_name("another-function.nbnet")
    other.touch()
    KernelCache(add, lambda: b"stamp").flush()
    assert machine_code(tmp_path) == [other]
    assert call() == "compiled"


# Packages without sources in a folder.


@pytest.fixture
def other_version(copied_package):
    """Change an activation of the copied package: its file holds no entry point."""
    package, _ = copied_package

    def edit():
        with open(package / "kernels" / "activations.py", "a") as file:
            file.write(
                "\n\n@kernel\ndef activate(code, h, number, extras):\n"
                "    for i in range(h.size):\n        h[i] = h.dtype.type(0)\n"
            )

    return edit


@pytest.fixture
def fit_of(tmp_path, run_python):
    """Fit with the package that is found first in a place; what was compiled, and the curve."""

    def fit(place):
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        script = (
            f"import os, sys; os.chdir({str(folder)!r}); sys.path[0] = {str(place)!r}\n{FIT}\n"
            f"assert sys.modules['nbnet.kernels'].__file__.startswith({str(place)!r})"
        )
        environment = {"NUMBA_CACHE_DIR": tmp_path / "cache", "HOME": tmp_path}
        return json.loads(run_python("-c", script, PYTHONDONTWRITEBYTECODE=1, **environment))[:2]

    return fit


def zipped(package, target):
    target.unlink(missing_ok=True)
    shutil.make_archive(str(target.with_suffix("")), "zip", package.parent, package.name)


def without_sources(package, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(package, target / "nbnet")
    compileall.compile_dir(target, quiet=1, legacy=True, invalidation_mode=UNCHECKED)
    for source in target.rglob("*.py"):
        source.unlink()


UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


@pytest.mark.parametrize(
    ("install", "place"), [(zipped, "app.zip"), (without_sources, "without_sources")]
)
def test_two_versions_without_source_files_do_not_mix(
    install, place, copied_package, other_version, fit_of, tmp_path
):
    package, _ = copied_package
    place = tmp_path / place
    install(package, place)
    compiled, before = fit_of(place)
    assert compiled != []
    assert fit_of(place) == [[], before]  # kept, although there are no sources
    other_version()
    install(package, place)
    compiled, after = fit_of(place)
    assert compiled != []
    assert after != before
    assert fit_of(place) == [[], after]


# In a process: the stamp is not known where a module cannot be found or read.
UNKNOWN = """
import sys, types
from nbnet.kernels.compile import stamp
import nbnet.kernels.activations as module

assert stamp.code_stamp("nbnet.kernels")
sys.modules["nbnet.kernels.unheard_of"] = types.ModuleType("nbnet.kernels.unheard_of")
assert stamp.code_stamp("nbnet.kernels") is None
del sys.modules["nbnet.kernels.unheard_of"]
assert stamp.code_stamp("nbnet.kernels")

for get_code in (lambda name: None, lambda name: 1 / 0):
    stamp._search.cache_clear()
    module.__spec__.loader = types.SimpleNamespace(get_code=get_code)
    assert stamp.code_stamp("nbnet.kernels") is None
"""


def test_a_module_without_code_makes_the_stamp_unknown(run_python):
    run_python("-c", UNKNOWN)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_stamp_is_the_same_in_each_process(seed, run_python):
    script = """
from nbnet.kernels.compile import stamp
print(stamp._plain(compile("x in {'alpha', 'beta', 'gamma', 1, (2, None)}", "", "eval")))
"""
    assert run_python("-c", script, PYTHONHASHSEED=seed) == run_python("-c", script)


def test_constants_of_different_types_differ():
    found = [repr(stamp._plain(compile(f"f({x})", "", "eval"))) for x in CONSTANTS]
    assert len(set(found)) == len(CONSTANTS)


CONSTANTS = ("1", "1.0", "True", "'1'", "b'1'", "(1,)", "0.0", "-0.0", "lambda: 1", "lambda: 2")

# Frozen applications.

FROZEN = f"""
import sys
sys.frozen, sys._MEIPASS, sys.executable = True, sys.argv[1], sys.argv[2]
{FIT}
"""


@pytest.fixture
def application(tmp_path, run_python, copied_package):
    """Fit in an application that was started from a folder and unpacked into another one."""
    _, _ = copied_package

    def fit(executable, folder, **environment):
        folder = tmp_path / folder
        shutil.copytree(tmp_path / "nbnet", folder / "nbnet")
        script = f"import os; os.chdir({str(folder)!r}); import sys; sys.path[0] = {str(folder)!r}"
        environment = {"HOME": tmp_path, "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": "", **environment}
        said = run_python("-c", script + FROZEN, folder, tmp_path / executable, **environment)
        found = json.loads(said)
        assert machine_code(folder) == []
        return found

    return fit


def test_a_frozen_application_has_one_cache_wherever_it_is_unpacked(application, tmp_path):
    compiled, curve, log = application("one.exe", "first")
    assert compiled != []
    assert application("one.exe", "second") == [[], curve, []]
    cache = {path.parent for path in machine_code(tmp_path)}
    assert len(cache) == 1
    assert f"kept in {cache.copy().pop()}" in log[0]
    assert application("another.exe", "third")[0] != []
    assert len({path.parent for path in machine_code(tmp_path)}) == 2


def test_applications_with_a_shared_cache_folder_do_not_share_a_cache(application, tmp_path):
    shared = {"NUMBA_CACHE_DIR": tmp_path / "cache"}
    assert application("one.exe", "first", **shared)[0] != []
    assert application("another.exe", "second", **shared)[0] != []
    assert application("one.exe", "third", **shared)[0] == []
    assert len(machine_code(tmp_path)) == len(machine_code(tmp_path / "cache")) == 2
