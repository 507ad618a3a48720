"""Loss and gradients of whole networks against the naive twin and against finite differences."""

import numpy as np
import pytest
from scipy import sparse

import finite_differences
import naive
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from problems import (
    CSR,
    DTYPES,
    HIDDEN,
    KINKS,
    assert_close,
    build,
    mlp,
    n_raw,
    parameters,
    problem,
    settings_of,
    sparse_rows,
    targets,
    tiny,
)

# inputs, hidden widths, raw outputs, rows: none of them a multiple of a vector's width throughout
pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("guarded_buffers")]

SHAPES = [
    (1, (), 1, 1),
    (3, (), 2, 7),
    (8, (16,), 8, 64),
    (7, (1,), 1, 2),
    (17, (3,), 3, 64),
    (37, (7, 3), 5, 65),
    (90, (17,), 10, 100),
    (3, (37, 17), 17, 300),
    (17, (90, 37), 40, 65),
    (7, (3, 7, 17), 31, 300),
    (90, (37, 17, 7, 3), 12, 100),
    (1, (1, 1, 1, 1), 1, 7),
]


def mixed(n_layers):
    """A different activation for each hidden layer."""
    return [HIDDEN[(3 * i + n_layers) % len(HIDDEN)] for i in range(n_layers)]


def check(output, loss, n_rows, dtype, alpha=0.3, weighted=True, tolerance=None):
    """Everything a network says of one batch, against the twin."""
    net, twin, params, X, y, w = problem(output, loss, n_rows, dtype=dtype, weighted=weighted)
    assert_close(net.forward(params, X), twin.forward(params, X), tolerance)
    told = {"loss": loss, "sample_weight": w, **settings_of(loss)}
    value, gradient = net.loss_and_gradient(params, X, y, alpha=alpha, **told)
    expected, expected_gradient = twin.loss_and_gradient(params, X, y, alpha=alpha, **told)
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 2e-5)
    assert gradient.dtype == dtype
    assert_close(gradient, expected_gradient, tolerance)
    if dtype == np.float64:  # in float32 a small part may be the difference of large terms
        for p in net.parameters:
            assert_close(gradient[p.place], expected_gradient[p.place], err_msg=p.name)
    actual = net.gradients(params, X, y, wrt=twin.nodes, **told)
    expected = twin.gradients(params, X, y, wrt=twin.nodes, **told)
    for node, at_node, expected_at_node in zip(twin.nodes, actual, expected, strict=True):
        assert at_node.dtype == dtype
        assert_close(at_node, expected_at_node, tolerance, err_msg=str(node.name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("n_features", "widths", "n_outputs", "n_rows"), SHAPES)
def test_every_shape_and_loss(n_features, widths, n_outputs, n_rows, loss, dtype):
    output = mlp(n_features, widths, n_raw(loss, n_outputs), mixed(len(widths)))
    check(output, loss, n_rows, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", HIDDEN)
def test_every_activation(activation, dtype):
    check(mlp(7, (17, 3), 3, activation), "softmax_cross_entropy", 65, dtype, weighted=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 65, 100, 300])
@pytest.mark.parametrize("width", [1, 3, 7, 17, 37, 90])
def test_every_width_and_batch(width, n_rows, dtype):
    check(mlp(width, (width,), 3, "maxout"), "half_squared_error", n_rows, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", range(1, 41))
def test_every_number_of_outputs(n_outputs, dtype):
    check(mlp(3, (7,), n_outputs, "leaky_relu"), "softmax_cross_entropy", 7, dtype)
    check(mlp(3, (), n_outputs), "sigmoid_cross_entropy", 7, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pieces", [2, 3, 5, 8, 17])
def test_every_number_of_pieces(pieces, dtype):
    check(mlp(7, (5, 3), 2, "maxout", pieces=pieces), "half_squared_error", 65, dtype)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_on_a_tiny_network(loss, dtype):
    check(mlp(2, (3,), n_raw(loss, 2), "tanh"), loss, 3, dtype)


@tiny
@pytest.mark.parametrize("activation", HIDDEN)
def test_every_activation_on_a_tiny_network(activation):
    check(mlp(2, (3, 2), 2, activation), "half_squared_error", 3, np.float64)


# Finite differences ---------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("activation", HIDDEN)
def test_every_activation_against_finite_differences(activation):
    check_by_differences(mlp(3, (4, 3), 2, activation), "half_squared_error")


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_against_finite_differences(loss):
    check_by_differences(mlp(3, (4,), n_raw(loss, 3), "tanh"), loss)


def check_by_differences(output, loss, n_rows=4):
    """Gradients at the parameters and at the input, each along two random directions."""
    net, twin, params, X, y, w = problem(output, loss, n_rows)
    rng = np.random.default_rng(1)
    told = {"loss": loss, "sample_weight": w, **settings_of(loss)}
    _, gradient = net.loss_and_gradient(params, X, y, alpha=0.5, **told)
    (at_X,) = net.gradients(params, X, y, wrt=["x"], **told)

    def sides(params, X):
        z = twin.forward(params, X)
        distances = naive.kinks(loss, z, y, **settings_of(loss))
        return twin.sides(params, X, KINKS) + [distance > 0.0 for distance in distances]

    for _ in range(2):
        v = rng.standard_normal(params.shape)
        slope = finite_differences.directional(
            lambda p: net.loss_and_gradient(p, X, y, alpha=0.5, **told)[0],
            lambda p: sides(p, X),
            params,
            v,
        )
        assert gradient @ v == pytest.approx(slope, rel=1e-7, abs=1e-8)
        v = rng.standard_normal(X.shape)
        slope = finite_differences.directional(
            lambda X: net.loss_and_gradient(params, X, y, **told)[0],
            lambda X: sides(params, X),
            X,
            v,
        )
        assert np.sum(at_X * v) == pytest.approx(slope, rel=1e-7, abs=1e-8)


@tiny
def test_objective_does_not_remember_the_call_before():
    loss = "half_poisson_deviance"
    net, twin, params, X, y, w = problem(mlp(3, (4,), 2, "tanh"), loss, 5)
    function = net.objective(X, y, loss=loss, alpha=0.3, sample_weight=w)
    for at in (params, 2 * params, params):
        value, gradient = function(at)
        expected, expected_gradient = twin.loss_and_gradient(
            at, X, y, loss=loss, alpha=0.3, sample_weight=w
        )
        assert value == pytest.approx(expected, rel=1e-13)
        assert_close(gradient, expected_gradient)


# Nodes ----------------------------------------------------------------------------------------


@tiny
def test_gradient_at_a_hidden_node_is_that_at_the_input_of_the_rest():
    """Cut the chain x -> z -> h -> J at h: what follows h is a network whose input is h."""
    loss = "softmax_cross_entropy"
    x = g.input(3, name="x")
    h = g.tanh(g.dense(x, 4, name="z"), name="h")
    net, twin, params, X, y, _ = problem(g.dense(h, 3, name="output"), loss, 5, weighted=False)
    (_, V), (_, c) = net.unpack(params)
    rest = Network(mlp(4, (), 3))
    H = twin.values(params, X)[h]
    (expected,) = rest.gradients(rest.pack([V], [c]), H, y, loss=loss, wrt=["x"])
    (actual,) = net.gradients(params, X, y, loss=loss, wrt=["h"])
    assert_close(actual, expected, 1e-14)


@tiny
def test_nodes_by_name_in_any_order_and_more_than_once():
    net, twin, params, X, y, _ = problem(mlp(2, (3,), 1, "relu"), "half_squared_error", 3)
    by_name = {node.name: node for node in twin.nodes}
    names = ["output", "x", "hidden0", "x"]
    actual = net.gradients(params, X, y, loss="half_squared_error", wrt=names)
    nodes = [by_name[name] for name in names]
    expected = net.gradients(params, X, y, loss="half_squared_error", wrt=nodes)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [a.shape for a in actual] == [(3, 1), (3, 2), (3, 3), (3, 2)]


@tiny
def test_gradient_at_the_node_before_and_after_an_activation():
    """The one before must survive even where a value may overwrite its argument in place."""
    for activation in ("logistic", "relu", "abs"):
        x = g.input(2, name="x")
        z = g.dense(x, 3, name="z")
        h = getattr(g, activation)(z, name="h")
        output = g.dense(h, 2, name="output")
        loss = "half_squared_error"
        net, twin, params, X, y, _ = problem(output, loss, 4, weighted=False)
        for wrt in ([z], [h], [z, h], [x, z, h, output]):
            actual = net.gradients(params, X, y, loss=loss, wrt=wrt)
            expected = twin.gradients(params, X, y, loss=loss, wrt=wrt)
            for a, b in zip(actual, expected, strict=True):
                assert_close(a, b, 1e-14)


@tiny
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_of_a_node_that_needs_its_value_going_back(activation):
    """Which it must then not overwrite; a product needs its factors alone, a sum nothing."""
    loss = "half_squared_error"
    x = g.input(3, name="x")
    z = g.dense(x, 4, name="z")
    for kind, node in {
        "maxout": g.maxout(x, 4, pieces=3, name="m"),
        "product": g.multiply(z, g.dense(x, 4, name="m")),
        "sum": g.add(z, g.dense(x, 4, name="m")),
        "concat": g.concat(z, x),
        **{name: getattr(g, name)(z) for name in ACTIVATIONS if name != "relu"},
    }.items():
        output = g.dense(getattr(g, activation)(node), 2, name="output")
        net, twin, params, X, y, _ = problem(output, loss, 3, weighted=False)
        _, expected = twin.loss_and_gradient(params, X, y, loss=loss)
        _, actual = net.loss_and_gradient(params, X, y, loss=loss)
        assert_close(actual, expected, err_msg=kind)


# Sparse rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows(variant, dtype):
    check_sparse(mlp(37, (17, 5), 3, ["tanh", "softplus"]), variant, 65, dtype)


@tiny
@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows_of_a_tiny_network(variant):
    check_sparse(mlp(4, (3,), 2, "tanh"), variant, 6, np.float64)


@pytest.mark.parametrize("n_rows", [1, 7, 300])
@pytest.mark.parametrize("widths", [(), (1,), (90,)])
def test_sparse_rows_of_every_shape(widths, n_rows):
    check_sparse(mlp(17, widths, 2, "softplus"), "canonical", n_rows, np.float64)


def several_readers(n_features, width):
    """Sparse rows go into dense, maxout, an activation and a concatenation."""
    x = g.input(n_features, name="x")
    a = g.tanh(g.dense(x, width, name="a"))
    b = g.maxout(x, width, pieces=2, name="b")
    return g.dense(g.concat(g.multiply(a, b), g.softplus(x), x), 2, name="output")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows_that_feed_several_nodes(variant, dtype):
    check_sparse(several_readers(7, 5), variant, 65, dtype)


@tiny
@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows_that_feed_several_nodes_of_a_tiny_network(variant):
    check_sparse(several_readers(3, 2), variant, 6, np.float64)


def check_sparse(output, variant, n_rows, dtype):
    rng = np.random.default_rng(0)
    loss = "half_squared_error"
    net, twin = build(output)
    params = parameters(net, rng).astype(dtype)
    X = CSR[variant](sparse_rows(n_rows, net.n_features, rng, dtype))
    assert (np.diff(X.indptr) == 0).any()
    given = [(array, array.copy()) for array in (X.data, X.indices, X.indptr)]
    y = targets(loss, n_rows, net.n_outputs, rng).astype(dtype)
    assert_close(net.forward(params, X), twin.forward(params, X))
    value, gradient = net.loss_and_gradient(params, X, y, loss=loss, alpha=0.1)
    expected, expected_gradient = twin.loss_and_gradient(params, X, y, loss=loss, alpha=0.1)
    assert value == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 2e-5)
    assert_close(gradient, expected_gradient)
    (at_X,) = net.gradients(params, X, y, loss=loss, wrt=["x"])
    (expected,) = twin.gradients(params, X, y, loss=loss, wrt=[twin.nodes[0]])
    assert_close(at_X, expected)
    for array, copy in given:
        np.testing.assert_array_equal(array, copy)


def test_rows_without_any_entry():
    net, _ = build(mlp(5, (4,), 2, "tanh"))
    params = net.init(0)
    X = sparse.csr_matrix((9, 5))
    np.testing.assert_allclose(net.forward(params, X), net.forward(params, np.zeros((9, 5))))
    y = np.ones((9, 2))
    value, gradient = net.loss_and_gradient(params, X, y)
    expected, expected_gradient = net.loss_and_gradient(params, np.zeros((9, 5)), y)
    assert value == pytest.approx(expected, rel=1e-14)
    assert_close(gradient, expected_gradient, 1e-14)


# Arrays ---------------------------------------------------------------------------------------


@tiny
def test_nothing_given_is_written_to_and_the_same_call_gives_the_same_bits():
    net, _, params, X, y, w = problem(mlp(3, (4,), 2, "maxout"), "sigmoid_cross_entropy", 5)
    given = (params, X, y, w)
    copies = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    loss = "sigmoid_cross_entropy"
    first = net.loss_and_gradient(params, X, y, loss=loss, alpha=0.1, sample_weight=w)
    second = net.loss_and_gradient(params, X, y, loss=loss, alpha=0.1, sample_weight=w)
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    net.gradients(params, X, y, loss=loss, wrt=["x"], sample_weight=w)
    net.forward(params, X)
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@tiny
def test_results_are_the_callers_own():
    net, _, params, X, y, _ = problem(mlp(3, (4,), 2, "relu"), "half_squared_error", 5)
    raw = net.forward(params, X)
    _, gradient = net.loss_and_gradient(params, X, y)
    (at_X,) = net.gradients(params, X, y, loss="half_squared_error", wrt=["x"])
    copies = [array.copy() for array in (raw, gradient, at_X)]
    net.forward(params, 2 * X)
    net.loss_and_gradient(params, 2 * X, y)
    net.gradients(params, 2 * X, y, loss="half_squared_error", wrt=["x"])
    for array, copy in zip((raw, gradient, at_X), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@tiny
@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]],
    ids=["Fortran order", "every other row", "reversed"],
)
def test_any_layout_of_the_arrays(layout):
    net, _, params, X, y, w = problem(mlp(3, (4,), 2, "relu"), "half_squared_error", 6)
    expected = net.loss_and_gradient(params, X, y, sample_weight=w)
    actual = net.loss_and_gradient(layout(params), layout(X), layout(y), sample_weight=layout(w))
    assert actual[0] == expected[0]
    np.testing.assert_array_equal(actual[1], expected[1])
    np.testing.assert_array_equal(net.forward(params, layout(X)), net.forward(params, X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_see_the_others(dtype):
    net, _, params, X, _, _ = problem(
        mlp(17, (37, 7), 5, "maxout"), "half_squared_error", 300, dtype=dtype
    )
    everything = net.forward(params, X)
    some = np.random.default_rng(0).permutation(300)[:65]
    for rows in (some, [3], [299, 0], slice(7, 71)):
        assert_close(net.forward(params, X[rows]), everything[rows])
