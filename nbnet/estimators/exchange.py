"""To scikit-learn's own MLPs and back: weights, parameters, history and the optimizer's state."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import neural_network as upstream
from sklearn.base import clone, is_classifier
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from nbnet.estimators.targets import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from nbnet.estimators.warn import warn
from nbnet.kernels.user import CustomLoss

if TYPE_CHECKING:
    from nbnet.graph.network import Network
    from nbnet.kernels.user import CustomLoss

__all__ = ["filled_from_upstream", "to_upstream"]

# What both have with the same meaning. Not all are there after each solver.
_SHARED = (
    "classes_",
    "loss_",
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "n_iter_",
    "t_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "n_features_in_",
    "feature_names_in_",
)


def to_upstream(model: Any, network: Network, loss: str | CustomLoss) -> Any:
    """Make scikit-learn's estimator of a fitted one of ours.

    Parameters
    ----------
    model : BaseMLP
        Fitted.
    network : Network
        Its network.
    loss : str or CustomLoss
        The key of LOSSES, or the loss of the user's, that it was fitted with.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    ValueError
        If scikit-learn's class lacks something that the predictions need, or a value of a parameter
        that it shares.
    """
    kind = upstream.MLPClassifier if is_classifier(model) else upstream.MLPRegressor
    told = {name: clone(getattr(model, name), safe=False) for name in signature(kind).parameters}
    told["activation"] = _one_activation(model, kind)
    if "loss" in told:
        told["loss"] = _name_of(loss, REGRESSION_LOSSES)
    other = kind(**told)
    try:
        other._validate_params()
    except InvalidParameterError as error:
        raise ValueError(f"scikit-learn has no such model. {error}") from None
    if loss not in ("softmax_cross_entropy", "sigmoid_cross_entropy") and is_classifier(model):
        raise ValueError(
            f"scikit-learn's {kind.__name__} has no loss={_name_of(loss, CLASSIFICATION_LOSSES)!r}."
        )
    _warn_of_what_is_left_out(model, kind)

    for name in _SHARED:
        if hasattr(model, name):
            setattr(other, name, deepcopy(getattr(model, name)))
    other.coefs_ = [coef.copy() for coef in model.coefs_]
    other.intercepts_ = [bias.copy() for bias in model.intercepts_]
    standardized = hasattr(model, "y_mean_")
    if standardized:  # the last layer is linear: units become part of it
        dtype = model.coefs_[-1].dtype
        other.coefs_[-1] = (model.coefs_[-1] * model.y_scale_).astype(dtype)
        other.intercepts_[-1] = (model.intercepts_[-1] * model.y_scale_ + model.y_mean_).astype(
            dtype
        )
    other._best_coefs = [coef.copy() for coef in other.coefs_]
    other._best_intercepts = [bias.copy() for bias in other.intercepts_]
    other._random_state = check_random_state(clone(model.random_state, safe=False))
    if is_classifier(model):
        labels = model._kind_of_labels()
        several = labels["kind"] == "multilabel-indicator"
        n = len(model.classes_)
        binarizer = LabelBinarizer().fit(np.eye(n, dtype=int) if several else model.classes_)
        binarizer.classes_ = model.classes_.copy()
        binarizer.sparse_input_ = bool(labels.get("sparse", False))
        other._label_binarizer = binarizer
    training = getattr(model, "_training", None)
    if training is not None:
        other._no_improvement_count = training["no_improvement_count"]
        if not standardized:  # its moments would be those of weights in other units
            other._optimizer = _to_optimizer(training, network, other)
    return other


def _name_of(key: str | CustomLoss, table: dict[str, str]) -> str | CustomLoss:
    """What users write for a key of LOSSES."""
    return next((name for name, value in table.items() if value == key), key)


def _one_activation(model: Any, kind: type) -> str:
    """The activation of all hidden layers, or a ValueError if upstream has none such."""
    if model.architecture is not None:
        raise ValueError(
            f"scikit-learn's {kind.__name__} has no architecture={model.architecture!r}, only "
            "stacks of hidden layers."
        )
    (constraint,) = kind._parameter_constraints["activation"]  # type: ignore[attr-defined]
    names = set(model._layer_activations(len(model.coefs_) - 1))
    if not names:  # no hidden layers
        return model.activation if model.activation in constraint.options else "relu"
    if len(names) > 1:
        raise ValueError(
            f"scikit-learn's {kind.__name__} has one activation for all hidden layers; this model "
            f"has activation={model.activation!r}."
        )
    name: str = names.pop()
    if name not in constraint.options:
        raise ValueError(
            f"scikit-learn's {kind.__name__} has no activation={name!r}, only "
            f"{', '.join(sorted(map(repr, constraint.options)))}."
        )
    return name


def _warn_of_what_is_left_out(model: Any, kind: type) -> None:
    """Warn of parameters of the training that upstream lacks."""
    rows = model._parameters
    # These change what is computed, which has been checked, or are part of the weights by now.
    known = {*rows["architecture"].replaces, "architecture", "standardize_y", "loss"} - {"dropout"}
    left_out = [
        f"{name}={getattr(model, name)!r}"
        for name, row in rows.items()
        if name not in signature(kind).parameters
        and name not in known
        and not (row.needs and row.needs[0] == "loss")
        and model._differs(name)
    ]
    if left_out:
        warn(
            f"scikit-learn's {kind.__name__} has no {', '.join(left_out)}. It predicts the same, "
            "but any further training goes without."
        )


def _to_optimizer(training: dict[str, Any], network: Network, other: Any) -> Any:
    rate = training["learning_rate_init"]
    numbers, params = training["solver_numbers"], other.coefs_ + other.intercepts_
    slots = [[*coefs, *biases] for coefs, biases in map(network.unpack, training["slots"])]
    if training["solver"] == "adam":
        betas = numbers["beta_1"], numbers["beta_2"]
        adam = AdamOptimizer(params, rate, *betas, numbers["epsilon"])
        adam.t, (adam.ms, adam.vs) = training["step"], slots
        if adam.t:
            bias_1, bias_2 = (1 - beta**adam.t for beta in betas)
            adam.learning_rate = rate * np.sqrt(bias_2) / bias_1
        return adam
    schedule = training["schedule"]
    power_t = training["schedule_numbers"].get("power_t", 0.5)
    nesterov = bool(numbers["nesterov"])
    sgd = SGDOptimizer(params, rate, schedule, numbers["momentum"], nesterov, power_t)
    (sgd.velocities,) = slots
    for _ in range(training["slow_downs"]):
        sgd.learning_rate /= 5.0
    if training["step"]:
        sgd.iteration_ends(other.t_)
    return sgd


def filled_from_upstream(model: Any, other: Any, network_of: Callable[[Any], Network]) -> None:
    """Publish in one of our estimators what scikit-learn's fitted one has learned.

    Parameters
    ----------
    model : BaseMLP
        With the parameters of the other.
    other : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.
    network_of : callable
        Gives the network of a fitted model of ours.
    """
    for name in _SHARED:
        if hasattr(other, name):
            setattr(model, name, deepcopy(getattr(other, name)))
    model.coefs_ = [np.array(coef) for coef in other.coefs_]
    model.intercepts_ = [np.array(bias) for bias in other.intercepts_]
    if is_classifier(model):
        binarizer = other._label_binarizer
        model._labels = {"kind": binarizer.y_type_, "sparse": bool(binarizer.sparse_input_)}
    model._loss_of_fit, model._numbers_of_fit = model._fitted_loss(), {}
    if hasattr(other, "loss_curve_"):
        model.validation_losses_ = None
        model.learning_rates_ = [np.nan] * len(other.loss_curve_)  # not recorded upstream
        curve = other.validation_scores_ or [-loss for loss in other.loss_curve_]
        best = int(np.nanargmax(curve)) - (len(curve) - other.n_iter_)
        model.best_n_iter_ = max(0, 1 + best)
    if hasattr(other, "_optimizer"):
        model._training = _from_optimizer(other, network_of(model))
        model._training["metric"] = "accuracy" if is_classifier(model) else "r2"


def _from_optimizer(other: Any, network: Network) -> dict[str, Any]:
    optimizer, n_layers = other._optimizer, len(other.coefs_)
    if isinstance(optimizer, AdamOptimizer):
        solver, slots, step = "adam", [optimizer.ms, optimizer.vs], optimizer.t
        names = ["beta_1", "beta_2", "epsilon"]
    else:
        # It does not count its steps, of which each epoch had some.
        solver, slots, step = "sgd", [optimizer.velocities], len(other.loss_curve_)
        names = ["momentum", "nesterov"]
    schedule = getattr(optimizer, "lr_schedule", "constant")
    slow_downs, rate = 0, optimizer.learning_rate_init
    while schedule == "adaptive" and rate > optimizer.learning_rate:
        slow_downs, rate = slow_downs + 1, rate / 5.0
    numbers = {"power_t": float(optimizer.power_t)} if schedule == "invscaling" else {}
    return {
        "solver": solver,
        "solver_numbers": {name: float(getattr(optimizer, name)) for name in names},
        "learning_rate_init": float(optimizer.learning_rate_init),
        "schedule": schedule,
        "schedule_numbers": numbers,
        "slots": np.array([network.pack(slot[:n_layers], slot[n_layers:]) for slot in slots]),
        "step": int(step),
        "slow_downs": slow_downs,
        "no_improvement_count": int(getattr(other, "_no_improvement_count", 0)),
        "average": 0.0,
        "averaged": None,
        "params": None,
    }
