"""Layer normalisation in networks and estimators: rows of any kind, weights that are no matrix."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale

import finite_differences
import naive
from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.graph.session import Session
from nbnet.inspection import linear_regions
from nbnet.kernels import threads
from nbnet.kernels.activations import ACTIVATIONS
from problems import CSR, DTYPES, assert_close, build, mlp, parameters, sparse_rows, tiny

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.usefixtures("guarded_buffers"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, Y = load_iris(return_X_y=True)
X = scale(X)
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
LOSS = "half_squared_error"


def normed(x):
    h = g.gelu(g.layer_norm(g.dense(x, 8), name="norm"))
    return g.add(h, g.dense(g.layer_norm(h), 8))


def reader(width, epsilon=1e-5):
    """A network whose raw outputs are layer_norm of the very entries of X."""
    x = g.input(width, name="x")
    return Network(g.layer_norm(x, epsilon=epsilon, name="n"))


def stack(width, n_outputs=3):
    """With an epsilon that keeps a row of few and nearly equal numbers well conditioned."""
    x = g.input(width, name="x")
    h = g.tanh(g.layer_norm(g.dense(x, width, name="z"), epsilon=0.1, name="n"))
    return g.dense(h, n_outputs, name="output")


# Value and gradients --------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_get_mean_0_and_variance_1(dtype):
    net = reader(6, epsilon=1e-30)
    params = net.init(0, dtype)
    rows = np.random.default_rng(0).normal(3.0, 5.0, (9, 6)).astype(dtype)
    out = net.forward(params, rows)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.mean(axis=1), 0.0, atol=10 * np.finfo(dtype).eps)
    np.testing.assert_allclose(out.var(axis=1), 1.0, rtol=10 * np.finfo(dtype).eps)


@tiny
def test_weights_and_biases_act_by_column_after_the_normalisation():
    net = reader(3)
    gain, bias = np.array([2.0, -1.0, 0.5]), np.array([1.0, 0.0, -3.0])
    rows = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0]])
    normal = net.forward(net.init(), rows)
    actual = net.forward(net.pack([gain], [bias]), rows)
    np.testing.assert_allclose(actual, normal * gain + bias, rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 65, 300])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 15, 16, 17, 33, 90])
def test_every_width_and_batch(width, n_rows, dtype):
    rng = np.random.default_rng(0)
    net, twin = build(stack(width))
    params = parameters(net, rng).astype(np.float32).astype(dtype)
    rows = rng.standard_normal((n_rows, width)).astype(np.float32).astype(dtype)
    y = rng.standard_normal((n_rows, 3)).astype(dtype)
    assert_close(net.forward(params, rows), twin.forward(params, rows))
    value, gradient = net.loss_and_gradient(params, rows, y, alpha=0.3)
    expected, expected_gradient = twin.loss_and_gradient(params, rows, y, loss=LOSS, alpha=0.3)
    assert value == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 2e-5)
    assert_close(gradient, expected_gradient)
    actual = net.gradients(params, rows, y, wrt=twin.nodes)
    for at_node, wanted in zip(
        actual, twin.gradients(params, rows, y, loss=LOSS, wrt=twin.nodes), strict=True
    ):
        assert_close(at_node, wanted)


@tiny
def test_jacobian_against_finite_differences():
    rng = np.random.default_rng(1)
    net, _ = build(stack(4, n_outputs=2))
    params = parameters(net, rng)
    rows = rng.standard_normal((3, 4))
    v = rng.standard_normal(rows.shape)
    slope = [
        finite_differences.directional(
            lambda X, r=r, k=k: net.forward(params, X)[r, k], lambda X: [], rows, v
        )
        for r in range(3)
        for k in range(2)
    ]
    actual = np.einsum("nri,ni->nr", net.jacobian(params, rows), v)
    np.testing.assert_allclose(actual.ravel(), slope, rtol=1e-8, atol=1e-9)
    v = rng.standard_normal(params.shape)
    slope = [
        finite_differences.directional(
            lambda p, r=r, k=k: net.forward(p, rows)[r, k], lambda p: [], params, v
        )
        for r in range(3)
        for k in range(2)
    ]
    actual = net.jacobian(params, rows, wrt="params") @ v
    np.testing.assert_allclose(actual.ravel(), slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows(variant, dtype):
    """Both where X is laid out, for the node reads it, and where a dense node reads its rows."""
    rng = np.random.default_rng(0)
    x = g.input(17, name="x")
    h = g.silu(g.layer_norm(g.dense(x, 9, name="z"), name="n"))
    for output in (
        g.dense(h, 2, name="output"),
        g.dense(g.concat(h, g.layer_norm(x, name="m")), 2, name="output"),
    ):
        net, _ = build(output)
        params = parameters(net, rng).astype(dtype)
        rows = sparse_rows(65, 17, rng, dtype)
        rows.data += 0.5
        given = CSR[variant](rows)
        full = given.toarray()
        y = rng.standard_normal((65, 2)).astype(dtype)
        assert_close(net.forward(params, given), net.forward(params, full), 1e-5)
        for actual, expected in zip(
            net.loss_and_gradient(params, given, y),
            net.loss_and_gradient(params, full, y),
            strict=True,
        ):
            assert_close(actual, expected, 1e-12 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_equal_numbers_is_the_bias_and_stays_finite(dtype):
    for width in (1, 4, 20):
        net, _ = build(stack(width))
        params = net.init(0, dtype)
        rows = np.zeros((5, width), dtype)  # all pre-activations equal: weights 0 below
        params[net.parameters[0].place] = 0
        params[net.parameters[1].place] = 3
        params[net.parameters[3].place] = 0.5
        value, gradient = net.loss_and_gradient(params, rows, np.ones((5, 3), dtype))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(net.forward(params, rows, node="n"), 0.5)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_in_its_row(dtype):
    net = reader(3)
    rows = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 4.0]], dtype)
    out = net.forward(net.init(0, dtype), rows)
    assert np.isnan(out).all(axis=1).tolist() == [True, False]
    assert np.isfinite(out[1]).all()


# Training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [1, 7, 33])
@pytest.mark.parametrize("sparse_X", [False, True])
def test_short_fits_follow_the_twin(sparse_X, batch_size, optimizer):
    rng = np.random.default_rng(0)
    x = g.input(6, name="x")
    h = g.silu(g.layer_norm(g.dense(x, 11, name="z"), name="n"))
    h = g.selu(g.layer_norm(g.dense(h, 19, name="zz"), epsilon=0.01, name="m"))
    net, twin = build(g.dense(h, 2, name="output"))
    params = parameters(net, rng)
    rows, y = rng.standard_normal((60, 6)), rng.standard_normal((60, 2))
    weights = rng.uniform(0.1, 2.0, 60)
    given = sparse.csr_array(rows) if sparse_X else rows
    trainer = Session(
        net, params, given, y, weights, loss=LOSS, optimizer=optimizer, batch_size=batch_size,
        alpha=0.1,
    )  # fmt: skip
    slots, step, n_slots = None, 0, len(trainer.slots)
    for _ in range(3):
        order = rng.permutation(60)
        value = trainer.epoch(order, 0.01)
        expected, params, slots, step, _ = naive.train(
            twin, params, rows, y, order, loss=LOSS, optimizer=optimizer, learning_rate=0.01,
            batch_size=batch_size, alpha=0.1, sample_weight=weights, slots=slots, step=step,
            n_slots=n_slots,
        )  # fmt: skip
        assert value == pytest.approx(expected, rel=1e-9)
        assert_close(trainer.params, params, 1e-9)


def test_no_penalty_on_its_weights():
    net, _ = build(stack(5))
    rng = np.random.default_rng(0)
    params = parameters(net, rng)
    rows, y = rng.standard_normal((20, 5)), rng.standard_normal((20, 3))
    without, with_penalty = (
        net.loss_and_gradient(params, rows, y, alpha=alpha)[1] for alpha in (0.0, 5.0)
    )
    for parameter in net.parameters:
        same = np.array_equal(without[parameter.place], with_penalty[parameter.place])
        assert same == (parameter.owner == "n" or parameter.role == "bias")


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_with_any_number_of_threads(dtype, Estimator, monkeypatch):
    models = []
    for n_threads in (1, 2, 3):
        monkeypatch.setattr(threads, "thread_limit", lambda n=n_threads: n)
        model = Estimator(architecture=normed, max_iter=5, batch_size=40, random_state=0)
        models.append(model.fit(X.astype(dtype), Y))
    for other in models[1:]:
        for ours, theirs in zip(other.coefs_, models[0].coefs_, strict=True):
            np.testing.assert_array_equal(ours, theirs)


# Estimators -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("rows", [X, X.astype(np.float32), sparse.csr_array(X)])
def test_fit_and_predict(rows, solver, Estimator):
    model = Estimator(
        architecture=normed, solver=solver, max_iter=300, learning_rate_init=0.01, random_state=0
    ).fit(rows, Y)
    assert model.score(rows, Y) > 0.9
    assert [np.shape(W) for W in model.coefs_][:4] == [(4, 8), (8,), (8,), (8, 8)]
    assert [np.shape(b) for b in model.intercepts_][:4] == [(8,)] * 4
    twin = naive.Twin(g.dense(normed(g.input(4)), model.coefs_[-1].shape[1]))
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    raw = twin.forward(np.concatenate([part.ravel() for pair in pairs for part in pair]), rows)
    single = model.coefs_[0].dtype == np.float32
    tolerance = 1e-3 if single else 1e-8
    if Estimator is MLPClassifier:
        expected = naive.LINKS["softmax_cross_entropy"](raw)
        np.testing.assert_allclose(model.predict_proba(rows), expected, atol=tolerance)
    else:
        np.testing.assert_allclose(model.predict(rows), raw[:, 0], atol=tolerance)


@BOTH
def test_copies_go_on_and_weights_by_hand_are_used(Estimator):
    model = Estimator(architecture=normed, max_iter=5, random_state=0).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
    model.coefs_[1], model.intercepts_[1] = np.ones(8), np.zeros(8)
    before = model.transform(X, layer="norm")
    model.coefs_[1] = [2.0] * 8
    np.testing.assert_allclose(model.transform(X, layer="norm"), 2 * before, rtol=1e-12)
    np.testing.assert_allclose(model.transform(X[:1], layer="norm"), 2 * before[:1], rtol=1e-12)
    model.intercepts_[1] = np.zeros(7)
    with pytest.raises(ValueError, match=r"intercepts_\[1\] has shape \(7,\), but coefs_\[1\]"):
        model.predict(X)
    model.intercepts_[1], model.coefs_[1] = np.zeros((8, 1)), np.ones((8, 1))
    with pytest.raises(ValueError, match=r"intercepts_\[1\] has shape \(8, 1\), but coefs_\[1\]"):
        model.predict(X)
    model.intercepts_[1] = np.zeros(1)
    with pytest.raises(ValueError, match=r"coefs_ have shapes .*\(8, 1\).* ask for .*\(8,\)"):
        model.predict(X)


@BOTH
def test_fitting_on(Estimator):
    told = {"random_state": 0, "shuffle": False, "batch_size": 30}
    once = Estimator(architecture=normed, max_iter=1, **told).fit(X, Y)
    model = Estimator(architecture=normed, warm_start=True, max_iter=1, **told)
    model.fit(X, Y).fit(X, Y)
    assert model.loss_ < once.loss_
    more = {"classes": [0, 1, 2]} if Estimator is MLPClassifier else {}
    partial = Estimator(architecture=normed, **told).partial_fit(X, Y, **more)
    for ours, theirs in zip(partial.coefs_, once.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert partial.partial_fit(X, Y).loss_ < once.loss_


def test_it_is_refused_where_regions_are_counted():
    model = MLPRegressor(architecture=normed, max_iter=2, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"piecewise-linear.*'norm' is layer_norm"):
        linear_regions(model, X[0], X[1])


# Nodes and plans ------------------------------------------------------------------------------


@tiny
def test_node():
    x = g.input(3)
    node = g.layer_norm(x, epsilon=0.5, name="n")
    assert (node.op, node.width, node.name, node.numbers) == (
        "layer_norm",
        3,
        "n",
        {"epsilon": 0.5},
    )
    assert g.layer_norm(x).numbers == {"epsilon": 1e-5}
    net = Network(node)
    assert [(p.name, p.shape, p.group) for p in net.parameters] == [
        ("n weights", (3,), "biases"),
        ("n bias", (3,), "biases"),
    ]
    assert "layer_norm epsilon=0.5" in net.summary()
    assert "standardize" in net.describe()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-38, np.inf, np.nan])
def test_epsilon_out_of_bounds(epsilon):
    with pytest.raises(ValueError, match="epsilon must be >= 1e-37 and < inf, got"):
        g.layer_norm(g.input(3), epsilon=epsilon)


@pytest.mark.parametrize(("x", "epsilon"), [(3, 1e-5), (g.input(2), "small"), (g.input(2), True)])
def test_what_is_no_node_or_no_number(x, epsilon):
    with pytest.raises(TypeError, match=r"layer_norm takes nodes|epsilon must be a number"):
        g.layer_norm(x, epsilon)


@tiny
def test_only_networks_that_use_what_is_not_plain_have_extras():
    """Others compile none of it."""
    for name, row in ACTIVATIONS.items():
        plan = Network(mlp(3, (4,), 2, name)).plan(np.float64, 8)
        assert plan.extras == (None if row.plain else 1), name
        assert plan.general is None
    plan = reader(3).plan(np.float64, 8)
    assert (plan.general, plan.extras) == (None, 1)
