"""One contract for every row of LOSSES: value, gradient, link, extremes, weights, baselines."""

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit, logit, softmax

import finite_differences
import naive
from nbnet.kernels.losses import LOSSES
from problems import (
    DTYPES,
    SETTINGS,
    assert_close,
    mlp,
    n_classes,
    n_raw,
    n_targets,
    overflows,
    problem,
    reader,
    settings_of,
    targets,
    tiny,
)

pytestmark = pytest.mark.numerical

RTOL = {np.float64: 1e-13, np.float32: 2e-6}

# Every loss with its default setting, and those that have one with others.
CASES = [pytest.param(loss, {}, id=loss) for loss in LOSSES] + [
    pytest.param(loss, {name: value}, id=f"{loss}-{value}")
    for loss, name, values in [
        ("quantile", "quantile", (0.1, 0.9)),
        ("huber", "huber_delta", (0.25, 8.0)),
        ("smoothed_softmax_cross_entropy", "label_smoothing", (0.1, 0.75)),
        ("smoothed_pinned_softmax_cross_entropy", "label_smoothing", (0.1, 0.75)),
        ("smoothed_sigmoid_cross_entropy", "label_smoothing", (0.1, 0.75)),
        ("softmax_focal", "focal_gamma", (0.0, 0.5, 5.0)),
        ("sigmoid_focal", "focal_gamma", (0.0, 0.5, 5.0)),
        ("half_tweedie_deviance", "tweedie_power", (1.1, 1.9)),
    ]
    for value in values
]

# Whose raw outputs after the first T say how sure a prediction is, not what it is.
WITH_SCALE = {"gaussian", "full_gaussian", "laplace"}

# Whose best prediction is not the frequency; it is found by the twin's gradient.
FOCAL = {"softmax_focal", "sigmoid_focal"}

# A linear function has no best prediction.
LIKELIHOODS = [loss for loss in LOSSES if loss != "inner_product"]
LIKELIHOOD_CASES = [case for case in CASES if case.values[0] in LIKELIHOODS]


def smoothed_logits(frequencies, label_smoothing=0.0):
    """Logarithms of the frequencies (.., K) of classes, as label smoothing moves them."""
    K = frequencies.shape[-1]
    moved = (1.0 - label_smoothing) * frequencies + label_smoothing / K
    return np.log(np.maximum(moved, 1e-300))


def but_the_first(logits):
    """What is left of logits (.., K) if the first is pinned at 0."""
    return logits[..., 1:] - logits[..., :1]


def frequencies_of(y, n):
    return np.bincount(y[:, 0].astype(int), minlength=n) / len(y)


# Raw outputs (N, R) at which the prediction is the target itself, or the smoothed one.
PERFECT = {
    "softmax_cross_entropy": lambda y: 1e3 * naive.one_hot(y, 3),
    "sigmoid_cross_entropy": logit,
    "half_squared_error": lambda y: y,
    "absolute_error": lambda y: y,
    "half_poisson_deviance": np.log,
    "quantile": lambda y, quantile=0.5: y,
    "huber": lambda y, huber_delta=1.0: y,
    "gaussian": lambda y: np.hstack([y, 0.3 * y]),
    "full_gaussian": lambda y: np.hstack([y, 0.3 * y, 1.0 - y]),
    "laplace": lambda y: np.hstack([y, 0.3 * y]),
    "pinned_softmax_cross_entropy": lambda y: 1e3 * (naive.one_hot(y, 4)[:, 1:] - (y == 0)),
    "clipped_linear_cross_entropy": lambda y: y,
    "half_sigmoid_squared_error": logit,
    "smoothed_softmax_cross_entropy": lambda y, **e: smoothed_logits(naive.one_hot(y, 3), **e),
    "smoothed_pinned_softmax_cross_entropy": lambda y, **e: but_the_first(
        smoothed_logits(naive.one_hot(y, 4), **e)
    ),
    "smoothed_sigmoid_cross_entropy": lambda y, label_smoothing=0.0: logit(
        naive.smoothed_labels(y, label_smoothing)
    ),
    "softmax_focal": lambda y, focal_gamma=2.0: 1e3 * naive.one_hot(y, 3),
    "sigmoid_focal": lambda y, focal_gamma=2.0: 1e3 * (2.0 * y - 1.0),
    "half_tweedie_deviance": lambda y, tweedie_power=1.5: np.log(y),
    "half_gamma_deviance": np.log,
    "half_binomial_deviance": logit,
    "negative_binomial": lambda y: np.hstack([np.log(y), 0.3 * y]),
}


def full_gaussian_baseline(y):
    """Sample mean and covariance S as raw outputs: M is the inverse of S's Cholesky factor."""
    M = np.linalg.inv(np.linalg.cholesky(np.cov(y.T, bias=True)))
    below = [M[i, j] for i in range(len(M)) for j in range(i)]
    return np.concatenate([y.mean(axis=0), -np.log(np.diag(M)), below])


def huber_baseline(y, huber_delta=1.0):
    """Where the clipped residuals sum to nothing."""
    return np.array(
        [
            optimize.brentq(
                lambda m, y=column: np.clip(m - y, -huber_delta, huber_delta).sum(),
                column.min(),
                column.max(),
                xtol=1e-16,
            )
            for column in y.T
        ]
    )


def with_log_scale(fit):
    """Location and logarithm of the scale by a fit of scipy's, one target after the other."""

    def baseline(y):
        locations, scales = zip(*(fit(column) for column in y.T), strict=True)
        return np.concatenate([locations, np.log(scales)])

    return baseline


def softmax_focal_baseline(y, focal_gamma=2.0):
    """Where the gradients sum to nothing; of the logits, which may be shifted, the first is 0."""

    def total(rest):
        z = np.tile([0.0, *rest], (len(y), 1))
        return naive.softmax_focal_gradient(z, y, focal_gamma).mean(axis=0)[1:]

    return np.array([0.0, *optimize.root(total, [0.1, 0.1], tol=1e-15).x])


def sigmoid_focal_baseline(y, focal_gamma=2.0):
    def total(z, column):
        return naive.sigmoid_focal_gradient(np.full_like(column, z), column, focal_gamma).sum()

    return np.array([optimize.brentq(total, -9, 9, args=(c,), xtol=1e-16) for c in y.T])


def negative_binomial_baseline(y):
    """The mean is that of the sample; the dispersion is where the gradients sum to nothing."""
    mean = np.log(y.mean())

    def total(a):
        return naive.negative_binomial_gradient(np.tile([mean, a], (len(y), 1)), y)[:, 1].sum()

    return np.array([mean, optimize.brentq(total, -5, 5, xtol=1e-16)])


# The best constant raw outputs (R,) for targets y (N, T).
BASELINE = {
    "softmax_cross_entropy": lambda y: np.log(np.bincount(y[:, 0].astype(int)) / len(y)),
    "sigmoid_cross_entropy": lambda y: logit(y.mean(axis=0)),
    "half_squared_error": lambda y: y.mean(axis=0),
    "absolute_error": lambda y: np.median(y, axis=0),
    "half_poisson_deviance": lambda y: np.log(y.mean(axis=0)),
    "quantile": lambda y, quantile=0.5: np.quantile(y, quantile, axis=0, method="inverted_cdf"),
    "huber": huber_baseline,
    "gaussian": with_log_scale(stats.norm.fit),
    "full_gaussian": full_gaussian_baseline,
    "laplace": with_log_scale(stats.laplace.fit),
    "pinned_softmax_cross_entropy": lambda y: np.log(
        np.bincount(y[:, 0].astype(int))[1:] / (y == 0).sum()
    ),
    "clipped_linear_cross_entropy": lambda y: y.mean(axis=0),
    "half_sigmoid_squared_error": lambda y: logit(y.mean(axis=0)),
    "smoothed_softmax_cross_entropy": lambda y, **e: smoothed_logits(frequencies_of(y, 3), **e),
    "smoothed_pinned_softmax_cross_entropy": lambda y, **e: but_the_first(
        smoothed_logits(frequencies_of(y, 3), **e)
    ),
    "smoothed_sigmoid_cross_entropy": lambda y, label_smoothing=0.0: logit(
        naive.smoothed_labels(y.mean(axis=0), label_smoothing)
    ),
    "softmax_focal": softmax_focal_baseline,
    "sigmoid_focal": sigmoid_focal_baseline,
    "half_tweedie_deviance": lambda y, tweedie_power=1.5: np.log(y.mean(axis=0)),
    "half_gamma_deviance": lambda y: np.log(y.mean(axis=0)),
    "half_binomial_deviance": lambda y: logit(y.mean(axis=0)),
    "negative_binomial": negative_binomial_baseline,
}


def raw_outputs(loss, n_rows, n_outputs, rng, dtype=np.float64):
    """Raw outputs (N, R) on all sides of what the loss does."""
    z = rng.uniform(-3.0, 3.0, (n_rows, n_outputs))
    if loss == "clipped_linear_cross_entropy":  # half of them in the middle of its unit interval
        inside = ((z > 0.0) & (z < 1.0)) | (rng.random(z.shape) < 0.5)
        z = np.where(inside, rng.uniform(0.2, 0.8, z.shape), z)
    return z.astype(dtype)


def row_losses(loss, z, y, **settings):
    """The loss of each row on its own, raw outputs (N, R) given: all weight on that row."""
    net, _, _, params = reader(z.shape[1])
    params = params.astype(z.dtype)
    return np.array(
        [
            net.loss_and_gradient(params, z, y, loss=loss, sample_weight=row, **settings)[0]
            for row in np.eye(len(z), dtype=z.dtype)
        ]
    )


def row_gradients(loss, z, y, **settings):
    """Gradient of each row's loss at its raw outputs, (N, R)."""
    net, _, output, params = reader(z.shape[1])
    params = params.astype(z.dtype)
    (at_output,) = net.gradients(params, z, y, loss=loss, wrt=[output], **settings)
    return at_output * len(z)


def inside(loss, n_rows, rng):
    """Targets, three or one of a class, whose perfect prediction is a finite raw output."""
    y = targets(loss, n_rows, n_raw(loss, 3), rng)
    row = LOSSES[loss]
    if loss == "sigmoid_focal":  # between 0 and 1 it is best not to predict the target itself
        return np.round(y)
    return y if row.integer_targets else np.clip(y, row.y_low + 0.1, row.y_high - 0.1)


def check_against_the_twin(loss, settings, n_rows, n_outputs, rng, dtype):
    z = raw_outputs(loss, n_rows, n_outputs, rng, dtype)
    y = targets(loss, n_rows, n_outputs, rng).astype(dtype)
    value, gradient = naive.LOSSES[loss]
    z64, y64 = z.astype(np.float64), y.astype(np.float64)
    told = naive.of_dtype(loss, dtype, settings)
    assert_close(row_losses(loss, z, y, **settings), value(z64, y64, **told), RTOL[dtype])
    assert_close(row_gradients(loss, z, y, **settings), gradient(z64, y64, **told), RTOL[dtype])


def test_every_loss_has_a_naive_twin():
    assert naive.missing("LOSSES", LOSSES) == []
    assert naive.missing("LINKS", LOSSES) == []
    assert sorted(set(LIKELIHOODS) - set(PERFECT)) == []
    assert sorted(set(LIKELIHOODS) - set(BASELINE)) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_row_is_complete(loss):
    row = LOSSES[loss]
    assert row.name == loss
    assert row.y_low < row.y_high
    assert [other.name for other in LOSSES.values() if other.code == row.code] == [loss]
    assert set(SETTINGS.get(loss, {})) == {setting.name for setting in row.settings}


@pytest.mark.parametrize("loss", LOSSES)
def test_raw_outputs_are_counted_as_the_twin_counts_them(loss):
    row = LOSSES[loss]
    for n in range(1, 50):
        n_outputs = n_raw(loss, n)
        known = n_classes(loss, n_outputs) if row.integer_targets else n
        assert row.n_raw(known) == n_outputs
        assert row.n_targets(n_outputs) == known


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 17, 40])
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_value_and_gradient_are_those_of_the_twin(loss, settings, n, dtype):
    """For n targets, or n raw outputs of classes."""
    check_against_the_twin(loss, settings, 21, n_raw(loss, n), np.random.default_rng(n), dtype)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_one_or_three_targets(loss, settings, dtype):
    """The same contract at sizes that also run uncompiled."""
    rng = np.random.default_rng(0)
    for n in (1, 3):
        check_against_the_twin(loss, settings, 4, n_raw(loss, n), rng, dtype)


@tiny
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_gradient_is_the_derivative_of_the_value(loss, settings):
    rng = np.random.default_rng(0)
    n_outputs = n_raw(loss, 3)
    y = targets(loss, 5, n_outputs, rng)
    net, _, _, params = reader(n_outputs)

    def mean_loss(z):
        return net.loss_and_gradient(params, z, y, loss=loss, **settings)[0]

    def sides(z):
        return [distance > 0.0 for distance in naive.kinks(loss, z, y, **settings)]

    z = raw_outputs(loss, 5, n_outputs, rng)
    gradient = row_gradients(loss, z, y, **settings) / len(z)
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
    z = np.zeros((3, n_raw(loss, 1)))
    z[:, 0] = kink + np.array([-1e-6, 0.0, 1e-6])
    assert np.ptp(row_losses(loss, z, y)) < 1e-5
    left, at_kink, right = row_gradients(loss, z, y)[:, 0]
    assert abs(left - right) > 0.1
    assert min(left, right) <= at_kink <= max(left, right)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_a_kink_the_gradient_is_that_of_the_agreement(dtype):
    """Of quantile and Laplace it is 0; a clipped unit's edges belong to the outside."""
    y = np.array([[0.5]], dtype=dtype)
    assert row_gradients("quantile", y, y, quantile=0.9) == 0.0
    np.testing.assert_array_equal(
        row_gradients("laplace", np.array([[0.5, 1.0]], dtype=dtype), y), [[0.0, 1.0]]
    )
    edges = np.array([[0.0], [1.0]], dtype=dtype)
    y = np.full((2, 1), 0.5, dtype=dtype)
    np.testing.assert_array_equal(
        row_gradients("clipped_linear_cross_entropy", edges, y), np.zeros((2, 1))
    )


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_inverse_link(loss, dtype):
    rng = np.random.default_rng(0)
    n_outputs = n_raw(loss, 3)
    net, _, _, params = reader(n_outputs)
    z = rng.uniform(-20.0, 20.0, (7, n_outputs)).astype(dtype)
    prediction = net.forward(params.astype(dtype), z, loss=loss)
    assert prediction.dtype == dtype
    expected = naive.LINKS[loss](z.astype(np.float64))
    np.testing.assert_allclose(prediction, expected, rtol=10 * RTOL[dtype])


@tiny
def test_probabilities_far_from_zero():
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype=np.float32)
    net, _, _, params = reader(3)
    params = params.astype(np.float32)
    np.testing.assert_array_equal(
        net.forward(params, z, loss="softmax_cross_entropy")[0], [1.0, 0.0, 0.0]
    )
    np.testing.assert_allclose(
        net.forward(params, z, loss="softmax_cross_entropy")[1], np.full(3, 1 / 3), rtol=1e-6
    )
    np.testing.assert_array_equal(
        net.forward(params, z, loss="pinned_softmax_cross_entropy"),
        [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
    )
    sure = np.array([[30.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(  # 1 less the others' would round to 0
        net.forward(params, sure, loss="pinned_softmax_cross_entropy")[0, 0], np.exp(-30), rtol=1e-6
    )
    for loss in ("sigmoid_cross_entropy", "half_sigmoid_squared_error"):
        probabilities = net.forward(params, z, loss=loss)
        np.testing.assert_allclose(probabilities[0], [1.0, 0.0, 0.5], atol=1e-37)
    np.testing.assert_array_equal(
        net.forward(params, z, loss="clipped_linear_cross_entropy")[0], [1.0, 0.0, 0.0]
    )


# Stable for |z| up to 1e4 ---------------------------------------------------------------------


FAR = [-1e4, -9999.0, -750.0, -104.0, -88.5, -17.0, 0.0, 17.0, 80.0, 104.0, 750.0, 9999.0, 1e4]


def far_from_zero(loss, dtype, rng):
    """Raw outputs (N, R) for three targets, as far from zero as the loss is finite there."""
    far = np.array(FAR, dtype=dtype)
    if LOSSES[loss].link == "exp":
        far = far[far <= 80.0]
    if loss in ("half_tweedie_deviance", "half_gamma_deviance"):  # exp(-z) occurs too
        far = far[far >= -80.0]

    def columns(n, values=far):
        repeated = np.resize(values, len(far))  # in each column the same, in another order
        return rng.permuted(np.tile(repeated, (n, 1)), axis=1).T

    n_outputs = n_raw(loss, 3)
    if loss == "negative_binomial":  # the twin knows no dispersion beyond these
        middle = np.array([-3.0, 0.0, 17.0, 80.0, 104.0], dtype=dtype)
        return np.hstack([columns(3), columns(3, middle)])
    if loss not in WITH_SCALE:
        return columns(n_outputs)
    # exp(-2 a) times the square of a far mean must be finite
    return np.hstack([columns(3), columns(3, far[far >= -17.0]), columns(n_outputs - 6)])


@tiny
@overflows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_far_from_zero(loss, settings, dtype):
    """Value and gradient are finite and right, but where exp(z) itself is beyond the dtype."""
    rng = np.random.default_rng(0)
    z = far_from_zero(loss, dtype, rng)
    y = np.round(8 * targets(loss, len(z), z.shape[1], rng)).astype(dtype) / 8  # y * z is exact
    z64, y64 = z.astype(np.float64), y.astype(np.float64)
    told = naive.of_dtype(loss, dtype, settings)
    for function, twin in zip((row_losses, row_gradients), naive.LOSSES[loss], strict=True):
        actual, expected = function(loss, z, y, **settings), twin(z64, y64, **told)
        assert np.isfinite(actual).all()
        if loss == "full_gaussian":  # sums of products of far numbers: right but for their rounding
            for row, expected_row in zip(actual, expected, strict=True):
                assert_close(row, expected_row, RTOL[dtype])
        else:
            np.testing.assert_allclose(actual, expected, rtol=RTOL[dtype], atol=RTOL[dtype])


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
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_nan_stays_nan(loss, settings, dtype):
    """Whichever output it is in, and whatever the target."""
    n_outputs = n_raw(loss, 3)
    net, _, _, params = reader(n_outputs)
    for position in range(n_outputs):
        z = np.zeros((2, n_outputs), dtype=dtype)
        z[0, position] = np.nan
        for y in targets(loss, 4, n_outputs, np.random.default_rng(position)).astype(dtype):
            y = np.stack([y, y])
            told = {"loss": loss, **settings}
            assert np.isnan(net.loss_and_gradient(params.astype(dtype), z, y, **told)[0])
            gradient = row_gradients(loss, z, y, **settings)
            # the gradient of a linear function does not depend on z
            assert np.isnan(gradient[0, position]) or loss == "inner_product"
            assert np.isfinite(gradient[1]).all()


# Identities -----------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize(("loss", "settings"), LIKELIHOOD_CASES)
def test_a_perfect_prediction_is_optimal(loss, settings):
    """Whatever the scale it claims, where there is one."""
    rng = np.random.default_rng(0)
    y = inside(loss, 4, rng)
    perfect = PERFECT[loss](y, **settings)
    moved = np.ones_like(perfect)
    if LOSSES[loss].learns_scale:
        moved[:, y.shape[1] :] = 0.0
    gradient = row_gradients(loss, perfect, y, **settings)
    np.testing.assert_allclose(moved * gradient, np.zeros(gradient.shape), atol=1e-15)
    best = row_losses(loss, perfect, y, **settings)
    if "smoothed" in loss:  # a common shift of all raw outputs changes but the rounding
        best -= 1e-15
    for size in (1e-3, 0.1, 2.0, 1e3):
        other = perfect + size * rng.choice([-1.0, 1.0], perfect.shape) * moved
        if LOSSES[loss].link == "exp":
            other = np.clip(other, -500.0, 500.0)
        assert (row_losses(loss, other, y, **settings) >= best).all()


@tiny
@pytest.mark.parametrize(
    "loss",
    [
        "half_squared_error",
        "absolute_error",
        "half_poisson_deviance",
        "softmax_cross_entropy",
        "pinned_softmax_cross_entropy",
        "quantile",
        "huber",
        "half_sigmoid_squared_error",
        "softmax_focal",
        "sigmoid_focal",
        "half_tweedie_deviance",
        "half_gamma_deviance",
        "half_binomial_deviance",
    ],
)
def test_a_perfect_prediction_costs_nothing(loss):
    y = inside(loss, 4, np.random.default_rng(0))
    perfect = PERFECT[loss](y)
    np.testing.assert_allclose(row_losses(loss, perfect, y), np.zeros(4), atol=1e-15)


BASELINE_TARGETS = {
    loss: np.array([[0.0], [2.0], [1.0], [2.0], [1.0], [1.0], [2.0]])
    if row.integer_targets
    else np.clip([[0.2], [0.9], [0.4], [0.9], [0.1], [0.3], [0.7]], row.y_low, row.y_high)
    for loss, row in LOSSES.items()
} | {
    "full_gaussian": np.random.default_rng(0).standard_normal((7, 3)),
    "negative_binomial": np.array([[0.0], [9.0], [1.0], [0.0], [4.0], [0.0], [2.0]]),
}

# What the inverse link makes of the best constant, where that is not the mean of the targets.
BASELINE_PREDICTION = {
    "softmax_cross_entropy": lambda y: naive.one_hot(y, 3).mean(axis=0),
    "pinned_softmax_cross_entropy": lambda y: naive.one_hot(y, 3).mean(axis=0),
    "absolute_error": lambda y: np.median(y, axis=0),
    "quantile": BASELINE["quantile"],
    "huber": BASELINE["huber"],
    "gaussian": lambda y: [y.mean(), y.std()],
    "laplace": lambda y: [np.median(y), np.abs(y - np.median(y)).mean()],
    "full_gaussian": lambda y: np.concatenate(
        [y.mean(axis=0), np.exp(full_gaussian_baseline(y)[3:6]), full_gaussian_baseline(y)[6:]]
    ),
    "smoothed_softmax_cross_entropy": lambda y, **e: np.exp(
        smoothed_logits(frequencies_of(y, 3), **e)
    ),
    "smoothed_pinned_softmax_cross_entropy": lambda y, **e: np.exp(
        smoothed_logits(frequencies_of(y, 3), **e)
    ),
    "smoothed_sigmoid_cross_entropy": lambda y, label_smoothing=0.0: naive.smoothed_labels(
        y.mean(axis=0), label_smoothing
    ),
    "softmax_focal": lambda y, **g: softmax(softmax_focal_baseline(y, **g)),
    "sigmoid_focal": lambda y, **g: expit(sigmoid_focal_baseline(y, **g)),
    "half_tweedie_deviance": lambda y, tweedie_power=1.5: y.mean(axis=0),
    "negative_binomial": lambda y: [y.mean(), np.exp(negative_binomial_baseline(y)[1])],
}


@tiny
@pytest.mark.parametrize(("loss", "settings"), LIKELIHOOD_CASES)
def test_the_mean_of_the_distribution_is_the_inverse_link(loss, settings):
    """Fit to a constant target, every loss but the median's kin wants inverse link = mean."""
    y = BASELINE_TARGETS[loss]
    baseline = BASELINE[loss](y, **settings)
    net, _, _, params = reader(len(baseline))
    prediction = net.forward(params, baseline[None, :], loss=loss)
    expected = BASELINE_PREDICTION.get(loss, lambda y: y.mean(axis=0))(y, **settings)
    np.testing.assert_allclose(prediction[0], expected, rtol=1e-12)


@tiny
def test_a_full_covariance_comes_back_from_its_factor():
    """(M^T M)^-1, with M from the prediction, is the sample covariance it was fitted to."""
    y = BASELINE_TARGETS["full_gaussian"]
    net, _, _, params = reader(9)
    prediction = net.forward(params, full_gaussian_baseline(y)[None, :], loss="full_gaussian")[0]
    M = np.diag(1.0 / prediction[3:6])
    M[[1, 2, 2], [0, 0, 1]] = prediction[6:]
    np.testing.assert_allclose(np.linalg.inv(M.T @ M), np.cov(y.T, bias=True), rtol=1e-12)


@tiny
@pytest.mark.parametrize(("loss", "settings"), LIKELIHOOD_CASES)
def test_the_baseline_is_the_best_constant(loss, settings):
    """Mean, median, quantile, log of the mean, log-odds of the mean, log of the frequencies."""
    y = BASELINE_TARGETS[loss]
    best = BASELINE[loss](y, **settings)
    n_outputs = len(best)
    net, _, _, params = reader(n_outputs)
    X = np.zeros((len(y), n_outputs))
    bias = net.parameters[-1].place

    def at(constant):
        params[bias] = constant
        return net.loss_and_gradient(params, X, y, loss=loss, **settings)

    least, gradient = at(best)
    # a median lies on a kink, where the gradient jumps by the two halves of its own row; others
    # are right but for the rounding of n sums
    slack = np.full(n_outputs, 1e-15)
    if LOSSES[loss].learns_scale or loss in FOCAL:
        slack[:] = 1e-14
    if LOSSES[loss].kinks:
        slack[: y.shape[1]] = 1.0 / len(y) * (1.0 if loss != "laplace" else np.exp(-best[1]))
    assert (np.abs(gradient[bias]) <= slack).all()
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


def both(loss, z, y, **settings):
    """Value (N,) and gradient (N, R)."""
    return row_losses(loss, z, y, **settings), row_gradients(loss, z, y, **settings)


def assert_same(actual, expected, rtol=1e-13, atol=0.0):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.fixture
def z_and_y():
    rng = np.random.default_rng(0)
    return rng.uniform(-3.0, 3.0, (9, 3)), rng.uniform(-3.0, 3.0, (9, 3))


@tiny
def test_the_quantile_one_half_is_half_the_absolute_error(z_and_y):
    value, gradient = both("absolute_error", *z_and_y)
    assert_same(both("quantile", *z_and_y, quantile=0.5), (value / 2, gradient / 2))
    assert_same(both("quantile", *z_and_y), (value / 2, gradient / 2))  # the default


@tiny
def test_opposite_quantiles_are_mirror_images_and_sum_to_the_absolute_error(z_and_y):
    z, y = z_and_y
    low, gradient_low = both("quantile", z, y, quantile=0.2)
    high, gradient_high = both("quantile", z, y, quantile=0.8)
    mirrored, gradient_mirrored = both("quantile", -z, -y, quantile=0.8)
    assert_same((low, gradient_low), (mirrored, -gradient_mirrored))
    assert_same((low + high, gradient_low + gradient_high), both("absolute_error", z, y))


@tiny
def test_huber_lies_between_squared_and_absolute_error(z_and_y):
    """With a large delta it is half the squared error, divided by a small one the absolute."""
    assert_same(both("huber", *z_and_y, huber_delta=1e3), both("half_squared_error", *z_and_y))
    value, gradient = both("huber", *z_and_y, huber_delta=1e-9)
    assert_same((value / 1e-9, gradient / 1e-9), both("absolute_error", *z_and_y), rtol=1e-8)


@tiny
@pytest.mark.parametrize("huber_delta", [0.25, 1.0, 3.0])
def test_the_two_parts_of_huber_meet_with_one_slope(huber_delta):
    for side in (-1.0, 1.0):
        z = side * np.nextafter(huber_delta, [[0.0], [10.0]])
        y = np.zeros_like(z)
        value, gradient = both("huber", z, y, huber_delta=huber_delta)
        np.testing.assert_allclose(value, np.full(2, huber_delta**2 / 2), rtol=1e-14)
        np.testing.assert_allclose(gradient, np.full((2, 1), side * huber_delta), rtol=1e-14)


@tiny
def test_a_gaussian_of_unit_variance_is_half_the_squared_error_and_a_constant(z_and_y):
    z, y = z_and_y
    value, gradient = both("gaussian", np.hstack([z, np.zeros_like(z)]), y)
    constant = 3 * np.log(2.0 * np.pi) / 2
    assert_same((value - constant, gradient[:, :3]), both("half_squared_error", z, y), atol=1e-14)


@tiny
def test_a_laplace_of_unit_scale_is_the_absolute_error_and_a_constant(z_and_y):
    z, y = z_and_y
    value, gradient = both("laplace", np.hstack([z, np.zeros_like(z)]), y)
    constant = 3 * np.log(2.0)
    assert_same((value - constant, gradient[:, :3]), both("absolute_error", z, y), atol=1e-14)


@tiny
def test_a_full_gaussian_without_correlation_is_a_gaussian(z_and_y):
    z, y = z_and_y
    z = np.hstack([z, y[::-1] / 2])  # some logarithms of scales
    value, gradient = both("full_gaussian", np.hstack([z, np.zeros((9, 3))]), y)
    assert_same((value, gradient[:, :6]), both("gaussian", z, y))


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_full_gaussian_is_the_density_of_its_covariance(n, dtype):
    """By scipy, which is told C C^T, the covariance, of C, the inverse of M."""
    rng = np.random.default_rng(n)
    z = rng.uniform(-0.5, 0.5, (6, n_raw("full_gaussian", n))).astype(dtype)
    y = rng.uniform(-1.0, 1.0, (6, n)).astype(dtype)
    expected = []
    for row, target in zip(z.astype(np.float64), y, strict=True):
        M = np.diag(np.exp(-row[n : 2 * n]))
        M[np.tril_indices(n, -1)] = row[2 * n :]
        C = np.linalg.inv(M)
        expected.append(-stats.multivariate_normal(row[:n], C @ C.T).logpdf(target))
    np.testing.assert_allclose(row_losses("full_gaussian", z, y), expected, rtol=RTOL[dtype])


@tiny
@pytest.mark.parametrize(
    ("loss", "distribution"), [("gaussian", stats.norm), ("laplace", stats.laplace)]
)
def test_a_learned_scale_is_that_of_the_density(loss, distribution, z_and_y):
    z, y = z_and_y
    a = y[::-1] / 2
    expected = -distribution.logpdf(y, loc=z, scale=np.exp(a)).sum(axis=1)
    np.testing.assert_allclose(row_losses(loss, np.hstack([z, a]), y), expected, rtol=1e-13)


@tiny
@pytest.mark.parametrize("loss", sorted(WITH_SCALE))
def test_units_of_measurement_only_add_a_constant(loss, z_and_y):
    """For y 8 times as large, with means and scales to match, the loss grows by T log 8."""
    z, y = z_and_y
    a = y[::-1] / 2
    below = z[:, : n_raw(loss, 3) - 6]
    value, gradient = both(loss, np.hstack([z, a, below]), y)
    larger = np.hstack([8 * z, a + np.log(8.0), below / 8])
    value8, gradient8 = both(loss, larger, 8 * y)
    scale = np.repeat([8.0, 1.0, 1.0 / 8], [3, 3, below.shape[1]])
    assert_same((value8 - 3 * np.log(8.0), gradient8 * scale), (value, gradient), 1e-12, 1e-12)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_pinned_logit_is_a_sigmoid(dtype):
    rng = np.random.default_rng(0)
    z = np.array([*rng.uniform(-9.0, 9.0, 30), -1e4, -90.0, 90.0, 1e4], dtype=dtype)[:, None]
    y = rng.integers(0, 2, z.shape).astype(dtype)
    assert_same(
        both("pinned_softmax_cross_entropy", z, y),
        both("sigmoid_cross_entropy", z, y),
        rtol=RTOL[dtype],
        atol=np.finfo(dtype).eps,
    )
    net, _, _, params = reader(1)
    pinned, one = (
        net.forward(params.astype(dtype), z, loss=loss)
        for loss in ("pinned_softmax_cross_entropy", "sigmoid_cross_entropy")
    )
    np.testing.assert_allclose(pinned[:, 1:], one, rtol=4 * RTOL[dtype], atol=1e-37)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 2, 7])
def test_a_pinned_softmax_is_a_softmax_with_a_zero_in_front(n_outputs, dtype):
    rng = np.random.default_rng(0)
    z = rng.uniform(-9.0, 9.0, (30, n_outputs)).astype(dtype)
    y = rng.integers(0, n_outputs + 1, (30, 1)).astype(dtype)
    all_logits = naive.pinned(z).astype(dtype)
    value, gradient = both("softmax_cross_entropy", all_logits, y)
    assert_same(
        both("pinned_softmax_cross_entropy", z, y),
        (value, gradient[:, 1:]),
        rtol=RTOL[dtype],
        atol=4 * np.finfo(dtype).eps,
    )
    net, _, _, params = reader(n_outputs)
    p = net.forward(params.astype(dtype), z, loss="pinned_softmax_cross_entropy")
    np.testing.assert_allclose(p, softmax(all_logits, axis=1), rtol=4 * RTOL[dtype])


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logarithm_undoes_the_saturation_of_softmax(dtype):
    """The probability of the right class is 0 in any dtype, yet its loss grows with the logit.

    (Goodfellow et al., 2016, section 6.2.2.3.)
    """
    far = np.array([1e3, 2e3, 4e3, 8e3], dtype=dtype)
    z = np.stack([np.zeros_like(far), far], axis=1)
    y = np.zeros((4, 1), dtype=dtype)
    net, _, _, params = reader(2)
    p = net.forward(params.astype(dtype), z, loss="softmax_cross_entropy")
    np.testing.assert_array_equal(p, np.tile([0.0, 1.0], (4, 1)))
    for loss, raw, slope in (
        ("softmax_cross_entropy", z, [-1.0, 1.0]),
        ("pinned_softmax_cross_entropy", z[:, 1:], [1.0]),
    ):
        np.testing.assert_array_equal(row_losses(loss, raw, y), far)
        np.testing.assert_array_equal(row_gradients(loss, raw, y), np.tile(slope, (4, 1)))


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_clipped_linear_unit_learns_nothing_from_its_mistakes(dtype):
    """(Goodfellow et al., 2016, section 6.2.2.2.) Inside the unit interval it does."""
    z = np.array([[-5.0], [-1e-3], [0.25], [0.75], [1.001], [5.0]], dtype=dtype)
    y = (z < 0.5).astype(dtype)  # each wrong, and the more so the farther out
    gradient = row_gradients("clipped_linear_cross_entropy", z, y)[:, 0]
    np.testing.assert_array_equal(gradient[[0, 1, 4, 5]], np.zeros(4))
    np.testing.assert_allclose(gradient[[2, 3]], [-4.0, 4.0], rtol=RTOL[dtype])
    worst = -np.log(np.finfo(dtype).tiny.astype(np.float64))
    value = row_losses("clipped_linear_cross_entropy", z, y)
    expected = [worst, worst, np.log(4.0), np.log(4.0), worst, worst]
    np.testing.assert_allclose(value, expected, rtol=RTOL[dtype])


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_inside_the_unit_interval_a_clipped_linear_unit_is_the_sigmoids_log_likelihood(dtype):
    """The same probability by either link costs the same."""
    z = np.linspace(-3.0, 3.0, 13, dtype=dtype)[:, None]
    y = np.linspace(0.0, 1.0, 13, dtype=dtype)[::-1, None]
    p = expit(z.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(
        row_losses("clipped_linear_cross_entropy", p, y),
        row_losses("sigmoid_cross_entropy", z, y),
        rtol=RTOL[dtype],
    )


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_squared_error_of_a_sigmoid_vanishes_where_it_is_most_wrong(dtype):
    """Its slope is p (1 - p) times that of the cross-entropy, whose own tends to 1."""
    z = np.array([[1.0], [5.0], [10.0], [20.0], [40.0], [80.0]], dtype=dtype)
    y = np.zeros_like(z)
    squared = row_gradients("half_sigmoid_squared_error", z, y)
    entropy = row_gradients("sigmoid_cross_entropy", z, y)
    p = expit(z.astype(np.float64))
    np.testing.assert_allclose(squared, entropy * p * expit(-z.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(entropy[2:], np.ones((4, 1)), atol=1e-4)
    assert (squared[:, 0] < 1.001 * np.exp(-z[:, 0])).all()
    assert (squared > 0.0).all()


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_inner_product_hands_on_its_targets(dtype):
    rng = np.random.default_rng(0)
    z = (rng.integers(-80, 80, (5, 3)) / 8.0).astype(dtype)
    y = (rng.integers(-80, 80, (5, 3)) / 8.0).astype(dtype)
    value, gradient = both("inner_product", z, y)
    np.testing.assert_array_equal(value, np.einsum("nr, nr -> n", z, y))
    np.testing.assert_allclose(gradient, y, rtol=np.finfo(dtype).eps)


@tiny
@pytest.mark.parametrize(("loss", "settings"), CASES)
def test_weights_multiply(loss, settings):
    """The loss is the weighted mean of the losses of the rows, and so is its gradient."""
    rng = np.random.default_rng(0)
    n_outputs = n_raw(loss, 3)
    z = rng.uniform(-2.0, 2.0, (6, n_outputs))
    y = targets(loss, 6, n_outputs, rng)
    w = np.array([0.5, 2.0, 0.0, 1.0, 0.25, 3.0])
    net, _, output, params = reader(n_outputs)
    told = {"loss": loss, "sample_weight": w, **settings}
    value, _ = net.loss_and_gradient(params, z, y, **told)
    expected = np.average(row_losses(loss, z, y, **settings), weights=w)
    assert value == pytest.approx(expected, rel=1e-13)
    (gradient,) = net.gradients(params, z, y, wrt=[output], **told)
    expected = (w / w.sum())[:, None] * row_gradients(loss, z, y, **settings)
    assert_close(gradient, expected, 1e-14)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_weight_zero_is_an_absent_row_and_weight_two_a_repeated_one(loss, dtype, alpha):
    output = mlp(5, (7, 4), n_raw(loss, 3), "tanh")
    net, _, params, X, y, _ = problem(output, loss, 70, dtype=dtype, weighted=False)
    w = np.random.default_rng(1).integers(0, 4, 70)
    repeated = np.repeat(np.arange(70), w)
    assert {0, 1, 2, 3} <= set(w)
    told = {"loss": loss, "alpha": alpha, **settings_of(loss)}
    value, gradient = net.loss_and_gradient(params, X, y, sample_weight=w.astype(dtype), **told)
    expected, expected_gradient = net.loss_and_gradient(params, X[repeated], y[repeated], **told)
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    assert value == pytest.approx(expected, rel=tolerance)
    assert_close(gradient, expected_gradient, tolerance)


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_no_weights_are_weights_of_one_and_a_common_factor_cancels(loss):
    output = mlp(2, (3,), n_raw(loss, 3), "tanh")
    net, _, params, X, y, _ = problem(output, loss, 5, weighted=False)
    told = {"loss": loss, **settings_of(loss)}
    value, gradient = net.loss_and_gradient(params, X, y, **told)
    for factor in (1.0, 7.0):
        weighted = net.loss_and_gradient(params, X, y, sample_weight=np.full(5, factor), **told)
        assert weighted[0] == pytest.approx(value, rel=1e-14)
        assert_close(weighted[1], gradient, 1e-14)


# Targets --------------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_targets_outside_the_range(loss):
    row, n_outputs = LOSSES[loss], n_raw(loss, 3)
    net, _, _, params = reader(n_outputs)
    z = np.zeros((2, n_outputs))
    y = np.full((2, n_targets(loss, n_outputs)), max(float(row.y_low), 0.0) + row.y_open)
    net.loss_and_gradient(params, z, y, loss=loss)
    bad = [np.nan, row.y_low] if row.y_open else [np.nan]
    if np.isfinite(row.y_low):
        bad += [row.y_low - 1.0, np.nextafter(row.y_low, -1.0)]
    if np.isfinite(row.y_high):
        bad += [row.y_high + 1.0, np.nextafter(row.y_high, 2.0)]
    if row.integer_targets:
        bad += [float(n_classes(loss, n_outputs)), 0.5, 1e300]
    for value in bad:
        y[1, -1] = value
        with pytest.raises(ValueError, match=loss):
            net.loss_and_gradient(params, z, y, loss=loss)
        with pytest.raises(ValueError, match=loss):
            net.gradients(params, z, y, loss=loss, wrt=["x"])


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_raw_outputs_that_fit_no_number_of_targets(loss):
    for n_outputs in range(1, 10):
        net, _, _, params = reader(n_outputs)
        z, y = np.zeros((2, n_outputs)), np.zeros((2, max(n_targets(loss, n_outputs), 1)))
        y += LOSSES[loss].y_open
        if n_targets(loss, n_outputs):
            net.loss_and_gradient(params, z, y, loss=loss)
            net.forward(params, z, loss=loss)
        else:
            with pytest.raises(ValueError, match=f"{loss}.*raw outputs.*{n_outputs}"):
                net.loss_and_gradient(params, z, y, loss=loss)
            with pytest.raises(ValueError, match=f"{loss}.*raw outputs.*{n_outputs}"):
                net.forward(params, z, loss=loss)


@tiny
@pytest.mark.parametrize(
    ("loss", "name", "wrong"),
    [
        ("quantile", "quantile", [0.0, 1.0, -0.5, 2.0, np.nan]),
        ("huber", "huber_delta", [0.0, -1.0, np.inf, np.nan]),
    ],
)
def test_settings_outside_their_range(loss, name, wrong):
    net, _, _, params = reader(1)
    z = y = np.zeros((2, 1))
    for value in wrong:
        with pytest.raises(ValueError, match=f"{name}.*{value}"):
            net.loss_and_gradient(params, z, y, loss=loss, **{name: value})
        with pytest.raises(ValueError, match=f"{name}.*{value}"):
            net.gradients(params, z, y, loss=loss, wrt=["x"], **{name: value})
    for value in ("0.5", None, True):
        with pytest.raises(TypeError, match=f"{name}.*{value}"):
            net.loss_and_gradient(params, z, y, loss=loss, **{name: value})
    with pytest.raises(TypeError, match=f"half_squared_error.*{name}"):
        net.loss_and_gradient(params, z, y, loss="half_squared_error", **{name: 0.5})


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
