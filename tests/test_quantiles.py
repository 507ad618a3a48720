"""Several quantiles from one model, and intervals around predictions."""

import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.model_selection import GridSearchCV

import naive
from nbnet import MLPRegressor
from nbnet.kernels.compile.jit import compilations
from nbnet.kernels.losses import LOSSES
from nbnet.training.loop import split_rows
from problems import DTYPES, assert_close, reader, tiny

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]
RNG = np.random.default_rng(0)
X = RNG.uniform(-1.0, 1.0, (120, 2))
Y = np.stack([X[:, 0] + RNG.exponential(size=120), 10.0 + X[:, 1] * RNG.normal(size=120)], axis=1)


def regressor(loss="quantile", **parameters):
    return MLPRegressor(loss, (6,), "tanh", **{"max_iter": 20, "random_state": 0, **parameters})


# The loss -------------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("levels", [(0.3,), (0.1, 0.9), LEVELS])
def test_value_and_gradient_are_those_of_the_twin(levels, n_targets, dtype):
    rng = np.random.default_rng(0)
    net, _, output, params = reader(n_targets * len(levels))
    z = rng.uniform(-3.0, 3.0, (7, n_targets * len(levels))).astype(dtype)
    y = rng.uniform(-3.0, 3.0, (7, n_targets)).astype(dtype)
    y[0] = z[0, :: len(levels)]  # at a kink
    weight = rng.uniform(0.5, 1.5, 7).astype(dtype)
    told = {"loss": "quantile", "quantile": levels, "sample_weight": weight}
    value, _ = net.loss_and_gradient(params.astype(dtype), z, y, **told)
    (gradient,) = net.gradients(params.astype(dtype), z, y, wrt=[output], **told)
    z, y = z.astype(np.float64), y.astype(np.float64)
    expected = np.average(naive.pinball(z, y, levels), weights=weight)
    share = (weight / weight.sum())[:, None]
    tolerance = {np.float64: 1e-14, np.float32: 1e-6}[dtype]
    assert value == pytest.approx(expected, rel=tolerance)
    assert_close(gradient, share * naive.pinball_gradient(z, y, levels), tolerance)


@tiny
@pytest.mark.parametrize(
    ("levels", "error", "message"),
    [
        ([0.1, 0.1], ValueError, "quantile must be a number or numbers that increase strictly"),
        ([0.9, 0.1], ValueError, "quantile must be a number or numbers that increase strictly"),
        ([], ValueError, "quantile must be a number or numbers that increase strictly"),
        ([0.1, 1.0], ValueError, "quantile must be > 0 and < 1, got 1.0"),
        ([0.1, "a"], TypeError, "quantile must be a number, got 'a'"),
        ([0.1, True], TypeError, "quantile must be a number, got True"),
        ([[0.1, 0.9]], TypeError, r"quantile must be a number, got \[0.1, 0.9\]"),
    ],
)
def test_levels_that_are_refused(levels, error, message):
    with pytest.raises(error, match=message):
        regressor(quantile=levels).fit(X, Y)
    net, _, _, params = reader(2)
    with pytest.raises(error, match=message):
        net.loss_and_gradient(params, X, Y[:, :1], loss="quantile", quantile=levels)


@tiny
def test_raw_outputs_that_fit_no_number_of_targets():
    net, _, _, params = reader(4)
    with pytest.raises(ValueError, match="needs 3 raw outputs for one target, 6 for two"):
        net.loss_and_gradient(
            params, np.zeros((2, 4)), [1, 2], loss="quantile", quantile=[0.1, 0.5, 0.9]
        )


@tiny
def test_others_take_one_number():
    net, _, _, params = reader(2)
    with pytest.raises(TypeError, match="huber_delta must be a number"):
        net.loss_and_gradient(params, X, Y, loss="huber", huber_delta=[1.0, 2.0])


# Fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_sequence_of_one_level_is_that_level_bit_for_bit(solver):
    one = regressor(quantile=0.8, solver=solver).fit(X, Y)
    same = regressor(quantile=[0.8], solver=solver).fit(X, Y)
    for a, b in zip(one.coefs_ + one.intercepts_, same.coefs_ + same.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(same.predict(X), one.predict(X)[:, :, None])
    assert one.loss_ == same.loss_


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [LEVELS, tuple(LEVELS), np.array(LEVELS)])
def test_shapes_types_and_order(levels, dtype):
    rows = X.astype(dtype)
    one = regressor(quantile=levels).fit(rows, Y[:, 0])
    two = regressor(quantile=levels).fit(rows, Y)
    assert one.predict(rows).shape == (120, 5)
    assert two.predict(rows).shape == (120, 2, 5)
    assert one.n_outputs_ == 1
    assert two.n_outputs_ == 2
    assert two.coefs_[-1].shape == (6, 10)
    for model in (one, two):
        assert model.predict(rows).dtype == dtype
        assert (np.diff(model.predict(rows), axis=-1) >= 0.0).all()


def test_quantiles_that_cross_are_sorted_in_each_row_and_target():
    model = regressor(quantile=[0.1, 0.5, 0.9]).fit(X, Y)
    model.coefs_[-1][:] = 0.0
    model.intercepts_[-1][:] = [3.0, 1.0, 2.0, -1.0, -3.0, -2.0]
    expected = np.tile([[1.0, 2.0, 3.0], [-3.0, -2.0, -1.0]], (120, 1, 1))
    np.testing.assert_array_equal(model.predict(X), expected)


def test_each_level_is_learned_as_by_a_model_of_its_own():
    """Where the network has no hidden units to share: the shares below are the levels."""
    y = np.repeat([0.0, 100.0], 60) + np.tile(stats.expon.ppf((np.arange(60) + 0.5) / 60), 2)
    rows = np.repeat(np.eye(2), 60, axis=0)
    several = MLPRegressor(
        "quantile", (), quantile=LEVELS, solver="lbfgs", alpha=0.0, max_iter=5000, tol=1e-9,
        random_state=0,
    ).fit(rows, y)  # fmt: skip
    predicted = several.predict(np.eye(2))
    for i, level in enumerate(LEVELS):
        for group in range(2):
            below = np.mean(y[60 * group : 60 * (group + 1)] <= predicted[group, i])
            assert below == pytest.approx(level, abs=1.5 / 60)


def test_a_fitted_model_reads_its_outputs_by_the_levels_it_was_fitted_with():
    model = regressor(quantile=LEVELS).fit(X, Y)
    expected = model.predict(X)
    for setting in ({"quantile": 0.5}, {"quantile": [0.1, 0.9]}, {"loss": "squared_error"}):
        np.testing.assert_array_equal(clone_of(model).set_params(**setting).predict(X), expected)
    again = clone(model)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.fit(X, Y).predict(X), expected)


def clone_of(model):
    return pickle.loads(pickle.dumps(model))


def test_warm_start_and_partial_fit_go_on():
    model = regressor(quantile=LEVELS, warm_start=True, max_iter=5)
    first = model.fit(X, Y).loss_
    assert model.fit(X, Y).loss_ < first
    with pytest.raises(ValueError, match="coefs_ have shapes"):
        model.set_params(quantile=[0.1, 0.9]).fit(X, Y)
    model = regressor(quantile=LEVELS)
    losses = [model.partial_fit(X, Y).loss_ for _ in range(30)]
    assert losses[-1] < losses[0]
    assert model.predict(X).shape == (120, 2, 5)


def test_other_levels_compile_nothing():
    regressor(quantile=0.5).fit(X, Y).predict(X)
    before = compilations().compiled
    for levels in (0.1, [0.2], LEVELS, np.linspace(0.01, 0.99, 20)):
        regressor(quantile=levels).fit(X, Y).predict(X)
    assert compilations().compiled == before


# Scores ---------------------------------------------------------------------------------------


def mean_d2(y, predicted, levels, weight=None):
    scores = [
        d2_pinball_score(y, predicted[..., i], sample_weight=weight, alpha=level)
        for i, level in enumerate(levels)
    ]
    return np.mean(scores)


@pytest.mark.parametrize("weight", [None, np.linspace(0.1, 3.0, 120)])
@pytest.mark.parametrize("y", [Y, Y[:, 0]], ids=["two targets", "one target"])
def test_score_is_the_mean_of_the_levels(y, weight):
    model = regressor(quantile=LEVELS, max_iter=200).fit(X, y)
    expected = mean_d2(y, model.predict(X), LEVELS, weight)
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-12)
    assert isinstance(model.score(X, y), float)
    one = regressor(quantile=0.9, max_iter=200).fit(X, y)
    assert one.score(X, y, weight) == r2_score(y, one.predict(X), sample_weight=weight)


def test_scores_of_targets_that_do_not_fit():
    model = regressor(quantile=LEVELS).fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, Y[1:])
    with pytest.raises(ValueError, match="y has 1 columns; the model predicts 2"):
        model.score(X, Y[:, 0])


@pytest.mark.parametrize("weight", [None, np.linspace(0.1, 3.0, 120)])
def test_early_stopping_judges_by_it(weight):
    model = regressor(quantile=LEVELS, early_stopping=True, max_iter=30, learning_rate_init=0.01)
    model.fit(X, Y, weight)
    draws = np.random.RandomState(0)
    model.to_network()[0].init(draws)
    _, held_out = split_rows(120, 0.1, draws)
    of_rows = None if weight is None else weight[held_out]
    expected = mean_d2(Y[held_out], model.predict(X[held_out]), LEVELS, of_rows)
    assert model.best_validation_score_ == pytest.approx(expected, rel=1e-9)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_search_over_levels():
    search = GridSearchCV(
        regressor(max_iter=5), {"quantile": [0.5, [0.1, 0.9], LEVELS]}, cv=2, error_score="raise"
    ).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_gaussian_interval_is_that_of_scipy(covariance, coverage, dtype):
    rows = X.astype(dtype)
    model = regressor("gaussian", covariance=covariance).fit(rows, Y)
    mean, std = model.predict(rows, return_std=True)
    interval = model.predict_interval(rows, coverage)
    assert interval.shape == (120, 2, 2)
    assert interval.dtype == dtype
    expected = np.stack(stats.norm.interval(coverage, mean, std), axis=-1)
    np.testing.assert_allclose(interval, expected, rtol=1e-12 if dtype == np.float64 else 2e-5)


def test_a_laplace_interval_is_that_of_scipy():
    model = regressor("laplace").fit(X, Y[:, 0])
    median, std = model.predict(X, return_std=True)
    interval = model.predict_interval(X)
    assert interval.shape == (120, 2)
    expected = np.stack(stats.laplace.interval(0.9, median, std / np.sqrt(2.0)), axis=-1)
    np.testing.assert_allclose(interval, expected, rtol=1e-12)


def test_an_interval_of_counts_leaves_out_no_more_than_it_may():
    counts = np.random.default_rng(0).negative_binomial(2, 0.2, (120, 2))
    model = regressor("negative_binomial", max_iter=300, solver="lbfgs", alpha=1.0)
    model.fit(X, counts)
    mean, std = model.predict(X, return_std=True)
    low, high = np.moveaxis(model.predict_interval(X, 0.8), -1, 0)
    size = mean**2 / (std**2 - mean)
    distribution = stats.nbinom(size, size / (size + mean))
    for bound, share in ((low, 0.1), (high, 0.9)):  # the least number up to which lies the share
        assert (distribution.cdf(bound) >= share - 1e-9).all()
        assert (distribution.cdf(bound - 1.0) < share + 1e-9).all()
    assert np.mean((low <= counts) & (counts <= high)) >= 0.7


def test_an_interval_of_quantiles_is_two_of_them():
    one, two = (regressor(quantile=LEVELS).fit(X, y) for y in (Y[:, 0], Y))
    for model, axis in ((one, 1), (two, 2)):
        quantiles = model.predict(X)
        for coverage, at in ((0.9, [0, 4]), (0.5, [1, 3])):
            expected = np.take(quantiles, at, axis=axis)
            np.testing.assert_array_equal(model.predict_interval(X, coverage), expected)


def test_the_share_inside_is_the_coverage():
    """Of noise without luck, at each of a few places, by each loss that fits it."""
    places = np.repeat(np.eye(3), 200, axis=0)
    scale = places @ [0.5, 1.0, 2.0]
    order = (np.arange(200) + 0.5) / 200
    options = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0, "tol": 1e-8}
    for loss, distribution in (
        ("gaussian", stats.norm), ("laplace", stats.laplace), ("quantile", stats.expon),
    ):  # fmt: skip
        y = scale * np.tile(distribution.ppf(order), 3)
        model = MLPRegressor(
            loss, quantile=[0.05, 0.5, 0.95] if loss == "quantile" else 0.5, **options,
            max_iter=5000, random_state=0,
        ).fit(places, y)  # fmt: skip
        low, high = model.predict_interval(places, 0.9).T
        for place in range(3):
            at = places[:, place] == 1.0
            assert np.mean((low <= y)[at] & (y <= high)[at]) == pytest.approx(0.9, abs=0.02), loss


@pytest.mark.parametrize(
    ("levels", "allowed"),
    [
        ([0.05, 0.25, 0.5, 0.75, 0.95], "which allows coverage=0.5 or coverage=0.9"),
        ([0.1, 0.5, 0.7], "which allows no coverage: there must be two levels that sum to 1"),
        (0.5, "which allows no coverage"),
        ([0.5], "which allows no coverage"),
    ],
)
def test_levels_that_were_not_learned_are_named(levels, allowed):
    model = regressor(quantile=levels).fit(X, Y)
    with pytest.raises(ValueError, match=rf"coverage=0.8 needs the levels 0.1 and 0.9.*{allowed}"):
        model.predict_interval(X, coverage=0.8)


@pytest.mark.parametrize("loss", sorted(row.regressor for row in LOSSES.values() if row.regressor))
def test_which_losses_have_intervals(loss):
    model = regressor(loss, quantile=[0.1, 0.9] if loss == "quantile" else 0.5)
    model.fit(X, np.clip(Y[:, 0], 0.1, 1.0))
    if loss in ("quantile", "gaussian", "laplace", "negative_binomial"):
        assert model.predict_interval(X, coverage=0.8).shape == (120, 2)
        return
    with pytest.raises(ValueError, match=rf"'gaussian', 'laplace' or .*this is loss='{loss}'"):
        model.predict_interval(X)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, np.nan, "much", None, True])
def test_coverages_that_are_none(coverage):
    model = regressor("gaussian").fit(X, Y)
    with pytest.raises((TypeError, ValueError), match="coverage must be"):
        model.predict_interval(X, coverage=coverage)


def test_an_interval_before_fit():
    with pytest.raises(NotFittedError):
        regressor("gaussian").predict_interval(X)
