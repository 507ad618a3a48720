"""Networks, rows and targets for the tests: small, random and always the same for the same seed."""

import re

import numpy as np
import pytest
from scipy import sparse

import naive
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.ops import OPS

HIDDEN = [*ACTIVATIONS, "maxout"]
# The ops of a graph: what a plan makes of one in special cases has its name and a prefix, and
# standardize is the first half of layer_norm.
NODE_OPS = sorted(
    {re.sub("^((sparse|narrow|row)_)+", "", name) for name in OPS} - {"input", "standardize"}
)
KINKS = {name: row.kinks for name, row in ACTIVATIONS.items()}
DTYPES = [np.float64, np.float32]

# Settings of the losses that have one, other than the defaults.
SETTINGS = {
    "quantile": {"quantile": 0.7},
    "huber": {"huber_delta": 0.75},
    "smoothed_softmax_cross_entropy": {"label_smoothing": 0.1},
    "smoothed_pinned_softmax_cross_entropy": {"label_smoothing": 0.1},
    "smoothed_sigmoid_cross_entropy": {"label_smoothing": 0.1},
    "softmax_focal": {"focal_gamma": 1.5},
    "sigmoid_focal": {"focal_gamma": 1.5},
    "half_tweedie_deviance": {"tweedie_power": 1.3},
}

# Differences allowed, as a share of the largest entry of the array they are in.
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 2e-5}


def assert_close(actual, expected, tolerance=None, err_msg="", least=0.0):
    """Equal but for `tolerance`, that of the dtype by default, times the largest expected entry.

    Or times `least`, if that is larger.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    tolerance = TOLERANCE[actual.dtype] if tolerance is None else tolerance
    scale = max(np.max(np.abs(expected), initial=least), np.finfo(np.float32).tiny)
    np.testing.assert_allclose(
        actual / scale, expected / scale, rtol=0.0, atol=tolerance, err_msg=err_msg
    )


def hidden_layer(node, width, activation, name, negative_slope=0.01, pieces=3):
    """One hidden layer of a usual network."""
    if activation == "maxout":
        return g.maxout(node, width, pieces=pieces, name=name)
    node = g.dense(node, width, name=name)
    if activation == "leaky_relu":
        return g.leaky_relu(node, negative_slope=negative_slope)
    return getattr(g, activation)(node)


def mlp(n_features, widths, n_outputs, activation="relu", **options):
    """The output node of a usual network; `activation` is one name or one for each hidden layer."""
    activations = [activation] * len(widths) if isinstance(activation, str) else activation
    node = g.input(n_features, name="x")
    for i, (width, name) in enumerate(zip(widths, activations, strict=True)):
        node = hidden_layer(node, width, name, f"hidden{i}", **options)
    return g.dense(node, n_outputs, name="output")


def affine(net):
    """The parameters of each dense, maxout or layer_norm node: weights, bias."""
    return list(zip(net.parameters[::2], net.parameters[1::2], strict=True))


def build(output):
    """The network that ends in `output`, and its naive twin."""
    net = Network(output)
    return net, naive.Twin(output, [weights.owner for weights, _ in affine(net)])


def reader(width, activation="identity", negative_slope=0.01):
    """A network without free choices: its raw outputs are `activation` of the very entries of X.

    Returns the network, its nodes z (before the activation) and h (after), and its parameters in
    float64.
    """
    z = g.dense(g.input(width, name="x"), width, name="z")
    if activation == "leaky_relu":
        h = g.leaky_relu(z, negative_slope=negative_slope)
    else:
        h = getattr(g, activation)(z)
    net = Network(h)
    return net, z, h, net.pack([np.eye(width)], [np.zeros(width)])


def settings_of(loss):
    """Settings to give a loss."""
    return SETTINGS.get(loss, {})


def n_raw(loss, n_targets):
    """R for T targets; with classes, which leave R free, as many as asked for."""
    return naive.RAW_OUTPUTS.get(loss, int)(n_targets)


def n_targets(loss, n_outputs):
    """T for R raw outputs, 0 if the loss cannot have R of them."""
    if LOSSES[loss].integer_targets:
        return 1
    return next((T for T in range(1, n_outputs + 1) if n_raw(loss, T) == n_outputs), 0)


def losses_of(n_outputs):
    """Names of the losses that can have R raw outputs."""
    return [loss for loss in LOSSES if n_targets(loss, n_outputs)]


def n_classes(loss, n_outputs):
    """K for R raw outputs: one class more where its logit is pinned at 0."""
    return n_outputs + ("pinned" in loss)


def targets(loss, n_rows, n_outputs, rng):
    """Targets (N, T) that the loss accepts: classes, or both ends and the inside of its range."""
    row = LOSSES[loss]
    if row.integer_targets:
        classes = n_classes(loss, n_outputs)
        return rng.integers(0, classes, size=(n_rows, 1)).astype(np.float64)
    low, high = max(row.y_low, -2.0), min(row.y_high, 3.0)
    low += 0.25 if row.y_open else 0.0
    y = rng.uniform(low, high, size=(n_rows, n_targets(loss, n_outputs)))
    ends = rng.integers(0, 3, size=y.shape)
    y[ends == 0] = low
    y[ends == 1] = high
    return y


def tame_targets(loss, z, y):
    """The targets, but where the clipped linear unit's slope, y / z, would grow without bound."""
    if loss == "clipped_linear_cross_entropy":
        y = np.where((z > 0.0) & (z < 0.1), 0.0, y)
        y = np.where((z > 0.9) & (z < 1.0), 1.0, y)
    return y


def parameters(net, rng):
    """Parameters (P,) of a size at which every layer hands on about what it gets."""
    params = np.empty(net.n_params)
    for weights, bias in affine(net):
        drawn = rng.uniform(-1.0, 1.0, weights.shape) * np.sqrt(2.0 / weights.fan_in)
        params[weights.place] = drawn.ravel()
        params[bias.place] = rng.uniform(-0.5, 0.5, bias.shape)
    return params


def clear_rows(twin, params, n_rows, rng, clearance=1e-5):
    """Rows of X (N, I) so far from every kink that rounding in float32 cannot move them across."""
    X = (
        rng.standard_normal((2 * n_rows + 20, twin.nodes[0].width))
        .astype(np.float32)
        .astype(np.float64)
    )
    X = X[twin.clearance(params, X, KINKS) > clearance][:n_rows]
    assert len(X) == n_rows
    return X


def problem(output, loss, n_rows, seed=0, dtype=np.float64, weighted=True):
    """A network with its twin, parameters and data that are the same numbers in both dtypes.

    Returns net, twin, params, X, y, sample_weight.
    """
    rng = np.random.default_rng(seed)
    net, twin = build(output)
    params = parameters(net, rng).astype(np.float32).astype(dtype)
    X = clear_rows(twin, params, n_rows, rng).astype(dtype)
    y = targets(loss, n_rows, net.n_outputs, rng).astype(np.float32).astype(dtype)
    z = twin.forward(params, X)
    y = tame_targets(loss, z, y).astype(dtype)
    for distance in naive.kinks(loss, z, y, **settings_of(loss)):
        # huber's two slopes are the same at its kinks
        assert loss == "huber" or np.abs(distance).min() > 1e-5, "take another seed"
    sample_weight = None
    if weighted:
        sample_weight = (rng.integers(0, 8, n_rows) / 4.0).astype(dtype)
        sample_weight[0] = 1.0
    return net, twin, params, X, y, sample_weight


def sparse_rows(n_rows, n_features, rng, dtype=np.float64):
    """CSR rows (N, I) of which about half of the entries are 0 and every fifth row is empty."""
    X = rng.standard_normal((n_rows, n_features)) * (rng.random((n_rows, n_features)) < 0.5)
    X[::5] = 0.0
    return sparse.csr_matrix(X.astype(dtype))


def unsorted_indices(X):
    """The same CSR rows with the entries of each in reverse order."""
    X = X.copy()
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


def int64_indices(X):
    """The same CSR rows with 64-bit indices."""
    X = X.copy()
    X.indices = X.indices.astype(np.int64)
    X.indptr = X.indptr.astype(np.int64)
    return X


def explicit_zeros(X):
    """CSR rows whose every other stored entry is a 0."""
    X = X.copy()
    X.data[::2] = 0.0
    return X


def repeated_entries(X):
    """CSR rows in which every entry is stored as two halves."""
    X = sparse.csr_matrix(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), X.shape
    )
    assert not X.has_canonical_format
    return X


CSR = {
    "canonical": lambda X: X,
    "sparse array": sparse.csr_array,
    "unsorted indices": unsorted_indices,
    "int64 indices": int64_indices,
    "explicit zeros": explicit_zeros,
    "repeated entries": repeated_entries,
}

# Marks a test whose sizes are so small that the kernels may run in the interpreter.
tiny = pytest.mark.uncompiled

# Marks a test in which exp overflows on purpose: compiled code is silent, NumPy's scalars warn.
overflows = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
