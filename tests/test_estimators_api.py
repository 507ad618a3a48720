"""What the estimators do beyond, or stricter than, scikit-learn's; what they promise in docs."""

import copy
import doctest
import inspect
import pickle
import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import sklearn.neural_network as upstream
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

import nbnet.estimators.base
import nbnet.estimators.mlp
from nbnet import MLPClassifier, MLPRegressor
from nbnet.estimators.targets import ClassTargets
from nbnet.kernels.activations import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
STATE = ("coefs_", "intercepts_", "loss_curve_", "n_iter_", "t_")


def assert_same_weights(a, b, **tolerance):
    for v, w in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        if tolerance:
            np.testing.assert_allclose(v, w, **tolerance)
        else:
            np.testing.assert_array_equal(v, w)


# ---- signature and documents


@BOTH
def test_parameters_are_upstreams_then_ours(Estimator):
    ours = inspect.signature(Estimator).parameters
    theirs = inspect.signature(getattr(upstream, Estimator.__name__)).parameters
    assert [name for name in ours if name in theirs] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    of_one = {
        "MLPClassifier": {
            "loss": "log_loss",
            "label_smoothing": 0.0,
            "focal_gamma": 2.0,
            "class_weight": None,
        },
        "MLPRegressor": {
            "quantile": 0.5,
            "huber_delta": 1.0,
            "tweedie_power": 1.5,
            "covariance": "diagonal",
            "standardize_y": False,
        },
    }
    added = {n: ours[n] for n in ours if n not in theirs}
    assert {n: parameter.default for n, parameter in added.items()} == {
        "weight_decay": 0.0,
        "warmup_fraction": 0.0,
        "clip_norm": None,
        "restore_best": False,
        "scoring": None,
        "average": 0.0,
        "negative_slope": 0.01,
        "pieces": 2,
        "dropout": 0.0,
        **of_one[Estimator.__name__],
        "architecture": None,
    }
    assert {parameter.kind for parameter in added.values()} == {inspect.Parameter.KEYWORD_ONLY}


def entries(thing, section):
    """Names and descriptions in a section of a numpydoc docstring."""
    text = re.split(rf"^{section}\n-+\n", inspect.getdoc(thing), flags=re.MULTILINE)[1]
    text = re.split(r"^[A-Z][\w ]+\n-+\n", text, flags=re.MULTILINE)[0]
    parts = re.split(r"^(\w+) : .+\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@BOTH
def test_docstring_tells_every_parameter_attribute_and_method(Estimator):
    parameters = entries(Estimator, "Parameters")
    assert list(parameters) == list(inspect.signature(Estimator).parameters)
    assert all(text.strip() for text in parameters.values())
    for name in (*ACTIVATIONS, "maxout"):
        assert f"'{name}'" in parameters["activation"]
    model = Estimator(max_iter=1).fit(X_IRIS, Y_IRIS)
    attributes = {name for name in vars(model) if name.endswith("_")} | {"feature_names_in_"}
    assert set(entries(Estimator, "Attributes")) == attributes
    methods = ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "transform")
    methods += ("predict_interval", "score")
    for method in methods:
        if hasattr(model, method):
            told = list(entries(getattr(Estimator, method), "Parameters"))
            assert told == list(inspect.signature(getattr(model, method)).parameters), method


@BOTH
def test_init_stores_and_checks_nothing(Estimator):
    nonsense = object()
    model = Estimator(hidden_layer_sizes=nonsense, pieces=-3, solver="none")
    assert model.hidden_layer_sizes is nonsense
    assert vars(model) == model.get_params()


@BOTH
def test_attributes_of_each_solver(Estimator):
    recorded = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
    model = Estimator(max_iter=2, random_state=0).fit(X_IRIS, Y_IRIS)
    assert model.validation_scores_ is None
    assert model.best_validation_score_ is None
    assert model.best_loss_ == min(model.loss_curve_)
    model.set_params(solver="lbfgs").fit(X_IRIS, Y_IRIS)
    assert not [name for name in recorded if hasattr(model, name)]
    assert model.t_ == 0
    model.set_params(solver="sgd", early_stopping=True).fit(X_IRIS, Y_IRIS)
    assert model.best_loss_ is None
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.t_ == 2 * 135


@BOTH
def test_not_fitted(Estimator):
    with pytest.raises(NotFittedError):
        Estimator().predict(X_IRIS)


# ---- layers


@pytest.mark.parametrize("name", [*ACTIVATIONS, "maxout"])
@BOTH
def test_every_activation_learns(Estimator, name):
    model = Estimator(
        hidden_layer_sizes=20,
        activation=name,
        solver="lbfgs",
        max_iter=300,
        random_state=0,
        alpha=1e-3,
    )
    model.fit(X_IRIS, Y_IRIS)
    assert model.score(X_IRIS, Y_IRIS) > 0.9


@pytest.mark.parametrize("name", [*ACTIVATIONS, "maxout"])
def test_one_name_means_that_name_for_all_layers(name):
    one = MLPClassifier((6, 5), name, random_state=0, max_iter=4).fit(X_IRIS, Y_IRIS)
    each = MLPClassifier((6, 5), [name, name], random_state=0, max_iter=4).fit(X_IRIS, Y_IRIS)
    assert_same_weights(one, each)


def test_activation_per_layer_is_what_numpy_says():
    names = ("maxout", "leaky_relu", "abs")
    model = MLPRegressor(
        hidden_layer_sizes=np.array([4, 3, 5]),
        activation=names,
        negative_slope=0.3,
        pieces=3,
        random_state=0,
        max_iter=3,
    ).fit(X_IRIS, Y_IRIS)
    assert [w.shape for w in model.coefs_] == [(4, 12), (4, 3), (3, 5), (5, 1)]
    assert [b.shape for b in model.intercepts_] == [(12,), (3,), (5,), (1,)]
    W, b = model.coefs_, model.intercepts_
    h = (X_IRIS @ W[0] + b[0]).reshape(-1, 4, 3).max(axis=2)
    h = h @ W[1] + b[1]
    h = np.where(h > 0, h, 0.3 * h)
    h = np.abs(h @ W[2] + b[2])
    np.testing.assert_allclose(model.predict(X_IRIS), (h @ W[3] + b[3]).ravel(), rtol=1e-10)


def test_negative_slope_zero_is_relu_and_one_is_identity():
    def fit(activation, **kwargs):
        return MLPClassifier(6, activation, random_state=0, max_iter=5, **kwargs).fit(
            X_IRIS, Y_IRIS
        )

    assert_same_weights(fit("leaky_relu", negative_slope=0), fit("relu"), rtol=1e-12)
    assert_same_weights(fit("leaky_relu", negative_slope=1), fit("identity"), rtol=1e-12)


def test_initial_bounds_follow_the_activation_of_the_layer():
    model = MLPRegressor(
        hidden_layer_sizes=(50, 40),
        activation=("logistic", "maxout"),
        pieces=3,
        learning_rate_init=1e-300,
        max_iter=1,
        random_state=0,
    ).fit(X_IRIS, Y_IRIS)
    bounds = [np.sqrt(2 / (4 + 50)), np.sqrt(6 / (50 + 40)), np.sqrt(6 / (40 + 1))]
    for W, bound in zip(model.coefs_, bounds, strict=True):
        assert 0.9 * bound < np.abs(W).max() <= bound


@pytest.mark.parametrize("sizes", [7, np.int64(7), (7,), [7], np.array([7])])
def test_hidden_layer_sizes_in_any_form(sizes):
    expected = MLPClassifier((7,), random_state=0, max_iter=2).fit(X_IRIS, Y_IRIS)
    assert_same_weights(
        MLPClassifier(sizes, random_state=0, max_iter=2).fit(X_IRIS, Y_IRIS), expected
    )


# ---- targets


def test_absolute_error_finds_the_median_and_squared_error_the_mean():
    y = np.array([0.0, 1, 2, 3, 100] * 8)
    X = np.zeros((len(y), 1))
    settings = {
        "hidden_layer_sizes": (),
        "alpha": 0,
        "solver": "sgd",
        "batch_size": 40,
        "max_iter": 3000,
        "random_state": 0,
        "momentum": 0,
        "tol": 0,
        "learning_rate_init": 0.01,
        "n_iter_no_change": np.inf,
    }
    median = MLPRegressor("absolute_error", **settings).fit(X, y)
    mean = MLPRegressor("squared_error", **settings).fit(X, y)
    np.testing.assert_allclose(median.predict(X[:1]), 2, atol=0.02)
    np.testing.assert_allclose(mean.predict(X[:1]), y.mean(), rtol=1e-6)
    assert median.out_activation_ == "identity"
    np.testing.assert_allclose(median.loss_, np.abs(y - 2).mean(), rtol=1e-3)


def test_several_outputs_report_the_sum_of_their_squared_errors():
    rng = np.random.RandomState(0)
    Y = rng.normal(size=(50, 3))
    X = rng.normal(size=(50, 4))
    model = MLPRegressor(
        hidden_layer_sizes=5, max_iter=1, random_state=0, learning_rate_init=1e-300, alpha=0
    ).fit(X, Y)
    expected = ((model.predict(X) - Y) ** 2).sum(axis=1).mean() / 2
    np.testing.assert_allclose(model.loss_, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["log_loss", "pinned_log_loss"])
def test_one_class_has_one_column_of_probabilities(loss, dtype):
    X = X_IRIS.astype(dtype)
    fitted = MLPClassifier(4, loss=loss, max_iter=2).fit(X, np.full(150, "only"))
    partly = MLPClassifier(4, loss=loss).partial_fit(X, np.zeros(150, int), classes=[0])
    for model in (fitted, partly):
        for data in (X, X[:1]):
            np.testing.assert_array_equal(model.predict_proba(data), np.ones((len(data), 1)))
            np.testing.assert_array_equal(model.predict_log_proba(data), np.zeros((len(data), 1)))
        assert model.predict_proba(X).dtype == dtype
    assert set(partly.predict(X)) == {0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["log_loss", "pinned_log_loss"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_log_probabilities_are_exact(kind, loss, dtype):
    """Also where probabilities are 0 or 1: finite, and as precise as the raw outputs."""
    y = {
        "binary": Y_IRIS > 0,
        "multiclass": Y_IRIS,
        "multilabel": np.c_[Y_IRIS > 0, Y_IRIS > 1].astype(int),
    }[kind]
    X = (X_IRIS - X_IRIS.mean(axis=0)).astype(dtype)
    model = MLPClassifier((), loss=loss, max_iter=1).fit(X, y)
    model.coefs_[0][:] = 1000 * np.random.RandomState(0).normal(size=model.coefs_[0].shape)
    net, params = model.to_network()
    raw = net.forward(params, X).astype(np.longdouble)
    if kind == "multiclass":
        if loss == "pinned_log_loss":
            raw = np.pad(raw, ((0, 0), (1, 0)))
        exact = raw - np.logaddexp.reduce(raw, axis=1, keepdims=True)
    else:
        exact = -np.logaddexp(0, -raw)
        if kind == "binary":
            exact = np.hstack([-np.logaddexp(0, raw), exact])
    logs = model.predict_log_proba(X)
    assert logs.dtype == dtype
    assert model.predict_proba(X).min() < np.finfo(dtype).tiny  # or nothing is tried here
    np.testing.assert_allclose(logs, exact, rtol=1e-5, atol=1e-6 if kind == "multilabel" else 1e-12)


def test_logarithms_of_nearly_one_are_exact():
    raw = np.array([[0.0, -50.0, -60.0]])
    several = ClassTargets(np.arange(3), "multiclass")
    logs = several.log_estimates(raw, "softmax_cross_entropy")
    np.testing.assert_allclose(logs[0, 0], -(np.exp(-50) + np.exp(-60)), rtol=1e-14)
    two = ClassTargets(np.arange(2), "binary")
    logs = two.log_estimates(np.array([[50.0]]), "sigmoid_cross_entropy")
    np.testing.assert_allclose(logs, [[-50, -np.exp(-50)]], rtol=1e-14)


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="scikit-learn warns itself"
)
def test_many_classes_are_not_warned_of():
    MLPClassifier(4, max_iter=1).fit(X_IRIS[:60], np.arange(60))


def test_one_class_is_always_predicted():
    model = MLPClassifier(5, max_iter=3, random_state=0, early_stopping=True)
    model.fit(X_IRIS, np.full(150, "only"))
    assert model.classes_ == ["only"]
    assert set(model.predict(X_IRIS)) == {"only"}
    assert model.validation_scores_ == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([-1, 5, 2**40]),
        np.array([0.0, 1.0, 2.0]),
    ],
)
def test_labels_of_any_type_come_back(labels):
    plain = MLPClassifier(8, max_iter=30, random_state=0, early_stopping=True)
    plain.fit(X_IRIS, Y_IRIS)
    model = MLPClassifier(8, max_iter=30, random_state=0, early_stopping=True)
    model.fit(X_IRIS, labels[Y_IRIS])
    np.testing.assert_array_equal(model.predict(X_IRIS), labels[plain.predict(X_IRIS)])
    assert_same_weights(plain, model)


def test_multilabel_indicator_dense_and_sparse():
    X, Y = make_multilabel_classification(80, n_classes=4, random_state=0)
    dense = MLPClassifier(10, max_iter=20, random_state=0, early_stopping=True).fit(X, Y)
    sparse = MLPClassifier(10, max_iter=20, random_state=0, early_stopping=True)
    sparse.fit(X, sp.csr_matrix(Y))
    assert_same_weights(dense, sparse)
    assert dense.predict(X).shape == (80, 4)
    assert sp.issparse(sparse.predict(X))
    np.testing.assert_array_equal(sparse.predict(X).toarray(), dense.predict(X))


# ---- warm_start, partial_fit, weights set by hand


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@BOTH
def test_partial_fit_repeated_is_fit(Estimator, solver):
    settings = {"solver": solver, "shuffle": False, "batch_size": 40, "random_state": 0, "tol": 0}
    whole = Estimator(max_iter=6, **settings).fit(X_IRIS, Y_IRIS)
    steps = Estimator(**settings)
    first = {"classes": [0, 1, 2]} if Estimator is MLPClassifier else {}
    for _ in range(6):
        steps.partial_fit(X_IRIS, Y_IRIS, **first)
        assert steps.n_iter_ == 1
    assert_same_weights(whole, steps)
    assert steps.loss_curve_ == whole.loss_curve_
    assert steps.t_ == whole.t_ == 6 * 150


@BOTH
def test_fit_starts_anew_without_warm_start(Estimator):
    model = Estimator(max_iter=3, random_state=0).fit(X_IRIS, Y_IRIS)
    once = [w.copy() for w in model.coefs_]
    curve = model.loss_curve_
    model.fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(model.coefs_[0], once[0])
    assert model.loss_curve_ == curve
    assert model.loss_curve_ is not curve


@BOTH
def test_fit_changes_no_array_it_gave_out(Estimator):
    model = Estimator(max_iter=3, random_state=0, warm_start=True).fit(X_IRIS, Y_IRIS)
    held = model.coefs_ + model.intercepts_
    copies = [a.copy() for a in held]
    model.fit(X_IRIS, Y_IRIS)
    model.partial_fit(X_IRIS, Y_IRIS)
    for a, b in zip(held, copies, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(model.coefs_[0], copies[0])


@BOTH
@pytest.mark.parametrize(
    "made_from", [lambda m: m, copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_weights_changed_in_place_or_exchanged_are_used(Estimator, made_from):
    """Also by the way that a single row takes, which looks at the arrays' common memory."""
    model = Estimator(hidden_layer_sizes=(4, 4), max_iter=3, random_state=0)
    model = made_from(model.fit(X_IRIS, Y_IRIS))
    output = getattr(model, "predict_proba", model.predict)

    def outputs():
        one_by_one = np.concatenate([output(x[None]) for x in X_IRIS])
        np.testing.assert_allclose(one_by_one, output(X_IRIS), rtol=1e-12)
        return one_by_one

    before = outputs()
    model.coefs_[0][:] *= 2
    scaled = outputs()
    assert not np.allclose(before, scaled)
    model.coefs_[1] = model.coefs_[1][::-1].copy()
    turned = outputs()
    assert not np.allclose(scaled, turned)
    model.intercepts_[0], model.intercepts_[1] = model.intercepts_[1], model.intercepts_[0]
    assert not np.allclose(turned, outputs())


@BOTH
def test_weights_set_by_hand_are_used(Estimator):
    model = Estimator(hidden_layer_sizes=4, max_iter=3, random_state=0, warm_start=True)
    model.fit(X_IRIS, Y_IRIS)
    other = Estimator(hidden_layer_sizes=4, max_iter=3, random_state=1).fit(X_IRIS, Y_IRIS)
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    np.testing.assert_array_equal(model.predict(X_IRIS), other.predict(X_IRIS))
    model.coefs_[0][:] = 0
    model.coefs_[1][:] = 0
    assert len(np.unique(model.predict(X_IRIS))) == 1
    before = model.loss_
    model.set_params(learning_rate_init=1e-300).fit(X_IRIS, Y_IRIS)
    assert model.loss_ != before
    assert len(np.unique(model.predict(X_IRIS))) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, bool, object])
def test_predictions_of_other_dtypes_have_that_of_the_model(dtype):
    X32 = X_IRIS.astype(np.float32)
    for fitted_on, expected in ((X32, np.float32), (X_IRIS, np.float64)):
        X = X_IRIS.round().astype(dtype)
        classifier = MLPClassifier(4, max_iter=2, random_state=0).fit(fitted_on, Y_IRIS)
        regressor = MLPRegressor(hidden_layer_sizes=4, max_iter=2).fit(fitted_on, Y_IRIS)
        for method in (
            classifier.predict_proba,
            classifier.predict_log_proba,
            classifier.transform,
            regressor.predict,
        ):
            assert method(X).dtype == expected
            assert method(X[:1].tolist()).dtype == expected


def test_float32_model_keeps_its_dtype():
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0, warm_start=True)
    model.fit(X_IRIS.astype(np.float32), Y_IRIS)
    single = model.predict(X_IRIS.astype(np.float32))
    double = model.predict(X_IRIS)  # computed in the wider dtype, as upstream's matrix product is
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-5)
    model.fit(X_IRIS, Y_IRIS)
    assert model.coefs_[0].dtype == np.float32


@BOTH
def test_warm_start_may_change_solver_and_stopping_rule(Estimator):
    model = Estimator(hidden_layer_sizes=5, max_iter=4, random_state=0, warm_start=True).fit(
        X_IRIS, Y_IRIS
    )
    losses = [model.loss_]
    model.set_params(solver="lbfgs", max_iter=30).fit(X_IRIS, Y_IRIS)
    losses.append(model.loss_)
    model.set_params(solver="adam", early_stopping=True, max_iter=3).fit(X_IRIS, Y_IRIS)
    losses.append(model.loss_)
    assert len(model.validation_scores_) == 3
    model.set_params(early_stopping=False).fit(X_IRIS, Y_IRIS)
    assert model.validation_scores_ is None
    assert all(b < a for a, b in pairwise(losses[:2]))
    assert losses[2] < losses[0]


# ---- early stopping, diverging


@BOTH
def test_early_stopping_keeps_the_weights_that_scored_best(Estimator):
    model = Estimator(
        hidden_layer_sizes=10,
        solver="sgd",
        learning_rate_init=0.3 if Estimator is MLPClassifier else 0.05,
        early_stopping=True,
        validation_fraction=0.3,
        max_iter=40,
        n_iter_no_change=40,
        random_state=3,
        batch_size=10,
    )
    # The split is the first thing drawn after the weights.
    rng = np.random.RandomState(3)
    n_outputs = 3 if Estimator is MLPClassifier else 1
    rng.uniform(size=4 * 10 + 10 + 10 * n_outputs + n_outputs)
    _, held_out = train_test_split(np.arange(150), test_size=0.3, random_state=rng)

    model.fit(X_IRIS, Y_IRIS)
    best = max(model.validation_scores_)
    assert model.validation_scores_[-1] < best == model.best_validation_score_
    assert model.score(X_IRIS[held_out], Y_IRIS[held_out]) == pytest.approx(best, abs=1e-12)


def test_warm_refit_with_early_stopping_does_not_lose_the_best_weights():
    """Upstream keeps an alias of the best weights and trains on in it."""
    settings = {
        "early_stopping": True,
        "warm_start": True,
        "random_state": 0,
        "n_iter_no_change": 50,
    }
    setosa = Y_IRIS == 0  # far from the others: any fit tells it apart
    model = MLPClassifier((10,), learning_rate_init=0.03, **settings).fit(X_IRIS, setosa)
    best, weights = model.best_validation_score_, [w.copy() for w in model.coefs_]
    assert best == 1.0  # cannot be beaten
    model.set_params(learning_rate_init=1.0).fit(X_IRIS, setosa)
    assert model.best_validation_score_ == best
    for a, b in zip(model.coefs_, weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_score_is_accuracy_by_weight():
    X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    weight = np.random.RandomState(0).uniform(size=100)
    for y, shape in ((Y, 3), (Y[:, 0], 1)):
        model = MLPClassifier((), early_stopping=True, max_iter=1, random_state=0)
        model.fit(X, y, sample_weight=weight)
        rng = np.random.RandomState(0)
        rng.uniform(size=20 * shape + shape)
        stratify = y if shape == 1 else None
        _, rows = train_test_split(
            np.arange(100), test_size=0.1, random_state=rng, stratify=stratify
        )
        expected = accuracy_score(y[rows], model.predict(X[rows]), sample_weight=weight[rows])
        assert model.validation_scores_ == [pytest.approx(expected)]


def test_diverging_with_early_stopping_warns_and_keeps_the_best():
    model = MLPRegressor(
        hidden_layer_sizes=20,
        activation="identity",
        solver="sgd",
        learning_rate_init=1.0,
        early_stopping=True,
        random_state=0,
    )
    with (
        np.errstate(all="ignore"),  # uncompiled, the kernels are NumPy's
        pytest.warns(ConvergenceWarning, match=r"loss became (inf|nan)"),
    ):
        model.fit(X_IRIS, Y_IRIS)
    assert model.n_iter_ < 20
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_
    assert np.isnan(model.validation_scores_[-1])
    assert not np.isfinite(model.loss_)
    assert np.isfinite(model.predict(X_IRIS)).all()


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_diverging_raises_and_loses_nothing(solver):
    model = MLPRegressor(
        hidden_layer_sizes=5, activation="identity", random_state=0, max_iter=5, warm_start=True
    )
    model.fit(X_IRIS, Y_IRIS)
    before = dict(vars(model))
    losses = list(model.loss_curve_)
    predictions = model.predict(X_IRIS)
    model.set_params(solver=solver, learning_rate_init=1e6, max_iter=200, n_iter_no_change=200)
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="Solver produced non-finite parameter weights"),
    ):
        model.fit(X_IRIS * 1e200, Y_IRIS)
    for name in before:
        if name.endswith("_"):
            assert vars(model)[name] is before[name], name
    assert model.loss_curve_ == losses
    np.testing.assert_array_equal(model.predict(X_IRIS), predictions)


# ---- the rest


def test_batch_larger_than_the_data_warns_and_uses_all():
    with pytest.warns(UserWarning, match="batch_size=1000 is larger than the 150 rows"):
        big = MLPClassifier(5, batch_size=1000, max_iter=3, random_state=0).fit(X_IRIS, Y_IRIS)
    exact = MLPClassifier(5, batch_size=150, max_iter=3, random_state=0).fit(X_IRIS, Y_IRIS)
    assert_same_weights(big, exact)


def test_batch_without_weight_is_skipped():
    weight = np.ones(150)
    weight[40:80] = 0
    model = MLPClassifier(5, batch_size=40, max_iter=2, random_state=0, shuffle=False)
    model.fit(X_IRIS, Y_IRIS, sample_weight=weight)
    rest = np.r_[0:40, 80:150]
    same = MLPClassifier(5, batch_size=40, max_iter=2, random_state=0, shuffle=False)
    same.fit(X_IRIS[rest], Y_IRIS[rest])
    assert_same_weights(model, same, rtol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, same.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_verbose_prints_a_line_per_iteration(solver, capsys):
    model = MLPClassifier(3, solver=solver, max_iter=4, verbose=1, random_state=0)
    model.fit(X_IRIS, Y_IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1] == f"Iteration 4, loss = {model.loss_:.8f}"


def test_verbose_tells_why_it_stops(capsys):
    model = MLPClassifier(
        3, solver="sgd", tol=1.0, n_iter_no_change=2, verbose=True, learning_rate="adaptive",
        early_stopping=True, random_state=0,
    )  # fmt: skip
    model.fit(X_IRIS, Y_IRIS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("Stopping.")
    assert sum("Learning rate" in line for line in lines) == 5
    assert sum("Validation score" in line for line in lines) == model.n_iter_


def test_partial_fit_absent_under_lbfgs():
    for model in (MLPClassifier(solver="lbfgs"), MLPRegressor(solver="lbfgs")):
        assert not hasattr(model, "partial_fit")
        with pytest.raises(AttributeError, match="partial_fit"):
            _ = model.partial_fit
        assert hasattr(model.set_params(solver="adam"), "partial_fit")


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_matrix, sp.coo_array])
def test_sparse_is_dense(container):
    X = np.where(X_IRIS > 2.0, X_IRIS, 0)
    for settings in ({"early_stopping": True, "batch_size": 32}, {"solver": "lbfgs"}):
        dense = MLPClassifier(6, random_state=0, max_iter=5, **settings).fit(X, Y_IRIS)
        sparse = MLPClassifier(6, random_state=0, max_iter=5, **settings)
        sparse.fit(container(X), Y_IRIS)
        assert_same_weights(dense, sparse, rtol=1e-8)
        np.testing.assert_allclose(
            sparse.predict_proba(container(X)), dense.predict_proba(X), rtol=1e-8
        )


def test_sparse_with_unsorted_and_repeated_entries():
    X = np.array([[3.0, 0, 1], [0, 2, 0], [1, 1, 1], [0, 0, 0]])
    messy = sp.csr_matrix(X)  # its parts are replaced: a constructor might tidy them up
    messy.data = np.array([0.5, 0.0, 3.0, 0.5, 2.0, 1.0, 1.0, 1.0])
    messy.indices = np.array([2, 1, 0, 2, 1, 2, 0, 1], dtype=np.int32)
    messy.indptr = np.array([0, 4, 5, 8, 8], dtype=np.int32)
    np.testing.assert_array_equal(messy.toarray(), X)
    y = [0, 1, 0, 1]
    dense = MLPClassifier(6, random_state=0, max_iter=5).fit(X, y)
    sparse = MLPClassifier(6, random_state=0, max_iter=5).fit(messy, y)
    assert_same_weights(dense, sparse, rtol=1e-10)


def test_input_is_left_alone():
    X, y, weight = X_IRIS.copy(), Y_IRIS.copy(), np.ones(150)
    for array in (X, y, weight):
        array.flags.writeable = False
    MLPClassifier(4, max_iter=2, early_stopping=True).fit(X, y, sample_weight=weight).predict(X)
    np.testing.assert_array_equal(X, X_IRIS)


def test_predict_adds_no_attribute():
    model = MLPClassifier(4, max_iter=2).fit(X_IRIS, Y_IRIS)
    before = dict(vars(model))
    model.predict(X_IRIS)
    model.predict_proba(X_IRIS[:1])
    assert vars(model) == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("spoil", "plain"),
    [
        (lambda X: X, True),
        (lambda X: X[:1], True),
        (lambda X: np.broadcast_to(X[0], X.shape).copy(), True),
        (lambda X: X[::2], False),
        (lambda X: np.asfortranarray(X), False),
        (lambda X: X.astype(X.dtype.newbyteorder()), False),
        (lambda X: X.astype(np.float16), False),
        (lambda X: X.round().astype(int), False),
        (lambda X: X.astype(object), False),
        (lambda X: X.tolist(), False),
        (lambda X: sp.csr_array(X), False),
        (lambda X: X.view(np.ma.MaskedArray), False),
        (lambda X: np.where(X[3, 1] == X, np.finfo(X.dtype).max, X), False),  # the sum overflows
    ],
)
def test_validation_is_skipped_only_where_it_would_change_nothing(dtype, spoil, plain, monkeypatch):
    model = MLPClassifier(4, max_iter=2, random_state=0).fit(X_IRIS.astype(dtype), Y_IRIS)
    X = spoil(X_IRIS.astype(dtype))
    validate, seen = nbnet.estimators.base.validate_data, []

    def spy(*args, **options):
        seen.append(validate(*args, **options))
        return seen[-1]

    monkeypatch.setattr(nbnet.estimators.base, "validate_data", spy)
    probabilities = model.predict_proba(X)
    assert (not seen) == plain
    dtypes = [dtype, np.float64, np.float32]  # what is neither becomes the model's
    expected = validate(model, X, accept_sparse="csr", dtype=dtypes, reset=False)
    monkeypatch.setattr(type(model), "_check_features", lambda model, X: expected)
    np.testing.assert_array_equal(model.predict_proba(X), probabilities)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.where(X_IRIS == 5.1, np.nan, X_IRIS), "contains NaN"),
        (np.where(X_IRIS == 5.1, np.inf, X_IRIS), "contains infinity"),
        (X_IRIS[:, :3].copy(), "3 features, but MLPClassifier is expecting 4"),
        (X_IRIS[:0], "0 sample"),
        (X_IRIS[0], "Expected 2D array"),
    ],
)
def test_predict_refuses_what_validation_refuses(X, message):
    model = MLPClassifier(4, max_iter=2).fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match=message):
        model.predict_proba(X)


def test_predict_warns_of_lost_feature_names():
    frame = load_iris(as_frame=True).data
    model = MLPClassifier(4, max_iter=2).fit(frame, Y_IRIS)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X_IRIS)


def test_converged_fit_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(4, solver="lbfgs", tol=1e-2, random_state=0).fit(X_IRIS, Y_IRIS)
        MLPClassifier(4, tol=1.0, random_state=0).fit(X_IRIS, Y_IRIS)


UNCONVERGED = {
    "adam": r"Stochastic Optimizer: Maximum iterations \(2\) reached and the optimization hasn't "
    r"converged yet\.",
    "lbfgs": r"lbfgs failed to converge after 2 iteration\(s\) \(status=1\)",
}


@pytest.mark.parametrize("solver", UNCONVERGED)
@BOTH
def test_unconverged_fit_warns_in_the_words_that_are_filtered(Estimator, solver):
    model = Estimator(hidden_layer_sizes=4, solver=solver, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match=f"^{UNCONVERGED[solver]}") as caught:
        model.fit(X_IRIS, Y_IRIS)
    assert {w.filename for w in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", UNCONVERGED[solver])
        model.fit(X_IRIS, Y_IRIS)


def test_warnings_name_the_users_line_through_scikit_learn():
    model = make_pipeline(MLPClassifier(4, max_iter=2, batch_size=1000))
    search = GridSearchCV(model, {"mlpclassifier__alpha": [0.1]}, cv=2)
    for call in (model.fit, search.fit):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(X_IRIS, Y_IRIS)
        assert {w.category for w in caught} == {ConvergenceWarning, UserWarning}
        assert {w.filename for w in caught} == {__file__}


def test_examples_in_docstrings():
    failed, tried = doctest.testmod(nbnet.estimators.mlp)
    assert failed == 0
    assert tried > 5
