"""The metric that decides: scikit-learn's scorers and the user's, from outputs in hand."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.metrics import (
    fbeta_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    mean_pinball_loss,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split

from nbnet import MLPClassifier, MLPRegressor
from nbnet.graph.outline import Outline

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X_ALL, LABELS = load_iris(return_X_y=True)
LABELS = np.array(["c", "a", "b"])[LABELS]  # the order of classes is not that of the rows
X, X_VAL, Y, Y_VAL = train_test_split(X_ALL, LABELS, test_size=60, random_state=0)
LENGTH, LENGTH_VAL = X[:, 2] + 0.5, X_VAL[:, 2] + 0.5
SHORT = {"hidden_layer_sizes": 5, "max_iter": 4, "random_state": 0, "learning_rate_init": 0.05}

# What scorers are for clusters, or need what y is not here.
CLUSTERING = {
    "adjusted_mutual_info_score", "adjusted_rand_score", "completeness_score",
    "fowlkes_mallows_score", "homogeneity_score", "mutual_info_score",
    "normalized_mutual_info_score", "rand_score", "v_measure_score",
}  # fmt: skip
OF_REGRESSORS = {
    "explained_variance", "max_error", "neg_max_error", "neg_mean_absolute_error",
    "neg_mean_absolute_percentage_error", "neg_mean_gamma_deviance",
    "neg_mean_poisson_deviance", "neg_mean_squared_error", "neg_mean_squared_log_error",
    "neg_median_absolute_error", "neg_root_mean_squared_error",
    "neg_root_mean_squared_log_error", "r2", "d2_absolute_error_score",
} & set(get_scorer_names())  # fmt: skip
OF_CLASSIFIERS = set(get_scorer_names()) - OF_REGRESSORS - CLUSTERING
# These speak of the positive class, which is 1.
BINARY = {
    "average_precision", "f1", "jaccard", "precision", "recall", "roc_auc",
    "neg_brier_score", "neg_negative_likelihood_ratio", "positive_likelihood_ratio",
} & OF_CLASSIFIERS  # fmt: skip
MULTILABEL = {"f1_samples", "jaccard_samples", "precision_samples", "recall_samples"}


def data_of(name):
    if name in OF_REGRESSORS:
        model = MLPRegressor("poisson", **SHORT)
        return model, LENGTH, LENGTH_VAL
    model = MLPClassifier(**SHORT)
    if name in MULTILABEL:
        return model, *[(x[:, :3] > X_ALL[:, :3].mean(axis=0)).astype(int) for x in (X, X_VAL)]
    if name in BINARY:
        return model, (Y == "b").astype(int), (Y_VAL == "b").astype(int)
    return model, Y, Y_VAL


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(OF_REGRESSORS | OF_CLASSIFIERS))
def test_a_name_scores_as_the_scorer_does_on_the_model_of_each_epoch(name, dtype):
    model, y, y_val = data_of(name)
    scorer = get_scorer(name)
    weight = RNG.uniform(0.5, 2, len(y_val)).astype(dtype)
    if "_ovo" in name:  # the function has the parameter, and refuses it
        weight = None
    weighed = weight is not None and scorer._accept_sample_weight()
    X_val = X_VAL.astype(dtype)
    whole = clone(model).set_params(scoring=name).fit(
        X.astype(dtype), y, X_val=X_val, y_val=y_val, sample_weight_val=weight
    )  # fmt: skip
    for n in range(1, whole.n_iter_ + 1):
        part = clone(model).set_params(max_iter=n).fit(X.astype(dtype), y)
        more = {"sample_weight": weight} if weighed else {}
        expected = scorer(part, X_val, y_val, **more)
        # r2 is ours, and reads y as the model does
        rtol = 1e-5 if name == "r2" and dtype is np.float32 else 1e-12
        np.testing.assert_allclose(whole.validation_scores_[n - 1], expected, rtol=rtol)
    finite = np.array(whole.validation_scores_)
    if not np.isnan(finite).any():
        assert whole.best_n_iter_ == 1 + np.argmax(finite)


def test_most_scorers_were_tried():
    assert len(OF_CLASSIFIERS) > 20
    assert len(OF_REGRESSORS) > 8
    assert set(get_scorer_names()) >= CLUSTERING


QUANTILE = make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.8)
OF_A = make_scorer(fbeta_score, beta=2, pos_label="a")
AUC_OF_A = make_scorer(roc_auc_score, response_method="predict_proba")


def plain(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


def every_method(estimator, X, y):
    """All that a fitted model has is there."""
    assert is_classifier(estimator)
    assert estimator.classes_.tolist() == ["a", "b", "c"]
    assert estimator.n_features_in_ == 4
    probabilities = estimator.predict_proba(X)
    logarithms = estimator.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(logarithms), probabilities, rtol=1e-12)
    np.testing.assert_array_equal(
        estimator.predict(X), estimator.classes_[probabilities.argmax(axis=1)]
    )
    np.testing.assert_array_equal(estimator.predict(X[:7]), estimator.predict(X)[:7])
    np.testing.assert_array_equal(estimator.predict_log_proba(X[3:4]), logarithms[3:4])
    assert estimator.transform(X).shape == (len(X), 5)
    assert [coef.shape for coef in estimator.coefs_] == [(4, 5), (5, 3)]
    return estimator.score(X, y)


@pytest.mark.parametrize("scoring", [plain, every_method, "accuracy"])
@pytest.mark.parametrize("told", [{"early_stopping": True}, {"solver": "lbfgs"}])
def test_a_function_of_the_users_gets_the_model_of_the_epoch(scoring, told):
    given = {} if "early_stopping" in told else {"X_val": X_VAL, "y_val": Y_VAL}
    a = MLPClassifier(**SHORT, **told, scoring=scoring).fit(X, Y, **given)
    b = MLPClassifier(**SHORT, **told).fit(X, Y, **given)
    assert a.validation_scores_ == b.validation_scores_
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])
    assert type(a) is MLPClassifier


@pytest.mark.parametrize(
    ("model", "y", "y_val", "scoring"),
    [
        (MLPRegressor("quantile", quantile=0.8), LENGTH, LENGTH_VAL, QUANTILE),
        (MLPClassifier(), np.where(Y == "a", "a", "z"), np.where(Y_VAL == "a", "a", "z"), OF_A),
        (MLPClassifier(), Y == "a", Y_VAL == "a", AUC_OF_A),
    ],
)
def test_scorers_that_are_made(model, y, y_val, scoring):
    told = {**SHORT, "scoring": scoring, "early_stopping": True}
    weight = RNG.uniform(0.5, 2, len(y_val))
    fitted = clone(model).set_params(**told).fit(
        X, y, X_val=X_VAL, y_val=y_val, sample_weight_val=weight
    )  # fmt: skip
    expected = scoring(fitted, X_VAL, y_val, sample_weight=weight)
    np.testing.assert_allclose(fitted.best_validation_score_, expected, rtol=1e-12)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.validation_scores_ == fitted.validation_scores_


def test_a_function_gets_weights_if_it_takes_them_and_data_as_given():
    seen = []

    def scoring(estimator, X, y, sample_weight=None):
        seen.append((X, y, sample_weight))
        return 0.0

    weight = np.ones(60)
    model = MLPClassifier(**SHORT, scoring=scoring)
    model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL, sample_weight_val=weight)
    assert all(x is X_VAL for x, *_ in seen)
    assert all(w is not None and w.sum() == 60 for *_, w in seen)
    assert len(seen) == model.n_iter_
    model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert seen[-1][-1] is None
    seen.clear()
    model.set_params(early_stopping=True).fit(X, Y, sample_weight=np.arange(90.0))
    rows = [np.flatnonzero((row == X).all(axis=1)) for row in seen[0][0]]
    assert all(Y[i[0]] == label for i, label in zip(rows, seen[0][1], strict=True))
    assert all(w in i for i, w in zip(rows, seen[0][2], strict=True))


def pickled(model):
    return pickle.loads(pickle.dumps(model.set_params(scoring=None)))  # a local function


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_of_the_model_of_the_moment_stays_what_it_was(copied):
    kept = []

    def scoring(estimator, X, y):
        kept.append(copied(estimator))
        return estimator.score(X, y)

    told = {**SHORT, "early_stopping": True}
    model = MLPClassifier(**told, scoring=scoring).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    for n, other in enumerate(kept, start=1):
        assert type(other) is MLPClassifier
        assert other.score(X_VAL, Y_VAL) == model.validation_scores_[n - 1]
        part = MLPClassifier(**{**SHORT, "max_iter": n}).fit(X, Y)
        np.testing.assert_array_equal(other.coefs_[0], part.coefs_[0])


def test_metadata_routing_changes_nothing():
    weight = np.arange(60.0)
    given = {"X_val": X_VAL, "y_val": Y_VAL, "sample_weight_val": weight}
    model = MLPClassifier(**SHORT, scoring="balanced_accuracy")
    scores = clone(model).fit(X, Y, **given).validation_scores_
    with sklearn.config_context(enable_metadata_routing=True):
        assert clone(model).fit(X, Y, **given).validation_scores_ == scores


def test_multilabel_and_sparse_labels():
    features, labels = make_multilabel_classification(n_samples=80, random_state=0)
    told = {**SHORT, "early_stopping": True, "scoring": "f1_micro"}
    a = MLPClassifier(**told).fit(features, sp.csr_matrix(labels))
    b = MLPClassifier(**told).fit(features, labels)
    assert a.validation_scores_ == b.validation_scores_


def test_an_intermediate_regressor_tells_its_scale():
    def likelihood(estimator, X, y):
        assert is_regressor(estimator)
        mean, std = estimator.predict(X, return_std=True)
        return -float(np.mean(np.log(std) + ((y - mean) / std) ** 2 / 2)) - np.log(2 * np.pi) / 2

    model = MLPRegressor("gaussian", **SHORT, scoring=likelihood)
    model.fit(X, LENGTH, X_val=X_VAL, y_val=LENGTH_VAL)
    np.testing.assert_allclose(
        model.validation_scores_, np.negative(model.validation_losses_), rtol=1e-12
    )


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_loss_is_the_negative_loss_on_the_rows(solver):
    told = {**SHORT, "solver": solver, "max_iter": 40, "n_iter_no_change": 3, "tol": 1e-3}
    model = MLPClassifier(**told, early_stopping=True, scoring="loss").fit(X, Y)
    assert model.validation_scores_ == [-loss for loss in model.validation_losses_]
    best, count = -np.inf, 0
    for score in model.validation_scores_:
        count = count + 1 if score < best + 1e-3 else 0
        best = max(best, score)
    assert (count > 3) == (model.n_iter_ < 40)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss", plain])
def test_the_network_runs_once_over_the_rows(scoring, monkeypatch):
    runs = []
    forward = Outline.run_forward

    def counting(self, *arguments):
        if self.n_params:  # links are read by a network without parameters
            runs.append(arguments)
        return forward(self, *arguments)

    monkeypatch.setattr(Outline, "run_forward", counting)
    model = MLPClassifier(**SHORT, early_stopping=True, scoring=scoring).fit(X, Y)
    assert len(runs) == model.n_iter_


# ---- scores that are no numbers, and errors


def test_nan_is_no_improvement():
    scores = iter([0.5, np.nan, 0.9, np.nan, np.nan, np.nan, 0.95])
    told = {**SHORT, "max_iter": 20, "n_iter_no_change": 2, "early_stopping": True}
    model = MLPClassifier(**told, scoring=lambda *_: next(scores)).fit(X, Y)
    np.testing.assert_array_equal(model.validation_scores_, [0.5, np.nan, 0.9] + 3 * [np.nan])
    assert model.best_n_iter_ == 3
    assert model.best_validation_score_ == 0.9


def test_nothing_but_nan_is_warned_of_and_the_last_weights_are_kept():
    told = {**SHORT, "n_iter_no_change": 2, "max_iter": 10}
    model = MLPClassifier(**told, early_stopping=True, scoring=lambda *_: np.nan)
    with pytest.warns(UserWarning, match="was NaN in each of 3 epochs"):
        model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    twin = MLPClassifier(**{**told, "max_iter": 3}).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], twin.coefs_[0])
    assert model.best_n_iter_ == 0


@pytest.mark.parametrize("name", ["acuracy", "ROC_AUC", "", 3, ["accuracy"]])
def test_a_bad_name_is_refused_before_training(name, monkeypatch):
    monkeypatch.setattr(MLPClassifier, "_train_by_epochs", None)
    with pytest.raises(ValueError, match="'scoring' parameter of MLPClassifier") as caught:
        MLPClassifier(scoring=name, early_stopping=True).fit(X, Y)
    assert repr(name) in str(caught.value)
    assert "'roc_auc'" in str(caught.value)


@pytest.mark.parametrize(
    ("scoring", "error", "message"),
    [
        (lambda e, X, y: 1 / 0, ZeroDivisionError, "division"),
        (lambda e, X, y: "much", TypeError, "scoring=.* must return a number; it returned 'much'"),
        (lambda e, X, y: np.ones(2), TypeError, "must return a number"),
        ("f1", ValueError, "average='binary'|pos_label=1"),
    ],
)
def test_a_scorer_that_raises_ends_the_fit_and_loses_nothing(scoring, error, message):
    model = MLPClassifier(**SHORT, warm_start=True, early_stopping=True).fit(X, Y)
    before = dict(vars(model))
    coefs = [coef.copy() for coef in model.coefs_]
    model.set_params(scoring=scoring)
    with pytest.raises(error, match=message):
        model.fit(X, Y)
    after = dict(vars(model), scoring=None)
    assert after.keys() == before.keys()
    assert all(after[name] is value for name, value in before.items())
    for left, right in zip(model.coefs_, coefs, strict=True):
        np.testing.assert_array_equal(left, right)


def test_without_rows_it_is_warned_of():
    with pytest.warns(UserWarning, match="scoring='f1_macro' has no effect beside early_stopping"):
        MLPClassifier(**SHORT, scoring="f1_macro").fit(X, Y)
    MLPClassifier(**SHORT, scoring="f1_macro").fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    model = MLPClassifier(**SHORT, scoring="loss").fit(X, Y)  # it is judged already
    assert model.validation_scores_ is None
    np.testing.assert_array_equal(model.coefs_[0], MLPClassifier(**SHORT).fit(X, Y).coefs_[0])


def test_a_warm_fit_with_another_score_begins_a_new_history():
    given = {"X_val": X_VAL, "y_val": Y_VAL}
    model = MLPClassifier(**SHORT, early_stopping=True, warm_start=True).fit(X, Y, **given)
    assert model.best_validation_score_ > 0  # no log-loss could beat it
    model.set_params(scoring="neg_log_loss").fit(X, Y, **given)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_n_iter_ > 0
    first = list(model.validation_scores_)
    model.fit(X, Y, **given)
    assert model.validation_scores_[: len(first)] == first
