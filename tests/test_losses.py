"""One contract for every row of LOSSES: value, gradient, link, extremes, weights, baselines."""

import numpy as np
import pytest
from scipy.special import logit

import finite_differences
import naive
from nbnet.kernels.losses import LOSSES
from problems import DTYPES, assert_close, mlp, n_targets, overflows, problem, reader, targets, tiny

RTOL = {np.float64: 1e-13, np.float32: 2e-6}

# Raw outputs at which the prediction is the target itself.
PERFECT = {
    "identity": lambda y, n_outputs: y,
    "logistic": lambda y, n_outputs: logit(y),
    "exp": lambda y, n_outputs: np.log(y),
    "softmax": lambda y, n_outputs: 1e3 * naive.one_hot(y, n_outputs),
}

# The best constant raw outputs (R,) for targets y (N, T).
BASELINE = {
    "softmax_cross_entropy": lambda y: np.log(np.bincount(y[:, 0].astype(int)) / len(y)),
    "sigmoid_cross_entropy": lambda y: logit(y.mean(axis=0)),
    "half_squared_error": lambda y: y.mean(axis=0),
    "absolute_error": lambda y: np.median(y, axis=0),
    "half_poisson_deviance": lambda y: np.log(y.mean(axis=0)),
}


def row_losses(loss, z, y):
    """The loss of each row on its own, raw outputs (N, R) given: all weight on that row."""
    net, _, _, params = reader(z.shape[1])
    params = params.astype(z.dtype)
    rows = np.eye(len(z), dtype=z.dtype)
    return np.array(
        [net.loss_and_gradient(params, z, y, loss=loss, sample_weight=row)[0] for row in rows]
    )


def row_gradients(loss, z, y):
    """Gradient of each row's loss at its raw outputs, (N, R)."""
    net, _, output, params = reader(z.shape[1])
    (at_output,) = net.gradients(params.astype(z.dtype), z, y, loss=loss, wrt=[output])
    return at_output * len(z)


def inside(loss, n_rows, n_outputs, rng):
    """Targets whose perfect prediction is a finite raw output, unless they are classes."""
    y = targets(loss, n_rows, n_outputs, rng)
    row = LOSSES[loss]
    return y if row.integer_targets else np.clip(y, row.y_low + 0.1, row.y_high - 0.1)


def test_every_loss_has_a_naive_twin():
    assert naive.missing("LOSSES", LOSSES) == []
    assert naive.missing("LINKS", [row.link for row in LOSSES.values()]) == []
    assert sorted({row.link for row in LOSSES.values()} - set(PERFECT)) == []
    assert sorted(set(LOSSES) - set(BASELINE)) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_row_is_complete(loss):
    row = LOSSES[loss]
    assert row.name == loss
    assert row.y_low < row.y_high
    assert [other.name for other in LOSSES.values() if other.code == row.code] == [loss]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 7, 8, 17, 40])
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_are_those_of_the_twin(loss, n_outputs, dtype):
    rng = np.random.default_rng(n_outputs)
    z = rng.uniform(-3.0, 3.0, (21, n_outputs)).astype(dtype)
    y = targets(loss, 21, n_outputs, rng).astype(dtype)
    value, gradient = naive.LOSSES[loss]
    z64, y64 = z.astype(np.float64), y.astype(np.float64)
    assert_close(row_losses(loss, z, y), value(z64, y64), RTOL[dtype])
    assert_close(row_gradients(loss, z, y), gradient(z64, y64), RTOL[dtype])


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_one_or_two_outputs(loss, dtype):
    """The same contract at sizes that also run uncompiled."""
    rng = np.random.default_rng(0)
    for n_outputs in (1, 3):
        z = rng.uniform(-3.0, 3.0, (4, n_outputs)).astype(dtype)
        y = targets(loss, 4, n_outputs, rng).astype(dtype)
        value, gradient = naive.LOSSES[loss]
        z64, y64 = z.astype(np.float64), y.astype(np.float64)
        assert_close(row_losses(loss, z, y), value(z64, y64), RTOL[dtype])
        assert_close(row_gradients(loss, z, y), gradient(z64, y64), RTOL[dtype])


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_derivative_of_the_value(loss):
    rng = np.random.default_rng(0)
    n_outputs, row = 3, LOSSES[loss]
    y = targets(loss, 5, n_outputs, rng)
    net, _, _, params = reader(n_outputs)

    def mean_loss(z):
        return net.loss_and_gradient(params, z, y, loss=loss)[0]

    def sides(z):
        return [z - y > kink for kink in row.kinks]

    z = rng.uniform(-2.0, 2.0, (5, n_outputs))
    gradient = row_gradients(loss, z, y) / len(z)
    for i, k in np.ndindex(z.shape):
        direction = np.zeros_like(z)
        direction[i, k] = 1.0
        slope = finite_differences.directional(mean_loss, sides, z, direction)
        assert slope == pytest.approx(gradient[i, k], rel=1e-9, abs=1e-10)


@tiny
@pytest.mark.parametrize(
    ("loss", "kink"), [(row.name, kink) for row in LOSSES.values() for kink in row.kinks]
)
def test_a_kink_is_where_the_gradient_jumps(loss, kink):
    y = np.zeros((3, 1))
    z = kink + np.array([[-1e-6], [0.0], [1e-6]])
    assert np.ptp(row_losses(loss, z, y)) < 1e-5
    left, at_kink, right = row_gradients(loss, z, y)[:, 0]
    assert abs(left - right) > 0.1
    assert min(left, right) <= at_kink <= max(left, right)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_inverse_link(loss, dtype):
    rng = np.random.default_rng(0)
    net, _, _, params = reader(3)
    z = rng.uniform(-20.0, 20.0, (7, 3)).astype(dtype)
    prediction = net.forward(params.astype(dtype), z, loss=loss)
    assert prediction.dtype == dtype
    expected = naive.LINKS[LOSSES[loss].link](z.astype(np.float64))
    np.testing.assert_allclose(prediction, expected, rtol=10 * RTOL[dtype])


@tiny
def test_probabilities_far_from_zero():
    net, _, _, params = reader(3)
    params = params.astype(np.float32)
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype=np.float32)
    np.testing.assert_array_equal(
        net.forward(params, z, loss="softmax_cross_entropy")[0], [1.0, 0.0, 0.0]
    )
    np.testing.assert_allclose(
        net.forward(params, z, loss="softmax_cross_entropy")[1], np.full(3, 1 / 3), rtol=1e-6
    )
    np.testing.assert_allclose(
        net.forward(params, z, loss="sigmoid_cross_entropy")[0], [1.0, 0.0, 0.5], atol=1e-37
    )


# Stable for |z| up to 1e4 ---------------------------------------------------------------------


@tiny
@overflows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_far_from_zero(loss, dtype):
    """Value and gradient are finite and right, but where exp(z) itself is beyond the dtype."""
    rng = np.random.default_rng(0)
    far = np.array([-1e4, -9999.0, -750.0, -104.0, -88.5, -17.0, 0.0, 17.0, 80.0], dtype=dtype)
    if LOSSES[loss].link != "exp":
        far = np.concatenate([far, np.array([104.0, 750.0, 9999.0, 1e4], dtype=dtype)])
    z = rng.permuted(np.tile(far, (3, 1)), axis=1).T
    y = np.round(8 * targets(loss, len(z), 3, rng)).astype(dtype) / 8  # y * z is exact
    value, gradient = naive.LOSSES[loss]
    z64, y64 = z.astype(np.float64), y.astype(np.float64)
    actual = row_losses(loss, z, y)
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, value(z64, y64), rtol=RTOL[dtype], atol=RTOL[dtype])
    actual = row_gradients(loss, z, y)
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, gradient(z64, y64), rtol=RTOL[dtype], atol=RTOL[dtype])


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_analytic_limits_far_from_zero(dtype):
    far = np.array([[1e4], [-1e4]], dtype=dtype)
    right, wrong = np.array([[1.0], [0.0]], dtype=dtype), np.array([[0.0], [1.0]], dtype=dtype)
    loss = "sigmoid_cross_entropy"
    np.testing.assert_array_equal(row_losses(loss, far, right), [0.0, 0.0])
    np.testing.assert_array_equal(row_losses(loss, far, wrong), [1e4, 1e4])
    np.testing.assert_allclose(row_gradients(loss, far, right), [[0.0], [0.0]], atol=1e-37)
    np.testing.assert_array_equal(row_gradients(loss, far, wrong), [[1.0], [-1.0]])

    far = np.array([[1e4, -1e4], [1e4, -1e4], [1e4, 9999.0]], dtype=dtype)
    y = np.array([[0.0], [1.0], [1.0]], dtype=dtype)
    loss = "softmax_cross_entropy"
    expected = [0.0, 2e4, np.log1p(np.exp(1.0))]
    np.testing.assert_allclose(row_losses(loss, far, y), expected, rtol=RTOL[dtype])
    p = 1.0 / (1.0 + np.exp(1.0))
    expected = [[0.0, 0.0], [1.0, -1.0], [1.0 - p, p - 1.0]]
    np.testing.assert_allclose(row_gradients(loss, far, y), expected, rtol=1e-6, atol=1e-37)

    far = np.array([[-1e4], [-1e4]], dtype=dtype)
    y = np.array([[0.0], [2.0]], dtype=dtype)
    loss = "half_poisson_deviance"
    expected = [0.0, 2e4 + 2.0 * np.log(2.0) - 2.0]
    np.testing.assert_allclose(row_losses(loss, far, y), expected, rtol=RTOL[dtype], atol=1e-37)
    np.testing.assert_allclose(row_gradients(loss, far, y), [[0.0], [-2.0]], atol=1e-37)


@tiny
@overflows
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rate_beyond_the_dtype_is_infinite_not_nan(dtype):
    z, y = np.array([[1e4]], dtype=dtype), np.array([[2.0]], dtype=dtype)
    assert row_losses("half_poisson_deviance", z, y)[0] == np.inf
    assert row_gradients("half_poisson_deviance", z, y)[0, 0] == np.inf


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_confident_right_answer_keeps_its_small_loss(dtype):
    """softplus((1 - 2y) z) is about exp(-|z|) here; softplus(z) - y z would round to 0."""
    z = np.array([[20.0], [-20.0], [40.0], [-40.0], [80.0]], dtype=dtype)
    y = (z > 0).astype(dtype)
    expected = np.log1p(np.exp(-np.abs(z[:, 0].astype(np.float64))))
    np.testing.assert_allclose(
        row_losses("sigmoid_cross_entropy", z, y), expected, rtol=RTOL[dtype]
    )


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_nan_stays_nan(loss, dtype):
    """Whichever output it is in, and whatever the target."""
    for position in range(3):
        z = np.zeros((2, 3), dtype=dtype)
        z[0, position] = np.nan
        for y in targets(loss, 4, 3, np.random.default_rng(position)).astype(dtype):
            y = np.stack([y, y])
            assert np.isnan(row_gradients(loss, z, y)[0, position])
            assert np.isfinite(row_gradients(loss, z, y)[1]).all()
            net, _, _, params = reader(3)
            assert np.isnan(net.loss_and_gradient(params.astype(dtype), z, y, loss=loss)[0])


# Identities -----------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_a_perfect_prediction_is_optimal(loss):
    rng = np.random.default_rng(0)
    y = inside(loss, 4, 3, rng)
    perfect = PERFECT[LOSSES[loss].link](y, 3)
    np.testing.assert_allclose(row_gradients(loss, perfect, y), np.zeros((4, 3)), atol=1e-15)
    best = row_losses(loss, perfect, y)
    for size in (1e-3, 0.1, 2.0, 1e3):
        other = perfect + size * rng.choice([-1.0, 1.0], perfect.shape)
        if LOSSES[loss].link == "exp":
            other = np.minimum(other, 500.0)
        assert (row_losses(loss, other, y) >= best).all()


@tiny
@pytest.mark.parametrize(
    "loss",
    ["half_squared_error", "absolute_error", "half_poisson_deviance", "softmax_cross_entropy"],
)
def test_a_perfect_prediction_costs_nothing(loss):
    y = inside(loss, 4, 3, np.random.default_rng(0))
    perfect = PERFECT[LOSSES[loss].link](y, 3)
    np.testing.assert_allclose(row_losses(loss, perfect, y), np.zeros(4), atol=1e-15)


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_the_mean_of_the_distribution_is_the_inverse_link(loss):
    """Fit to a constant target, every loss but the median's wants inverse link = mean."""
    y = BASELINE_TARGETS[loss]
    baseline = np.atleast_1d(BASELINE[loss](y))
    mean = (
        naive.one_hot(y, len(baseline)).mean(axis=0) if LOSSES[loss].integer_targets else y.mean()
    )
    net, _, _, params = reader(len(baseline))
    prediction = net.forward(params, baseline[None, :], loss=loss)
    if loss == "absolute_error":
        mean = np.median(y)
    np.testing.assert_allclose(prediction[0], np.atleast_1d(mean), rtol=1e-12)


BASELINE_TARGETS = {
    loss: np.array([[0.0], [2.0], [1.0], [2.0], [1.0], [1.0], [2.0]])
    if row.integer_targets
    else np.clip([[0.2], [0.9], [0.4], [0.9], [0.1], [0.3], [0.7]], row.y_low, row.y_high)
    for loss, row in LOSSES.items()
}


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_the_baseline_is_the_best_constant(loss):
    """Mean, median, log of the mean, log-odds of the mean, log of the frequencies."""
    y = BASELINE_TARGETS[loss]
    best = np.atleast_1d(BASELINE[loss](y))
    n_outputs = len(best)
    net, _, _, params = reader(n_outputs)
    X = np.zeros((len(y), n_outputs))
    (bias,) = (block.bias for block in net.blocks)

    def at(constant):
        params[bias] = constant
        return net.loss_and_gradient(params, X, y, loss=loss)

    least, gradient = at(best)
    # a median lies on a kink, where the gradient jumps by the two halves of its own row
    slack = 1e-15 if not LOSSES[loss].kinks else 1.0 / len(y)
    np.testing.assert_allclose(gradient[bias], np.zeros(n_outputs), atol=slack)
    rng = np.random.default_rng(0)
    for _ in range(20):
        # with softmax a common shift of all outputs changes nothing
        assert at(best + rng.uniform(-0.5, 0.5, n_outputs))[0] > least


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [2, 3, 17])
def test_softmax_gradient_sums_to_zero(n_outputs, dtype):
    rng = np.random.default_rng(0)
    z = rng.uniform(-9.0, 9.0, (5, n_outputs)).astype(dtype)
    y = targets("softmax_cross_entropy", 5, n_outputs, rng).astype(dtype)
    total = row_gradients("softmax_cross_entropy", z, y).sum(axis=1)
    np.testing.assert_allclose(total, np.zeros(5), atol=8 * np.finfo(dtype).eps)


@tiny
def test_softmax_does_not_see_a_common_shift():
    rng = np.random.default_rng(0)
    z = rng.integers(-3, 4, (5, 4)).astype(np.float64)
    y = targets("softmax_cross_entropy", 5, 4, rng)
    for function in (row_losses, row_gradients):
        np.testing.assert_allclose(
            function("softmax_cross_entropy", z + 512.0, y),
            function("softmax_cross_entropy", z, y),
            rtol=1e-13,
            atol=1e-15,
        )


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_over_two_classes_is_the_sigmoid_of_the_difference(dtype):
    rng = np.random.default_rng(0)
    # multiples of 1/8, so that the difference is exact
    z = (rng.integers(-80, 80, (30, 2)) / 8.0).astype(dtype)
    y = rng.integers(0, 2, (30, 1)).astype(dtype)
    difference = z[:, 1:] - z[:, :1]
    np.testing.assert_allclose(
        row_losses("softmax_cross_entropy", z, y),
        row_losses("sigmoid_cross_entropy", difference, y),
        rtol=RTOL[dtype],
        atol=4 * np.finfo(dtype).eps,
    )
    two = row_gradients("softmax_cross_entropy", z, y)
    one = row_gradients("sigmoid_cross_entropy", difference, y)
    np.testing.assert_allclose(two, np.hstack([-one, one]), rtol=0, atol=4 * np.finfo(dtype).eps)
    net, _, _, params = reader(2)
    two = net.forward(params.astype(dtype), z, loss="softmax_cross_entropy")
    net, _, _, params = reader(1)
    one = net.forward(params.astype(dtype), difference, loss="sigmoid_cross_entropy")
    np.testing.assert_allclose(two[:, 1:], one, rtol=4 * RTOL[dtype])


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_multiply(loss):
    """The loss is the weighted mean of the losses of the rows, and so is its gradient."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-2.0, 2.0, (6, 3))
    y = targets(loss, 6, 3, rng)
    w = np.array([0.5, 2.0, 0.0, 1.0, 0.25, 3.0])
    net, _, output, params = reader(3)
    value, _ = net.loss_and_gradient(params, z, y, loss=loss, sample_weight=w)
    assert value == pytest.approx(np.average(row_losses(loss, z, y), weights=w), rel=1e-13)
    (gradient,) = net.gradients(params, z, y, loss=loss, wrt=[output], sample_weight=w)
    assert_close(gradient, (w / w.sum())[:, None] * row_gradients(loss, z, y), 1e-14)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_weight_zero_is_an_absent_row_and_weight_two_a_repeated_one(loss, dtype, alpha):
    output = mlp(5, (7, 4), 3, "tanh")
    net, _, params, X, y, _ = problem(output, loss, 70, dtype=dtype, weighted=False)
    w = np.random.default_rng(1).integers(0, 4, 70)
    repeated = np.repeat(np.arange(70), w)
    assert {0, 1, 2, 3} <= set(w)
    value, gradient = net.loss_and_gradient(
        params, X, y, loss=loss, alpha=alpha, sample_weight=w.astype(dtype)
    )
    expected, expected_gradient = net.loss_and_gradient(
        params, X[repeated], y[repeated], loss=loss, alpha=alpha
    )
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    assert value == pytest.approx(expected, rel=tolerance)
    assert_close(gradient, expected_gradient, tolerance)


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_no_weights_are_weights_of_one_and_a_common_factor_cancels(loss):
    output = mlp(2, (3,), 3, "tanh")
    net, _, params, X, y, _ = problem(output, loss, 5, weighted=False)
    value, gradient = net.loss_and_gradient(params, X, y, loss=loss)
    for factor in (1.0, 7.0):
        weighted = net.loss_and_gradient(params, X, y, loss=loss, sample_weight=np.full(5, factor))
        assert weighted[0] == pytest.approx(value, rel=1e-14)
        assert_close(weighted[1], gradient, 1e-14)


# Targets --------------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_targets_outside_the_range(loss):
    row = LOSSES[loss]
    net, _, _, params = reader(3)
    z = np.zeros((2, 3))
    y = np.full((2, n_targets(loss, 3)), max(float(row.y_low), 0.0))
    net.loss_and_gradient(params, z, y, loss=loss)
    bad = [np.nan]
    if np.isfinite(row.y_low):
        bad += [row.y_low - 1.0, np.nextafter(row.y_low, -1.0)]
    if np.isfinite(row.y_high):
        bad += [row.y_high + 1.0, np.nextafter(row.y_high, 2.0)]
    if row.integer_targets:
        bad += [3.0, 0.5, 1e300]
    for value in bad:
        y[1, -1] = value
        with pytest.raises(ValueError, match=loss):
            net.loss_and_gradient(params, z, y, loss=loss)
        with pytest.raises(ValueError, match=loss):
            net.gradients(params, z, y, loss=loss, wrt=["x"])


@tiny
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, np.float64])
def test_classes_come_in_any_dtype_and_in_a_row_or_a_column(dtype):
    net, _, _, params = reader(3)
    z = np.random.default_rng(0).standard_normal((4, 3))
    y = np.array([0, 2, 1, 2])
    expected = naive.LOSSES["softmax_cross_entropy"][0](z, y[:, None]).mean()
    for given in (y.astype(dtype), y.astype(dtype)[:, None]):
        value, _ = net.loss_and_gradient(params, z, given, loss="softmax_cross_entropy")
        assert value == pytest.approx(expected, rel=1e-13)
