"""Refused calls: one clear error each, and whatever was fitted before stays as it was."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import check_param_validation

from nbnet import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X32 = X.astype(np.float32)
ONES = np.ones(150)


def put(array, value, at=(3,)):
    array = np.array(array, dtype=float)
    array[at] = value
    return array


# What is wrong: parameters, data (X, y, sample_weight), and what the message must say.
PARAMETERS = {
    "hidden_layer_sizes zero": ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes .*\(5, 0\)"),
    "hidden_layer_sizes negative": ({"hidden_layer_sizes": -3}, r"'hidden_layer_sizes'.*-3"),
    "hidden_layer_sizes float": ({"hidden_layer_sizes": [5.5]}, r"hidden_layer_sizes .*\[5\.5\]"),
    "hidden_layer_sizes nested": ({"hidden_layer_sizes": [[5, 3]]}, "hidden_layer_sizes must be"),
    "hidden_layer_sizes text": ({"hidden_layer_sizes": "12"}, r"'hidden_layer_sizes'.*'12'"),
    "activation unknown": ({"activation": "relu6"}, r"'activation'.*'maxout'.*'relu6'"),
    "activation None": ({"activation": None}, r"'activation'.*None"),
    "activation entry unknown": (
        {"activation": ("relu6",)},
        r"activation=\('relu6',\) holds 'relu6'.*'maxout'",
    ),
    "activation too short": (
        {"activation": ["relu"], "hidden_layer_sizes": (4, 3)},
        r"activation=\['relu'\] has length 1 for 2 hidden layers",
    ),
    "activation too long": ({"activation": ("relu", "tanh")}, r"has length 2 for 1 hidden"),
    "activation for no layer": (
        {"activation": ["relu"], "hidden_layer_sizes": ()},
        "has length 1 for 0 hidden",
    ),
    "pieces": ({"pieces": 1, "activation": "maxout"}, r"'pieces'.*\[2, inf\).*Got 1"),
    "pieces float": ({"pieces": 2.5}, r"'pieces'.*Got 2\.5"),
    "negative_slope": ({"negative_slope": -0.1}, r"'negative_slope'.*Got -0\.1"),
    "negative_slope nan": ({"negative_slope": np.nan}, r"'negative_slope'.*Got nan"),
    "solver": ({"solver": "rmsprop"}, r"'solver'.*'adam'.*'rmsprop'"),
    "learning_rate": ({"learning_rate": "cosinus"}, r"'learning_rate'.*'cosinus'"),
    "learning_rate_init": ({"learning_rate_init": 0.0}, r"'learning_rate_init'.*Got 0\.0"),
    "alpha": ({"alpha": -1e-3}, r"'alpha'.*Got -0\.001"),
    "alpha nan": ({"alpha": np.nan}, r"'alpha'.*Got nan"),
    "batch_size": ({"batch_size": 0}, r"'batch_size'.*'auto'.*Got 0"),
    "batch_size text": ({"batch_size": "all"}, r"'batch_size'.*'all'"),
    "max_iter": ({"max_iter": 0}, r"'max_iter'.*Got 0"),
    "momentum": ({"momentum": 1.5}, r"'momentum'.*Got 1\.5"),
    "beta_1": ({"beta_1": 1.0}, r"'beta_1'.*Got 1\.0"),
    "epsilon": ({"epsilon": 0}, r"'epsilon'.*Got 0"),
    "tol": ({"tol": -1}, r"'tol'.*Got -1"),
    "n_iter_no_change": ({"n_iter_no_change": 0}, r"'n_iter_no_change'.*Got 0"),
    "random_state": ({"random_state": "seed"}, r"'random_state'.*'seed'"),
    "validation_fraction one": ({"validation_fraction": 1.0}, r"'validation_fraction'.*Got 1\.0"),
    "validation_fraction zero": (
        {"validation_fraction": 0.0, "early_stopping": True},
        "validation_fraction > 0",
    ),
    "validation_fraction small": (
        {"validation_fraction": 0.001, "early_stopping": True},
        "validation",
    ),
}

DATA = {
    "X NaN": ((put(X, np.nan), Y, None), "Input X contains NaN"),
    "X infinite": ((put(X, np.inf), Y, None), "Input X contains infinity"),
    "X sparse NaN": ((sp.csr_matrix(put(X, np.nan)), Y, None), "Input X contains NaN"),
    "X no rows": ((X[:0], Y[:0], None), r"0 sample\(s\)"),
    "X no columns": ((X[:, :0], Y, None), r"0 feature\(s\)"),
    "X vector": ((X[:, 0], Y, None), "Expected 2D array, got 1D array"),
    "X cube": ((X[None], Y, None), "(?i)dim"),
    "X text": (
        (np.full(X.shape, "a"), Y, None),
        "X must hold numbers, but .* column 0 holds text",
    ),
    "X complex": ((X * 1j, Y, None), "Complex data not supported"),
    "y missing": ((X, None, None), "requires y to be passed"),
    "y shorter": ((X, Y[:-1], None), r"inconsistent numbers of samples: \[150, 149\]"),
    "y NaN": ((X, put(Y, np.nan), None), "Input y contains NaN"),
    "y infinite": ((X, put(Y, np.inf), None), "Input y contains infinity"),
    "y empty": ((X, [], None), "inconsistent|0 sample"),
    "weight NaN": ((X, Y, put(ONES, np.nan)), "Input sample_weight contains NaN"),
    "weight infinite": ((X, Y, put(ONES, np.inf)), "Input sample_weight contains infinity"),
    "weight negative": (
        (X, Y, put(ONES, -0.5)),
        r"sample_weight must be non-negative; its smallest is -0\.5",
    ),
    "weight zero": ((X, Y, 0 * ONES), "(?i)sample.?weight.* 0|zero"),
    "weight shorter": ((X, Y, ONES[:-1]), "sample_weight.*shape"),
    "weight matrix": ((X, Y, np.ones((150, 2))), "(?i)sample.?weight"),
    "weight text": ((X, Y, ["1"] * 150), "sample_weight must hold numbers, but it holds text"),
}

CLASSIFIER_DATA = {
    "y numbers": ((X, X[:, 0] + 0.01, None), "Unknown label type: continuous"),
    "y several labels each": (
        (X, np.c_[Y, Y], None),
        r"y has several columns .*multiclass-multioutput",
    ),
}

REGRESSOR_DATA = {
    "y text": ((X, np.where(Y, "1", "2"), None), "y must hold numbers, but it holds text"),
    "y dates": ((X, Y.astype("M8[s]"), None), "y must hold numbers, but it holds dates"),
    "y sparse": ((X, sp.csr_matrix(np.c_[Y, Y]), None), "y must be a dense array|[Ss]parse"),
}


def cases():
    everything = [
        (MLPClassifier, {**PARAMETERS, **DATA, **CLASSIFIER_DATA}),
        (MLPRegressor, {**PARAMETERS, **DATA, **REGRESSOR_DATA}),
    ]
    for Estimator, table in everything:
        for name, (wrong, message) in table.items():
            parameters, data = (wrong, (X, Y, None)) if isinstance(wrong, dict) else ({}, wrong)
            yield pytest.param(
                Estimator, parameters, data, message, id=f"{Estimator.__name__}-{name}"
            )


def snapshot(model):
    """The fitted attributes: the objects, and copies of their contents."""
    fitted = {k: v for k, v in vars(model).items() if k not in model.get_params()}
    weights = [a.copy() for a in model.coefs_ + model.intercepts_]
    return (
        fitted,
        weights,
        list(model.loss_curve_),
        model._training["slots"].copy(),
        model.predict(X),
    )


def assert_unchanged(model, before):
    fitted, weights, losses, slots, predictions = before
    now = {k: v for k, v in vars(model).items() if k not in model.get_params()}
    assert now.keys() == fitted.keys()
    assert all(now[name] is fitted[name] for name in fitted)
    for a, b in zip(model.coefs_ + model.intercepts_, weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.loss_curve_ == losses
    np.testing.assert_array_equal(model._training["slots"], slots)
    np.testing.assert_array_equal(model.predict(X), predictions)


@pytest.mark.parametrize(("Estimator", "wrong", "data", "message"), list(cases()))
def test_refused_with_a_clear_error(Estimator, wrong, data, message):
    features, target, weight = data
    good = {"hidden_layer_sizes": 5, "max_iter": 2, "random_state": 0}
    model = Estimator(**{**good, **wrong})
    with pytest.raises((ValueError, TypeError), match=re.compile(message, re.DOTALL)):
        model.fit(features, target, sample_weight=weight)
    assert not [name for name in vars(model) if name not in model.get_params()]

    model = Estimator(**good).fit(X, Y)
    before = snapshot(model)
    for warm_start in (False, True):
        model.set_params(**wrong, warm_start=warm_start)
        with pytest.raises((ValueError, TypeError), match=re.compile(message, re.DOTALL)):
            model.fit(features, target, sample_weight=weight)
        model.set_params(**{k: v for k, v in Estimator(**good).get_params().items() if k in wrong})
        assert_unchanged(model, before)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_scikit_learns_check_of_parameters(Estimator):
    check_param_validation(Estimator.__name__, Estimator())


# ---- what only partial_fit, warm_start or predict can be asked


@pytest.mark.parametrize(
    ("data", "kwargs", "message"),
    [
        ((X, Y + 1), {}, r"`y` has classes not in `self\.classes_`: \[3\]"),
        ((X, np.array(["a", "b", "c"])[Y]), {}, "`y` has classes not in"),
        ((X, Y), {"classes": [0, 1]}, "classes"),
        ((X[:, :3], Y), {}, "X has 3 features, but MLPClassifier is expecting 4"),
        ((X, np.eye(3, dtype=int)[Y]), {}, "y is multilabel-indicator, but .* it was multiclass"),
        ((put(X, np.nan), Y), {}, "Input X contains NaN"),
        ((X, Y), {"sample_weight": -ONES}, "sample_weight must be non-negative"),
    ],
)
def test_partial_fit_refuses_and_loses_nothing(data, kwargs, message):
    model = MLPClassifier(5, random_state=0)
    model.partial_fit(X, Y, classes=[0, 1, 2])
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*data, **kwargs)
    assert_unchanged(model, before)


def test_partial_fit_needs_classes_first():
    model = MLPClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, Y)
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, Y, classes=[0, 1])
    assert not hasattr(model, "classes_")  # and a second try may name others
    model.partial_fit(X, Y, classes=[0, 1, 2])


def test_partial_fit_refuses_early_stopping():
    model = MLPRegressor(max_iter=2).fit(X, Y)
    before = snapshot(model)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model.set_params(early_stopping=True).partial_fit(X, Y)
    assert_unchanged(model, before)


def test_multilabel_model_refuses_labels_and_other_columns():
    Z = np.eye(3, dtype=int)[Y]
    model = MLPClassifier(5, random_state=0).partial_fit(X, Z, classes=[0, 1, 2])
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"y is multiclass, but .* it was multilabel-indicator"):
        model.partial_fit(X, Y)
    with pytest.raises(ValueError, match="y has 2 columns for 3 classes"):
        model.partial_fit(X, Z[:, :2])
    assert_unchanged(model, before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_layer_sizes": (6,)}, r"hidden_layer_sizes=\(6,\).*warm_start=False"),
        ({"hidden_layer_sizes": (5, 5)}, r"hidden_layer_sizes=\(5, 5\)"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes=\(\)"),
        ({"activation": "maxout"}, r"shapes \[\(4, 5\), \(5, 3\)\].*\[\(4, 10\), \(5, 3\)\]"),
    ],
)
def test_warm_start_refuses_layers_that_do_not_fit(changed, message):
    model = MLPClassifier(5, max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        model.set_params(**changed).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, Y)
    model.set_params(hidden_layer_sizes=5, activation="relu")
    assert_unchanged(model, before)
    model.set_params(activation="tanh").fit(X, Y)  # the same shapes: allowed, as upstream


def test_warm_start_refuses_other_pieces_and_outputs():
    model = MLPRegressor(hidden_layer_sizes=5, activation="maxout", max_iter=2, warm_start=True)
    model.fit(X, Y)
    before = snapshot(model)
    with pytest.raises(ValueError, match="pieces=3"):
        model.set_params(pieces=3).fit(X, Y)
    with pytest.raises(ValueError, match="pieces=3"):
        model.predict(X)
    model.set_params(pieces=2)
    with pytest.raises(ValueError, match=r"\(5, 1\)\].*\(5, 2\)\]"):
        model.fit(X, np.c_[Y, Y])
    with pytest.raises(ValueError, match="X has 3 features"):
        model.fit(X[:, :3], Y)
    assert_unchanged(model, before)


@pytest.mark.parametrize("y", [-Y, put(Y, -1e-9)])
def test_poisson_refuses_negative_targets(y):
    model = MLPRegressor("poisson", hidden_layer_sizes=5, max_iter=2).fit(X, Y)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"loss='poisson' needs 0 <= y <= inf; got y from -"):
        model.fit(X, y)
    assert_unchanged(model, before)


def test_unknown_loss():
    with pytest.raises(ValueError, match=r"'loss'.*'absolute_error'.*'hinge'"):
        MLPRegressor("hinge").fit(X, Y)
    with pytest.raises(ValueError, match=r"'loss'.*'pinned_log_loss'.*'hinge'"):
        MLPClassifier(loss="hinge").fit(X, Y)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("quantile", 0.0), ("quantile", 1.0), ("huber_delta", 0.0), ("covariance", "none")],
)
def test_what_a_loss_is_told(parameter, value):
    with pytest.raises(ValueError, match=f"'{parameter}'.*{value}"):
        MLPRegressor(**{parameter: value}).fit(X, Y)


def test_weights_must_reach_both_sides_of_the_split():
    weight = np.zeros(150)
    weight[0] = 1
    with pytest.raises(ValueError, match="rows of positive sample_weight both to train and to"):
        MLPClassifier(early_stopping=True, random_state=0).fit(X, Y, sample_weight=weight)


def test_refused_fit_keeps_feature_names():
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier(5, max_iter=2).fit(frame, Y)
    other = pd.DataFrame(put(X, np.nan)[:, :2], columns=list("ef"))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(other, Y)
    assert list(model.feature_names_in_) == list("abcd")
    assert model.n_features_in_ == 4
    model.predict(frame)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (X[:, :3], "X has 3 features"),
        (put(X, np.nan), "Input X contains NaN"),
        (put(X, -np.inf), "Input X contains infinity"),
        (X[0], "Expected 2D array"),
        (X[:0], r"0 sample\(s\)"),
        (None, "(?i)none|array"),
    ],
)
def test_predict_refuses(Estimator, features, message):
    model = Estimator(max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.predict(features)


def test_float32_model_refuses_what_float32_cannot_hold():
    model = MLPRegressor(hidden_layer_sizes=5, max_iter=2, warm_start=True).fit(X32, Y)
    before = model.predict(put(X, 1e300))  # in float64, the dtype of this X
    assert np.isfinite(before).all()
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"infinity or a value too large for dtype\('float32'\)"),
    ):
        model.fit(put(X, 1e300), Y)
    np.testing.assert_array_equal(model.predict(put(X, 1e300)), before)
    with pytest.raises(ValueError, match="y has values too large for float32"):
        model.fit(X32, put(Y, 1e300))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_non_finite_loss_raises(solver):
    model = MLPRegressor(hidden_layer_sizes=5, solver=solver, max_iter=50, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X * 1e200, Y * 1e200)
    assert not hasattr(model, "coefs_")


def test_partial_fit_that_overflows_keeps_weights_and_optimizer():
    model = MLPRegressor(hidden_layer_sizes=5, solver="sgd", random_state=0).partial_fit(X, Y)
    model._training["learning_rate_init"] = (
        1e308  # the loss is measured before the step that overflows
    )
    before = snapshot(model)
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="Solver produced non-finite parameter weights"),
    ):
        model.partial_fit(X * 1e3, Y)
    assert_unchanged(model, before)
    assert model._training["step"] == 1


@pytest.mark.parametrize("broken", ["column", "pointer"])
def test_csr_that_points_outside_itself_is_refused(broken):
    """Kernels take such numbers for addresses."""
    X = sp.random(20, 5, 0.5, "csr", random_state=0)
    y = np.arange(20) % 2
    model = MLPClassifier(4, max_iter=2).fit(X, y)
    if broken == "column":
        X.indices[3] = 5
    else:
        X.indptr[3] = X.nnz + 7
    for call in (lambda: model.predict(X), lambda: MLPClassifier(4, max_iter=2).fit(X, y)):
        with pytest.raises(ValueError, match=r"ind(ices|ex|ptr)"):
            call()


# ---- what is no number

FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])
NO_NUMBERS = {
    "dates": pd.date_range("2020-01-01", periods=150),
    "dates with a zone": pd.date_range("2020-01-01", periods=150, tz="UTC"),
    "durations": pd.timedelta_range("1h", periods=150),
    "text": ["1.5"] * 150,
    "text as category": pd.Categorical(["1", "2", "3"] * 50),
    "text among numbers": pd.Series([1.0, *["2"] * 149], dtype=object),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_a_column_that_is_no_number_is_refused_by_name(Estimator, kind):
    frame = FRAME.assign(c=NO_NUMBERS[kind])
    what = kind.split()[0]
    model = Estimator(hidden_layer_sizes=5, max_iter=2, random_state=0)
    with pytest.raises(ValueError, match=rf"X must hold numbers, but its column 'c' holds {what}"):
        model.fit(frame, Y)
    model.fit(FRAME, Y)
    for call in (model.predict, lambda X: model.partial_fit(X, Y), model.transform):
        with pytest.raises(ValueError, match=rf"its column 'c' holds {what}"):
            call(frame)
    if Estimator is MLPRegressor:
        for y in (frame["c"], frame["c"].to_numpy(), frame[["a", "c"]]):
            with pytest.raises(ValueError, match=rf"y must hold numbers, but .*holds {what}"):
                model.fit(FRAME, y)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (X.astype("M8[s]"), "its column 0 holds dates"),
        (X.astype("m8[s]"), "its column 0 holds durations"),
        (X.round(1).astype(str), "its column 0 holds text"),
        ([[*row[:3], str(row[3])] for row in X], "its column 3 holds text"),
        (np.c_[X.astype(object), np.full(150, "2")], "its column 4 holds text"),
        (np.c_[X.astype(object), np.full(150, b"2")], "its column 4 holds text"),
    ],
)
def test_arrays_and_lists_of_other_things_are_refused_by_position(features, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier().fit(features, Y)


def test_objects_booleans_and_nullable_numbers_are_numbers():
    expected = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(X.round(), Y)
    for features in (
        X.round().astype(object),
        X.round().tolist(),
        pd.DataFrame(X.round()).astype("Int64"),
        pd.DataFrame(X.round()).astype(object),
    ):
        model = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(features, Y)
        np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])


def test_text_and_dates_are_labels_of_classes():
    for labels in (np.array(["1", "2", "3"]), np.array([1, 2, 3], dtype="M8[D]")):
        model = MLPClassifier(5, max_iter=2).fit(X, labels[Y])
        assert set(model.predict(X)) <= set(labels)


# ---- weights set by hand


@pytest.mark.parametrize(
    ("coefs", "intercepts", "message"),
    [
        ([(4, 6), (6, 3)], [(5,), (3,)], r"intercepts_\[0\] has shape \(5,\), but coefs_\[0\], of"
         r" shape \(4, 6\), needs \(6,\)"),
        ([(4, 5), (5, 3)], [(5,)], "one entry each for each layer; they have 2 and 1"),
        ([(4, 5), (5, 3), (3, 3)], [(5,), (3,)], "they have 3 and 2"),
        ([(4, 6), (5, 3)], [(6,), (3,)], r"shapes \[\(4, 6\), \(5, 3\)\]"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(coefs, intercepts, message):
    model = MLPClassifier(5, max_iter=2, warm_start=True).fit(X, Y)
    model.coefs_ = [np.ones(shape) for shape in coefs]
    model.intercepts_ = [np.ones(shape) for shape in intercepts]
    for call in (lambda: model.predict(X), lambda: model.to_network(), lambda: model.fit(X, Y)):
        with pytest.raises(ValueError, match=message):
            call()


def test_too_few_rows_for_early_stopping_name_the_parameter():
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1.* 1 to validate on") as caught:
        MLPClassifier(early_stopping=True).fit(X[48:53], Y[48:53])
    assert "test_size" not in str(caught.value)
