"""What the book says of its units and of back-propagation, as equations between networks.

Goodfellow, Bengio and Courville, *Deep Learning*, chapter 6.
"""

import numpy as np
import pytest
from scipy.optimize import minimize

from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.graph.session import Session
from problems import DTYPES, assert_close, mlp, parameters, problem, tiny

pytestmark = pytest.mark.numerical

# ReLU, leaky ReLU and the absolute value are maxout units of two pieces, of which the second is a
# multiple of the first.
SECOND_PIECE = {"relu": 0.0, "leaky_relu": 0.25, "abs": -1.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [2, 7, 17])
@pytest.mark.parametrize("name", SECOND_PIECE)
def test_maxout_implements_other_units(name, width, dtype):
    check_maxout(name, width, 65, dtype)


@tiny
@pytest.mark.parametrize("name", SECOND_PIECE)
def test_maxout_implements_other_units_in_one_layer_of_three(name):
    check_maxout(name, 3, 4, np.float64)


def check_maxout(name, width, n_rows, dtype):
    factor = SECOND_PIECE[name]
    output = mlp(5, (width,), 3, name, negative_slope=0.25)
    loss = "half_squared_error"
    net, _, params, X, y, w = problem(output, loss, n_rows, dtype=dtype)
    (W, V), (b, c) = net.unpack(params)

    def second(first):
        pieces = np.stack([first, factor * first], axis=-1)
        return pieces.reshape(*first.shape[:-1], 2 * width)

    maxout = Network(mlp(5, (width,), 3, "maxout", pieces=2))
    params2 = maxout.pack([second(W), V], [second(b), c])
    assert_close(maxout.forward(params2, X), net.forward(params, X))
    value, gradient = net.loss_and_gradient(params, X, y, loss=loss, sample_weight=w)
    value2, gradient2 = maxout.loss_and_gradient(params2, X, y, loss=loss, sample_weight=w)
    assert value2 == pytest.approx(value, rel=1e-12 if dtype == np.float64 else 1e-5)
    # the chain rule sends what reaches the second piece through its factor to the first
    (dW, dV), (db, dc) = maxout.unpack(gradient2)
    dW, db = (d.reshape(*d.shape[:-1], width, 2) @ [1.0, factor] for d in (dW, db))
    (dW1, dV1), (db1, dc1) = net.unpack(gradient)
    for actual, expected in ((dW, dW1), (dV, dV1), (db, db1), (dc, dc1)):
        assert_close(actual, expected, 1e-12 if dtype == np.float64 else 2e-5)


@tiny
@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout_with_equal_pieces_is_a_dense_layer(pieces):
    """All pieces are largest at once: the gradient comes to one of them, not to each."""
    loss = "half_squared_error"
    net, _, params, X, y, _ = problem(mlp(3, (4,), 2, "identity"), loss, 5, weighted=False)
    (W, V), (b, c) = net.unpack(params)
    maxout = Network(mlp(3, (4,), 2, "maxout", pieces=pieces))
    params2 = maxout.pack([np.repeat(W, pieces, axis=1), V], [np.repeat(b, pieces), c])
    assert_close(maxout.forward(params2, X), net.forward(params, X), 1e-14)
    (dW, dV), (db, _) = net.unpack(net.loss_and_gradient(params, X, y)[1])
    (dW2, dV2), (db2, _) = maxout.unpack(maxout.loss_and_gradient(params2, X, y)[1])
    assert_close(dW2.reshape(3, 4, pieces).sum(axis=2), dW, 1e-14)
    assert_close(db2.reshape(4, pieces).sum(axis=1), db, 1e-14)
    assert_close(dV2, dV, 1e-14)
    (at_X,) = net.gradients(params, X, y, loss=loss, wrt=["x"])
    (at_X2,) = maxout.gradients(params2, X, y, loss=loss, wrt=["x"])
    assert_close(at_X2, at_X, 1e-14)


@tiny
def test_leaky_relu_goes_from_relu_to_identity():
    X = np.random.default_rng(0).standard_normal((4, 3))
    for negative_slope, name in ((0.0, "relu"), (1.0, "identity")):
        leaky = Network(mlp(3, (4,), 2, "leaky_relu", negative_slope=negative_slope))
        other = Network(mlp(3, (4,), 2, name))
        params = parameters(leaky, np.random.default_rng(1))
        assert_close(leaky.forward(params, X), other.forward(params, X), 1e-15)


@tiny
def test_tanh_is_a_stretched_logistic():
    z = np.linspace(-4, 4, 9)[:, None]
    x = g.input(1)
    tanh, logistic = Network(g.tanh(g.dense(x, 1))), Network(g.logistic(g.dense(x, 1)))
    np.testing.assert_allclose(
        tanh.forward(np.array([1.0, 0.0]), z),
        2.0 * logistic.forward(np.array([2.0, 0.0]), z) - 1.0,
        atol=1e-15,
    )


@tiny
def test_softplus_differs_from_its_mirror_image_by_z():
    z = np.linspace(-40, 40, 9)[:, None]
    net = Network(g.softplus(g.dense(g.input(1), 1)))
    there, back = (net.forward(np.array([sign, 0.0]), z) for sign in (1.0, -1.0))
    np.testing.assert_allclose(there - back, z, atol=1e-14)


@tiny
def test_layers_without_an_activation_are_one_layer():
    net = Network(mlp(3, (4, 2), 2, "identity"))
    params = parameters(net, np.random.default_rng(0))
    (A, B, C), (a, b, c) = net.unpack(params)
    X = np.random.default_rng(1).standard_normal((5, 3))
    one = Network(mlp(3, (), 2))
    assert_close(
        net.forward(params, X), one.forward(one.pack([A @ B @ C], [(a @ B + b) @ C + c]), X), 1e-14
    )


# Matrix case of the chain rule ----------------------------------------------------------------


@tiny
@pytest.mark.parametrize("loss", ["half_squared_error", "softmax_cross_entropy"])
def test_the_two_matrix_examples(loss):
    """For Z = X W + b and G the gradient at Z: X^T G at W, G W^T at X, column sums of G at b."""
    net, _, params, X, y, w = problem(mlp(3, (), 4), loss, 5)
    (W,), _ = net.unpack(params)
    at_X, G = net.gradients(params, X, y, loss=loss, wrt=["x", "output"], sample_weight=w)
    _, gradient = net.loss_and_gradient(params, X, y, loss=loss, sample_weight=w)
    (at_W,), (at_b,) = net.unpack(gradient)
    assert_close(at_W, X.T @ G, 1e-14)
    assert_close(at_b, G.sum(axis=0), 1e-14)
    assert_close(at_X, G @ W.T, 1e-14)


@tiny
def test_backpropagation_of_the_mlp_in_the_book():
    """One hidden layer of ReLU under cross-entropy with weight decay, line by line."""
    x = g.input(3, name="X")
    U1 = g.dense(x, 4, name="U1")
    H = g.relu(U1, name="H")
    U2 = g.dense(H, 3, name="U2")
    alpha, loss = 0.7, "softmax_cross_entropy"
    net, _, params, X, y, _ = problem(U2, loss, 6, weighted=False)
    (W1, W2), (b1, _) = net.unpack(params)
    at_X, at_U1, at_H, G = net.gradients(params, X, y, loss=loss, wrt=[x, U1, H, U2])

    hidden = np.maximum(0.0, X @ W1 + b1)
    assert_close(at_H, G @ W2.T, 1e-14)
    np.testing.assert_array_equal(at_U1, np.where(hidden > 0.0, at_H, 0.0))
    assert_close(at_X, at_U1 @ W1.T, 1e-14)
    # two paths lead from J to the weights: through the outputs and through the penalty
    _, gradient = net.loss_and_gradient(params, X, y, loss=loss, alpha=alpha)
    (dW1, dW2), (db1, db2) = net.unpack(gradient)
    assert_close(dW2, hidden.T @ G + alpha * W2 / 6, 1e-14)
    assert_close(dW1, X.T @ at_U1 + alpha * W1 / 6, 1e-14)
    assert_close(db1, at_U1.sum(axis=0), 1e-14)
    assert_close(db2, G.sum(axis=0), 1e-14)


@tiny
def test_gradients_of_different_paths_are_summed():
    """In y(x(w(v)), v) the gradient at v is that through w and x plus the direct one."""
    v = g.input(2, name="v")
    w = g.tanh(v, name="w")
    x = g.logistic(w, name="x")
    y = g.multiply(x, v, name="y")
    net = Network(y)
    params = np.empty(0)
    V = np.array([[0.3, -1.2], [2.0, 0.1]])
    target = np.zeros((2, 2))
    at_v, at_w, at_x, at_y = net.gradients(
        params, V, target, loss="half_squared_error", wrt=[v, w, x, y]
    )
    W, X = np.tanh(V), 1.0 / (1.0 + np.exp(-np.tanh(V)))
    np.testing.assert_allclose(at_y, X * V / 2)
    np.testing.assert_allclose(at_x, at_y * V)
    np.testing.assert_allclose(at_w, at_x * X * (1.0 - X))
    np.testing.assert_allclose(at_v, at_w * (1.0 - W**2) + at_y * X)


# XOR ------------------------------------------------------------------------------------------

XOR_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_Y = np.array([0.0, 1.0, 1.0, 0.0])


@tiny
def test_two_relu_units_represent_xor():
    net = Network(mlp(2, (2,), 1, "relu"))
    params = net.pack(
        [np.ones((2, 2)), np.array([[1.0], [-2.0]])], [np.array([0.0, -1.0]), np.zeros(1)]
    )
    np.testing.assert_array_equal(net.forward(params, XOR_X)[:, 0], XOR_Y)
    value, gradient = net.loss_and_gradient(params, XOR_X, XOR_Y)
    assert value == 0.0
    np.testing.assert_array_equal(gradient, np.zeros(net.n_params))


def test_no_line_solves_xor():
    net = Network(mlp(2, (), 1))
    result = minimize(
        lambda p: net.loss_and_gradient(p, XOR_X, XOR_Y), net.init(0), jac=True, tol=1e-12
    )
    np.testing.assert_allclose(net.forward(result.x, XOR_X)[:, 0], np.full(4, 0.5), atol=1e-5)


def test_two_relu_units_learn_xor():
    """From most starts a unit dies; the first of twelve that reaches the solution is enough."""
    net = Network(mlp(2, (2,), 1, "relu"))
    best = min(
        (
            minimize(
                lambda p: net.loss_and_gradient(p, XOR_X, XOR_Y),
                net.init(seed),
                jac=True,
                method="L-BFGS-B",
                options={"ftol": 0.0, "gtol": 1e-9},
            )
            for seed in range(12)
        ),
        key=lambda result: result.fun,
    )
    np.testing.assert_allclose(net.forward(best.x, XOR_X)[:, 0], XOR_Y, atol=1e-4)


def test_two_maxout_units_learn_xor_by_steps():
    net = Network(mlp(2, (2,), 1, "maxout", pieces=2))
    loss = "sigmoid_cross_entropy"
    trainers = [
        Session(
            net, net.init(seed), XOR_X, XOR_Y[:, None],
            loss=loss, optimizer="adam", batch_size=4, alpha=0.0,
        )
        for seed in range(6)
    ]  # fmt: skip
    order = np.tile(np.arange(4), 1000)
    best = min(trainers, key=lambda trainer: trainer.epoch(order, 0.05))
    prediction = best.forward(XOR_X, loss=loss)[:, 0]
    np.testing.assert_allclose(prediction, XOR_Y, atol=0.05)
