"""Network: layout and initial values of the parameters, outputs, and what is refused."""

import re

import numpy as np
import pytest
from scipy import sparse

from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from problems import (
    DTYPES,
    HIDDEN,
    assert_close,
    build,
    clear_rows,
    losses_of,
    mlp,
    parameters,
    problem,
    targets,
    tiny,
)

pytestmark = pytest.mark.numerical

# Layout ---------------------------------------------------------------------------------------


@tiny
def test_parameters_follow_one_another():
    """W0, b0, W1, b1, ...; a maxout unit has a column for each piece."""
    x = g.input(8, name="x")
    h = g.maxout(g.relu(g.dense(x, 5, name="first")), 3, pieces=4, name="second")
    net = Network(g.dense(h, 2, name="third"))
    assert (net.n_features, net.n_outputs, net.n_params) == (8, 2, 40 + 5 + 60 + 12 + 6 + 2)
    names = ["first weights", "first bias", "second weights", "second bias"]
    assert [p.name for p in net.parameters] == [*names, "third weights", "third bias"]
    assert [p.shape for p in net.parameters] == [(8, 5), (5,), (5, 12), (12,), (3, 2), (2,)]
    assert [p.start for p in net.parameters] == [0, 40, 45, 105, 117, 123]
    assert [p.group for p in net.parameters] == ["weights", "biases"] * 3


@tiny
def test_parameters_are_in_topological_order():
    x = g.input(3, name="x")
    output = g.dense(g.dense(x, 2, name="a"), 2, name="b")
    net = Network(g.add(g.dense(x, 2, name="c"), output))
    names = [p.owner for p in net.parameters if p.role == "bias"]
    assert sorted(names) == ["a", "b", "c"]
    assert names.index("a") < names.index("b")


@tiny
def test_owners_without_a_name_get_one():
    x = g.input(3)
    net = Network(g.dense(g.maxout(g.dense(x, 2), 2), 1))
    names = [p.owner for p in net.parameters]
    assert len(set(names)) == 3
    assert all(isinstance(name, str) and name for name in names)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_pack_and_unpack(dtype):
    net, _ = build(mlp(4, (3,), 2, "maxout", pieces=2))
    params = np.arange(net.n_params, dtype=dtype)
    coefs, intercepts = net.unpack(params)
    np.testing.assert_array_equal(coefs[0], np.arange(24).reshape(4, 6))
    np.testing.assert_array_equal(intercepts[0], np.arange(24, 30))
    np.testing.assert_array_equal(coefs[1], np.arange(30, 36).reshape(3, 2))
    np.testing.assert_array_equal(intercepts[1], [36, 37])
    packed = net.pack([np.asfortranarray(W) for W in coefs], intercepts)
    assert packed.dtype == dtype
    np.testing.assert_array_equal(packed, params)
    coefs[0][:] = -1.0
    intercepts[1][:] = -1.0
    np.testing.assert_array_equal(params, np.arange(net.n_params))


# Initial values -------------------------------------------------------------------------------


def lecun(rng, fan_in, width):
    """Normal weights with variance 1 / fan_in, biases 0."""
    return [rng.normal(0.0, np.sqrt(1.0 / fan_in), (fan_in, width)).ravel(), np.zeros(width)]


def glorot(rng, gain, fan_in, width, columns):
    """Weights, then biases, both uniform; fan_out counts units, not pieces."""
    bound = np.sqrt(gain / (fan_in + width))
    weights = rng.uniform(-bound, bound, (fan_in, columns)).ravel()
    return [weights, rng.uniform(-bound, bound, columns)]


@tiny
@pytest.mark.parametrize("activation", HIDDEN)
def test_initial_parameters(activation):
    """In scikit-learn's order; the output takes the gain of the last hidden block."""
    gain = 6.0 if activation == "maxout" else ACTIVATIONS[activation].gain
    pieces = 3 if activation == "maxout" else 1
    rng = np.random.RandomState(7)
    if activation == "selu":
        hidden = lecun(rng, 5, 4) + lecun(rng, 4, 3)
    else:
        hidden = glorot(rng, gain, 5, 4, 4 * pieces) + glorot(rng, gain, 4, 3, 3 * pieces)
    expected = hidden + glorot(rng, gain, 3, 2, 2)
    net = Network(mlp(5, (4, 3), 2, activation))
    np.testing.assert_array_equal(net.init(7), np.concatenate(expected))
    np.testing.assert_array_equal(net.init(np.random.RandomState(7)), net.init(7))
    assert net.init(7).dtype == np.float64


@tiny
def test_initial_layer_norm_changes_no_other_draw():
    x = g.input(5)
    plain = Network(g.dense(g.relu(g.dense(x, 4)), 2))
    normed = Network(g.dense(g.relu(g.layer_norm(g.dense(x, 4))), 2))
    coefs, biases = normed.unpack(normed.init(0))
    np.testing.assert_array_equal(coefs.pop(1), np.ones(4))
    np.testing.assert_array_equal(biases.pop(1), np.zeros(4))
    np.testing.assert_array_equal(plain.pack(coefs, biases), plain.init(0))


@tiny
def test_initial_gain_is_that_of_each_block():
    rng = np.random.RandomState(0)
    expected = glorot(rng, 2.0, 5, 4, 4) + glorot(rng, 6.0, 4, 3, 3) + glorot(rng, 6.0, 3, 2, 2)
    net = Network(mlp(5, (4, 3), 2, ["logistic", "relu"]))
    np.testing.assert_array_equal(net.init(0), np.concatenate(expected))


@tiny
@pytest.mark.parametrize(("output_gain", "gain"), [(None, 6.0), (2.0, 2.0)])
def test_initial_gain_without_hidden_layers(output_gain, gain):
    rng = np.random.RandomState(0)
    net = Network(mlp(5, (), 2), output_gain=output_gain)
    np.testing.assert_array_equal(net.init(0), np.concatenate(glorot(rng, gain, 5, 2, 2)))


@tiny
def test_initial_parameters_are_drawn_in_float64_and_cast():
    net = Network(mlp(5, (4,), 2))
    actual = net.init(3, dtype=np.float32)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, net.init(3).astype(np.float32))


# Outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 2, 7, 64, 65, 100, 300, 1500])
@pytest.mark.parametrize("n_outputs", [5, 6])
@pytest.mark.parametrize("widths", [(), (1,), (17, 3), (37, 90, 7, 3)])
def test_forward(widths, n_outputs, n_rows, dtype):
    net, twin = build(mlp(7, widths, n_outputs, "leaky_relu"))
    rng = np.random.default_rng(0)
    params = parameters(net, rng).astype(dtype)
    X = clear_rows(twin, params, n_rows, rng).astype(dtype)
    raw = net.forward(params, X)
    assert raw.dtype == dtype
    assert_close(raw, twin.forward(params, X))
    for loss in losses_of(n_outputs):
        tolerance = 1e-12 if dtype == np.float64 else 2e-5 * max(1.0, np.abs(raw).max())
        assert_close(net.forward(params, X, loss=loss), twin.forward(params, X, loss), tolerance)


@tiny
def test_forward_of_no_rows():
    net, _ = build(mlp(3, (4,), 2))
    assert net.forward(net.init(0), np.empty((0, 3))).shape == (0, 2)


@tiny
def test_forward_takes_the_dtype_of_the_parameters():
    net, _ = build(mlp(3, (4,), 2))
    for dtype in DTYPES:
        for X in (np.eye(3), np.eye(3, dtype=np.float32), np.eye(3, dtype=int)):
            assert net.forward(net.init(0, dtype=dtype), X).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("as_csr", [False, True])
def test_more_rows_than_are_walked_at_once(as_csr, dtype):
    """The loss and its gradient, penalty included, are one sum over all rows."""
    loss = "softmax_cross_entropy"
    net, twin, params, X, y, w = problem(mlp(5, (7,), 3, "tanh"), loss, 4500, dtype=dtype)
    given = sparse.csr_matrix(X) if as_csr else X
    value, gradient = net.loss_and_gradient(
        params, given, y, loss=loss, alpha=10.0, sample_weight=w
    )
    expected, expected_gradient = twin.loss_and_gradient(
        params, X, y, loss=loss, alpha=10.0, sample_weight=w
    )
    assert value == pytest.approx(expected, rel=1e-12 if dtype == np.float64 else 2e-5)
    assert_close(gradient, expected_gradient)
    actual = net.gradients(params, given, y, loss=loss, wrt=twin.nodes, sample_weight=w)
    expected = twin.gradients(params, X, y, loss=loss, wrt=twin.nodes, sample_weight=w)
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, b)


def test_long_stretches_without_weight():
    """Rows without weight have no gradient, however many follow one another."""
    loss = "half_squared_error"
    net, twin, params, X, y, _ = problem(mlp(3, (4,), 2, "tanh"), loss, 5000, weighted=False)
    for first, last in ((0, 4000), (1000, 5000), (1000, 4000)):
        w = np.ones(5000)
        w[first:last] = 0.0
        value, gradient = net.loss_and_gradient(params, X, y, loss=loss, alpha=1.0, sample_weight=w)
        expected = twin.loss_and_gradient(params, X, y, loss=loss, alpha=1.0, sample_weight=w)
        assert value == pytest.approx(expected[0], rel=1e-12)
        assert_close(gradient, expected[1])
        actual = net.gradients(params, X, y, loss=loss, wrt=twin.nodes, sample_weight=w)
        expected = twin.gradients(params, X, y, loss=loss, wrt=twin.nodes, sample_weight=w)
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b)


# describe -------------------------------------------------------------------------------------


@tiny
def test_describe_names_every_op_block_and_buffer():
    x = g.input(8, name="features")
    a = g.relu(g.dense(x, 5, name="affine"), name="rectified")
    m = g.maxout(x, 5, pieces=3, name="largest")
    joined = g.concat(g.add(a, m, name="total"), g.multiply(a, m, name="product"), name="joined")
    net = Network(g.dense(joined, 2, name="scores"))
    lines = net.describe(rows=64).splitlines()

    def mentions(*words):
        return any(all(re.search(rf"(?<![\w]){w}(?![\w])", line) for w in words) for line in lines)

    for op, name in (
        ("dense", "affine"),
        ("relu", "rectified"),
        ("maxout", "largest"),
        ("add", "total"),
        ("multiply", "product"),
        ("concat", "joined"),
        ("narrow_dense", "scores"),  # two units
    ):
        assert mentions(op, name)
    for p in net.parameters:
        assert mentions(p.name, re.escape(str(p.shape)), p.start)
    for name, width in (
        ("features", 8),
        ("affine", 5),
        ("rectified", 5),
        ("largest", 5),
        ("total", 5),
        ("product", 5),
        ("joined", 10),
        ("scores", 2),
    ):
        assert mentions(name, rf"\(64, {width}\)", r"\d+ +-?\d+$")


# Errors ---------------------------------------------------------------------------------------

CALLS = {
    "loss_and_gradient": lambda net, params, X, y, **options: net.loss_and_gradient(
        params, X, y, **options
    ),
    "gradients": lambda net, params, X, y, **options: net.gradients(
        params, X, y, wrt=["x"], **({"loss": "half_squared_error"} | options)
    ),
}


@pytest.fixture
def small():
    """A network with parameters, X and y that fit it."""
    net, _ = build(mlp(3, (4,), 2))
    return net, net.init(0), np.ones((5, 3)), np.ones((5, 2))


@tiny
@pytest.mark.parametrize("length", [-1, 1])
def test_parameters_of_the_wrong_length(small, length):
    net, params, X, y = small
    wrong = np.zeros(len(params) + length)
    for call in (
        lambda: net.forward(wrong, X),
        lambda: net.loss_and_gradient(wrong, X, y),
        lambda: net.gradients(wrong, X, y, wrt=["x"], loss="half_squared_error"),
    ):
        with pytest.raises(ValueError, match=rf"params.*\({net.n_params},\).*\({len(wrong)},\)"):
            call()


@tiny
@pytest.mark.parametrize("as_csr", [False, True])
def test_x_of_the_wrong_width(small, as_csr):
    net, params, _, y = small
    X = np.ones((5, 4))
    X = sparse.csr_matrix(X) if as_csr else X
    for call in (
        lambda: net.forward(params, X),
        lambda: net.loss_and_gradient(params, X, y),
        lambda: net.gradients(params, X, y, wrt=["x"], loss="half_squared_error"),
    ):
        with pytest.raises(ValueError, match=r"X.*3\).*\(5, 4\)"):
            call()


@tiny
def test_x_of_one_dimension(small):
    net, params, _, _ = small
    with pytest.raises(ValueError, match=r"X.*\(3,\)"):
        net.forward(params, np.ones(3))


@tiny
@pytest.mark.parametrize("call", CALLS)
def test_y_of_the_wrong_shape(small, call):
    net, params, X, _ = small
    for y in (np.ones(5), np.ones((5, 3)), np.ones((4, 2)), np.ones((5, 2, 1))):
        with pytest.raises(ValueError, match=r"y.*\(5, 2\)"):
            CALLS[call](net, params, X, y)


@tiny
@pytest.mark.parametrize("call", CALLS)
def test_weights_of_the_wrong_shape_or_sign(small, call):
    net, params, X, y = small
    for w in (np.ones(4), np.ones((5, 1))):
        with pytest.raises(ValueError, match=r"sample_weight.*\(5,\)"):
            CALLS[call](net, params, X, y, sample_weight=w)
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"sample_weight.*{wrong}"):
            CALLS[call](net, params, X, y, sample_weight=[1.0, wrong, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"sample_weight.*sum"):
        CALLS[call](net, params, X, y, sample_weight=np.zeros(5))


@tiny
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("loss", ["hinge", "log_loss", None, 3])
def test_unknown_loss(small, call, loss):
    net, params, X, y = small
    with pytest.raises(ValueError, match=f"loss.*half_squared_error.*{loss}"):
        CALLS[call](net, params, X, y, loss=loss)


@tiny
def test_unknown_link(small):
    net, params, X, _ = small
    with pytest.raises(ValueError, match=r"loss.*half_squared_error.*hinge"):
        net.forward(params, X, loss="hinge")


@tiny
def test_nodes_of_another_network(small):
    net, params, X, y = small
    loss = "half_squared_error"
    with pytest.raises(ValueError, match=r"wrt.*output.*'hidden7'"):
        net.gradients(params, X, y, loss=loss, wrt=["x", "hidden7"])
    for foreign in (g.dense(g.input(3, name="x"), 4, name="hidden0"), g.input(3, name="x")):
        with pytest.raises(ValueError, match="wrt"):
            net.gradients(params, X, y, loss=loss, wrt=[foreign])
    dead = g.dense(net.output, 3, name="dead")
    with pytest.raises(ValueError, match=r"wrt.*dead"):
        net.gradients(params, X, y, loss=loss, wrt=[dead])


@tiny
def test_parts_that_do_not_fit_when_packed(small):
    net, params, _, _ = small
    coefs, intercepts = net.unpack(params)
    with pytest.raises(ValueError, match=r"coefs.*2.*1"):
        net.pack(coefs[:1], intercepts[:1])
    with pytest.raises(ValueError, match=r"coefs\[1\].*\(4, 2\).*\(2, 4\)"):
        net.pack([coefs[0], coefs[1].T], intercepts)
    with pytest.raises(ValueError, match=r"intercepts\[0\]"):
        net.pack(coefs, [intercepts[0][:-1], intercepts[1]])


@pytest.mark.parametrize("loss", LOSSES)
def test_after_an_error_the_next_call_is_right(small, loss):
    net, params, X, _ = small
    with pytest.raises(ValueError, match="y"):
        net.loss_and_gradient(params, X, np.full((5, 2), np.nan), loss=loss)
    y = targets(loss, 5, 2, np.random.default_rng(0))  # one target of two raw outputs, or two
    assert np.isfinite(net.loss_and_gradient(params, X, y, loss=loss)[0])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"alpha": "much"}, TypeError, "alpha must be a number, got 'much'"),
        ({"y": ["a", "b"]}, ValueError, "y must hold real numbers"),
        ({"y": [0.0, 1e300]}, ValueError, r"y must be finite in float32, got .*1e\+300"),
        ({"sample_weight": ["a", "b"]}, ValueError, "sample_weight must hold real numbers"),
    ],
)
def test_what_is_no_number_is_named(wrong, error, message):
    net = Network(mlp(3, (4,), 1))
    given = {"y": [0.0, 1.0], **wrong}
    with pytest.raises(error, match=message):
        net.loss_and_gradient(net.init(0, dtype=np.float32), np.ones((2, 3)), **given)


@pytest.mark.parametrize("dtype", [int, np.float16, bool])
def test_initial_parameters_are_of_a_type_that_is_computed_in(dtype):
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        Network(mlp(3, (4,), 1)).init(0, dtype=dtype)


@tiny
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_there_is_no_gradient_where_the_loss_is_not_finite():
    net = Network(g.dense(g.input(2), 1))
    X = np.array([[1.0, np.nan], [0.0, 1.0]])
    value, gradient = net.loss_and_gradient(net.init(0), X, np.zeros(2))
    assert np.isnan(value)
    assert np.isnan(gradient).all()
