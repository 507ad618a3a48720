"""Models from other versions come back, say so, and go on."""

import copy
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils.fixes import parse_version

import nbnet
from nbnet import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
# Made by a development version before 0.1.0: pickled models, and what they gave then.
OLD = pickle.loads((Path(__file__).parent / "pickles" / "0.1.0-without-version.pkl").read_bytes())
TARGETS = {
    "sgd": np.array(["a", "b", "c"])[Y],
    "adam": Y,
    "adaptive": Y,
    "multilabel": np.c_[Y > 0, Y > 1].astype(int),
}


def outputs(model):
    return getattr(model, "predict_proba", model.predict)(X[::15])


# scikit-learn's own objects in the file are of 1.9, and older versions warn of them.
@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="the file is of 1.9"
)
@pytest.mark.parametrize("name", TARGETS)
def test_a_model_of_an_older_version_predicts_and_goes_on(name):
    old = OLD[name]
    with pytest.warns(InconsistentVersionWarning, match=r"nbnet\.MLP\w+ from version before 0\.1"):
        model = pickle.loads(old["model"])
    np.testing.assert_allclose(outputs(model), old["outputs"], rtol=1e-5)
    if isinstance(model, MLPClassifier):
        np.testing.assert_array_equal(model.predict(X[::15]), old["labels"])
    assert not hasattr(model, "_optimizer")
    again = pickle.loads(pickle.dumps(model))  # and without a warning now
    for m in (model, again):
        m.set_params(early_stopping=False).partial_fit(X, TARGETS[name])
        np.testing.assert_allclose(outputs(m), old["after"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(m.loss_curve_, old["curve"], rtol=1e-4)
        assert m._training["step"] == old["step"]


def test_the_learning_rate_of_an_older_version_is_kept():
    with pytest.warns(InconsistentVersionWarning):
        model = pickle.loads(OLD["adaptive"]["model"])
    assert model._training["slow_downs"] == 3
    model.partial_fit(X, Y)
    rate = model._training["learning_rate_init"]
    for _ in range(model._training["slow_downs"]):
        rate /= 5.0
    assert rate == OLD["adaptive"]["rate"] < model.learning_rate_init


def test_another_version_warns_and_lacking_parameters_get_their_defaults():
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=2).fit(X, Y)
    state = model.__getstate__()
    assert state["_nbnet_version"] == nbnet.__version__
    del state["architecture"], state["pieces"]
    state["_nbnet_version"] = "0.0.1"
    other = MLPRegressor.__new__(MLPRegressor)
    with pytest.warns(InconsistentVersionWarning, match=r"version 0\.0\.1 when using") as caught:
        other.__setstate__(state)
    assert caught[0].message.original_sklearn_version == "0.0.1"
    assert other.get_params() == model.get_params()
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_this_version_does_not_warn():
    model = MLPClassifier(4, max_iter=2).fit(X, Y)
    for again in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert "_nbnet_version" not in vars(again)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_the_estimator_is_the_only_class_of_ours_in_a_pickle(Estimator, solver):
    model = Estimator(hidden_layer_sizes=4, max_iter=2, solver=solver).fit(X, Y)
    strings = [
        argument
        for code, argument, _ in pickletools.genops(pickle.dumps(model, protocol=2))
        if code.name == "GLOBAL"
    ]
    assert [name for name in strings if name.startswith(("nbnet", "sklearn"))] == [
        f"nbnet.estimators.mlp {Estimator.__name__}"
    ]
