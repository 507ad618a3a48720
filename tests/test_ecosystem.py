"""nbnet's estimators inside scikit-learn's and joblib's machinery."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from nbnet import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])


def small(Estimator=MLPClassifier, **parameters):
    return Estimator(**{"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0, **parameters})


@BOTH
def test_clone_copies_parameters_alone(Estimator):
    model = small(Estimator, activation=["maxout"], hidden_layer_sizes=[5], pieces=3).fit(X, Y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not [name for name in vars(twin) if name.endswith("_")]
    twin.fit(X, Y)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


def through_pickle(model, tmp_path):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode="r")  # weights that cannot be written


@pytest.mark.parametrize("through", [through_pickle, through_joblib])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@BOTH
def test_fitted_model_survives_and_goes_on(Estimator, solver, through, tmp_path):
    model = small(Estimator, solver=solver, warm_start=True, learning_rate="invscaling").fit(X, Y)
    loaded = through(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    goes_on = Estimator.fit if solver == "lbfgs" else Estimator.partial_fit
    for _ in range(2):
        goes_on(model, X, Y)
        goes_on(loaded, X, Y)
    for a, b in zip(
        model.coefs_ + model.intercepts_, loaded.coefs_ + loaded.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_half_fitted_model_survives(tmp_path):
    model = MLPClassifier(6, random_state=0, batch_size=20)
    model.partial_fit(X[:80], Y[:80], classes=[0, 1, 2])
    loaded = through_pickle(model, tmp_path)
    for a in (model, loaded):
        a.partial_fit(X[80:], Y[80:])
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded._training["step"] == model._training["step"] == 8
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_pickle_names_nothing_compiled():
    model = small().fit(X, Y)
    blob = pickle.dumps(model, protocol=2)
    assert b"numba" not in blob
    assert b"llvmlite" not in blob
    assert b"nbnet.kernels" not in blob
    assert len(blob) < 12_000


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_in_parallel(backend):
    grid = {"alpha": [1e-4, 1.0], "activation": ["relu", ("maxout",)]}

    def search(n_jobs):
        # Workers have warning filters of their own.
        model = small(solver="lbfgs", max_iter=40, tol=1e-2)
        return GridSearchCV(model, grid, n_jobs=n_jobs, cv=3, error_score="raise").fit(X, Y)

    with joblib.parallel_config(backend=backend):
        parallel = search(2)
    alone = search(1)
    assert parallel.best_score_ > 0.9
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(parallel.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(parallel.predict(X), alone.predict(X))


def test_same_model_from_two_threads_at_once():
    """Prediction only reads; fits share nothing."""
    model = small().fit(X, Y)
    expected = model.predict_proba(X)
    with joblib.parallel_config(backend="threading"):
        outputs = joblib.Parallel(n_jobs=2)(
            joblib.delayed(model.predict_proba)(X) for _ in range(20)
        )
        models = joblib.Parallel(n_jobs=2)(joblib.delayed(small().fit)(X, Y) for _ in range(4))
    for output in [*outputs, *(m.predict_proba(X) for m in models)]:
        np.testing.assert_array_equal(output, expected)


def test_pipeline():
    pipe = make_pipeline(StandardScaler(), small(solver="lbfgs", max_iter=200)).fit(X, Y)
    assert pipe.score(X, Y) > 0.95
    pipe.set_params(mlpclassifier__activation=["tanh"]).fit(X, Y)
    assert pipe[-1].activation == ["tanh"]


def test_column_transformer_pandas_and_set_output():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 120),
            "height": rng.normal(170, 10, 120).astype(np.float32),
            "city": rng.choice(["Bonn", "Kiel", "Ulm"], 120),
        }
    )
    target = pd.Series((frame["age"] > 40) & (frame["city"] != "Ulm"), name="yes")
    prepare = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "height"]),
            ("names", OneHotEncoder(sparse_output=False), ["city"]),
        ]
    )
    pipe = make_pipeline(prepare, small(solver="lbfgs", max_iter=100))
    pipe.set_output(transform="pandas").fit(frame, target)
    assert list(pipe[-1].feature_names_in_[:2]) == ["numbers__age", "numbers__height"]
    assert pipe.score(frame, target) > 0.9
    assert pipe.predict(frame).dtype == bool
    with pytest.raises(ValueError, match="feature names"):
        pipe[-1].predict(pipe[0].transform(frame).rename(columns={"names__city_Ulm": "other"}))


def test_feature_names_must_stay_in_partial_fit():
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = small(MLPRegressor).partial_fit(frame, Y)
    model.partial_fit(frame, Y)
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[list("dcba")], Y)


def test_sparse_output_of_an_encoder():
    colours = np.random.RandomState(0).choice(list("rgb"), (90, 2))
    labels = colours[:, 0] == colours[:, 1]
    pipe = make_pipeline(
        OneHotEncoder(), small(hidden_layer_sizes=30, solver="lbfgs", max_iter=100)
    )
    assert pipe.fit(colours, labels).score(colours, labels) == 1.0


def test_metadata_routing_of_sample_weight():
    weight = np.linspace(0.1, 2.0, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = small().set_fit_request(sample_weight=True)
        pipe = make_pipeline(MinMaxScaler(), model)
        pipe.fit(X, Y, sample_weight=weight)
        direct = small().fit(MinMaxScaler().fit_transform(X), Y, sample_weight=weight)
        np.testing.assert_array_equal(pipe[-1].coefs_[0], direct.coefs_[0])
        search = GridSearchCV(
            small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True),
            {"alpha": [0.1, 1.0]},
        ).fit(X, Y, sample_weight=weight)
        assert search.best_score_ > 0
        model = small().set_partial_fit_request(classes=True, sample_weight=True)
        assert model.get_metadata_routing().partial_fit.requests == {
            "classes": True,
            "sample_weight": True,
        }


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_cross_val_predict(method):
    # without a penalty probabilities come so near to 0 that they may round to it
    model = make_pipeline(StandardScaler(), small(solver="lbfgs", max_iter=100, alpha=0.1))
    outputs = cross_val_predict(model, X, Y, cv=3, method=method)
    assert outputs.shape == ((150,) if method == "predict" else (150, 3))
    labels = outputs if method == "predict" else outputs.argmax(axis=1)
    assert (labels == Y).mean() > 0.9


def test_cross_validate_with_many_scorers():
    scores = cross_validate(
        small(solver="lbfgs", max_iter=100), X, Y, scoring=["accuracy", "roc_auc_ovr"], cv=3
    )
    assert scores["test_roc_auc_ovr"].mean() > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated(method):
    model = CalibratedClassifierCV(small(solver="lbfgs", max_iter=60), method=method, cv=3)
    probabilities = model.fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.score(X, Y) > 0.9


def test_permutation_importance_finds_the_feature_that_counts():
    rng = np.random.RandomState(0)
    features = rng.normal(size=(200, 3))
    model = small(MLPRegressor, solver="lbfgs", max_iter=200).fit(features, 3 * features[:, 1])
    importance = permutation_importance(
        model, features, 3 * features[:, 1], n_repeats=3, random_state=0
    )
    assert importance.importances_mean.argmax() == 1
    assert importance.importances_mean[1] > 10 * importance.importances_mean[[0, 2]].max()


def test_inside_other_estimators():
    bag = BaggingClassifier(small(solver="lbfgs", max_iter=60), n_estimators=3, random_state=0).fit(
        X, Y
    )
    assert bag.score(X, Y) > 0.8
    regressor = small(MLPRegressor, solver="lbfgs", max_iter=200)
    stack = StackingRegressor([("mlp", regressor)], LinearRegression())
    assert stack.fit(X, Y).score(X, Y) > 0.8
    scaled = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    assert scaled.fit(X, Y).score(X, Y) > 0.8


@BOTH
def test_repr_and_html(Estimator):
    assert "pieces=3" in repr(Estimator(pieces=3))
    assert Estimator.__name__ in Estimator()._repr_html_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert Estimator.__name__ in small(Estimator).fit(X, Y)._repr_html_()
