"""What a fit holds beside X: no copy of it, and nothing new from step to step."""

import sys
import tracemalloc

import numpy as np
import pytest

import nbnet
from nbnet import graph
from nbnet.graph.network import Network
from nbnet.graph.session import Session
from nbnet.kernels import threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, I = 20_000, 200
BOTH = pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def peak(function, *args):
    """Bytes that `function` holds at most beyond what there is already."""
    function(*args)  # what happens once in a process does not count
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function(*args)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def data(dtype):
    X = np.random.default_rng(0).random((N, I), dtype=dtype)
    return X, np.arange(N) % 2


def small(name, **parameters):
    return getattr(nbnet, name)(
        hidden_layer_sizes=8, max_iter=2, random_state=0, **{"batch_size": 100, **parameters}
    )


@DTYPE
@BOTH
def test_X_is_not_copied_where_dtype_and_layout_fit(name, dtype):
    X, y = data(dtype)
    model = small(name)
    assert peak(model.fit, X, y) < 0.3 * X.nbytes
    assert peak(model.partial_fit, X, y) < 0.3 * X.nbytes
    assert peak(model.predict, X) < 0.3 * X.nbytes


@BOTH
def test_lbfgs_does_not_copy_float64(name):
    X, y = data(np.float64)
    assert peak(small(name, solver="lbfgs").fit, X, y) < 0.3 * X.nbytes


@BOTH
def test_early_stopping_copies_only_what_it_holds_out(name):
    X, y = data(np.float64)
    model = small(name, early_stopping=True, validation_fraction=0.1)
    assert 0.1 * X.nbytes < peak(model.fit, X, y) < 0.4 * X.nbytes


@pytest.mark.parametrize(
    ("change", "size"),
    [(np.asfortranarray, 4), (lambda X: (9 * X).astype(np.int32), 8), (lambda X: X[::2], 4)],
    ids=["columns first", "integers", "every second row"],
)
@BOTH
def test_X_is_copied_once_where_they_do_not(name, change, size):
    X, y = data(np.float32)
    X = change(X)
    y = y[: len(X)]
    once = X.size * size
    model = small(name)
    assert once < peak(model.fit, X, y) < 1.3 * once
    assert once < peak(model.predict, X) < 1.3 * once


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_epoch_allocates_nothing_that_grows_with_the_data(n_threads, monkeypatch):
    monkeypatch.setattr(threads, "thread_limit", lambda: n_threads)
    X, y = data(np.float32)
    network = Network(graph.mlp(I, [("relu", 100)], 1))
    trainer = Session(
        network, network.init(0, np.float32), X, y, loss="half_squared_error", batch_size=500
    )
    order = np.arange(N)
    assert peak(trainer.epoch, order, 1e-3) < 20_000


WATCH = """
import sys, threading, warnings
import joblib
import numpy as np
import nbnet, sklearn.neural_network
warnings.simplefilter("ignore")  # max_iter

def own_memory():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024

def growth(function, *args):
    # The most that the process's own memory grows by; mapped files do not count.
    before = largest = own_memory()
    done = threading.Event()
    def watch():
        nonlocal largest
        while not done.wait(0.001):
            largest = max(largest, own_memory())
    watcher = threading.Thread(target=watch)
    watcher.start()
    function(*args)
    done.set()
    watcher.join()
    return largest - before
"""

MAPPED = f"""{WATCH}
name, loader, dtype = sys.argv[1:]
N, I = 100_000_000 // (200 * np.dtype(dtype).itemsize), 200
np.lib.format.open_memmap("X.npy", mode="w+", dtype=dtype, shape=(N, I))[0] = 1
X = np.load("X.npy", mmap_mode="r")
if loader == "joblib":
    joblib.dump(X, "X.joblib")
    X = joblib.load("X.joblib", mmap_mode="r")
assert isinstance(X, np.memmap)
y = np.arange(N) % 2

def work(X, y):
    model = getattr(nbnet, name)(hidden_layer_sizes=2, batch_size=2000, max_iter=2)
    model.fit(X, y).partial_fit(X, y).predict(X)

work(np.array(X[:3000]), y[:3000])  # load the kernels
print(growth(work, X, y) / X.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "loader", "dtype"),
    [("MLPClassifier", "numpy", "float32"), ("MLPRegressor", "joblib", "float64")],
)
def test_a_memory_mapped_X_is_not_loaded(name, loader, dtype, run_python):
    assert float(run_python("-c", MAPPED, name, loader, dtype)) < 0.2


FITTED = f"""{WATCH}
X = np.random.default_rng(0).random((200_000, 30), dtype=np.float32)
y = (3 * X[:, 0]).astype(int)
model = eval(sys.argv[1]).MLPClassifier((100,), max_iter=3)
model.fit(X[:3000], y[:3000])
print(growth(model.fit, X, y) / X.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_grows_by_less_than_X_and_than_scikit_learn_does(run_python):
    ours, theirs = (
        float(run_python("-c", FITTED, module)) for module in ("nbnet", "sklearn.neural_network")
    )
    assert ours < 1.2
    assert ours < theirs
