"""What the estimators learn of a distribution: means, medians, quantiles, scales, frequencies.

Noise is not drawn: at each x stand the quantiles of its distribution at (i + 1/2) / n, so that a
fit which does its job comes as near to the analytical statistic as n and the network allow, and no
test depends on luck.
"""

import pickle

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from nbnet import MLPClassifier, MLPRegressor
from problems import DTYPES

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# Marks a test of a trained model: how far a fit that is cut off has come hangs on rounding. The
# tolerances of such a test are three times the largest error over ten seeds and three processors
# (AVX-512, AVX2, SSE), which stands beside them.
converges = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")

# A setting of MLPRegressor for each of its losses.
LOSSES = {
    "squared_error": {},
    "absolute_error": {},
    "poisson": {},
    "quantile": {"quantile": 0.9},
    "huber": {"huber_delta": 0.5},
    "gaussian": {},
    "full_gaussian": {"loss": "gaussian", "covariance": "full"},
    "laplace": {},
}
WITH_SCALE = ["gaussian", "full_gaussian", "laplace"]

x = np.linspace(-1.0, 1.0, 21)
X = x[:, None]


def regressor(loss, **parameters):
    """A regressor of that loss: a few hidden units, trained to the end."""
    parameters = {"loss": loss, **LOSSES[loss], "random_state": 0, **parameters}
    if parameters.get("solver", "lbfgs") == "lbfgs":
        parameters = {"solver": "lbfgs", "alpha": 0.0, "tol": 1e-7, "max_iter": 3000} | parameters
    parameters = {"hidden_layer_sizes": (8,)} | parameters
    return MLPRegressor(activation="tanh", **parameters)


def quantiles(distribution, n):
    """Noise without luck: n values that stand for a distribution of scipy's.

    With n = 1005 the quantiles 0.1, 0.5 and 0.9 are among them, so that the best fit is unique.
    """
    return distribution.ppf((np.arange(n) + 0.5) / n)


def with_noise(location, scale, noise):
    """Rows for every x and every value of the noise: X (N, 1) and y (N,)."""
    y = location(x)[:, None] + scale(x)[:, None] * noise
    return np.repeat(X, len(noise), axis=0), y.ravel()


def sine(x):
    return np.sin(2.0 * x)


def growing(x):
    return 0.2 + 0.3 * (x + 1.0) ** 2


# Conditional statistics of skewed noise -------------------------------------------------------


def huber_statistic(distribution, delta):
    """The number at which the mean of the clipped differences from a distribution is 0."""
    return optimize.brentq(
        lambda m: distribution.expect(lambda e: np.clip(e - m, -delta, delta)), 0.0, 5.0
    )


SKEWED = {"exponential": stats.expon(), "lognormal": stats.lognorm(0.7)}

# loss, its setting, and what it learns of a distribution
STATISTICS = [
    ("squared_error", {}, lambda noise: noise.mean()),
    ("absolute_error", {}, lambda noise: noise.median()),
    ("quantile", {"quantile": 0.5}, lambda noise: noise.median()),
    ("quantile", {"quantile": 0.9}, lambda noise: noise.ppf(0.9)),
    ("quantile", {"quantile": 0.1}, lambda noise: noise.ppf(0.1)),
    ("huber", {"huber_delta": 1.0}, lambda noise: huber_statistic(noise, 1.0)),
]


@converges
@pytest.mark.parametrize("noise", SKEWED)
@pytest.mark.parametrize(("loss", "setting", "statistic"), STATISTICS)
def test_each_loss_learns_its_statistic(loss, setting, statistic, noise):
    """Of noise of constant scale: f(x) plus a known number, which differs from loss to loss."""
    distribution = SKEWED[noise]
    rows, y = with_noise(sine, np.ones_like, quantiles(distribution, 1005))
    model = regressor(loss, **setting).fit(rows, y)
    expected = sine(x) + statistic(distribution)
    # high quantiles are flat optima, and more than 1 away from the other statistics
    tolerance = 0.09 if setting == {"quantile": 0.9} else 0.04  # 0.028 and 0.012
    assert np.abs(model.predict(X) - expected).mean() < tolerance


@pytest.mark.parametrize("noise", SKEWED)
def test_the_statistics_are_far_apart(noise):
    """Or the test above would not tell one loss from another; Huber's lies between two of them."""
    values = [statistic(SKEWED[noise]) for _, _, statistic in STATISTICS]
    mean, median, half, high, low, huber = values
    assert half == median
    assert np.diff([low, median, huber, mean, high]).min() > 0.1


@converges
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_a_quantile_follows_a_scale_that_grows(quantile):
    rows, y = with_noise(sine, growing, quantiles(stats.expon, 1005))
    predicted = regressor("quantile", quantile=quantile).fit(rows, y).predict(X)
    expected = sine(x) + growing(x) * stats.expon.ppf(quantile)
    assert np.abs(predicted - expected).mean() < (0.065 if quantile == 0.9 else 0.04)
    below = np.mean(y <= np.repeat(predicted, 1005))
    assert below == pytest.approx(quantile, abs=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "setting", "statistic"),
    [
        ("squared_error", {}, stats.expon.mean()),
        ("quantile", {"quantile": 0.1}, stats.expon.ppf(0.1)),
    ],
)
def test_with_small_batches_too(loss, setting, statistic, dtype):
    rows, y = with_noise(sine, np.ones_like, quantiles(stats.expon, 100))
    model = regressor(
        loss, solver="adam", learning_rate_init=0.01, max_iter=150, n_iter_no_change=150, **setting
    ).fit(rows.astype(dtype), y.astype(dtype))
    predicted = model.predict(X.astype(dtype))
    assert predicted.dtype == dtype
    # 0.0401 over ten seeds: steps of a constant size do not come to rest. The nearest statistic of
    # another loss, Huber's, is 0.18 away.
    assert np.abs(predicted - sine(x) - statistic).mean() < 0.125


# Learned scales -------------------------------------------------------------------------------


@converges
@pytest.mark.parametrize(
    ("loss", "distribution"), [("gaussian", stats.norm), ("laplace", stats.laplace)]
)
def test_a_scale_that_depends_on_x_is_recovered(loss, distribution):
    noise = quantiles(distribution, 1005)  # so many that the kinks of |y - m| smooth out
    rows, y = with_noise(sine, growing, noise)
    location, std = regressor(loss).fit(rows, y).predict(X, return_std=True)
    assert np.abs(location - sine(x)).mean() < 0.03  # 0.0087
    # the maximum likelihood estimate of the scale of these quantiles, near that of the distribution
    one = {"gaussian": noise.std(), "laplace": np.abs(noise).mean()}[loss]
    assert one == pytest.approx(1.0, abs=0.02)
    relative = std / (growing(x) * one * distribution.std()) - 1.0
    assert np.abs(relative).mean() < 0.05  # 0.0157


@converges
@pytest.mark.parametrize(
    ("loss", "distribution"), [("gaussian", stats.norm), ("laplace", stats.laplace)]
)
def test_a_learned_scale_beats_a_constant_one_on_held_out_data(loss, distribution):
    """By the negative log-likelihood of drawn data, and comes near that of the truth."""
    rng = np.random.default_rng(0)

    def draw(n):
        at = rng.uniform(-1.0, 1.0, n)
        return at[:, None], sine(at) + growing(at) * distribution.rvs(size=n, random_state=rng)

    rows, y = draw(1500)
    held_out, y_held_out = draw(1500)

    def cost(location, scale):
        return -distribution.logpdf(y_held_out, location, scale).mean()

    location, std = regressor(loss).fit(rows, y).predict(held_out, return_std=True)
    learned = cost(location, std / distribution.std())
    plain = regressor({"gaussian": "squared_error", "laplace": "absolute_error"}[loss])
    plain.fit(rows, y)
    _, constant_scale = distribution.fit(y - plain.predict(rows), floc=0.0)
    constant = cost(plain.predict(held_out), constant_scale)
    truth = cost(sine(held_out[:, 0]), growing(held_out[:, 0]))
    assert truth < learned < truth + 0.05
    assert learned < constant - 0.1


def correlated(n):
    """Two targets whose scales and correlation depend on x, with n * n noises for each x.

    Returns X (N, 1), y (N, 2), means (21, 2), scales (21, 2) and correlations (21,).
    """
    e = quantiles(stats.norm, n)
    e = np.stack(np.meshgrid(e, e), axis=-1).reshape(-1, 2) / e.std()
    location = np.stack([sine(x), x**2], axis=1)
    scales = np.exp(np.stack([0.7 * x, -0.5 * x], axis=1))
    correlation = 0.8 * np.sin(x)
    covariance = scales[:, :, None] * scales[:, None, :]
    covariance[:, [0, 1], [1, 0]] *= correlation[:, None]
    factors = np.linalg.cholesky(covariance)
    y = location[:, None, :] + np.einsum("xij,nj->xni", factors, e)
    return np.repeat(X, len(e), axis=0), y.reshape(-1, 2), location, scales, correlation


@converges
def test_a_full_covariance_that_depends_on_x_is_recovered():
    rows, y, location, scales, correlation = correlated(8)
    wide = {"hidden_layer_sizes": (16,), "max_iter": 5000}
    model = regressor("full_gaussian", **wide).fit(rows, y)
    mean, learned = model.predict(X, return_cov=True)
    np.testing.assert_allclose(mean, location, atol=0.05)  # 0.0163
    learned_scales = np.sqrt(learned[:, [0, 1], [0, 1]])
    np.testing.assert_allclose(learned_scales, scales, rtol=0.03)  # 0.0091
    learned_correlation = learned[:, 0, 1] / learned_scales.prod(axis=1)
    np.testing.assert_allclose(learned_correlation, correlation, atol=0.03)  # 0.0091
    np.testing.assert_array_equal(learned, learned.swapaxes(1, 2))
    assert (np.linalg.eigvalsh(learned) > 0.0).all()
    # and is more likely than one without correlation, by what the correlation is worth
    diagonal = regressor("gaussian", **wide).fit(rows, y)
    worth = -0.5 * np.log(1.0 - correlation**2).mean()
    assert diagonal.loss_ - model.loss_ == pytest.approx(worth, abs=0.01)  # 0.00003


def densities(loss, y, model, rows):
    """-log p(y | x) of each row by scipy, told nothing but what `predict` says."""
    if loss == "full_gaussian":
        mean, cov = model.predict(rows, return_cov=True)
        return [
            -stats.multivariate_normal(m, c).logpdf(row)
            for m, c, row in zip(mean, cov, y, strict=True)
        ]
    location, std = model.predict(rows, return_std=True)
    distribution = {"gaussian": stats.norm, "laplace": stats.laplace}[loss]
    return -distribution.logpdf(y, location, std / distribution.std()).sum(axis=1)


@pytest.mark.parametrize("n_targets", [2, 3])
@pytest.mark.parametrize("loss", WITH_SCALE)
def test_the_loss_is_the_negative_log_likelihood_of_what_is_predicted(loss, n_targets):
    """Several targets at once: mean and scale of each, weighted rows."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (60, 2))
    y = rng.standard_normal((60, n_targets)) + rows[:, :1]
    weight = rng.integers(0, 3, 60).astype(float)
    model = regressor(loss, max_iter=20).fit(rows, y, weight)
    expected = np.average(densities(loss, y, model, rows), weights=weight)
    assert model.loss_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", WITH_SCALE)
def test_shapes_and_types_of_predictions(loss, dtype):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (40, 2)).astype(dtype)
    for y, shape, n_targets in (
        (rng.standard_normal(40), (40,), 1),
        (rng.standard_normal((40, 3)), (40, 3), 3),
    ):
        model = regressor(loss, solver="adam", max_iter=3).fit(rows, y.astype(dtype))
        mean = model.predict(rows)
        same, std = model.predict(rows, return_std=True)
        again, cov = model.predict(rows, return_cov=True)
        assert mean.shape == std.shape == shape
        assert cov.shape == (40, n_targets, n_targets)
        np.testing.assert_array_equal(mean, same)
        np.testing.assert_array_equal(mean, again)
        assert mean.dtype == std.dtype == cov.dtype == dtype
        variance = np.diagonal(cov, axis1=1, axis2=2)
        np.testing.assert_allclose(std.reshape(40, -1) ** 2, variance, rtol=1e-5)
        if loss != "full_gaussian":
            np.testing.assert_array_equal(cov * (1.0 - np.eye(n_targets)), np.zeros(cov.shape))
        assert (std > 0.0).all()
        assert isinstance(model.score(rows, y), float)


def test_a_covariance_of_one_target_is_its_variance():
    rows, y = with_noise(sine, growing, quantiles(stats.norm, 9))
    models = [regressor(loss, max_iter=30).fit(rows, y) for loss in ("gaussian", "full_gaussian")]
    (mean, cov), (mean_full, cov_full) = (model.predict(X, return_cov=True) for model in models)
    np.testing.assert_allclose(mean_full, mean, rtol=1e-9)
    np.testing.assert_allclose(cov_full, cov, rtol=1e-9)


@pytest.mark.parametrize("loss", WITH_SCALE)
def test_standard_deviation_and_covariance_at_once_are_refused(loss):
    model = regressor(loss, max_iter=2).fit(X, x)
    with pytest.raises(ValueError, match="return_std and return_cov"):
        model.predict(X, return_std=True, return_cov=True)


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - set(WITH_SCALE)))
def test_a_loss_without_a_scale_has_no_standard_deviation(loss):
    model = regressor(loss, max_iter=2).fit(X, np.abs(x))
    for asked in ("return_std", "return_cov"):
        with pytest.raises(ValueError, match=f"{asked}.*gaussian.*laplace.*{loss}"):
            model.predict(X, **{asked: True})


def test_predict_before_fit():
    with pytest.raises(NotFittedError):
        regressor("gaussian").predict(X, return_std=True)


# Estimators with these losses -----------------------------------------------------------------

TWO_TARGETS = np.abs(np.stack([sine(x), growing(x)], axis=1))


def predictions(model):
    """All that the model says of X."""
    if model.loss in ("gaussian", "laplace"):
        return np.hstack(model.predict(X, return_std=True))
    return model.predict(X)


@pytest.mark.parametrize("loss", LOSSES)
def test_clones_pickles_and_repeated_fits_predict_the_same(loss):
    model = regressor(loss, max_iter=10).fit(X, TWO_TARGETS)
    expected = predictions(model)
    np.testing.assert_array_equal(predictions(pickle.loads(pickle.dumps(model))), expected)
    again = clone(model)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(predictions(again.fit(X, TWO_TARGETS)), expected)


def test_search_over_losses():
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (120, 1))
    y = 2.0 + sine(rows[:, 0]) + 0.1 * rng.standard_normal(120)
    names = [name for name in LOSSES if name not in ("quantile", "full_gaussian")]
    search = GridSearchCV(
        regressor("squared_error", max_iter=40),
        [
            {"loss": names},
            {"loss": ["quantile"], "quantile": [0.4, 0.5]},
            {"loss": ["gaussian"], "covariance": ["full"]},
        ],
        cv=2,
        error_score="raise",
    ).fit(rows, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == len(names) + 3
    assert scores.min() > 0.9  # R² of the means, medians and quantiles near the middle


@pytest.mark.parametrize("loss", LOSSES)
def test_partial_fit_learns(loss):
    rows, y = with_noise(growing, np.ones_like, 0.1 * quantiles(stats.norm, 40))
    y = np.abs(y)
    model = regressor(loss, solver="adam", learning_rate_init=0.01)
    losses = [model.partial_fit(rows, y).loss_ for _ in range(60)]
    assert losses[-1] < losses[0] - 0.03
    assert np.corrcoef(model.predict(X), growing(x))[0, 1] > 0.9


@pytest.mark.parametrize("loss", LOSSES)
def test_early_stopping_keeps_the_best_weights(loss):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (300, 1))
    y = np.abs(2.0 + sine(rows[:, 0]) + 0.1 * rng.standard_normal(300))
    model = regressor(
        loss, solver="adam", learning_rate_init=0.01, early_stopping=True, max_iter=100
    ).fit(rows, y)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_validation_score_ > model.validation_scores_[0]
    assert len(model.validation_scores_) == model.n_iter_


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_counts_as_so_many_rows(loss):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (40, 1))
    y = np.abs(2.0 + rows + rng.standard_normal((40, 2)))
    weight = rng.integers(0, 4, 40)
    weighted = regressor(loss, max_iter=15).fit(rows, y, weight.astype(float))
    repeated = np.repeat(np.arange(40), weight)
    expected = regressor(loss, max_iter=15).fit(rows[repeated], y[repeated])
    np.testing.assert_allclose(predictions(weighted), predictions(expected), rtol=1e-6)


# Relative frequencies -------------------------------------------------------------------------


def table(n_inputs, n_classes):
    """Rows that are one of a few inputs, their labels, and the frequencies (inputs, classes)."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, (n_inputs, n_classes))
    inputs, labels = (
        np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape)
    )
    return inputs, labels, counts / counts.sum(axis=1, keepdims=True)


@converges
@pytest.mark.parametrize("hidden", [(), (12,)])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("loss", ["log_loss", "pinned_log_loss"])
def test_probabilities_are_relative_frequencies(loss, n_classes, hidden):
    """With a network that can tell all inputs apart. (Goodfellow et al., 2016, section 6.2.2.3.)"""
    inputs, labels, frequencies = table(6, n_classes)
    model = MLPClassifier(
        hidden,
        "tanh",
        solver="lbfgs",
        alpha=0.0,
        tol=1e-8,
        max_iter=2000,
        random_state=0,
        loss=loss,
    )
    names = np.array(["ash", "birch", "cedar", "dogwood"])[labels]
    model.fit(np.eye(6)[inputs], names)
    probabilities = model.predict_proba(np.eye(6))
    np.testing.assert_allclose(probabilities, frequencies, atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(6), rtol=1e-12)
    expected = model.classes_[frequencies.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(np.eye(6)), expected)
    entropy = -np.log(frequencies[inputs, labels]).mean()
    assert model.loss_ == pytest.approx(entropy, abs=1e-6)


@converges
def test_labels_that_may_be_together_have_their_own_frequencies():
    """Several Bernoulli outputs, each with the frequency of its label."""
    rng = np.random.default_rng(0)
    inputs = np.repeat(np.arange(4), 50)
    labels = rng.integers(0, 2, (200, 3)) * (rng.random((200, 3)) < 0.6)
    model = MLPClassifier((), solver="lbfgs", alpha=0.0, tol=1e-8, max_iter=2000)
    probabilities = model.fit(np.eye(4)[inputs], labels).predict_proba(np.eye(4))
    expected = [labels[inputs == i].mean(axis=0) for i in range(4)]
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_pinned_probabilities_are_a_softmax_with_one_logit_at_zero(n_classes, dtype):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.0, 1.0, (60, 2)).astype(dtype)
    labels = rng.integers(0, n_classes, 60)
    model = MLPClassifier(
        (5,), solver="adam", max_iter=20, random_state=0, loss="pinned_log_loss"
    ).fit(rows, labels)
    assert model.coefs_[-1].shape == (5, n_classes - 1)
    net, params = model.to_network()
    raw = net.forward(params, rows).astype(np.float64)
    logits = np.hstack([np.zeros((60, 1)), raw])
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    probabilities = model.predict_proba(rows)
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities, expected, atol=2e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(model.predict(rows), expected.argmax(axis=1))


def test_two_classes_pinned_or_not_are_one_model():
    inputs, labels, _ = table(4, 2)
    models = [
        MLPClassifier((3,), max_iter=5, random_state=0, loss=loss).fit(np.eye(4)[inputs], labels)
        for loss in ("log_loss", "pinned_log_loss")
    ]
    np.testing.assert_allclose(*(m.predict_proba(np.eye(4)) for m in models), rtol=1e-12)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_features_far_from_zero_do_not_make_scales_overflow(covariance):
    rng = np.random.default_rng(0)
    far, noise = rng.normal(loc=100.0, size=(100, 2)), rng.normal(size=100)
    model = MLPRegressor(
        "gaussian", 20, solver="lbfgs", covariance=covariance, random_state=0, max_iter=200
    ).fit(far, noise)
    assert model.loss_ < stats.norm.entropy() + 0.2


@pytest.mark.parametrize(
    ("Estimator", "fitted", "changed"),
    [
        (MLPRegressor, {"loss": "gaussian"}, {"loss": "squared_error"}),
        (MLPRegressor, {"loss": "gaussian"}, {"loss": "laplace"}),
        (MLPRegressor, {"loss": "gaussian"}, {"loss": "no such loss"}),
        (MLPRegressor, {"loss": "gaussian"}, {"covariance": "full"}),
        (MLPRegressor, {"loss": "squared_error"}, {"loss": "gaussian"}),
        (MLPRegressor, {"loss": "squared_error"}, {"loss": "poisson"}),
        (MLPClassifier, {"loss": "log_loss"}, {"loss": "pinned_log_loss"}),
        (MLPClassifier, {"loss": "pinned_log_loss"}, {"loss": "log_loss"}),
    ],
)
def test_a_fitted_model_predicts_by_the_loss_it_was_fitted_with(Estimator, fitted, changed):
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = np.arange(30) % 3
    targets = np.c_[X, X] if Estimator is MLPRegressor else y
    model = Estimator(hidden_layer_sizes=(4,), max_iter=3, random_state=0, **fitted)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, targets)

    def predictions(model):
        if Estimator is MLPClassifier:
            return model.predict(X), model.predict_proba(X)
        return (
            model.predict(X, return_std=True)
            if fitted["loss"] == "gaussian"
            else (model.predict(X),)
        )

    before = predictions(model)
    model.set_params(**changed)
    for again in (model, pickle.loads(pickle.dumps(model))):
        for a, b in zip(before, predictions(again), strict=True):
            np.testing.assert_array_equal(a, b)
    if fitted["loss"] == "squared_error":
        with pytest.raises(ValueError, match="this is loss='squared_error'"):
            model.predict(X, return_std=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_full_covariance_with_a_scale_that_rounds_to_zero(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)).astype(dtype)
    model = MLPRegressor("gaussian", (), covariance="full", solver="lbfgs", max_iter=5)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, X + rng.normal(size=X.shape))
    model.coefs_[0][...] = 0
    model.intercepts_[0][...] = [0.0, 0.0, 0.0, -2000.0, 3.0]  # means, log scales, M_10
    _, covariance = model.predict(X[:1], return_cov=True)
    np.testing.assert_array_equal(covariance, [[[1.0, 0.0], [0.0, 0.0]]])
