"""Targets far from unit scale: learned in standard deviations, told in the user's units."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from nbnet import MLPRegressor

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_diabetes(return_X_y=True)
X = X / X.std(axis=0)
X, X_VAL, Y, Y_VAL = train_test_split(X, Y, test_size=100, random_state=0)
TWO = np.c_[1e4 + 50 * Y, 1e-3 * X[:, 2]]
SHORT = {"hidden_layer_sizes": 5, "max_iter": 5, "random_state": 0, "learning_rate_init": 0.01}
MODELS = {
    "squared": MLPRegressor(),
    "absolute": MLPRegressor("absolute_error"),
    "quantile": MLPRegressor("quantile", quantile=0.8),
    "huber": MLPRegressor("huber", huber_delta=0.5),
    "gaussian": MLPRegressor("gaussian"),
    "full": MLPRegressor("gaussian", covariance="full"),
    "laplace": MLPRegressor("laplace"),
}


def twin_of(model, y, weight=None, X=X, rows=slice(None)):
    """The same by hand: the fitted twin, mean and standard deviation."""
    mean = np.average(y[rows], axis=0, weights=weight)
    std = np.sqrt(np.average((y[rows] - mean) ** 2, axis=0, weights=weight))
    std = np.where(std > 0, std, 1)
    twin = clone(model).fit(X, (y - mean) / std, sample_weight=weight)
    return twin, mean, std


@quiet
@pytest.mark.parametrize("weight", [None, np.random.default_rng(0).uniform(0, 2, len(X))])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("y", [Y, TWO], ids=["one", "two"])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_one_does_by_hand(name, y, solver, weight):
    told = {**SHORT, "solver": solver}
    told |= {"learning_rate_init": 0.001} if solver == "sgd" else {}
    model = clone(MODELS[name]).set_params(**told, standardize_y=True)
    model.fit(X, y, sample_weight=weight)
    twin, mean, std = twin_of(clone(model).set_params(standardize_y=False), y, weight)
    np.testing.assert_allclose(model.loss_, twin.loss_, rtol=1e-9)
    np.testing.assert_allclose(model.coefs_[0], twin.coefs_[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.y_mean_, np.ravel(mean), rtol=1e-12)
    np.testing.assert_allclose(model.y_scale_, np.ravel(std), rtol=1e-12)
    expected = mean + std * twin.predict(X_VAL)
    np.testing.assert_allclose(model.predict(X_VAL), expected, rtol=1e-7, atol=1e-9)
    if model.loss in ("gaussian", "laplace"):
        _, spread = model.predict(X_VAL, return_std=True)
        expected = std * twin.predict(X_VAL, return_std=True)[1]
        np.testing.assert_allclose(spread, expected, rtol=1e-6)
        _, covariance = model.predict(X_VAL, return_cov=True)
        unit = np.diag(np.ravel(std))
        expected = unit @ twin.predict(X_VAL, return_cov=True)[1] @ unit
        np.testing.assert_allclose(covariance, expected, rtol=1e-5, atol=1e-9)
    raw = model.to_network()[0].forward(model.to_network()[1], X_VAL)
    location = raw[:, : len(model.y_mean_)] * std + mean
    np.testing.assert_allclose(model.predict(X_VAL).reshape(location.shape), location, rtol=1e-12)


@quiet
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_far_from_zero_float32_is_exact_enough(kind, dtype):
    """y in float32 would lose all that varies; y in units does not."""
    y = 1e9 + Y
    model = MLPRegressor(**SHORT, standardize_y=True).fit(kind(X.astype(dtype)), y)
    plain = MLPRegressor(**SHORT, standardize_y=True).fit(kind(X.astype(dtype)), Y)
    tolerance = 1e-4 if dtype is np.float32 else 1e-7
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=tolerance)
    prediction = model.predict(kind(X_VAL.astype(dtype)))
    assert prediction.dtype == dtype
    assert abs(prediction - 1e9).max() < 1e3
    huge = MLPRegressor(**SHORT, standardize_y=True).fit(kind(X.astype(dtype)), 1e36 * Y)
    np.testing.assert_allclose(huge.loss_curve_, plain.loss_curve_, rtol=tolerance)


@quiet
def test_a_constant_column_is_predicted_and_not_scaled():
    y = np.c_[Y, np.full(len(Y), 0.1)]
    model = MLPRegressor(**SHORT, standardize_y=True).fit(X, y)
    assert model.y_scale_[1] == 1
    assert model.y_mean_[1] == pytest.approx(0.1, rel=1e-14)


@quiet
def test_the_numbers_are_those_of_the_rows_to_train_on():
    told = {**SHORT, "early_stopping": True, "shuffle": False}
    model = MLPRegressor(**told, standardize_y=True).fit(X, Y)
    random_state = np.random.RandomState(0)
    for coef, bias in zip(model.coefs_, model.intercepts_, strict=True):
        random_state.uniform(size=coef.size + bias.size)
    rows, held_out = train_test_split(np.arange(len(X)), test_size=0.1, random_state=random_state)
    assert model.y_mean_[0] == pytest.approx(Y[rows].mean(), rel=1e-13)
    assert model.y_scale_[0] == pytest.approx(Y[rows].std(), rel=1e-13)
    assert model.best_validation_score_ == pytest.approx(model.score(X[held_out], Y[held_out]))


@quiet
def test_scores_have_the_units_of_y_and_losses_those_of_the_model():
    model = MLPRegressor(**SHORT, standardize_y=True, scoring="neg_root_mean_squared_error")
    model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    error = model.predict(X_VAL) - Y_VAL
    assert model.validation_scores_[-1] == pytest.approx(-np.sqrt(np.mean(error**2)))
    expected = np.mean((error / Y.std()) ** 2) / 2
    assert model.validation_losses_[-1] == pytest.approx(expected)


@quiet
def test_warm_start_and_partial_fit_keep_the_first_numbers():
    model = MLPRegressor(**SHORT, standardize_y=True, warm_start=True).fit(X, Y)
    mean, std = Y.mean(), Y.std()
    twin = MLPRegressor(**SHORT, warm_start=True).fit(X, (Y - mean) / std)
    model.fit(X, 2 * Y + 5)
    twin.fit(X, (2 * Y + 5 - mean) / std)
    assert model.y_mean_[0] == pytest.approx(mean)
    np.testing.assert_allclose(model.predict(X_VAL), mean + std * twin.predict(X_VAL), rtol=1e-8)

    parts = np.split(np.arange(len(X)), 2)
    model, twin = MLPRegressor(**SHORT, standardize_y=True), MLPRegressor(**SHORT)
    mean, std = Y[parts[0]].mean(), Y[parts[0]].std()
    for part in parts:
        model.partial_fit(X[part], Y[part])
        twin.partial_fit(X[part], (Y[part] - mean) / std)
    np.testing.assert_allclose(model.predict(X_VAL), mean + std * twin.predict(X_VAL), rtol=1e-8)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_VAL), model.predict(X_VAL))
    model.fit(X, Y)  # a new fit, new numbers
    assert model.y_mean_[0] == pytest.approx(Y.mean())
    model.set_params(standardize_y=False)
    before = model.predict(X_VAL)
    np.testing.assert_array_equal(before, model.set_params(standardize_y=True).predict(X_VAL))
    model.set_params(standardize_y=False).fit(X, Y)
    assert not hasattr(model, "y_mean_")


@pytest.mark.parametrize("incremental", [False, True])
def test_losses_with_a_zero_of_their_own_are_refused(incremental):
    model = MLPRegressor("poisson", **SHORT, standardize_y=True)
    with pytest.raises(ValueError, match=r"standardize_y=True needs a loss .* loss='poisson'"):
        (model.partial_fit if incremental else model.fit)(X, Y)
    assert not hasattr(model, "n_features_in_")


def test_a_variance_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="standardize_y=True needs a y whose mean and variance"):
        MLPRegressor(**SHORT, standardize_y=True).fit(X, 1e300 * Y)


# ---- a fit that goes wrong for want of it says so

TOLD = {"random_state": 0, "max_iter": 300, "alpha": 1}


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_a_model_worse_than_a_constant_names_the_parameter(scale):
    y = scale * Y
    with pytest.warns(ConvergenceWarning, match=r"a constant would .* Set standardize_y=True"):
        plain = MLPRegressor(**TOLD).fit(X, y)
    assert plain.score(X, y) < 0
    with pytest.warns(ConvergenceWarning) as caught:
        model = MLPRegressor(**TOLD, standardize_y=True).fit(X, y)
    assert model.score(X_VAL, scale * Y_VAL) > 0.2
    assert not any("standardize_y" in str(w.message) for w in caught)


@pytest.mark.parametrize("name", MODELS)
def test_each_loss_has_its_constant(name):
    y = np.c_[1e4 * (Y / Y.std()), X[:, 0]]
    told = {**SHORT, "max_iter": 30}
    with pytest.warns(ConvergenceWarning, match=r"Column 0 of y has mean 1\.94e\+04 .* constant"):
        clone(MODELS[name]).set_params(**told).fit(X, y)


def test_a_fit_that_diverges_names_it():
    told = {**SHORT, "solver": "sgd", "activation": "identity", "learning_rate_init": 0.3}
    with pytest.raises(ValueError, match=r"non-finite .* Set standardize_y=True") as caught:
        MLPRegressor(**told).fit(X, 1e5 * Y)
    assert "constant" not in str(caught.value)
    with pytest.warns(ConvergenceWarning, match=r"became (nan|inf).* Set standardize_y=True"):
        MLPRegressor(**told, early_stopping=True).fit(X, 1e5 * Y)
    with pytest.raises(ValueError, match="non-finite") as caught:
        MLPRegressor(**told).fit(1e5 * X, (Y - Y.mean()) / Y.std())
    assert "standardize_y" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (MLPRegressor(**SHORT), (Y - Y.mean()) / Y.std()),  # worse than a constant, but near
        (MLPRegressor(solver="lbfgs", max_iter=2000, random_state=0), Y),  # far, but good
        (MLPRegressor(**SHORT), np.full(len(Y), 1000.0)),  # nothing to scale
        (MLPRegressor("poisson", **SHORT), 1e3 * Y),  # cannot be helped by it
    ],
)
@pytest.mark.filterwarnings("error")
def test_other_fits_do_not_name_it(model, y):
    try:
        model.fit(X, y)
    except ConvergenceWarning as warning:
        assert "standardize_y" not in str(warning)  # noqa: PT017


@quiet
def test_the_first_words_of_warnings_are_those_that_filters_know():
    with pytest.warns(ConvergenceWarning, match=r"^Stochastic Optimizer: Maximum iterations \(5\)"):
        MLPRegressor(**SHORT).fit(X, 1e5 * Y)
