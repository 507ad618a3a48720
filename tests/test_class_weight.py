"""Weights of classes: what they are multiplied into, and what is refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from nbnet import MLPClassifier
from nbnet.estimators.class_weight import weigh_classes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X, Y = X[:120], Y[:120]  # 50, 50 and 20 of a class
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
BY_HAND = {"setosa": 1.5, "virginica": 7}
SHORT = {"hidden_layer_sizes": 5, "max_iter": 4, "random_state": 0, "batch_size": 32}


def arrays(model):
    return [*model.coefs_, *model.intercepts_, np.array(model.loss_curve_)]


def assert_same(a, b):
    for left, right in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(left, right)


def by_hand(weights, y, sample_weight=1.0):
    return np.array([weights.get(label, 1.0) for label in y.tolist()]) * sample_weight


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("more", [{}, {"solver": "sgd"}, {"early_stopping": True}])
def test_a_class_weight_is_a_sample_weight(kind, dtype, more):
    features = kind(X.astype(dtype))
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    balanced = compute_sample_weight("balanced", NAMES)
    told = {**SHORT, **more}
    a = MLPClassifier(class_weight="balanced", **told).fit(features, NAMES)
    b = MLPClassifier(**told).fit(features, NAMES, sample_weight=balanced)
    assert_same(a, b)
    a = MLPClassifier(class_weight=BY_HAND, **told).fit(features, NAMES, sample_weight=weight)
    product = by_hand(BY_HAND, NAMES, weight.astype(dtype))
    b = MLPClassifier(**told).fit(features, NAMES, sample_weight=product)
    assert_same(a, b)


def test_lbfgs_takes_it():
    told = {**SHORT, "solver": "lbfgs"}
    a = MLPClassifier(class_weight=BY_HAND, **told).fit(X, NAMES)
    b = MLPClassifier(**told).fit(X, NAMES, sample_weight=by_hand(BY_HAND, NAMES))
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])


def test_balanced_counts_rows_by_their_weights():
    """A row of weight 2 is a row given twice, one of weight 0 is not there."""
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    codes = Y.astype(np.intp)
    weights = weigh_classes("balanced", np.arange(3), codes, weight.astype(float), np.float64)
    repeated = np.repeat(np.arange(len(X)), weight)
    expected = compute_sample_weight("balanced", Y[repeated])
    np.testing.assert_allclose(weights[repeated], weight[repeated] * expected, rtol=1e-14)
    sums = np.bincount(codes, weights)
    np.testing.assert_allclose(sums, sums[0], rtol=1e-14)
    rest = weigh_classes("balanced", np.arange(4), codes, (Y > 0).astype(float), np.float64)
    np.testing.assert_allclose(rest, np.array([0, 70 / 100, 70 / 40])[Y], rtol=1e-14)


def test_warm_start_and_partial_fit_take_it():
    a = MLPClassifier(class_weight=BY_HAND, warm_start=True, **SHORT).fit(X, NAMES)
    b = MLPClassifier(warm_start=True, **SHORT)
    b.fit(X, NAMES, sample_weight=by_hand(BY_HAND, NAMES))
    a.set_params(class_weight="balanced").fit(X, NAMES)
    b.fit(X, NAMES, sample_weight=compute_sample_weight("balanced", NAMES))
    assert_same(a, b)

    # a part need not have all labels
    a, b = MLPClassifier(class_weight=BY_HAND, **SHORT), MLPClassifier(**SHORT)
    for part in np.split(np.arange(120), 3):
        weight = by_hand(BY_HAND, NAMES[part])
        a.partial_fit(X[part], NAMES[part], classes=np.unique(NAMES))
        b.partial_fit(X[part], NAMES[part], sample_weight=weight, classes=np.unique(NAMES))
    assert_same(a, b)


def test_partial_fit_refuses_balanced_and_its_advice_works():
    model = MLPClassifier(class_weight="balanced", **SHORT)
    with pytest.raises(ValueError, match="'balanced' is not supported by partial_fit") as caught:
        model.partial_fit(X, NAMES, classes=np.unique(NAMES))
    assert not hasattr(model, "coefs_")
    _, advice = str(caught.value).split("weights = ")
    weights_expression, rest = advice.split(", class_weight=")
    names = {"classes": np.unique(NAMES), "y": NAMES, "dict": dict, "zip": zip}
    names["weights"] = eval(
        weights_expression.removeprefix("sklearn.utils.class_weight."),
        {"compute_class_weight": compute_class_weight, **names},
    )
    weights = eval(rest.removesuffix("."), names)
    model.set_params(class_weight=weights).partial_fit(X, NAMES, classes=np.unique(NAMES))
    twin = MLPClassifier(**SHORT)
    balanced = compute_sample_weight("balanced", NAMES)
    twin.partial_fit(X, NAMES, sample_weight=balanced, classes=np.unique(NAMES))
    assert_same(model, twin)
    with pytest.raises(ValueError, match="not supported by partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(X, NAMES)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (Y == 2, {True: 3.0}),
        (np.where(Y == 2, "1", "0"), {"1": 3}),
        (np.where(Y == 2, 7.0, 5.0), {7: 3}),
        (Y == 2, {True: 3, False: 1, "of another fold": 5}),
    ],
)
def test_labels_of_all_kinds(labels, weights):
    a = MLPClassifier(class_weight=weights, **SHORT).fit(X, labels)
    b = MLPClassifier(**SHORT).fit(X, labels, sample_weight=np.where(Y == 2, 3, 1))
    assert_same(a, b)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"setosa": -1}, "maps 'setosa' to -1"),
        ({"setosa": "2"}, "maps 'setosa' to '2'"),
        ({"setosa": np.nan}, "maps 'setosa' to nan"),
        ({"setosa": True}, "maps 'setosa' to True"),
        ({"setsoa": 2}, r"labels \['setsoa'\], which y does not have; its labels are \['setosa'"),
        ({"setosa": 0, "versicolor": 0, "virginica": 0}, "do not sum to 0"),
        ({"setosa": 1e300}, "finite in float32"),
        ("blanced", "'class_weight' parameter of MLPClassifier"),
        ([{"setosa": 1}], "'class_weight' parameter of MLPClassifier"),
    ],
)
def test_what_is_refused(told, message):
    model = MLPClassifier(**SHORT).fit(X, NAMES)
    before = model.coefs_
    model.set_params(class_weight=told)
    with pytest.raises(ValueError, match=message):
        model.fit(X.astype(np.float32), NAMES)
    assert model.coefs_ is before


@pytest.mark.parametrize("told", ["balanced", {1: 2.0}])
def test_several_labels_are_refused_with_the_reason(told):
    features, labels = make_multilabel_classification(n_samples=40, random_state=0)
    with pytest.raises(ValueError, match=r"class_weight=.* needs one label per row"):
        MLPClassifier(class_weight=told, **SHORT).fit(features, labels)
