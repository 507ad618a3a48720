"""Jacobian products by themselves, and the values of any node."""

import numpy as np
import pytest
from scipy import sparse

from nbnet import graph as g
from problems import DTYPES, assert_close, build, tiny

pytestmark = pytest.mark.numerical

RNG = np.random.default_rng(0)


def mixed():
    """Every op, two paths into a node, smooth everywhere."""
    x = g.input(4, name="x")
    h = g.tanh(g.dense(x, 6, name="a"), name="h")
    s = g.softplus(g.add(h, g.dense(h, 6, name="b")), name="s")
    return g.dense(g.concat(g.multiply(s, h), x), 3, name="out")


def central(function, at, step=1e-6):
    """Central differences of a function (N, R) with respect to every entry of `at`, last axis."""
    columns = []
    for i in np.ndindex(at.shape):
        moved = np.zeros_like(at)
        moved[i] = step
        columns.append((function(at + moved) - function(at - moved)) / (2 * step))
    return np.stack(columns, axis=-1)


@tiny
def test_jacobians_are_those_of_finite_differences():
    net = g.Network(mixed())
    params = net.init(random_state=0)
    X = RNG.standard_normal((5, 4))
    by_params = central(lambda p: net.forward(p, X), params)
    np.testing.assert_allclose(net.jacobian(params, X, wrt="params"), by_params, atol=1e-8)
    by_X = central(lambda moved: net.forward(params, moved), X).reshape(5, 3, 5, 4)
    diagonal = by_X[np.arange(5), :, np.arange(5)]
    np.testing.assert_allclose(net.jacobian(params, X), diagonal, atol=1e-8)
    by_X[np.arange(5), :, np.arange(5)] = 0
    assert not by_X.any()  # samples do not touch each other


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 3, 2047, 2048, 4099])
def test_vjp_is_general_back_propagation_of_a_cotangent(n_rows, dtype):
    net, twin = build(mixed())
    params = net.init(random_state=0, dtype=dtype)
    X = RNG.standard_normal((n_rows, 4)).astype(dtype)
    C = RNG.standard_normal((n_rows, 3)).astype(dtype)
    params_bar, X_bar = net.vjp(params, X, C)
    assert params_bar.dtype == X_bar.dtype == dtype
    at_nodes, at_params = twin.backward(params, X, C)
    assert_close(params_bar, at_params)
    assert_close(X_bar, at_nodes[twin.nodes[0]])


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_matrix_products(dtype):
    """Y = X W gives dX = C W^T and dW = X^T C; with samples in columns, Y = W X, dX = W^T C."""
    net = g.Network(g.dense(g.input(3), 2))
    params = net.init(random_state=1, dtype=dtype)
    (W,), _ = net.unpack(params)
    X, C = RNG.standard_normal((5, 3)).astype(dtype), RNG.standard_normal((5, 2)).astype(dtype)
    params_bar, X_bar = net.vjp(params, X, C)
    (W_bar,), (b_bar,) = net.unpack(params_bar)
    assert_close(X_bar, C @ W.T)
    assert_close(X_bar.T, W @ C.T)
    assert_close(W_bar, X.T @ C)
    assert_close(b_bar, C.sum(axis=0))
    assert_close(net.jacobian(params, X), np.broadcast_to(W.T, (5, 2, 3)))


@tiny
def test_sparse_rows_have_the_same_products():
    net = g.Network(mixed())
    params = net.init(random_state=0)
    X = RNG.standard_normal((6, 4)) * (RNG.random((6, 4)) < 0.5)
    C = RNG.standard_normal((6, 3))
    for wrt in ("X", "params"):
        np.testing.assert_allclose(
            net.jacobian(params, sparse.csr_array(X), wrt=wrt),
            net.jacobian(params, X, wrt=wrt),
            atol=1e-12,
        )
    for dense, of_sparse in zip(
        net.vjp(params, X, C), net.vjp(params, sparse.csr_array(X), C), strict=True
    ):
        np.testing.assert_allclose(of_sparse, dense, atol=1e-12)


@tiny
def test_a_network_without_parameters():
    x = g.input(3)
    net = g.Network(g.tanh(x))
    X = RNG.standard_normal((4, 3))
    expected = np.einsum("ni,ij->nij", 1 - np.tanh(X) ** 2, np.eye(3))
    np.testing.assert_allclose(net.jacobian(np.empty(0), X), expected, rtol=1e-12)
    assert net.jacobian(np.empty(0), X, wrt="params").shape == (4, 3, 0)


@tiny
def test_bad_input():
    net = g.Network(mixed())
    params, X = net.init(random_state=0), np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"wrt must be 'X' or 'params', got 'x'"):
        net.jacobian(params, X, wrt="x")
    with pytest.raises(ValueError, match=r"cotangent.*\(2, 3\).*\(2, 2\)"):
        net.vjp(params, X, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="cotangent must hold finite"):
        net.vjp(params, X, np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"params must have shape"):
        net.vjp(params[1:], X, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"node takes nodes of this network.*'out'.*'t'"):
        net.forward(params, X, node="t")
    with pytest.raises(ValueError, match="loss must be None where a node"):
        net.forward(params, X, loss="half_squared_error", node="h")
    with pytest.raises(ValueError, match="node takes nodes of this network"):
        net.forward(params, X, node=g.input(4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 7, 200])
def test_values_of_every_node(n_rows, dtype):
    net, twin = build(mixed())
    params = net.init(random_state=0, dtype=dtype)
    X = RNG.standard_normal((n_rows, 4)).astype(dtype)
    for node, expected in twin.values(params, X).items():
        value = net.forward(params, X, node=node)
        assert value.dtype == dtype
        assert_close(value, expected)
        if node.name is not None:
            np.testing.assert_array_equal(net.forward(params, X, node=node.name), value)
    np.testing.assert_array_equal(net.forward(params, X, node="x"), X)
    np.testing.assert_array_equal(net.forward(params, X, node="out"), net.forward(params, X))
