"""Activations and losses of the user's own."""

import copy
import ctypes
import doctest
import gc
import json
import math
import pickle
import re
import signal
import subprocess
import sys
import time
import weakref
from math import exp
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

import nbnet
import user_functions as own
from finite_differences import directional
from nbnet import CustomActivation, CustomLoss, MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.kernels import threads, user
from nbnet.kernels.c_functions import value_of_run
from nbnet.kernels.compile.jit import COMPILED, compilations
from nbnet.kernels.machine import elementary
from problems import DTYPES, assert_close, tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
compiled = pytest.mark.skipif(not COMPILED, reason="numba is switched off")

ACTIVATIONS = {
    "relu": CustomActivation(own.relu, own.relu_derivative),
    "leaky_relu": CustomActivation(own.leaky_relu, own.leaky_relu_derivative),
    "tanh": CustomActivation(own.tanh, own.tanh_derivative),
    "logistic": CustomActivation(own.sigmoid, own.sigmoid_derivative, gain=2.0),
    "softplus": CustomActivation(own.softplus, own.sigmoid),
}
RELU = ACTIVATIONS["relu"]
SQUARED = CustomLoss(own.half_squared_error)
POISSON = CustomLoss(own.half_poisson_deviance, link="exp")
SOFTMAX = CustomLoss(own.cross_entropy, link="softmax")
LOGISTIC = CustomLoss(own.sigmoid_cross_entropy, link="logistic")

OPTIONS = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 4}

rng = np.random.default_rng(0)
X = rng.standard_normal((83, 4)).astype(np.float32).astype(np.float64)
Y = np.column_stack([X[:, 0] - np.abs(X[:, 1]), X[:, 2] * X[:, 3]])
WEIGHT = rng.integers(0, 3, len(X)) / 2.0
CODES = np.digitize(Y[:, 0], [-1.0, 0.0])


def same_fits(first, second, X, y, sample_weight=None, tolerance=None):
    """Two models end with the same weights and losses, up to rounding."""
    first.fit(X, y, sample_weight)
    second.fit(X, y, sample_weight)
    dtype = first.coefs_[0].dtype
    assert second.coefs_[0].dtype == dtype
    for a, b in zip(
        first.coefs_ + first.intercepts_, second.coefs_ + second.intercepts_, strict=True
    ):
        assert_close(b, a, tolerance)
    assert_close(dtype.type(second.loss_), dtype.type(first.loss_), tolerance)
    assert_close(second.predict(X[:9]), first.predict(X[:9]), tolerance)


# --- The same numbers as the built-in ones ------------------------------------------------------


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_learns_as_the_built_in_one(name, dtype):
    tolerance = {np.float64: 1e-10, np.float32: 1e-3}[dtype]
    for options in ({}, {"solver": "lbfgs"}, {"solver": "sgd", "batch_size": 1}):
        models = [
            MLPRegressor(activation=activation, **OPTIONS, **options)
            for activation in (name, ACTIVATIONS[name])
        ]
        same_fits(*models, X[:40].astype(dtype), Y[:40, 0], tolerance=tolerance)


@tiny
def test_activations_stand_beside_names():
    for built_in in (("relu", "tanh"), ("maxout", "relu")):
        mixed = [RELU if name == "relu" else name for name in built_in]
        models = [MLPRegressor(activation=names, **OPTIONS) for names in (built_in, mixed)]
        same_fits(*models, sparse.csr_array(X), Y)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_loss_learns_as_the_built_in_one(solver, kind, dtype):
    models = [MLPRegressor(loss, solver=solver, **OPTIONS) for loss in ("squared_error", SQUARED)]
    features = kind(X.astype(dtype))
    tolerance = {np.float64: 1e-11, np.float32: 1e-3}[dtype]
    same_fits(*models, features, Y, WEIGHT, tolerance)
    same_fits(*models, features, Y[:, 0], None, tolerance)


@tiny
@pytest.mark.parametrize(
    ("name", "loss", "y"),
    [
        ("squared_error", CustomLoss(own.half_squared_error_of_arrays), Y),
        ("poisson", POISSON, np.round(np.abs(Y) * 2)),
        ("absolute_error", CustomLoss(own.absolute_error), Y[:, 1]),
    ],
)
def test_losses_with_links_and_kinks(name, loss, y):
    options = {**OPTIONS, "early_stopping": True, "batch_size": 13}
    first, second = (MLPRegressor(loss, **options) for loss in (name, loss))
    same_fits(first, second, X, y, tolerance=1e-10)
    assert second.out_activation_ == first.out_activation_
    assert_close(np.array(second.validation_scores_), np.array(first.validation_scores_), 1e-10)


@tiny
def test_more_raw_outputs_than_targets():
    loss = CustomLoss(own.gaussian, n_raw=lambda n_targets: 2 * n_targets)
    body = g.tanh(g.dense(g.input(4), 6))
    net = g.Network(g.dense(body, 2))
    params = net.init(0)
    expected = net.loss_and_gradient(params, X, Y[:, 0], loss="gaussian", sample_weight=WEIGHT)
    found = net.loss_and_gradient(params, X, Y[:, 0], loss=loss, sample_weight=WEIGHT)
    assert_close(np.float64(found[0]), np.float64(expected[0]))
    assert_close(found[1], expected[1])
    model = MLPRegressor(loss, **OPTIONS).fit(X, Y[:, 0])
    assert model.coefs_[-1].shape == (5, 2)
    assert model.predict(X).shape == (83,)
    net, params = model.to_network()
    assert_close(model.predict(X), net.forward(params, X)[:, 0])


@tiny
@pytest.mark.parametrize("n_raw", [1, lambda n_targets: n_targets // 2])
def test_fewer_raw_outputs_than_targets(n_raw):
    """Targets then need more room in the kernels than raw outputs do."""
    loss = CustomLoss(own.censored, n_raw=n_raw)
    y = np.column_stack([np.minimum(Y[:, 0], -0.3), Y[:, 0] > -0.3])
    net = g.Network(g.dense(g.tanh(g.dense(g.input(4), 6)), 1))
    params = net.init(0)
    d = net.forward(params, X)[:, 0] - y[:, 0]
    d[(y[:, 1] == 1) & (d > 0)] = 0
    value, gradient = net.loss_and_gradient(params, X, y, loss=loss, sample_weight=WEIGHT)
    assert_close(np.float64(value), np.average(d * d / 2, weights=WEIGHT))
    expected, _ = net.vjp(params, X, d * WEIGHT / WEIGHT.sum())
    assert_close(gradient, expected)
    for solver in ("adam", "lbfgs"):
        model = MLPRegressor(loss, solver=solver, **OPTIONS).fit(X, y)
        assert model.predict(X).shape == (83,)
        assert model.n_outputs_ == 2
    options = {**OPTIONS, "max_iter": 2, "early_stopping": True}
    model = MLPRegressor(loss, **options, n_iter_no_change=1).fit(X, y)
    assert_close(np.array(model.validation_scores_), -np.array(model.validation_losses_))
    with pytest.raises(ValueError, match="different number of output"):
        model.score(X, y)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_classifier_learns_classes(dtype):
    tolerance = {np.float64: 1e-11, np.float32: 1e-3}[dtype]
    features, labels = X.astype(dtype), np.array(["a", "b", "c"])[CODES]
    first, second = (MLPClassifier(loss=loss, **OPTIONS) for loss in ("log_loss", SOFTMAX))
    first.fit(features, labels, WEIGHT)
    second.fit(features, labels, WEIGHT)
    for ask in ("predict_proba", "predict_log_proba"):
        assert_close(getattr(second, ask)(X), getattr(first, ask)(X), tolerance)
    np.testing.assert_array_equal(second.predict(X), first.predict(X))
    assert second.out_activation_ == "softmax"


@tiny
def test_a_classifier_learns_two_classes_and_labels():
    several = np.column_stack([CODES > 0, CODES > 1]).astype(int)
    for y in (CODES > 0, several):
        first, second = (MLPClassifier(loss=loss, **OPTIONS) for loss in ("log_loss", LOGISTIC))
        first.fit(X, y)
        second.fit(X, y)
        for ask in ("predict_proba", "predict_log_proba"):
            assert_close(getattr(second, ask)(X), getattr(first, ask)(X), 1e-11)
        np.testing.assert_array_equal(second.predict(X), first.predict(X))
    two = MLPClassifier(loss=SOFTMAX, **OPTIONS).fit(X, CODES > 0)
    assert two.coefs_[-1].shape[1] == 2
    assert two.predict_proba(X).shape == (83, 2)
    one = MLPClassifier(loss=SOFTMAX, **OPTIONS).fit(X, np.zeros(83))
    assert (one.predict_proba(X) == 1).all()


@tiny
@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (SQUARED, CODES),
        (LOGISTIC, CODES),
        (SOFTMAX, np.eye(3)[CODES].astype(int)),
        (CustomLoss(own.cross_entropy, n_raw=3, link="softmax"), CODES),
    ],
)
def test_a_classifier_says_what_it_needs(loss, y):
    with pytest.raises(ValueError, match=r"needs n_raw=None, and link='softmax' for classes or li"):
        MLPClassifier(loss=loss).fit(X, y)


# --- Graphs -------------------------------------------------------------------------------------


def graph_of(functions):
    """Its z is read by two nodes, and its last node is an activation: nothing is overwritten."""
    x = g.input(4, name="x")
    z = g.dense(x, 9)
    h = g.add(g.activation(functions["softplus"], z), g.multiply(z, g.maxout(x, 9)))
    h = g.activation(functions["tanh"], g.dense(g.concat(h, x), 5), name="h")
    return g.Network(g.activation(functions["logistic"], g.dense(h, 2)))


@tiny
def test_gradients_of_a_graph():
    net, built_in = graph_of(ACTIVATIONS), graph_of({name: name for name in ACTIVATIONS})
    x, y, params = X[:11], Y[:11], net.init(0)
    assert_close(params, built_in.init(0))
    arguments = {"loss": SQUARED, "sample_weight": WEIGHT[:11], "alpha": 0.1}
    value, gradient = net.loss_and_gradient(params, x, y, **arguments)
    direction = np.random.default_rng(1).standard_normal(len(params))
    expected = directional(
        lambda p: net.loss_and_gradient(p, x, y, **arguments)[0],
        lambda p: [],
        params,
        direction,
        step=1e-4,
    )
    assert abs(gradient @ direction - expected) < 1e-8 * (1 + abs(expected))
    arguments["loss"] = "half_squared_error"
    expected = built_in.loss_and_gradient(params, x, y, **arguments)
    assert_close(np.float64(value), np.float64(expected[0]))
    assert_close(gradient, expected[1])
    wrt = ["x", "h"]
    found = net.gradients(params, x, y, loss=SQUARED, wrt=wrt)
    for a, b in zip(found, built_in.gradients(params, x, y, wrt=wrt), strict=True):
        assert_close(a, b)
    assert_close(net.jacobian(params, x[:2]), built_in.jacobian(params, x[:2]))


@tiny
def test_pictures_and_tables_call_it_by_its_name():
    named = CustomActivation(lambda z: z * z, lambda z: 2 * z, name="z <squared>")
    net = g.Network(g.dense(g.activation(named, g.activation(RELU, g.input(2)), name="h"), 1))
    assert "z <squared>" in net.summary()
    assert "relu" in net.summary()
    assert repr(net.nodes[1]) == "<relu node, width 2>"
    assert "z &lt;squared&gt;" in net.to_svg()
    for view in ("forward", "backward", "training"):
        for text in (net.to_mermaid(view), net.to_dot(view), net.to_svg(view)):
            assert "squared" in text
    assert "z <squared>" in net.describe()
    unnamed = CustomActivation(lambda z: z, lambda z: 1.0)
    assert "custom" in g.Network(g.activation(unnamed, g.input(2))).summary()


@tiny
def test_what_a_graph_refuses():
    x = g.input(4)
    with pytest.raises(ValueError, match=r"one of .* or a CustomActivation, got 'rleu'"):
        g.activation("rleu", x)
    with pytest.raises(TypeError, match=r"relu takes \[\], got \['negative_slope'\]"):
        g.activation(RELU, x, negative_slope=0.1)
    net = g.Network(g.dense(x, 3))
    with pytest.raises(
        ValueError, match=r"needs 2 raw outputs for y of shape .*; the network has 3"
    ):
        net.loss_and_gradient(net.init(0), X, Y, loss=SQUARED)
    with pytest.raises(TypeError, match=r"takes .*quantile"):
        net.loss_and_gradient(net.init(0), X, CODES, loss=SQUARED, quantile=0.5)


# --- Checked before the first step --------------------------------------------------------------


def fit(**parameters):
    return MLPRegressor(**OPTIONS, **parameters).fit(X, Y[:, 0])


@tiny
@pytest.mark.parametrize(
    ("wrong", "numbers"),
    [
        (lambda z: 2.0 if z > 0 else 0.0, ("2", "1")),
        (lambda z: 1.0, ("1", "0")),
        (lambda z: 1.001 if z > 0 else 0.0, ("1.001", "1")),
    ],
)
def test_a_wrong_derivative_is_found(wrong, numbers):
    told = "the derivative of CustomActivation.relu, <lambda>. is not that of its value: at z=.* "
    told += "it returns {}, but a finite difference of the value is {}$".format(*numbers)
    with pytest.raises(ValueError, match=told):
        fit(activation=CustomActivation(own.relu, wrong))
    net = g.Network(g.activation(CustomActivation(own.relu, wrong), g.input(2)))
    with pytest.raises(ValueError, match=told):
        net.forward([], X[:, :2])


@tiny
@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda z: abs(z), lambda z: 1.0 if z > 0 else -1.0),
        (lambda z: min(max(z, 0.0), 6.0), lambda z: 1.0 if 0 < z < 6 else 0.0),
        (lambda z: 1.0 if z > 0 else -1.0, lambda z: 0.0),
        (lambda z: 1e-9 * z**3, lambda z: 3e-9 * z**2),
        (lambda z: 1e9 * z + 1e9, lambda z: 1e9),
        (lambda z: math.floor(z * 100), lambda z: 0.0),
        (lambda z: 3, lambda z: False),
        (math.sin, math.cos),
        (np.sin, np.cos),
    ],
)
def test_a_right_derivative_passes(value, slope):
    activation = CustomActivation(value, slope)
    net = g.Network(g.activation(activation, g.input(4)))
    assert_close(net.forward([], X), np.vectorize(lambda z: float(value(z)))(X))
    cotangent = np.ones_like(X)
    slopes = np.vectorize(lambda z: float(slope(z)))(X)
    assert_close(net.vjp([], X, cotangent)[1], slopes)


@tiny
def test_what_is_not_finite_is_found():
    with pytest.raises(ValueError, match=r"the value of .* must be finite .*; at z=0 it is -inf"):
        fit(activation=CustomActivation(lambda z: np.log(abs(z)), lambda z: 1 / z))
    with pytest.raises(ValueError, match=r"the derivative of .*; at z=-0.0137 it is nan"):
        fit(activation=CustomActivation(own.tanh, lambda z: np.sqrt(z)))


def wrong_in_one(z, y, gradient):
    total = 0.0
    for i in range(len(z)):
        gradient[i] = z[i] - y[i]
        total += gradient[i] ** 2 / 2
    gradient[1] *= 0.5
    return total


@tiny
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_wrong_gradient_is_found(solver):
    told = r"the gradient of CustomLoss.wrong_in_one. is not that of its value: at z=\[.*\], "
    told += r"y=\[.*\] it writes gradient\[1\]=(\S+), but a finite difference of the value is (\S+)"
    with pytest.raises(ValueError, match=told) as error:
        MLPRegressor(CustomLoss(wrong_in_one), solver=solver, **OPTIONS).fit(X, Y)
    wrong, right = map(float, re.search(told, str(error.value)).groups())
    assert abs(2 * wrong - right) < 1e-4 * abs(right)
    net = g.Network(g.dense(g.input(4), 2))
    with pytest.raises(ValueError, match=told):
        net.loss_and_gradient(net.init(0), X, Y, loss=CustomLoss(wrong_in_one))


@tiny
def test_a_refused_loss_loses_nothing():
    model = MLPRegressor(**OPTIONS).fit(X, Y)
    before = model.predict(X)
    for loss in (CustomLoss(wrong_in_one), CustomLoss(lambda z, y, gradient: np.inf)):
        model.set_params(loss=loss)
        with pytest.raises(ValueError, match="gradient"):
            model.fit(X, Y)
        np.testing.assert_array_equal(model.predict(X), before)


@tiny
@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (
            lambda: CustomActivation(3, own.relu),
            TypeError,
            "value of CustomActivation must be a fu",
        ),
        (
            lambda: CustomLoss("squared"),
            TypeError,
            "function of CustomLoss must be a function, got",
        ),
        (lambda: CustomActivation(abs, abs, gain=0.0), ValueError, "gain must be a number > 0"),
        (
            lambda: CustomActivation(abs, abs, name=" "),
            TypeError,
            "name must be a string that is n",
        ),
        (lambda: CustomLoss(abs, n_raw=0), ValueError, "n_raw must be an integer >= 1, a function"),
        (
            lambda: CustomLoss(abs, link="probit"),
            ValueError,
            "link must be one of .*, got 'probit'",
        ),
        (
            lambda: fit(loss=CustomLoss(own.half_squared_error, n_raw=lambda n: n / 2)),
            ValueError,
            "n_raw of .* must return an integer >= 1; for 1 targets it returns 0.5",
        ),
        (
            lambda: fit(activation=CustomActivation(lambda z: None, abs)),
            TypeError,
            "the value of .* must return a number; at z=0 it returns None",
        ),
        (
            lambda: fit(loss=CustomLoss(lambda z, y, gradient: z / y)),
            TypeError,
            "CustomLoss.* must return a number",
        ),
        (
            lambda: fit(loss=CustomLoss(lambda z, y: 0.0)),
            TypeError,
            "CustomLoss.*raises TypeError.*positional argument",
        ),
        (
            lambda: fit(activation=("relu", "rleu")),
            ValueError,
            "holds 'rleu'; each entry must be one of .* or a CustomActivation",
        ),
        (lambda: fit(activation=abs), ValueError, "CustomActivation"),
        (lambda: fit(loss=abs), ValueError, "CustomLoss"),
    ],
)
def test_what_is_refused(make, kind, told):
    with pytest.raises(kind, match=told):
        make()


def beyond_numba(z):
    return complex(str(z)).real


@compiled
def test_what_numba_cannot_compile_is_named():
    with pytest.raises(
        TypeError, match=r"numba cannot compile the value of CustomActivation.beyond"
    ):
        fit(activation=CustomActivation(beyond_numba, lambda z: 1.0, name="mine"))
    with pytest.raises(TypeError, match=r"numba cannot compile CustomLoss.*json") as error:
        fit(loss=CustomLoss(lambda z, y, gradient: 0.0 * len(json.dumps(3))))
    assert "\n" not in str(error.value)


# --- What is compiled ---------------------------------------------------------------------------


@compiled
def test_a_further_function_compiles_no_kernel():
    def fits(activation, loss):
        MLPRegressor(loss, activation=activation, **OPTIONS).fit(X, Y).predict(X)
        MLPRegressor(activation=activation, **OPTIONS).fit(X, Y).predict(X)

    fits(RELU, SQUARED)
    before = compilations()
    fits(ACTIVATIONS["tanh"], CustomLoss(own.half_squared_error_of_arrays))
    fits(CustomActivation(math.sin, math.cos), CustomLoss(own.half_squared_error, link="exp"))
    assert compilations() == before


@compiled
def test_constants_of_float32_functions_are_float32():
    """Those in the function, of its module, and of the function around it; not those of others."""
    slope, x = 0.3, X.astype(np.float32)
    single = np.float32
    for value, derivative_, expected in (
        (lambda z: 0.1 * z, lambda z: 0.1, single(0.1) * x),
        (lambda z: slope * z, lambda z: slope, single(0.3) * x),
        (own.leaky_relu, own.leaky_relu_derivative, np.where(x > 0, x, single(0.01) * x)),
        (lambda z: 1e-60 * z, lambda z: 1e-60, (1e-60 * x.astype(float)).astype(single)),
    ):
        net = g.Network(g.activation(CustomActivation(value, derivative_), g.input(4)))
        found = net.forward(np.empty(0, single), x)
        np.testing.assert_array_equal(found, expected)


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh"])
def test_exp_and_its_kin_are_ours(name, dtype):
    """Those of `math` and NumPy, however they are referred to."""
    of_math, of_numpy, ours = (getattr(m, name) for m in (math, np, elementary))
    writings = {
        "exp": [math.exp, np.exp, lambda z: math.exp(z), lambda z: np.exp(z), lambda z: exp(z)],
        "expm1": [lambda z: math.expm1(z), lambda z: np.expm1(z)],
        "log": [lambda z: math.log(z), lambda z: np.log(z)],
        "log1p": [lambda z: math.log1p(z), lambda z: np.log1p(z)],
        "tanh": [math.tanh, np.tanh, lambda z: math.tanh(z), lambda z: np.tanh(z)],
    }
    z = (np.abs(X) + 0.1).astype(dtype)

    @njit(error_model="numpy", fastmath={"contract"})
    def expected(z):
        h = np.empty_like(z)
        for i in range(len(z)):
            h[i] = ours(z[i])
        return h

    run = np.zeros(64, dtype)
    run[:] = z.ravel()[:64]
    for function in [*writings[name], lambda z: of_math(z), lambda z: of_numpy(z)]:
        found = run.copy()
        made = value_of_run("it", function, dtype)
        as_python = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(made.address)
        as_python(found.ctypes.data, len(found))
        np.testing.assert_array_equal(found, expected(run))


@tiny
def test_functions_that_numba_has_compiled():
    activation = CustomActivation(njit(own.relu), njit(own.relu_derivative))
    models = [MLPRegressor(activation=each, **OPTIONS) for each in ("relu", activation)]
    same_fits(*models, X, Y)
    models = [MLPRegressor(each, **OPTIONS) for each in ("squared_error", njit_loss)]
    same_fits(*models, X, Y)


njit_loss = CustomLoss(njit(own.half_squared_error_of_arrays))


def raises_above(z, y, gradient):
    d = z[0] - y[0]
    if y[0] > 50:
        raise ValueError("never")
    gradient[0] = d
    return d * d / 2


@compiled
def test_a_function_that_raises_gives_nan():
    y = Y[:, 0].copy()
    y[40] = 60.0  # not among the rows that are looked at first
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(CustomLoss(raises_above), **OPTIONS).fit(X, y)
    weight = np.ones(len(y))
    weight[40] = 0  # rows of no weight are not looked at
    MLPRegressor(CustomLoss(raises_above), **OPTIONS).fit(X, y, weight)

    def value(z):
        if z > 100:
            raise ValueError("too large")
        return z

    net = g.Network(g.activation(CustomActivation(value, lambda z: 1.0), g.input(2)))
    found = net.forward([], [[1.0, 200.0], [300.0, -2.0]])
    np.testing.assert_array_equal(found, [[1.0, np.nan], [np.nan, -2.0]])


# --- The same bits ------------------------------------------------------------------------------


@compiled
@pytest.mark.numerical
def test_any_number_of_threads_learns_the_same_bits(monkeypatch):
    features = np.random.default_rng(0).standard_normal((1501, 90))
    y = features[:, :2] * features[:, 2:4]
    options = {"hidden_layer_sizes": (130, 70), "max_iter": 2, "random_state": 0}
    options |= {"batch_size": 701, "activation": (ACTIVATIONS["tanh"], ACTIVATIONS["softplus"])}
    run, seen = threads.Team._run, []

    def spy(team, kernel, args, n, short):
        seen.append(n)
        return run(team, kernel, args, n, short)

    monkeypatch.setattr(threads.Team, "_run", spy)
    found = []
    for n in (1, 2, 3, 7):
        monkeypatch.setattr(threads, "thread_limit", lambda n=n: n)
        model = MLPRegressor(CustomLoss(own.half_squared_error_of_arrays), **options)
        model.fit(features, y)
        found.append([a.tobytes() for a in model.coefs_] + [model.predict(features).tobytes()])
    assert set(seen) >= {1, 2, 3, 7}
    assert all(bits == found[0] for bits in found)


@compiled
@pytest.mark.numerical
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_alone_as_among_others(dtype):
    net = g.Network(g.dense(g.activation(ACTIVATIONS["softplus"], g.dense(g.input(4), 21)), 3))
    params = net.init(0, dtype=dtype)
    x = X.astype(dtype)
    together = net.forward(params, x)
    for n in (1, 2, 7, 65):
        np.testing.assert_array_equal(net.forward(params, x[:n]), together[:n])
    np.testing.assert_array_equal(net.forward(params, x[30:31])[0], together[30])


# --- Values -------------------------------------------------------------------------------------


def test_values_are_equal_where_their_arguments_are():
    again = CustomActivation(own.relu, own.relu_derivative)
    assert again == RELU
    assert hash(again) == hash(RELU)
    assert again != CustomActivation(own.relu, own.relu_derivative, gain=2.0)
    assert again != CustomActivation(own.tanh, own.tanh_derivative)
    assert CustomLoss(own.gaussian, n_raw=2) == CustomLoss(own.gaussian, n_raw=2)
    assert CustomLoss(own.gaussian, n_raw=2) != CustomLoss(own.gaussian, n_raw=3)
    assert copy.deepcopy(RELU) is RELU
    with pytest.raises(AttributeError):
        RELU.gain = 3.0
    assert repr(RELU) == "CustomActivation(relu, relu_derivative)"
    assert repr(ACTIVATIONS["logistic"]) == (
        "CustomActivation(sigmoid, sigmoid_derivative, gain=2.0)"
    )
    assert repr(POISSON) == "CustomLoss(half_poisson_deviance, link='exp')"


@tiny
def test_estimators_clone_print_and_pickle_them():
    model = MLPRegressor(SQUARED, activation=[RELU, "tanh"], **OPTIONS)
    assert clone(model).get_params() == model.get_params()
    assert "loss=CustomLoss(half_squared_error)" in repr(model)
    assert "CustomActivation(relu, relu_derivative)" in model._repr_html_()
    model.fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    assert again.loss == SQUARED
    assert again.activation == [RELU, "tanh"]
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    net, params = pickle.loads(pickle.dumps(model.to_network()))
    assert_close(net.forward(params, X), model.predict(X))


@tiny
def test_a_lambda_is_pickled_by_cloudpickle_alone():
    cloudpickle = pytest.importorskip("cloudpickle")
    model = MLPRegressor(activation=CustomActivation(lambda z: z, lambda z: 1.0), **OPTIONS)
    model.fit(X, Y)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(model)
    again = pickle.loads(cloudpickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


SCRIPT = """
import joblib, numpy as np, warnings
from sklearn.model_selection import GridSearchCV
from nbnet import CustomActivation, CustomLoss, MLPRegressor

warnings.simplefilter("ignore")

def cube(z):
    return z ** 3

def cost(z, y, gradient):
    gradient[0] = z[0] - y[0]
    return gradient[0] ** 2 / 2

X = np.random.default_rng(0).standard_normal((60, 3))
model = MLPRegressor(CustomLoss(cost), 4, max_iter=3, random_state=0)
grid = {"activation": ["relu", CustomActivation(cube, lambda z: 3 * z ** 2)], "alpha": [0.1, 1.0]}
scores = []
for backend in ("loky", "threading"):
    with joblib.parallel_config(backend, n_jobs=2):
        search = GridSearchCV(model, grid, cv=2).fit(X, X[:, 0])
    scores.append(search.cv_results_["mean_test_score"])
np.testing.assert_array_equal(*scores)
print(len(set(scores[0])))
"""


@compiled
def test_two_processes_learn_with_functions_of_a_script(run_python, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run_python(tmp_path / "script.py").split() == ["4"]


@tiny
def test_warm_start_and_partial_fit_go_on():
    for Estimator, options, y in (
        (MLPRegressor, {"loss": SQUARED, "activation": RELU}, Y),
        (MLPClassifier, {"loss": SOFTMAX, "activation": RELU}, CODES),
    ):
        names = {"loss": {SQUARED: "squared_error", SOFTMAX: "log_loss"}[options["loss"]]}
        first = Estimator(**OPTIONS, **names, warm_start=True)
        second = Estimator(**OPTIONS, **options, warm_start=True)
        for _ in range(2):
            first.fit(X, y)
            second.fit(X, y)
        first.partial_fit(X, y)
        second.partial_fit(X, y)
        for a, b in zip(first.coefs_, second.coefs_, strict=True):
            assert_close(b, a, 1e-11)


@tiny
def test_a_fitted_model_reads_its_outputs_by_the_loss_of_the_fit():
    model = MLPRegressor(POISSON, **OPTIONS).fit(X, np.abs(Y))
    expected = model.predict(X)
    assert (expected > 0).all()
    model.set_params(loss="squared_error")
    np.testing.assert_array_equal(model.predict(X), expected)
    for asked in ("return_std", "return_cov"):
        with pytest.raises(ValueError, match=f"{asked}=True needs a loss.*this is loss=CustomLoss"):
            model.predict(X, **{asked: True})


@tiny
def test_beside_dropout_validation_and_scores():
    """Other parts of a fit meet a loss and an activation of one's own as those of nbnet."""
    options = {**OPTIONS, "dropout": 0.3, "early_stopping": True, "scoring": "loss"}
    models = [
        MLPRegressor(loss, activation=activation, **options)
        for loss, activation in (("squared_error", "relu"), (SQUARED, RELU))
    ]
    for model in models:
        model.fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    first, second = models
    assert_close(np.array(second.validation_losses_), np.array(first.validation_losses_), 1e-11)
    assert_close(np.array(second.validation_scores_), -np.array(second.validation_losses_))
    assert_close(second.predict(X, n_samples=3), first.predict(X, n_samples=3), 1e-11)
    models = [
        MLPClassifier(loss=loss, class_weight="balanced", **OPTIONS)
        for loss in ("log_loss", SOFTMAX)
    ]
    first, second = (model.fit(X, CODES) for model in models)
    assert_close(second.predict_proba(X), first.predict_proba(X), 1e-11)


@tiny
def test_what_does_not_go_with_a_loss_of_ones_own():
    with pytest.raises(
        ValueError, match=r"standardize_y=True is not for a loss of your own.*half_s"
    ):
        MLPRegressor(SQUARED, standardize_y=True).fit(X, Y)
    with pytest.warns(
        UserWarning, match=r"label_smoothing=0.1 has no effect beside loss=CustomLoss"
    ):
        MLPClassifier(loss=SOFTMAX, label_smoothing=0.1, **OPTIONS).fit(X, CODES)
    model = MLPRegressor(SQUARED, **OPTIONS).fit(X, Y)
    with pytest.raises(ValueError, match=r"predict_interval needs .*this is loss=CustomLoss"):
        model.predict_interval(X)
    with pytest.raises(ValueError, match="scikit-learn has no such model"):
        model.to_sklearn()
    with pytest.raises(ValueError, match=r"has no activation=CustomActivation\(relu"):
        MLPRegressor(activation=RELU, **OPTIONS).fit(X, Y).to_sklearn()


@tiny
def test_the_gain_sets_the_scale_of_initial_weights():
    wide, narrow = (
        MLPRegressor(
            activation=CustomActivation(own.relu, own.relu_derivative, gain=gain),
            **{**OPTIONS, "learning_rate_init": 1e-300, "max_iter": 1},
        ).fit(X, Y)
        for gain in (6.0, 1.5)
    )
    for a, b in zip(wide.coefs_, narrow.coefs_, strict=True):
        assert_close(a, 2 * b)
    linear = MLPRegressor(hidden_layer_sizes=(), activation=RELU, max_iter=1, random_state=0)
    linear.fit(X, Y)
    same = MLPRegressor(hidden_layer_sizes=(), activation="relu", max_iter=1, random_state=0)
    assert_close(linear.coefs_[0], same.fit(X, Y).coefs_[0])


@tiny
def test_linear_regions_refuse_them():
    from nbnet.inspection import linear_regions

    model = MLPRegressor(activation=RELU, **OPTIONS).fit(X, Y)
    with pytest.raises(ValueError, match="node 'h1' is relu"):
        linear_regions(model, X[0], X[1])


def test_a_search_over_activations_sets_them():
    X, y = load_iris(return_X_y=True)
    grid = {"activation": ["relu", RELU, (RELU, "tanh")], "loss": ["log_loss", SOFTMAX]}
    search = GridSearchCV(MLPClassifier(**OPTIONS), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[1] == scores[2] == scores[3]


# --- Memory and interruption --------------------------------------------------------------------


@tiny
def test_functions_live_as_long_as_they_are_needed():
    def value(z):
        return z

    def loss(z, y, gradient):
        gradient[0] = z[0] - y[0]
        return gradient[0] ** 2 / 2

    parameters = {
        "loss": CustomLoss(loss),
        "activation": CustomActivation(value, lambda z: 1.0),
    }
    model = MLPRegressor(**OPTIONS, **parameters).fit(X, Y[:, 0])
    functions = [weakref.ref(value), weakref.ref(loss)]
    del value, loss, parameters
    gc.collect()
    assert model.predict(X).shape == (83,)
    model.partial_fit(X, Y[:, 0])
    assert all(function() is not None for function in functions)
    del model
    gc.collect()
    assert all(function() is None for function in functions)


@tiny
def test_a_plan_keeps_what_it_calls():
    net = g.Network(g.activation(CustomActivation(own.tanh, own.tanh_derivative), g.input(4)))
    plan = net.plan(np.float64, 8)
    del net
    gc.collect()
    (step,) = (step for step in plan.instructions if step.activation is not None)
    assert step.activation.addresses(np.float64, True) == tuple(plan.ops[-1, -2:])


INTERRUPTED = """
import signal, sys, warnings
import numpy as np
sys.path.insert(0, sys.argv[1])
import user_functions as own
from nbnet import CustomActivation, CustomLoss, MLPRegressor

signal.signal(signal.SIGINT, signal.default_int_handler)
X = np.random.default_rng(0).standard_normal((20_000, 30))
model = MLPRegressor(
    CustomLoss(own.half_squared_error),
    (300, 300),
    CustomActivation(own.tanh, own.tanh_derivative),
    batch_size=20_000, max_iter=10**7, n_iter_no_change=10**7, tol=0, random_state=0,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model.set_params(max_iter=1).fit(X[:300], X[:300, 0])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print("begun", flush=True)
    model.set_params(max_iter=10**7).fit(X, X[:, 0])
print([str(w.message) for w in caught], np.isfinite(model.predict(X[:5])).all())
"""


@compiled
@pytest.mark.skipif(sys.platform == "win32", reason="signals of processes are another thing there")
def test_ctrl_c_ends_a_fit(pace):
    arguments = [sys.executable, "-c", INTERRUPTED, str(Path(__file__).parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            time.sleep(2 * pace)
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=max(600, 600 * pace))
        finally:
            process.kill()
    assert "Training interrupted by user" in told
    assert told.endswith("True\n")


def test_examples_of_the_docstrings_run():
    found = doctest.testmod(user)
    assert found.attempted > 10
    assert found.failed == 0


def test_they_are_public():
    assert nbnet.CustomActivation is CustomActivation
    assert nbnet.CustomLoss is CustomLoss
