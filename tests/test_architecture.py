"""Estimators whose body is a graph of the user's, and what they hand over of it."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import naive
from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g

X, Y = load_iris(return_X_y=True)
X = scale(X)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
STACKS = {
    "none": ({"hidden_layer_sizes": ()}, lambda x: x),
    "one": ({"hidden_layer_sizes": 5}, lambda x: g.relu(g.dense(x, 5))),
    "two": (
        {"hidden_layer_sizes": (6, 5), "activation": ("logistic", "leaky_relu")},
        lambda x: g.leaky_relu(g.dense(g.logistic(g.dense(x, 6)), 5)),
    ),
    "maxout": (
        {"hidden_layer_sizes": (6,), "activation": "maxout", "pieces": 3},
        lambda x: g.maxout(x, 6, pieces=3),
    ),
}


def residual(x):
    h = g.relu(g.dense(x, 8), name="first")
    return g.relu(g.add(h, g.dense(h, 8)), name="sum")


def wide_and_deep(x):
    return g.concat(x, g.tanh(g.dense(g.tanh(g.dense(x, 6)), 4)))


class Residual:
    """A body with a parameter of its own."""

    def __init__(self, depth):
        self.depth = depth

    def __call__(self, x):
        h = g.tanh(g.dense(x, 6))
        for _ in range(self.depth):
            h = g.tanh(g.add(h, g.dense(h, 6)))
        return h


@BOTH
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_written_as_a_graph_learns_the_same_bits(stack, solver, Estimator):
    parameters, body = STACKS[stack]
    told = {"solver": solver, "max_iter": 5, "random_state": 0}
    for data in (X, X.astype(np.float32)):
        stacked = Estimator(**parameters, **told).fit(data, Y)
        built = Estimator(architecture=body, **told).fit(data, Y)
        assert built.n_layers_ == stacked.n_layers_
        for ours, theirs in zip(
            built.coefs_ + built.intercepts_, stacked.coefs_ + stacked.intercepts_, strict=True
        ):
            assert ours.dtype == data.dtype
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(built.predict(data), stacked.predict(data))


@BOTH
@pytest.mark.parametrize("body", [residual, wide_and_deep, Residual(2)])
def test_predictions_are_those_of_the_graph(body, Estimator):
    model = Estimator(architecture=body, solver="lbfgs", max_iter=200, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9
    twin = naive.Twin(g.dense(body(g.input(4)), model.coefs_[-1].shape[1]))
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    raw = twin.forward(np.concatenate([part.ravel() for pair in pairs for part in pair]), X)
    if Estimator is MLPClassifier:
        np.testing.assert_allclose(
            model.predict_proba(X), naive.LINKS["softmax_cross_entropy"](raw), rtol=1e-9
        )
    else:
        # a prediction near 0 is a difference of terms that are near 1
        np.testing.assert_allclose(model.predict(X), raw[:, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.predict(X.copy()))
    assert len(model.coefs_) == model.n_layers_ - 1


@BOTH
@pytest.mark.parametrize("body", [residual, Residual(1)])
def test_copies(body, Estimator):
    model = Estimator(architecture=body, max_iter=5, random_state=0).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_array_equal(other.transform(X), model.transform(X))
    again = clone(model).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_architectures_can_be_searched(n_jobs):
    model = MLPClassifier(solver="lbfgs", max_iter=50, random_state=0)
    bodies = [residual, wide_and_deep, Residual(1), None]
    search = GridSearchCV(model, {"architecture": bodies}, cv=2, n_jobs=n_jobs).fit(X, Y)
    assert search.cv_results_["mean_test_score"].min() > 0.8
    assert search.best_params_["architecture"] is None or callable(
        search.best_params_["architecture"]
    )


@BOTH
def test_fitting_on(Estimator):
    told = {"random_state": 0, "shuffle": False, "batch_size": 30}
    once = Estimator(architecture=residual, max_iter=1, **told).fit(X, Y)
    model = Estimator(architecture=residual, warm_start=True, max_iter=1, **told)
    model.fit(X, Y).fit(X, Y)
    assert model.loss_ < once.loss_
    more = {"classes": [0, 1, 2]} if Estimator is MLPClassifier else {}
    partial = Estimator(architecture=residual, **told).partial_fit(X, Y, **more)
    np.testing.assert_array_equal(partial.coefs_[0], once.coefs_[0])
    assert partial.partial_fit(X, Y).loss_ < once.loss_

    model.set_params(architecture=wide_and_deep)
    before = copy.deepcopy(vars(model))
    for refused in (lambda: model.fit(X, Y), lambda: model.predict(X)):
        with pytest.raises(ValueError, match=r"coefs_ have shapes.*architecture=.*wide_and_deep"):
            refused()
        assert vars(model).keys() == before.keys()
    model.set_params(warm_start=False).fit(X, Y)
    model.predict(X)


def test_a_body_that_changes_is_built_anew_by_the_next_fit():
    body = Residual(1)
    model = MLPClassifier(architecture=body, max_iter=2, random_state=0).fit(X, Y)
    assert len(model.coefs_) == 3
    body.depth = 3
    expected = model.predict_proba(X)  # the network that was fitted
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert len(model.fit(X, Y).coefs_) == 5


@BOTH
@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (lambda x: None, TypeError, "architecture must return a node.*None"),
        (lambda x: g.dense(g.input(4), 3), ValueError, "architecture must build on the node"),
        (lambda x: g.add(x, g.input(4)), ValueError, "exactly one input node"),
        (lambda x: g.add(x, g.dense(x, 3)), ValueError, "add needs nodes of one width"),
        (lambda x: g.relu(x, name="output"), ValueError, r"unique.*'output'"),
        ("residual", ValueError, "'architecture'.*'residual'"),
    ],
)
def test_bodies_that_are_refused(body, error, message, Estimator):
    model = Estimator(architecture=residual, max_iter=2).fit(X, Y)
    before = dict(vars(model)) | {"architecture": body}
    with pytest.raises(error, match=message):
        model.set_params(architecture=body).fit(X, Y)
    assert vars(model) == before


# What a model hands over -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_gives_the_hidden_layers(dtype):
    data = X.astype(dtype)
    model = MLPClassifier((7, 5), ("tanh", "relu"), max_iter=5, random_state=0).fit(data, Y)
    first = np.tanh(data @ model.coefs_[0] + model.intercepts_[0])
    second = np.maximum(first @ model.coefs_[1] + model.intercepts_[1], 0)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10}
    for layer, expected in ((0, first), (-2, first), ("h1", first), (1, second), (-1, second)):
        actual = model.transform(data, layer=layer)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, **tolerance)
    np.testing.assert_allclose(
        model.transform(sparse.csr_array(data)), model.transform(data), **tolerance
    )
    np.testing.assert_array_equal(model.transform(data, layer="x"), data)
    assert list(model.get_feature_names_out()) == [f"mlpclassifier{i}" for i in range(5)]
    other = clone(model)
    np.testing.assert_array_equal(other.fit_transform(data, Y), model.transform(data))


def test_transform_of_a_graph():
    model = MLPRegressor(architecture=residual, max_iter=5, random_state=0).fit(X, Y)
    for first, last in ((0, 1), ("first", "sum"), (-2, -1)):
        h = model.transform(X, layer=first)
        np.testing.assert_allclose(h, np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0))
        total = np.maximum(h + h @ model.coefs_[1] + model.intercepts_[1], 0)
        np.testing.assert_allclose(model.transform(X, layer=last), total, atol=1e-12)
    joined = MLPRegressor(architecture=wide_and_deep, max_iter=5, random_state=0).fit(X, Y)
    assert joined.transform(X).shape == (150, 8)  # what the output layer reads, no activation
    assert joined.transform(X, layer=-2).shape == (150, 4)


def test_transform_without_hidden_layers_gives_the_features():
    model = MLPClassifier((), max_iter=5, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(model.transform(X), X)


def test_hidden_features_in_a_pipeline():
    features = MLPClassifier((20, 4), solver="lbfgs", random_state=0)
    model = make_pipeline(StandardScaler(), features, LogisticRegression()).fit(X, Y)
    assert model[-1].n_features_in_ == 4
    assert model.score(X, Y) > 0.94  # 0.98 or more over ten seeds and three processors
    model[1].set_output(transform="pandas")
    named = model[:-1].transform(X)
    assert list(named.columns) == [f"mlpclassifier{i}" for i in range(4)]
    assert list(named.columns) == list(model[:-1].get_feature_names_out())
    with pytest.raises(ValueError, match="layer must be -1 where set_output"):
        model[1].transform(X, layer=0)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (2, ValueError, r"layer must lie between -2 and 1.*got 2"),
        (-3, ValueError, r"layer must lie between -2 and 1.*got -3"),
        (0.5, TypeError, r"layer must be an integer or the name.*0\.5"),
        (True, TypeError, "layer must be an integer or the name.*True"),
        ("h3", ValueError, r"node takes nodes.*'h2'.*'h3'"),
    ],
)
def test_layers_that_are_not_there(layer, error, message):
    model = MLPClassifier((3, 2), max_iter=2).fit(X, Y)
    with pytest.raises(error, match=message):
        model.transform(X, layer=layer)


@BOTH
def test_to_network(Estimator):
    model = Estimator(hidden_layer_sizes=(6, 5), max_iter=5, random_state=0).fit(X, Y)
    net, params = model.to_network()
    assert isinstance(net, g.Network)
    assert [node.name for node in net.nodes] == ["x", "z1", "h1", "z2", "h2", "output"]
    raw = net.forward(params, X)
    if Estimator is MLPClassifier:
        np.testing.assert_array_equal(raw.argmax(axis=1), model.predict(X))
    else:
        np.testing.assert_array_equal(raw[:, 0], model.predict(X))
    expected = model.predict(X)
    params[:] = 0
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("method", ["transform", "to_network", "get_feature_names_out"])
def test_not_fitted(method):
    model = MLPClassifier()
    with pytest.raises(Exception, match="not fitted") as caught:
        getattr(model, method)(*([X] if method == "transform" else []))
    assert caught.typename == "NotFittedError"
