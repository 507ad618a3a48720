"""The prediction of a row is the same to the last bit, whatever is predicted beside it."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.kernels import threads
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from problems import CSR, mlp, n_raw

pytestmark = pytest.mark.numerical

DTYPES = (np.float32, np.float64)


def rows_of(n, width, dtype):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((n, width)) * rng.choice([0.1, 1, 9], (n, 1))).astype(dtype)


def assert_same_bits(predict, X):
    """Alone, in blocks of any size, in another order: each row has the bits it has among all."""
    together = predict(X)
    integers = f"i{together.itemsize}"
    rng = np.random.default_rng(1)
    choices = [[i] for i in range(12)]
    n_rows = X.shape[0]
    choices += [rng.permutation(n_rows)[:n] for n in (2, 3, 7, 8, 9, 17, 63, 64, 65, 130, n_rows)]
    for rows in choices:
        apart = predict(X[rows])
        np.testing.assert_array_equal(apart.view(integers), together[rows].view(integers))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("widths", [(), (1,), (3,), (37,), (64, 3), (19, 50)])
def test_every_width(widths, outputs, dtype):
    net = Network(mlp(13, widths, outputs, "tanh"))
    params = net.init(0, dtype)
    assert_same_bits(lambda X: net.forward(params, X), rows_of(200, 13, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*ACTIVATIONS, "maxout"])
def test_every_activation(activation, dtype):
    net = Network(mlp(13, (21, 4), 3, activation))
    params = net.init(0, dtype)
    assert_same_bits(lambda X: net.forward(params, X), rows_of(200, 13, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_link(loss, n, dtype):
    classes = LOSSES[loss].integer_targets
    net = Network(mlp(13, (21,), n_raw(loss, n + 1 if classes else n), "relu"))
    params = net.init(0, dtype)
    assert_same_bits(lambda X: net.forward(params, X, loss=loss), rows_of(200, 13, dtype))


@pytest.mark.parametrize("variant", CSR)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_rows(dtype, variant):
    X = rows_of(200, 40, dtype)
    X[np.random.default_rng(2).random(X.shape) < 0.8] = 0
    net = Network(mlp(40, (21, 3), 2, "relu"))
    params = net.init(0, dtype)
    assert_same_bits(lambda rows: net.forward(params, rows), CSR[variant](csr_matrix(X)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_graph(dtype):
    x = g.input(13, name="x")
    h = g.relu(g.dense(x, 30))
    h = g.concat(g.add(h, g.tanh(g.dense(h, 30))), g.multiply(h, g.dense(x, 30)), g.dense(h, 2))
    net = Network(g.dense(h, 3))
    params = net.init(0, dtype)
    assert_same_bits(lambda X: net.forward(params, X), rows_of(200, 13, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 2, 7, 16, 17, 50, 300])
def test_layer_norm(width, dtype):
    """Of a hidden layer and of the input, in a network whose one row is read in another layout."""
    x = g.input(width, name="x")
    h = g.gelu(g.layer_norm(g.dense(g.layer_norm(x), width)))
    net = Network(g.dense(h, 3))
    rng = np.random.default_rng(3)
    params = rng.standard_normal(net.n_params).astype(dtype)
    assert_same_bits(lambda X: net.forward(params, X), rows_of(200, width, dtype))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_threads(n_threads, monkeypatch):
    """A call large enough for all of them, against rows that are predicted alone."""
    net = Network(mlp(200, (300, 100), 3, "relu"))
    params = net.init(0, np.float32)
    X = rows_of(1500, 200, np.float32)
    alone = np.vstack([net.forward(params, X[i : i + 1]) for i in range(0, 1500, 100)])
    monkeypatch.setattr(threads, "thread_limit", lambda: n_threads)
    together = net.forward(params, X)[::100]
    np.testing.assert_array_equal(alone.view("i4"), together.view("i4"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_estimators(dtype):
    X = rows_of(300, 13, dtype)
    y = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.0, 1.0])
    for labels in (y, y > 0, np.stack([y > 0, y > 1], axis=1)):
        model = MLPClassifier((20,), tol=1, random_state=0).fit(X, labels)
        assert_same_bits(model.predict_proba, X)
        assert_same_bits(model.transform, X)
    options = {"hidden_layer_sizes": (20,), "tol": 100, "random_state": 0}
    for loss in ("squared_error", "poisson", "gaussian", "laplace"):
        model = MLPRegressor(loss=loss, **options).fit(X, np.abs(X[:, 0]))
        assert_same_bits(model.predict, X)
