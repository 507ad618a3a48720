"""Fits beside other threads and processes: no abort, no deadlock, and bitwise the same result.

Each in a process of its own, because what could go wrong is that the process dies.
"""

import importlib
import os
import subprocess
import sys

import pytest

# A fit whose steps and predictions are large enough for several threads, as a hash of its result.
FIT = """
import hashlib, sys, warnings
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
import nbnet
from nbnet.kernels import threads

warnings.simplefilter("ignore")  # max_iter
real_limit, sizes = threads.thread_limit, set()
threads.thread_limit = lambda: max(2, real_limit())  # also where there is one core
start = threads.Team.__init__
def spy(team, *args):
    start(team, *args)
    sizes.add(team.size)
threads.Team.__init__ = spy

rng = np.random.RandomState(0)
X = rng.normal(size=(1200, 60)).astype(np.float32)
y = X[:, 0] > 0

def fit(seed):
    model = nbnet.MLPClassifier((120, 60), batch_size=400, max_iter=4, random_state=seed)
    model.fit(X, y)
    found = hashlib.sha256(model.predict_proba(X).tobytes())
    for array in model.coefs_ + model.intercepts_:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()

def numba_is_idle():
    # That numba has started no threads of its own.
    try:
        numba.threading_layer()
    except ValueError:
        return True
    return False
"""

# The user's own parallel function, started while fits run, or before.
BESIDE_PRANGE = f"""
import sys

layer, blocked, when = sys.argv[1:]
if blocked == "no libgomp":
    # What their absence comes to.
    sys.modules["numba.np.ufunc.omppool"] = sys.modules["numba.np.ufunc.tbbpool"] = None
{FIT}
@numba.njit(parallel=True)
def theirs(a):
    for i in numba.prange(a.size):
        a[i] += 1

a = np.zeros(10_000)
if when == "before":
    theirs(a)
expected = [fit(seed) for seed in range(3)]
assert max(sizes) > 1
assert numba_is_idle() == (when == "while")
calls = int(when == "before")
with ThreadPoolExecutor(3) as pool:
    for _ in range(3):
        fits = [pool.submit(fit, seed) for seed in range(3)]
        while not all(f.done() for f in fits):
            theirs(a)
            calls += 1
        assert [f.result() for f in fits] == expected
assert numba.threading_layer() == layer
assert (a == calls).all()
assert [fit(seed) for seed in range(3)] == expected
print("same")
"""


def layers():
    """The threading layers of numba that this machine has, and the one that it falls back to."""
    for layer, module in (("omp", "omppool"), ("workqueue", "workqueue")):
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError:  # omp, where the system has no libgomp
            continue
        yield layer, "nothing blocked"
    yield "workqueue", "no libgomp"


@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize(("layer", "blocked"), list(layers()))
def test_fits_in_threads_beside_the_users_own_prange(layer, blocked, when, run_python):
    wish = {} if blocked == "no libgomp" else {"NUMBA_THREADING_LAYER": layer}
    said = run_python("-c", BESIDE_PRANGE, layer, blocked, when, **wish)
    assert said == "same\n"


def test_numba_starts_no_threads(run_python):
    """Nor could they alternate with those of a BLAS: neither is used in a fit or prediction."""
    script = f"""{FIT}
for solver in ("adam", "sgd", "lbfgs"):
    model = nbnet.MLPRegressor(hidden_layer_sizes=(120, 60), solver=solver, batch_size=400,
                               max_iter=2, early_stopping=solver == "sgd").fit(X, X[:, :3])
    model.predict(X)
assert max(sizes) > 1
print(numba_is_idle())
"""
    assert run_python("-c", script) == "True\n"


FORK = f"""{FIT}
import multiprocessing, threading
context = multiprocessing.get_context("fork")

@numba.njit(parallel=True)
def theirs(a):
    for i in numba.prange(a.size):
        a[i] += 1

theirs(np.zeros(1000))  # an omp layer kills the child that calls it, were it to
expected = [fit(seed) for seed in range(3)]
with context.Pool(2) as pool:
    assert pool.map(fit, range(3)) == expected

results, done = [], threading.Event()
def go_on():
    while not done.is_set():
        results.append(fit(0))
thread = threading.Thread(target=go_on)
thread.start()
for _ in range(3):
    with context.Pool(2) as pool:
        assert pool.map(fit, range(3)) == expected
done.set()
thread.join()
assert set(results) == {{expected[0]}}
assert max(sizes) > 1
print("same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing to fork with")
def test_a_forked_child_fits_too(run_python):
    """After a fit of the parent, and during one."""
    assert run_python("-c", FORK) == "same\n"


NESTED = f"""{FIT}
import joblib
from sklearn.model_selection import GridSearchCV

def search(n_jobs):
    model = nbnet.MLPClassifier((120, 60), batch_size=400, max_iter=2, random_state=0)
    grid = {{"alpha": [1e-4, 1.0]}}
    found = GridSearchCV(model, grid, n_jobs=n_jobs, cv=2, error_score="raise").fit(X, y)
    return found.cv_results_["mean_test_score"].tolist(), found.predict_proba(X).tobytes()

alone = search(1)
for backend, options in (
    ("loky", {{}}),
    ("loky", {{"inner_max_num_threads": 2}}),
    ("threading", {{}}),
):
    with joblib.parallel_config(backend=backend, **options):
        assert search(2) == alone, backend
assert numba_is_idle()
print("same")
"""


def test_a_grid_search_nests_its_fits(run_python):
    assert run_python("-c", NESTED) == "same\n"


@pytest.mark.slow
def test_a_fit_ends_while_another_process_keeps_a_core_busy(run_python):
    """Threads that only spun would wait for one that has no core."""
    alone = run_python("-c", f"{FIT}\nprint([fit(seed) for seed in range(20)])")
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(neighbour.pid, {min(os.sched_getaffinity(0))})
        beside = run_python("-c", f"{FIT}\nprint([fit(seed) for seed in range(20)])")
        assert neighbour.poll() is None
    finally:
        neighbour.kill()
        neighbour.wait()
    assert beside == alone


# How a process may end: after the main thread, in the last callbacks, beside a team of its own.
ENDINGS = {
    "a thread that goes on": """
import threading
def go_on():
    threading.main_thread().join()
    finish()
threading.Thread(target=go_on).start()
""",
    "a fit that goes on": """
import threading
begun = threading.Event()
run = threads.Team.run
def watched(*args):
    begun.set()
    return run(*args)
threads.Team.run = watched
def go_on():
    while threading.main_thread().is_alive():
        fit(1)
    finish()
threading.Thread(target=go_on).start()
begun.wait()
""",
    "atexit": """
import atexit
atexit.register(finish)
""",
    "a team at hand": """
kept = threads.Team(1e12, 2)
kept.run(lambda tid, n, sync: 0, (), 1e12)
print("same")
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fit_finishes_although_the_process_is_ending(ending, run_python):
    script = f"""{FIT}
expected = fit(0)
assert max(sizes) > 1

def finish():
    assert fit(0) == expected
    print("same", flush=True)
{ENDINGS[ending]}"""
    assert run_python("-c", script) == "same\n"
