"""Seed for seed: nbnet's estimators against scikit-learn's, in every shared configuration.

Both draw the same random numbers in the same order and compute the same mathematics, so in float64
all that they learn and report agrees up to rounding.
"""

import random
import warnings
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.neural_network as upstream
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning

import nbnet

# Small data: it also proves the logic of kernels in plain Python.
pytestmark = [pytest.mark.uncompiled, pytest.mark.numerical]

TASKS = ("binary", "multiclass", "multilabel", "regression", "several outputs", "poisson")
SOLVERS = ("adam", "sgd", "lbfgs")

# Each level is what one setting adds to a configuration.
SETTINGS = {
    "activation": ("identity", "logistic", "tanh", "relu"),
    "hidden_layer_sizes": ((), 7, (9, 5)),
    "batch_size": ("auto", 16, 13),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "momentum": (
        {"momentum": 0.9},
        {"momentum": 0.7, "nesterovs_momentum": False},
        {"momentum": 0},
    ),
    "early_stopping": (False, True),
    "shuffle": (True, False),
    "weighted": (False, True),
    "container": (np.asarray, np.asfortranarray, sp.csr_matrix, sp.csc_array),
}
DRAWS = 4  # configurations per task and solver


def configurations():
    """Combine every task with every solver, the other settings at random (and always alike)."""
    rng = random.Random(7)
    for task in TASKS:
        for solver in SOLVERS:
            for _ in range(DRAWS):
                yield task, solver, {name: rng.choice(levels) for name, levels in SETTINGS.items()}


def name_of(level):
    return getattr(level, "__name__", str(level))


def data(task, n=70):
    rng = np.random.RandomState(3)
    weight = rng.uniform(0.2, 2.0, n)
    if task == "multilabel":
        X, y = make_multilabel_classification(n, n_features=8, n_classes=3, random_state=0)
        return X / 10, y, weight
    if task in ("binary", "multiclass"):
        X, y = make_classification(
            n, 8, n_informative=5, n_classes=2 if task == "binary" else 3, random_state=0
        )
        return X, y, weight
    X = rng.normal(size=(n, 8)) * (rng.uniform(size=(n, 8)) < 0.7)  # sparse containers pay
    y = X @ rng.normal(size=(8, 3)) + 0.1 * rng.normal(size=(n, 3))
    if task == "poisson":
        return X, rng.poisson(np.exp(0.3 * y[:, 0])), weight
    return X, y if task == "several outputs" else y[:, 0], weight


def pair(task, **parameters):
    """Scikit-learn's estimator and nbnet's, with the same parameters."""
    kind = "MLPClassifier" if task in ("binary", "multiclass", "multilabel") else "MLPRegressor"
    if task == "poisson":
        parameters["loss"] = "poisson"
    return getattr(upstream, kind)(**parameters), getattr(nbnet, kind)(**parameters)


def quietly(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "early_stopping=True has no effect beside solver='lbfgs'")
        return call(*args, **kwargs)


def assert_same_model(theirs, ours, X, rtol=1e-6, loss_scale=1.0):
    def close(a, b, **kwargs):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * 1e-3, **kwargs)

    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            close(a, b, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    close(ours.loss_, theirs.loss_ * loss_scale)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        value = getattr(theirs, name, None)
        if value is None:
            assert getattr(ours, name, None) is None, name
        else:
            scale = loss_scale if "loss" in name else 1.0
            close(getattr(ours, name), np.asarray(value) * scale, err_msg=name)
    for name in ("predict", "predict_proba", "predict_log_proba"):
        assert hasattr(ours, name) == hasattr(theirs, name)
        if hasattr(theirs, name):
            close(getattr(ours, name)(X), getattr(theirs, name)(X), err_msg=name)
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)


@pytest.mark.parametrize(
    ("task", "solver", "settings"),
    [
        pytest.param(*row, id="-".join([row[0], row[1], *map(name_of, row[2].values())]))
        for row in configurations()
    ],
)
def test_same_as_upstream(task, solver, settings):
    settings = dict(settings)
    X, y, weight = data(task)
    X = settings.pop("container")(X)
    weight = weight if settings.pop("weighted") else None
    several = task == "several outputs"
    theirs, ours = pair(
        task,
        solver=solver,
        random_state=5,
        max_iter=6,
        learning_rate_init=0.01,
        n_iter_no_change=2,
        validation_fraction=0.2,
        # Upstream reports the mean over outputs where nbnet reports the sum (and both descend
        # along the gradient of the sum). Without a penalty one is a multiple of the other, and
        # with tol=0 the factor makes no difference to when training stops.
        alpha=0.0 if several else 0.01,
        tol=0.0 if several else 1e-4,
        **settings.pop("momentum"),
        **settings,
    )
    if several and solver == "lbfgs":
        # Another objective is another path; at the optimum of a linear model they meet.
        for model in (theirs, ours):
            model.set_params(hidden_layer_sizes=(), max_iter=500, tol=1e-9, early_stopping=False)
        theirs.fit(X, y, sample_weight=weight)
        ours.fit(X, y, sample_weight=weight)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3, atol=1e-3)
        return

    quietly(theirs.fit, X, y, sample_weight=weight)
    quietly(ours.fit, X, y, sample_weight=weight)

    assert_same_model(theirs, ours, X, loss_scale=3.0 if several else 1.0)
    if solver != "lbfgs":
        assert ours._training["no_improvement_count"] == theirs._no_improvement_count


def test_configurations_cover_all_pairs():
    rows = [
        {"task": task, "solver": solver, **{k: name_of(v) for k, v in settings.items()}}
        for task, solver, settings in configurations()
    ]
    levels = {"task": TASKS, "solver": SOLVERS} | {
        name: tuple(map(name_of, values)) for name, values in SETTINGS.items()
    }
    for a, b in combinations(levels, 2):
        assert len({(row[a], row[b]) for row in rows}) == len(levels[a]) * len(levels[b]), (a, b)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_warm_start_same_as_upstream(task, solver):
    X, y, weight = data(task)
    theirs, ours = pair(
        task,
        solver=solver,
        learning_rate="invscaling",
        hidden_layer_sizes=6,
        random_state=1,
        warm_start=True,
        max_iter=4,
        batch_size=20,
    )
    for _ in range(3):
        quietly(theirs.fit, X, y, sample_weight=weight)
        quietly(ours.fit, X, y, sample_weight=weight)
        assert_same_model(theirs, ours, X)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression", "poisson"])
def test_partial_fit_same_as_upstream(task, solver):
    X, y, weight = data(task)
    theirs, ours = pair(
        task,
        solver=solver,
        learning_rate="invscaling",
        hidden_layer_sizes=(6,),
        random_state=1,
        batch_size=20,
    )
    first = {"classes": np.unique(y)} if hasattr(ours, "predict_proba") else {}
    if task == "multilabel":
        first["classes"] = np.arange(3)
    for i in range(4):
        rows = slice(10 * i, 10 * i + 40)
        theirs.partial_fit(X[rows], y[rows], sample_weight=weight[rows], **first)
        ours.partial_fit(X[rows], y[rows], sample_weight=weight[rows], **first)
        assert_same_model(theirs, ours, X)
        first = {}
    assert ours._training["step"] == 8


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_partial_fit_after_fit_same_as_upstream(task):
    X, y, _ = data(task)
    theirs, ours = pair(
        task, solver="sgd", learning_rate="adaptive", random_state=1, max_iter=30, tol=0.5,
        n_iter_no_change=2,
    )  # fmt: skip
    for model in (theirs, ours):
        quietly(model.fit, X, y)
        model.set_params(learning_rate_init=0.5)  # partial_fit goes on at the rate it had
        model.partial_fit(X, y)
    assert_same_model(theirs, ours, X)
    rate = ours._training["learning_rate_init"]
    for _ in range(ours._training["slow_downs"]):
        rate /= 5
    assert rate == theirs._optimizer.learning_rate < 1e-3


def test_random_state_instance_is_consumed_alike():
    X, y, _ = data("binary")
    states = [np.random.RandomState(4), np.random.RandomState(4)]
    for i in range(2):
        theirs, ours = pair("binary", hidden_layer_sizes=5, max_iter=2, early_stopping=True)
        for model, state in zip((theirs, ours), states, strict=True):
            quietly(model.set_params(random_state=state).fit, X, y)
        assert_same_model(theirs, ours, X)
        assert states[0].randint(1 << 30) == states[1].randint(1 << 30), i


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("task", ["multiclass", "binary", "regression", "poisson"])
def test_float32_is_kept(task, solver):
    X, y, weight = data(task)
    X = X.astype(np.float32)
    theirs, ours = pair(task, solver=solver, random_state=2, max_iter=5, batch_size=16)
    quietly(theirs.fit, X, y, sample_weight=weight)
    quietly(ours.fit, X, y, sample_weight=weight)
    assert {a.dtype for a in ours.coefs_ + ours.intercepts_} == {np.dtype(np.float32)}
    outputs = ours.predict_proba(X) if hasattr(ours, "predict_proba") else ours.predict(X)
    assert outputs.dtype == np.float32
    expected = theirs.predict_proba(X) if hasattr(ours, "predict_proba") else theirs.predict(X)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, np.longdouble])
def test_other_dtypes_become_float64(dtype):
    X = np.arange(24).reshape(8, 3).astype(dtype)
    y = np.arange(8) % 2
    theirs, ours = pair("binary", random_state=0, max_iter=3)
    quietly(theirs.fit, X, y)
    quietly(ours.fit, X, y)
    assert_same_model(theirs, ours, X)
    assert ours.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("task", ["multiclass", "regression", "poisson"])
def test_lbfgs_converges_where_upstream_does(task):
    X, y, _ = data(task)
    theirs, ours = pair(task, solver="lbfgs", hidden_layer_sizes=5, tol=0.05, random_state=0)
    for model in (theirs, ours):
        model.fit(X, y)  # and does not warn
    assert 3 < ours.n_iter_ < 150
    assert_same_model(theirs, ours, X)


def test_automatic_batches_same_as_upstream():
    X, y, _ = data("regression", n=450)
    theirs, ours = pair("regression", hidden_layer_sizes=5, random_state=0, max_iter=2)
    quietly(theirs.fit, X, y)
    quietly(ours.fit, X, y)
    assert_same_model(theirs, ours, X)


def test_wide_and_deep_same_as_upstream():
    """Layers that cross every tile edge, enough rows for several threads."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 37))
    y = np.argmax(X[:, :11] + rng.normal(size=(600, 11)), axis=1)
    theirs, ours = pair(
        "multiclass", hidden_layer_sizes=(130, 45, 66), random_state=0, max_iter=2, batch_size=150
    )
    quietly(theirs.fit, X, y)
    quietly(ours.fit, X, y)
    assert_same_model(theirs, ours, X)
