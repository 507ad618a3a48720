"""Parameters are declared once: what is written twice must agree, and tables drive the rest."""

import inspect
import re
from typing import get_args

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.utils._param_validation import Interval

from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.estimators import parameters as p
from nbnet.estimators.targets import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from nbnet.training.schedules import SCHEDULES, ScheduleName

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
BOTH = pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])


@BOTH
def test_signature_and_table_agree(Estimator):
    table = {
        MLPClassifier: p.CLASSIFIER_PARAMETERS,
        MLPRegressor: p.REGRESSOR_PARAMETERS,
    }[Estimator]
    signature = inspect.signature(Estimator).parameters
    assert set(signature) == set(table)
    for name, row in table.items():
        assert signature[name].default == row.default, name
        assert type(signature[name].default) is type(row.default), name
    assert set(Estimator._parameter_constraints) == set(signature)


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (p.ActivationName, p.HIDDEN_UNITS),
        (p.SolverName, p.SOLVERS),
        (p.ClassificationLossName, CLASSIFICATION_LOSSES),
        (p.RegressionLossName, REGRESSION_LOSSES),
        (ScheduleName, SCHEDULES),
    ],
)
def test_types_name_what_the_tables_hold(names, table):
    assert set(get_args(names)) == set(table)


@BOTH
def test_what_a_parameter_needs_or_replaces_exists(Estimator):
    for row in Estimator._parameters.values():
        assert set(row.replaces) <= set(Estimator._parameters)
        if row.needs:
            assert row.needs[0] in Estimator._parameters


@BOTH
def test_documentation_follows_from_the_rows(Estimator):
    document = inspect.getdoc(Estimator)
    for row in Estimator._parameters.values():
        assert f"\n{row.name} : {row.kind}, default={row.default!r}\n" in document
    for name, schedule in SCHEDULES.items():
        assert f"- '{name}': {schedule.text.split()[0]}" in document
    assert not re.search(r"<\w+>", document)


def body(x):
    return g.tanh(g.dense(x, 3))


def idle():
    both = [
        ({"early_stopping": True, "solver": "lbfgs"}, "early_stopping=True", "solver='lbfgs'"),
        ({"architecture": body, "hidden_layer_sizes": 7}, "hidden_layer_sizes=7", "architecture="),
        ({"architecture": body, "activation": "tanh"}, "activation='tanh'", "architecture="),
        ({"architecture": body, "pieces": 4}, "pieces=4", "architecture="),
        ({"architecture": body, "negative_slope": 0.3}, "negative_slope=0.3", "architecture="),
    ]
    regressor = [
        ({"quantile": 0.9}, "quantile=0.9", "loss='squared_error'"),
        ({"huber_delta": 2.0, "loss": "quantile"}, "huber_delta=2.0", "loss='quantile'"),
        ({"covariance": "full", "loss": "laplace"}, "covariance='full'", "loss='laplace'"),
        ({"quantile": [0.1, 0.9]}, "quantile=[0.1, 0.9]", "loss='squared_error'"),
        ({"tweedie_power": 1.2, "loss": "poisson"}, "tweedie_power=1.2", "loss='poisson'"),
    ]
    classifier = [
        ({"label_smoothing": 0.1, "loss": "focal"}, "label_smoothing=0.1", "loss='focal'"),
        ({"focal_gamma": 1.0}, "focal_gamma=1.0", "loss='log_loss'"),
    ]
    yield from ((MLPClassifier, *case) for case in both + classifier)
    yield from ((MLPRegressor, *case) for case in both + regressor)


@pytest.mark.parametrize(("Estimator", "told", "ignored", "beside"), list(idle()))
def test_what_has_no_effect_is_warned_of(Estimator, told, ignored, beside):
    model = Estimator(max_iter=2, random_state=0, **told)
    with pytest.warns(UserWarning, match="has no effect beside") as caught:
        model.fit(X, Y)
    (text,) = (str(w.message) for w in caught if "no effect" in str(w.message))
    assert ignored in text
    assert beside in text


@pytest.mark.parametrize(
    "model",
    [
        MLPRegressor("quantile", 4, quantile=0.9),
        MLPRegressor("huber", 4, huber_delta=0.3),
        MLPRegressor("quantile", 4, quantile=(0.1, 0.9)),
        MLPRegressor("tweedie", 4, tweedie_power=1.2),
        MLPClassifier(4, label_smoothing=0.1),
        MLPClassifier(4, loss="pinned_log_loss", label_smoothing=0.1),
        MLPClassifier(4, loss="focal", focal_gamma=1.0),
        MLPRegressor("gaussian", 4, covariance="full"),
        MLPClassifier((4, 4), ("maxout", "leaky_relu"), pieces=3, negative_slope=0.2),
        MLPClassifier(4, pieces=3),  # so that a search may take each activation
        MLPClassifier(np.array([100]), solver="lbfgs"),
        MLPClassifier([100], architecture=body),
        MLPClassifier(4, solver="sgd", beta_1=0.5),  # scikit-learn's habit
    ],
)
def test_what_has_an_effect_is_not_warned_of(model):
    clone(model).set_params(max_iter=2).fit(X, Y)


@BOTH
def test_an_unknown_parameter_names_the_class_that_was_written(Estimator):
    with pytest.raises(TypeError, match=rf"^{Estimator.__name__}\.__init__\(\).*'dropuot'"):
        Estimator(dropuot=1)


@BOTH
def test_true_is_no_number(Estimator):
    for name, row in Estimator._parameters.items():
        if any(isinstance(constraint, Interval) for constraint in row.constraint):
            with pytest.raises(ValueError, match=rf"'{name}' parameter of {Estimator.__name__}"):
                Estimator(**{name: True}).fit(X, Y)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be .*\(5, True\)"):
        Estimator(hidden_layer_sizes=(5, True)).fit(X, Y)


@pytest.mark.parametrize("sizes", [(64,), 64, [64, 32]])
def test_sizes_in_the_place_of_the_loss_are_recognised(sizes):
    message = re.escape(f"did you mean hidden_layer_sizes={sizes!r}?")
    with pytest.raises(ValueError, match=rf"'loss' parameter of MLPRegressor .*{message}"):
        MLPRegressor(sizes).fit(X, Y)
    with pytest.raises(ValueError, match="'loss' parameter") as caught:
        MLPRegressor(None).fit(X, Y)
    assert "did you mean" not in str(caught.value)


@BOTH
def test_partial_fit_under_lbfgs_says_why_not(Estimator):
    model = Estimator(solver="lbfgs")
    for call in (lambda: model.partial_fit, lambda: Estimator.partial_fit(model, X, Y)):
        with pytest.raises(AttributeError, match="solver='lbfgs' has no single update"):
            call()
    assert "X" in inspect.signature(Estimator.partial_fit).parameters
