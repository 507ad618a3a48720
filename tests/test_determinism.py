"""The same seed gives bitwise the same model, whatever the number of threads."""

import hashlib
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import nbnet
from nbnet.kernels import threads

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SETTINGS = [
    {"batch_size": 701, "early_stopping": True},
    {"solver": "sgd", "activation": ("maxout", "tanh"), "batch_size": 333},
    {"solver": "lbfgs"},
]


def digest():
    """A hash of all that fits of several kinds produce."""
    # Large enough for several threads; sizes that neither a tile nor a team divides.
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1501, 90))
    weight = rng.uniform(size=len(X))
    y = X[:, 0] * X[:, 1] > 0
    found = hashlib.sha256()
    for features in (X, X.astype(np.float32), sp.csr_matrix(np.where(X > 0.5, X, 0))):
        for settings in SETTINGS:
            model = nbnet.MLPClassifier((130, 70), max_iter=3, random_state=0, **settings)
            model.fit(features, y, sample_weight=weight)
            for array in [*model.coefs_, *model.intercepts_, model.predict_proba(features)]:
                found.update(np.ascontiguousarray(array).tobytes())
            found.update(repr([model.loss_, getattr(model, "loss_curve_", None)]).encode())
    return found.hexdigest()


@pytest.fixture(scope="module")
def expected():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "thread_limit", lambda: 1)
        return digest()


@pytest.fixture
def numbers(monkeypatch):
    """How many threads calls of kernels had."""
    run, seen = threads.Team._run, []

    def spy(team, kernel, args, n, short):
        seen.append(n)
        return run(team, kernel, args, n, short)

    monkeypatch.setattr(threads.Team, "_run", spy)
    return seen


@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_same_bits_with_any_number_of_threads(n_threads, expected, numbers, monkeypatch):
    monkeypatch.setattr(threads, "thread_limit", lambda: n_threads)
    assert digest() == expected
    assert n_threads in numbers


def test_same_bits_if_the_number_changes_from_epoch_to_epoch(expected, numbers, monkeypatch):
    turns = itertools.cycle([True, False])
    monkeypatch.setattr(threads, "thread_limit", lambda: 3)
    monkeypatch.setattr(threads, "_SMALL_STEP", np.inf)
    monkeypatch.setattr(threads._Pace, "many", lambda pace: next(turns))
    assert digest() == expected
    assert {1, 3} <= set(numbers)


def test_same_bits_whatever_the_user_allows(expected, run_python):
    """The public ways to limit threads, each in a process of its own."""
    here = os.pathsep.join([str(Path(nbnet.__file__).parents[1]), str(Path(__file__).parent)])
    say = "import warnings; warnings.simplefilter('ignore'); import test_determinism as t\n"
    for code, environment in [
        (say, {"NUMBA_NUM_THREADS": "1"}),
        (f"import numba; numba.set_num_threads(1)\n{say}", {}),
        (say, {}),
    ]:
        out = run_python("-c", f"{code}print(t.digest())", PYTHONPATH=here, **environment)
        assert out.strip() == expected
