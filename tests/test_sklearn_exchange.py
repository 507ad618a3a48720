"""To scikit-learn's estimators and back: the same predictions, and training goes on alike."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import sklearn.neural_network as upstream
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError

import nbnet
from nbnet import MLPClassifier, MLPRegressor, from_sklearn
from nbnet import graph as g

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["c", "a", "b"])[Y]
X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
Y_DIABETES = (Y_DIABETES - 150) / 77
X_LABELS, LABELS = make_multilabel_classification(n_samples=90, random_state=0)
SHORT = {"hidden_layer_sizes": (7, 5), "max_iter": 6, "random_state": 0, "learning_rate_init": 0.02}
DATA = {
    "several classes": ("MLPClassifier", X, NAMES),
    "two classes": ("MLPClassifier", X, NAMES == "a"),
    "one class": ("MLPClassifier", X, np.full(len(X), "a")),
    "labels": ("MLPClassifier", X_LABELS, LABELS),
    "sparse labels": ("MLPClassifier", X_LABELS, sp.csr_matrix(LABELS)),
    "numbers": ("MLPRegressor", X_DIABETES, Y_DIABETES),
    "two columns": ("MLPRegressor", X_DIABETES, np.c_[Y_DIABETES, -Y_DIABETES]),
}
TOLD = {
    "adam": {},
    "sgd": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.8},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1,
    },
    "lbfgs": {"solver": "lbfgs"},
    "early": {"early_stopping": True, "activation": "logistic"},
    "warm": {"warm_start": True, "activation": "tanh"},
    "linear": {"hidden_layer_sizes": (), "activation": "identity"},
}  # fmt: skip


def dense(prediction):
    return prediction.toarray() if sp.issparse(prediction) else prediction


def assert_predicts_alike(a, b, X, rtol=1e-12):
    left, right = a.predict(X), b.predict(X)
    assert sp.issparse(left) == sp.issparse(right)
    left, right = dense(left), dense(right)
    assert left.dtype == right.dtype
    if left.dtype.kind == "f":
        np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(left, right)
    if hasattr(a, "predict_proba") and len(a.classes_) > 1:
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=rtol, atol=rtol)


def go_on(model, X, y):
    """What a user may do next, each on a copy: warm, incremental and fresh training."""
    for step in ("partial_fit", "partial_fit", "warm", "fit"):
        if step == "partial_fit" and (model.solver == "lbfgs" or model.early_stopping):
            continue
        if step == "warm":
            model.set_params(warm_start=True).fit(X, y)
        else:
            getattr(model, step)(X, y)
        yield step
        model.set_params(warm_start=False)


def skip_what_upstream_cannot(told, y):
    """scikit-learn 1.7.0 asks whether labels are NaN: text and sparse matrices cannot say."""
    if told == "early" and sklearn.__version__ == "1.7.0" and np.asarray(y).dtype.kind in "UO":
        pytest.skip("scikit-learn 1.7.0 does not stop early on text or sparse labels")


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("data", DATA)
def test_ours_becomes_theirs_and_goes_on(data, told):
    name, X, y = DATA[data]
    skip_what_upstream_cannot(told, y)
    ours = getattr(nbnet, name)(**SHORT).set_params(**TOLD[told]).fit(X, y)
    before = pickle.dumps(ours.coefs_)
    theirs = ours.to_sklearn()
    assert type(theirs) is getattr(upstream, name)
    assert theirs.get_params() == {
        key: value for key, value in ours.get_params().items() if key in theirs.get_params()
    }
    assert_predicts_alike(ours, theirs, X)
    theirs = pickle.loads(pickle.dumps(theirs))
    if told == "lbfgs" and data != "several classes":
        return  # it has no more to say than that one
    for ours_step, theirs_step in zip(go_on(ours, X, y), go_on(theirs, X, y), strict=True):
        assert ours_step == theirs_step
        assert ours.t_ == theirs.t_
        # another line search may take another turn; each call begins where the last one ended
        if told != "lbfgs":
            np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-7, atol=1e-9)
        if hasattr(ours, "loss_curve_") and data != "two columns":  # where theirs is a mean
            np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)
            assert ours.n_iter_ == theirs.n_iter_
    assert pickle.dumps(clone(ours).fit(X, y).coefs_) == before or told == "lbfgs"


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("data", DATA)
def test_theirs_becomes_ours_and_goes_on(data, told):
    name, X, y = DATA[data]
    skip_what_upstream_cannot(told, y)
    theirs = getattr(upstream, name)(**SHORT).set_params(**TOLD[told]).fit(X, y)
    ours = from_sklearn(theirs)
    assert type(ours) is getattr(nbnet, name)
    assert theirs.get_params().items() <= ours.get_params().items()
    assert_predicts_alike(ours, theirs, X)
    ours = pickle.loads(pickle.dumps(ours))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network, params = ours.to_network()
    assert network.n_params == params.size
    if told == "lbfgs":
        return
    if told == "early":  # its best weights are those it would overwrite: see docs/differences.md
        theirs._best_coefs = [coef.copy() for coef in theirs._best_coefs]
        theirs._best_intercepts = [bias.copy() for bias in theirs._best_intercepts]
    for ours_step, theirs_step in zip(go_on(ours, X, y), go_on(theirs, X, y), strict=True):
        assert ours_step == theirs_step
        assert ours.t_ == theirs.t_
        np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-7, atol=1e-9)
        if data != "two columns":
            np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-8)


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("data", DATA)
def test_there_and_back_nothing_is_lost(data, told):
    name, X, y = DATA[data]
    model = getattr(nbnet, name)(**SHORT).set_params(**TOLD[told]).fit(X, y)
    again = from_sklearn(model.to_sklearn())
    assert model.get_params() == again.get_params()
    for coef, other in zip(
        model.coefs_ + model.intercepts_, again.coefs_ + again.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(coef, other)
        assert not np.shares_memory(coef, other)
    ours, theirs = vars(model), vars(again)
    assert set(ours) - {"_cut_from", "_built"} == set(theirs)
    past, back = ours.get("_training"), theirs.get("_training")
    assert (past is None) == (back is None)
    if past is not None:
        for key in set(past) - {"step"}:
            np.testing.assert_array_equal(past[key], back[key], err_msg=key)
        assert model.best_n_iter_ == again.best_n_iter_
    np.testing.assert_array_equal(dense(model.predict(X)), dense(again.predict(X)))


@pytest.mark.parametrize("data", ["several classes", "two columns"])
def test_float32_stays(data):
    name, X, y = DATA[data]
    X = X.astype(np.float32)
    ours = getattr(nbnet, name)(**SHORT).fit(X, y)
    theirs = ours.to_sklearn()
    assert theirs.coefs_[0].dtype == np.float32
    assert_predicts_alike(ours, theirs, X, rtol=1e-5)
    again = from_sklearn(theirs)
    assert again.coefs_[0].dtype == np.float32
    np.testing.assert_array_equal(ours.predict(X), again.predict(X))


def test_names_of_features_come_along():
    frame = pd.DataFrame(X).add_prefix("f")
    theirs = MLPClassifier(**SHORT).fit(frame, NAMES).to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["f0", "f1", "f2", "f3"]
    assert from_sklearn(theirs).score(frame, NAMES) == theirs.score(frame, NAMES)


def test_partial_fit_from_the_beginning():
    ours = MLPClassifier(**SHORT).partial_fit(X[:50], NAMES[:50], classes=["a", "b", "c"])
    theirs = ours.to_sklearn()
    ours.partial_fit(X, NAMES)
    theirs.partial_fit(X, NAMES)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-9)


def test_poisson():
    y = np.exp(Y_DIABETES)
    ours = MLPRegressor("poisson", **SHORT).fit(X_DIABETES, y)
    theirs = ours.to_sklearn()
    assert theirs.loss == "poisson"
    assert_predicts_alike(ours, theirs, X_DIABETES)
    assert_predicts_alike(from_sklearn(theirs), theirs, X_DIABETES)


@pytest.mark.parametrize("y", [1e4 + 50 * Y_DIABETES, np.c_[1e4 + 50 * Y_DIABETES, Y_DIABETES]])
def test_units_become_part_of_the_last_layer(y):
    ours = MLPRegressor(**SHORT, standardize_y=True).fit(X_DIABETES, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = ours.to_sklearn()
    np.testing.assert_allclose(theirs.predict(X_DIABETES), ours.predict(X_DIABETES), rtol=1e-12)
    assert not hasattr(theirs, "_optimizer")
    theirs.partial_fit(X_DIABETES, y)


def body(x):
    return g.tanh(g.dense(x, 3))


LACKING = [
    (MLPClassifier(activation="leaky_relu"), "has no activation='leaky_relu', only 'identity'"),
    (MLPClassifier((4, 3), ("tanh", "relu")), "one activation for all hidden layers"),
    (MLPClassifier(architecture=body), "has no architecture=<function body"),
    (MLPClassifier(loss="pinned_log_loss"), "has no loss='pinned_log_loss'"),
    (MLPRegressor("huber"), "'loss' parameter of MLPRegressor .*'huber'"),
    (MLPRegressor("gaussian"), "'loss' parameter of MLPRegressor .*'gaussian'"),
]


@pytest.mark.parametrize(("model", "message"), LACKING)
def test_what_scikit_learn_lacks_is_named(model, message):
    model = clone(model).set_params(max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.to_sklearn()


def test_a_sequence_of_one_activation_and_another_loss_set_since_are_fine():
    model = MLPClassifier((4, 3), ["tanh", "tanh"], max_iter=2).fit(X, Y)
    assert model.to_sklearn().activation == "tanh"
    model = MLPRegressor(max_iter=2).fit(X, Y).set_params(loss="gaussian")
    assert model.to_sklearn().loss == "squared_error"


def test_parameters_of_the_training_alone_are_warned_of():
    model = MLPClassifier(**SHORT, class_weight="balanced", restore_best=True, pieces=3)
    model.fit(X, NAMES)
    with pytest.warns(
        UserWarning, match="has no .*class_weight='balanced', restore_best=True"
    ) as w:
        theirs = model.to_sklearn()
    assert "pieces" not in str(w[0].message)
    assert_predicts_alike(model, theirs, X)


def test_models_that_are_not_fitted():
    with pytest.raises(NotFittedError):
        MLPClassifier().to_sklearn()
    new = from_sklearn(upstream.MLPRegressor(alpha=0.3, hidden_layer_sizes=[4]))
    assert new.get_params()["alpha"] == 0.3
    assert new.hidden_layer_sizes == [4]
    assert not hasattr(new, "coefs_")


@pytest.mark.parametrize("other", [MLPClassifier(), upstream.BernoulliRBM(), None])
def test_what_is_not_theirs_is_refused(other):
    with pytest.raises(
        TypeError, match=r"from_sklearn needs an MLPClassifier or MLPRegressor of sk"
    ):
        from_sklearn(other)
