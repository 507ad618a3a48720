"""Rows to validate on: the user's own, what is measured on them, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import naive
from nbnet import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
RNG = np.random.default_rng(0)
X_ALL, LABELS = load_iris(return_X_y=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[LABELS]
X, X_VAL, Y, Y_VAL = train_test_split(X_ALL, LABELS, test_size=40, random_state=0)
LENGTH, LENGTH_VAL = X[:, 0] - 5, X_VAL[:, 0] - 5
SHORT = {"hidden_layer_sizes": 5, "max_iter": 6, "random_state": 0, "batch_size": 32}
SHORT |= {"learning_rate_init": 0.02}
DEFAULTS = {"alpha": 0.1, **SHORT}


def data_of(Estimator):
    if Estimator is MLPClassifier:
        return Y, {"X_val": X_VAL, "y_val": Y_VAL}
    return LENGTH, {"X_val": X_VAL, "y_val": LENGTH_VAL}


def weights_of(model):
    return [*model.coefs_, *model.intercepts_]


def assert_same_weights(a, b):
    for left, right in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_array_equal(left, right)


def raw_outputs(model, X):
    """By NumPy, in float64, for hidden layers of ReLU."""
    h = X.toarray() if sp.issparse(X) else np.asarray(X)
    h = h.astype(np.float64)
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        h = np.maximum(h @ W.astype(np.float64) + b, 0)
    return h @ model.coefs_[-1].astype(np.float64) + model.intercepts_[-1]


POSITIVE = np.exp(LENGTH), np.exp(LENGTH_VAL)
TWO = np.c_[LENGTH, X[:, 2]], np.c_[LENGTH_VAL, X_VAL[:, 2]]
CODES = tuple(np.searchsorted(np.unique(LABELS), y)[:, None] for y in (Y, Y_VAL))
MANY = [(X[:, :3] > X_ALL[:, :3].mean(axis=0)).astype(int)]
MANY += [(X_VAL[:, :3] > X_ALL[:, :3].mean(axis=0)).astype(int)]
# model, y, y to validate on, encoded y to validate on, loss of the twin and its settings
CASES = {
    "log-loss": (MLPClassifier(), Y, Y_VAL, CODES[1], "softmax_cross_entropy", {}),
    "pinned": (
        MLPClassifier(loss="pinned_log_loss"), Y, Y_VAL, CODES[1],
        "pinned_softmax_cross_entropy", {},
    ),
    "binary": (
        MLPClassifier(), Y == "setosa", Y_VAL == "setosa", (Y_VAL == "setosa")[:, None],
        "sigmoid_cross_entropy", {},
    ),
    "multilabel": (MLPClassifier(), *MANY, MANY[1], "sigmoid_cross_entropy", {}),
    "squared": (MLPRegressor(), LENGTH, LENGTH_VAL, None, "half_squared_error", {}),
    "two columns": (MLPRegressor(), *TWO, None, "half_squared_error", {}),
    "absolute": (MLPRegressor("absolute_error"), *TWO, None, "absolute_error", {}),
    "poisson": (MLPRegressor("poisson"), *POSITIVE, None, "half_poisson_deviance", {}),
    "quantile": (
        MLPRegressor("quantile", quantile=0.8), *TWO, None, "quantile", {"quantile": 0.8},
    ),
    "huber": (
        MLPRegressor("huber", huber_delta=0.3), *TWO, None, "huber", {"huber_delta": 0.3},
    ),
    "gaussian": (MLPRegressor("gaussian"), *TWO, None, "gaussian", {}),
    "full": (MLPRegressor("gaussian", covariance="full"), *TWO, None, "full_gaussian", {}),
    "laplace": (MLPRegressor("laplace"), *TWO, None, "laplace", {}),
}  # fmt: skip


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_scores_are_those_of_the_weights_after_each_epoch(case, solver):
    """A fit of n epochs is the beginning of a longer one, which tells the weights of each epoch."""
    model, y, y_val, encoded, loss, settings = CASES[case]
    encoded = y_val.reshape(len(y_val), -1) if encoded is None else encoded
    weight = RNG.uniform(0.5, 2, len(y_val))
    given = {"X_val": X_VAL, "y_val": y_val, "sample_weight_val": weight}
    # a line search may end before the last iteration allowed; then there are no more weights
    rate = 0.0005 if solver == "sgd" else 0.005
    told = {**DEFAULTS, "solver": solver, "tol": 0, "learning_rate_init": rate}
    whole = clone(model).set_params(**told).fit(X, y, **given)
    assert len(whole.validation_losses_) == len(whole.validation_scores_) == whole.n_iter_
    metric = accuracy_score if isinstance(model, MLPClassifier) else r2_score
    for n in range(1, whole.n_iter_ + 1):
        part = clone(whole).set_params(max_iter=n).fit(X, y)
        values = naive.LOSSES[loss][0](raw_outputs(part, X_VAL), encoded, **settings)
        expected = np.average(values, weights=weight)
        np.testing.assert_allclose(whole.validation_losses_[n - 1], expected, rtol=1e-10)
        expected = metric(y_val, part.predict(X_VAL), sample_weight=weight)
        np.testing.assert_allclose(whole.validation_scores_[n - 1], expected, rtol=1e-12)
    assert whole.best_validation_score_ == max(whole.validation_scores_)
    assert whole.best_n_iter_ == 1 + np.argmax(whole.validation_scores_)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@BOTH
def test_without_early_stopping_the_weights_are_bitwise_the_same(Estimator, kind, dtype, solver):
    y, given = data_of(Estimator)
    model = Estimator(**DEFAULTS, solver=solver)
    alone = clone(model).fit(kind(X.astype(dtype)), y)
    other = sp.csr_matrix if kind is np.asarray else np.asarray  # the two need not be alike
    for validated in (kind(X_VAL), other(X_VAL)):
        beside = clone(model).fit(kind(X.astype(dtype)), y, **{**given, "X_val": validated})
        assert_same_weights(alone, beside)
        assert beside.loss_ == alone.loss_
        assert beside.n_iter_ == alone.n_iter_
        assert len(beside.validation_scores_) == beside.n_iter_
    if solver == "lbfgs":
        assert not hasattr(alone, "validation_losses_")
    else:
        assert alone.validation_losses_ is None
        assert beside.loss_curve_ == alone.loss_curve_
        assert beside.best_loss_ == alone.best_loss_


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@BOTH
def test_early_stopping_judges_them_and_draws_no_split(Estimator, solver):
    """The fit goes as one without a split, up to where the scores say stop."""
    y, given = data_of(Estimator)
    told = {**DEFAULTS, "solver": solver, "max_iter": 60, "tol": 0.01, "n_iter_no_change": 3}
    model = Estimator(**told, early_stopping=True).fit(X, y, **given)
    scores = model.validation_scores_
    # scikit-learn's rule
    best, count = -np.inf, 0
    for n, score in enumerate(scores, start=1):
        count = count + 1 if score < best + 0.01 else 0
        best = max(best, score)
        assert (count > 3) == (n == len(scores))
    assert model.n_iter_ == len(scores) < 60
    n_best = 1 + int(np.argmax(scores))
    twin = Estimator(**{**told, "max_iter": n_best, "n_iter_no_change": np.inf}).fit(X, y)
    assert_same_weights(model, twin)
    assert model.best_n_iter_ == n_best
    assert twin.loss_curve_ == model.loss_curve_[:n_best]
    assert model.best_loss_ is None


@BOTH
def test_the_rows_of_a_split_given_back_are_judged_alike(Estimator):
    y, _ = data_of(Estimator)
    told = {**DEFAULTS, "max_iter": 8, "early_stopping": True, "shuffle": False}
    split = Estimator(**told).fit(X, y)
    random_state = np.random.RandomState(0)
    for coef, bias in zip(split.coefs_, split.intercepts_, strict=True):
        random_state.uniform(size=coef.size + bias.size)
    rows, held_out = train_test_split(np.arange(len(X)), test_size=0.1, random_state=random_state)
    given = Estimator(**told).fit(X[rows], y[rows], X_val=X[held_out], y_val=y[held_out])
    assert_same_weights(split, given)
    assert split.validation_scores_ == given.validation_scores_
    assert split.validation_losses_ == given.validation_losses_


@pytest.mark.parametrize("restored", [{"early_stopping": True}, {"restore_best": True}])
def test_best_weights_are_those_of_the_best_epoch(restored):
    """By the score where rows are held out; and without early stopping training goes on."""
    told = {**DEFAULTS, "learning_rate_init": 0.3, "max_iter": 15, "n_iter_no_change": np.inf}
    model = MLPClassifier(**told, **restored).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    best = 1 + int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_ == 15
    assert model.best_n_iter_ == best
    assert_same_weights(model, MLPClassifier(**{**told, "max_iter": best}).fit(X, Y))
    assert model.score(X_VAL, Y_VAL) == model.best_validation_score_


@BOTH
def test_restore_best_without_held_out_rows_goes_by_the_training_loss(Estimator):
    y, _ = data_of(Estimator)
    told = {**DEFAULTS, "learning_rate_init": 0.5, "max_iter": 12, "n_iter_no_change": 4}
    model = Estimator(**told, restore_best=True).fit(X, y)
    last = Estimator(**told).fit(X, y)
    assert model.loss_curve_ == last.loss_curve_  # it stops where it would
    best = 1 + int(np.argmin(model.loss_curve_))
    assert best < model.n_iter_
    assert model.best_n_iter_ == last.best_n_iter_ == best
    assert_same_weights(model, Estimator(**{**told, "max_iter": best}).fit(X, y))


def test_restore_best_with_lbfgs_needs_rows_and_takes_the_best_iteration():
    told = {**DEFAULTS, "solver": "lbfgs", "max_iter": 25, "alpha": 0}
    model = MLPClassifier(**told, restore_best=True).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    best = 1 + int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_
    assert_same_weights(model, MLPClassifier(**{**told, "max_iter": best}).fit(X, Y))
    with pytest.warns(UserWarning, match=r"restore_best=True has no effect beside solver='lbfgs'"):
        MLPClassifier(**told, restore_best=True).fit(X, Y)


def test_restore_best_keeps_the_best_weights_of_a_fit_that_diverges():
    told = {**SHORT, "solver": "sgd", "activation": "identity", "max_iter": 60}
    slow, fast = ({**told, "learning_rate_init": rate} for rate in (1e-3, 0.05))
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(**fast).fit(X, LENGTH)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="of the best epoch are kept"):
        model = MLPRegressor(**fast, restore_best=True).fit(X, LENGTH)
    assert not np.isfinite(model.loss_)
    assert model.best_n_iter_ == model.n_iter_ - 1 == 1
    assert_same_weights(model, MLPRegressor(**{**fast, "max_iter": 1}).fit(X, LENGTH))

    model = MLPRegressor(**slow, warm_start=True, restore_best=True).fit(X, LENGTH)
    before = model.coefs_[0].copy()
    model.set_params(learning_rate_init=0.05).fit(X, LENGTH)
    assert not np.isfinite(model.loss_)
    assert model.best_n_iter_ == 0
    np.testing.assert_array_equal(model.coefs_[0], before)


@pytest.mark.parametrize("restored", ["early_stopping", "restore_best"])
def test_a_warm_fit_without_a_better_epoch_keeps_the_weights_it_began_with(restored):
    model = MLPClassifier(**{**DEFAULTS, "max_iter": 30}, warm_start=True, **{restored: True})
    given = {"X_val": X_VAL, "y_val": Y_VAL}
    model.fit(X, Y, **given)
    before, scores = [w.copy() for w in weights_of(model)], list(model.validation_scores_)
    best = model.best_validation_score_
    model.set_params(learning_rate_init=1e-9).fit(X, Y, **given)
    assert model.validation_scores_[: len(scores)] == scores
    assert len(model.validation_losses_) == len(model.validation_scores_) > len(scores)
    assert model.best_validation_score_ == best
    assert model.best_n_iter_ == 0
    for left, right in zip(weights_of(model), before, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_measured_with_any_number_of_threads(n_threads):
    from threadpoolctl import threadpool_limits

    many = RNG.permutation(np.repeat(np.arange(len(X)), 40))
    with threadpool_limits(n_threads):
        model = MLPClassifier(**DEFAULTS).fit(X[many], Y[many], X_val=X[many], y_val=Y[many])
    one = MLPClassifier(**DEFAULTS).fit(X[many], Y[many], X_val=X[many], y_val=Y[many])
    assert model.validation_losses_ == one.validation_losses_


COMPILED = """
import warnings
import numpy as np, scipy.sparse as sp
from nbnet import MLPClassifier, MLPRegressor
from nbnet.kernels import entry

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.standard_normal((60, 4))
told = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0}
judged = {"early_stopping": True, "scoring": "loss", "restore_best": True}

def code():
    return {door: set(getattr(entry, door).signatures) for door in ("train", "apply", "predict")}

for model, y, kind in (
    (MLPClassifier(**told), X[:, 0] > 0, np.asarray),
    (MLPRegressor("huber", **told), X[:, 0], np.asarray),
    (MLPRegressor("gaussian", activation="maxout", **told), X[:, 0],
     lambda X: sp.csr_matrix(X.astype(np.float32))),  # the code of no earlier one
):
    X_val = kind(X)
    model.fit(kind(X), y).predict(X_val)
    before = code()
    model.set_params(**judged).fit(kind(X), y, X_val=X_val, y_val=y)
    model.set_params(scoring=None).fit(kind(X), y)
    assert code() == before, (model, code(), before)
    assert before["train"] and before["predict"]
"""


def test_nothing_more_is_compiled(run_python):
    """Beyond what fit and predict need: for CSR and rare losses too, which are other code."""
    run_python("-c", COMPILED)


# ---- data of all kinds


@BOTH
def test_frames_lists_and_other_dtypes_are_read_as_X_is(Estimator):
    y, given = data_of(Estimator)
    plain = Estimator(**DEFAULTS).fit(X, y, **given)
    names = ["a", "b", "c", "d"]
    frame = Estimator(**DEFAULTS).fit(
        pd.DataFrame(X, columns=names), pd.Series(y),
        X_val=pd.DataFrame(X_VAL, columns=names), y_val=pd.Series(given["y_val"]),
    )  # fmt: skip
    lists = Estimator(**DEFAULTS).fit(
        X.tolist(), y.tolist(), X_val=X_VAL.tolist(), y_val=given["y_val"].tolist()
    )
    assert plain.validation_losses_ == frame.validation_losses_ == lists.validation_losses_
    single = Estimator(**DEFAULTS).fit(X.astype(np.float32), y, **given)
    assert single.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(single.validation_losses_, plain.validation_losses_, rtol=1e-4)


@BOTH
def test_sample_weight_val_of_0_is_a_row_that_is_not_there(Estimator):
    y, given = data_of(Estimator)
    weight = np.repeat([1.0, 0.0], [30, 10])
    a = Estimator(**DEFAULTS).fit(X, y, **given, sample_weight_val=weight)
    b = Estimator(**DEFAULTS).fit(X, y, X_val=X_VAL[:30], y_val=given["y_val"][:30])
    np.testing.assert_allclose(a.validation_losses_, b.validation_losses_, rtol=1e-12)
    np.testing.assert_allclose(a.validation_scores_, b.validation_scores_, rtol=1e-12)


def test_class_weight_is_not_applied_to_them():
    given = {"X_val": X_VAL, "y_val": Y_VAL}
    weighed = MLPClassifier(**DEFAULTS, class_weight={"setosa": 5}).fit(X, Y, **given)
    weight = np.where(Y == "setosa", 5, 1)
    twin = MLPClassifier(**DEFAULTS).fit(X, Y, sample_weight=weight, **given)
    assert weighed.validation_losses_ == twin.validation_losses_
    assert weighed.validation_scores_ == twin.validation_scores_


def test_labels_that_are_not_all_there_are_fine():
    some = Y_VAL != "virginica"
    model = MLPClassifier(**DEFAULTS).fit(X, Y, X_val=X_VAL[some], y_val=Y_VAL[some])
    assert model.validation_scores_[-1] == model.score(X_VAL[some], Y_VAL[some])


REFUSED = {
    "X_val alone": ({"y_val": None}, "X_val is given without y_val"),
    "y_val alone": ({"X_val": None}, "y_val is given without X_val"),
    "weights alone": (
        {"X_val": None, "y_val": None, "sample_weight_val": np.ones(40)},
        "sample_weight_val is given without X_val and y_val",
    ),
    "fewer columns": ({"X_val": X_VAL[:, 1:]}, "In X_val and y_val: X has 3 features"),
    "fewer rows": ({"X_val": X_VAL[1:]}, "In X_val and y_val: .*inconsistent numbers"),
    "one row": ({"X_val": X_VAL[:1], "y_val": [0]}, "In X_val and y_val: .*minimum of 2"),
    "NaN": ({"X_val": np.full_like(X_VAL, np.nan)}, "In X_val and y_val: Input X contains NaN"),
    "text": ({"X_val": X_VAL.astype(str)}, "X_val must hold numbers, but .*text"),
    "dates": ({"X_val": X_VAL.astype("M8[D]")}, "X_val must hold numbers, but .*dates"),
    "negative weights": ({"sample_weight_val": -np.ones(40)}, "sample_weight_val must be non-neg"),
    "no weight": (
        {"sample_weight_val": np.zeros(40)},
        "sample_weight_val(: .* non-zero| must sum to)",
    ),
    "little weight": (
        {"sample_weight_val": np.full(40, 1e-320)},
        "sample_weight_val must sum to at least",
    ),
    "other weights": ({"sample_weight_val": np.ones(41)}, r"sample_weight_val\.shape"),
    "NaN weights": ({"sample_weight_val": np.full(40, np.nan)}, "sample_weight_val contains NaN"),
}


@pytest.mark.parametrize("case", REFUSED)
@BOTH
def test_what_is_refused_names_the_parameter_and_loses_nothing(Estimator, case):
    y, given = data_of(Estimator)
    change, message = REFUSED[case]
    model = Estimator(**DEFAULTS).fit(X, y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **{**given, **change})
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize(
    ("model", "y", "y_val", "message"),
    [
        (MLPClassifier(), Y, np.where(Y_VAL == "setosa", "rose", Y_VAL), r"In y_val: .*\['rose'\]"),
        (MLPClassifier(), Y, LENGTH_VAL, "In y_val: Unknown label type"),
        (MLPClassifier(), Y, MANY[1], "In y_val: it is multilabel-indicator, but y is multiclass"),
        (MLPClassifier(), MANY[0], Y_VAL, "In y_val: it is multiclass, but y is multilabel"),
        (MLPClassifier(), MANY[0], np.c_[MANY[1], MANY[1]], r"In y_val: .*columns \[3, 4, 5\]"),
        (MLPRegressor(), LENGTH, TWO[1], "In y_val: it has 2 columns, but y has 1"),
        (MLPRegressor(), TWO[0], LENGTH_VAL, "In y_val: it has 1 columns, but y has 2"),
        (MLPRegressor("poisson"), POSITIVE[0], -POSITIVE[1], "In y_val: loss='poisson' needs 0 <="),
        (MLPRegressor(), LENGTH, Y_VAL, "y_val must hold numbers"),
    ],
)
def test_targets_of_another_kind_are_refused(model, y, y_val, message):
    with pytest.raises(ValueError, match=message):
        clone(model).set_params(**DEFAULTS).fit(X, y, X_val=X_VAL, y_val=y_val)


def test_names_of_features_must_agree():
    frame = pd.DataFrame(X).add_prefix("f")
    other = pd.DataFrame(X_VAL).add_prefix("g")
    with pytest.raises(ValueError, match="In X_val and y_val: The feature names"):
        MLPClassifier(**DEFAULTS).fit(frame, Y, X_val=other, y_val=Y_VAL)


def test_a_sparse_matrix_with_indices_outside_is_refused():
    broken = sp.csr_matrix(X_VAL)
    broken.indices[0] = 77
    with pytest.raises(ValueError, match="In X_val and y_val"):
        MLPClassifier(**DEFAULTS).fit(X, Y, X_val=broken, y_val=Y_VAL)


def test_multilabel_and_sparse_targets():
    features, labels = make_multilabel_classification(n_samples=80, random_state=0)
    part = slice(60, None)
    told = {"X_val": features[part], "y_val": sp.csr_matrix(labels[part])}
    a = MLPClassifier(**DEFAULTS).fit(features[:60], sp.csr_matrix(labels[:60]), **told)
    b = MLPClassifier(**DEFAULTS).fit(
        features[:60], labels[:60], X_val=features[part], y_val=labels[part]
    )
    assert a.validation_losses_ == b.validation_losses_
    assert a.validation_scores_[-1] == b.score(features[part], labels[part])


def test_validation_fraction_beside_them_is_warned_of():
    model = MLPClassifier(**DEFAULTS, early_stopping=True, validation_fraction=0.3)
    with pytest.warns(UserWarning, match=r"validation_fraction=0.3 has no effect beside X_val"):
        model.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)


def test_partial_fit_takes_none():
    model = MLPClassifier(restore_best=True)
    with pytest.raises(ValueError, match="partial_fit does not support restore_best=True"):
        model.partial_fit(X, Y, classes=np.unique(Y))
    with pytest.raises(TypeError, match="X_val"):
        MLPClassifier().partial_fit(X, Y, classes=np.unique(Y), X_val=X_VAL, y_val=Y_VAL)


# ---- pipelines and searches


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
@BOTH
def test_a_pipeline_transforms_X_val_as_it_does_X(Estimator):
    y, given = data_of(Estimator)
    told = {**DEFAULTS, "early_stopping": True}
    model = Estimator(**told).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    pipe = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
    weight = RNG.uniform(1, 2, len(X_VAL))
    pipe.fit(X, y, **given, sample_weight_val=weight)
    scaler = StandardScaler().fit(X)
    twin = Estimator(**told).fit(
        scaler.transform(X), y, X_val=scaler.transform(X_VAL), y_val=given["y_val"],
        sample_weight_val=weight,
    )  # fmt: skip
    assert_same_weights(pipe[-1], twin)
    assert pipe[-1].validation_scores_ == twin.validation_scores_


@pytest.mark.usefixtures("routing")
def test_a_search_passes_them_on():
    model = MLPClassifier(**DEFAULTS, early_stopping=True).set_fit_request(X_val=True, y_val=True)
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2)
    search.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    best = clone(search.best_estimator_).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert search.best_estimator_.validation_scores_ == best.validation_scores_


def test_diabetes_stops_by_rows_of_ones_own():
    features, target = load_diabetes(return_X_y=True)
    target = (target - target.mean()) / target.std()
    told = {"hidden_layer_sizes": 30, "learning_rate_init": 0.01, "random_state": 0}
    rows, held_out = np.arange(300), np.arange(300, 442)
    model = MLPRegressor(**told, early_stopping=True, max_iter=300).fit(
        features[rows], target[rows], X_val=features[held_out], y_val=target[held_out]
    )
    assert model.n_iter_ < 300
    assert model.score(features[held_out], target[held_out]) == pytest.approx(
        model.best_validation_score_, abs=1e-12
    )
    assert model.best_validation_score_ > 0.3
