"""A pytest plugin that runs scikit-learn's own MLP tests on nbnet's estimators.

``pytest -p sklearn_suite_plugin .../sklearn/neural_network/tests/test_mlp.py`` with this folder on
the path. Loading the plugin puts nbnet's classes where that file will import scikit-learn's from.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.neural_network

import nbnet
from nbnet.training.recipe import Recipe
from nbnet.training.schedules import learning_rate
from nbnet.training.state import FitState


def _loss_grad_lbfgs(
    self, theta, X, Y, sample_weight, activations, deltas, coef_grads, intercept_grads
):
    """Upstream's private loss and gradient, in terms of a network.

    `theta` and the gradient hold all weights, then all biases; `Y` is a matrix of 0 and 1. The
    last four arguments are upstream's buffers.
    """
    network = self._build(X.shape[1], self._declared_layers(), self.n_outputs_)
    arrays, at = [], 0
    for role in ("weights", "bias"):
        for parameter in network.parameters:
            if parameter.role == role:
                size = math.prod(parameter.shape)
                arrays.append(theta[at : at + size].reshape(parameter.shape))
                at += size
    half = len(arrays) // 2
    loss, gradient = network.loss_and_gradient(
        network.pack(arrays[:half], arrays[half:]),
        X,
        Y.argmax(axis=1) if self.out_activation_ == "softmax" else Y.astype(X.dtype),
        loss=self._fitted_loss(),
        alpha=self.alpha,
        sample_weight=sample_weight,
    )
    weights, biases = network.unpack(gradient)
    return loss, np.hstack([part.ravel() for part in weights + biases])


def _optimizer(self):
    """Upstream's optimizer, as far as that file looks: the learning rate of the next epoch."""
    part, state = self._training, FitState(np.empty(0), np.empty(0), np.random.RandomState())
    state.t, state.step, state.slow_downs = self.t_, part["step"], part["slow_downs"]
    names = ("learning_rate_init", "schedule", "schedule_numbers")
    recipe = Recipe(**{name: part[name] for name in names})
    return SimpleNamespace(learning_rate=learning_rate(recipe, state))


def _no_improvement_count(self):
    return self._training["no_improvement_count"]


def _set_by_a_test(self, value):
    """Do nothing: a test sets it to 0 before the first call, where it is 0."""
    assert value == 0


for Estimator in (nbnet.MLPClassifier, nbnet.MLPRegressor):
    Estimator._optimizer = property(_optimizer)
    Estimator._no_improvement_count = property(_no_improvement_count, _set_by_a_test)
nbnet.MLPClassifier._loss_grad_lbfgs = _loss_grad_lbfgs
sklearn.neural_network.MLPClassifier = nbnet.MLPClassifier
sklearn.neural_network.MLPRegressor = nbnet.MLPRegressor


def pytest_collection_finish(session):
    for item in session.items:
        if (item.module.MLPClassifier, item.module.MLPRegressor) != (
            nbnet.MLPClassifier,
            nbnet.MLPRegressor,
        ):
            pytest.exit(f"{item.nodeid} does not test nbnet", returncode=3)
