"""MLPClassifier and MLPRegressor: the scikit-learn shell around a network.

Each adds to what they share, `nbnet.base.BaseMLP`, its targets, its losses and its predictions.
"""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from nbnet import graph
from nbnet.base import BaseMLP, document, partial_fit_available, unchanged_on_error
from nbnet.kernels.losses import LOSSES, Loss

__all__ = ["MLPClassifier", "MLPRegressor"]

# From the names that users write to those of LOSSES.
CLASSIFICATION_LOSSES = {
    "log_loss": "softmax_cross_entropy",
    "pinned_log_loss": "pinned_softmax_cross_entropy",
}
REGRESSION_LOSSES = {
    "squared_error": "half_squared_error",
    "absolute_error": "absolute_error",
    "poisson": "half_poisson_deviance",
    "quantile": "quantile",
    "huber": "huber",
    "gaussian": "gaussian",
    "laplace": "laplace",
}


def _covariance(outputs: np.ndarray, n: int, row: Loss) -> np.ndarray:
    """Covariances (N, T, T) from outputs (N, R) behind the link: locations, scales, and the rest.

    The rest is the lower triangle of M, whose diagonal is 1 / scale: ``Sigma^-1 = M^T M``.
    """
    scales, rest = outputs[:, n : 2 * n], outputs[:, 2 * n :]
    if not row.pairs:
        variance = scales**2 * (2 if row.name == "laplace" else 1)
        return np.eye(n, dtype=outputs.dtype) * variance[:, np.newaxis]
    # By forward substitution: far from the data a scale may round to 0, which has no inverse.
    factor = np.zeros((len(outputs), n, n))
    for i in range(n):
        row_of_M = rest[:, np.newaxis, i * (i - 1) // 2 : i * (i + 1) // 2]
        below = (row_of_M @ factor[:, :i, :i])[:, 0]
        factor[:, i, :i] = -scales[:, i : i + 1] * below
        factor[:, i, i] = scales[:, i]
    return (factor @ factor.swapaxes(1, 2)).astype(outputs.dtype, copy=False)


@document("'softmax' for several classes, 'logistic' for two, one or many labels.")
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron classifier, compiled with numba.

    A stack of hidden layers with one raw output per class (two classes: one output). Training
    minimises the log-loss, computed from the raw outputs, plus an L2 penalty. With the same
    parameters and an integer `random_state`, float64 data give the weights, losses and
    predictions of `sklearn.neural_network.MLPClassifier` up to rounding.

    Parameters
    ----------
    <parameters>

    loss : {'log_loss', 'pinned_log_loss'}, default='log_loss'
        How class probabilities come from raw outputs where there are more than two classes: the
        softmax of one raw output per class, or of one fewer, the first class's being pinned at 0
        (both are the logistic function for two classes).

    <architecture>

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels, sorted.

    <attributes>

    See Also
    --------
    MLPRegressor : The same network for numbers.

    Notes
    -----
    A binary problem is predicted as its second class where the probability is above 0.5. A matrix
    of 0 and 1 as `y` makes a multilabel problem, each column an independent binary one. The
    validation score of `early_stopping` is the accuracy; only a binary problem is split with its
    classes in proportion.

    A loss that is NaN or infinite ends the fit: with `early_stopping` the best weights are kept
    and a warning is given, otherwise a `ValueError` is raised.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, chapter 6 (MIT Press, 2016).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS, 2010): the initial weights.

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR, 2015).

    Goodfellow et al., "Maxout networks" (ICML, 2013).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(hidden_layer_sizes=(20, 10), activation=("maxout", "tanh"),
    ...                     solver="lbfgs", random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES))],
    }

    classes_: np.ndarray

    def _encode_targets(self, y: Any, first: bool, incremental: bool) -> tuple[np.ndarray, int]:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with other values than 0 and 1 (multiclass-multioutput); it "
                "must be one column of class labels, or a matrix of 0 and 1 for several labels."
            )
        if hasattr(self, "classes_") and (incremental or not first):
            self._check_labels(unique_labels(y))
        else:
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        multilabel = kind == "multilabel-indicator"
        if multilabel != self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError(
                f"y is {kind}, but in the previous call it was {self._label_binarizer.y_type_}."
            )
        if multilabel:
            if y.shape[1] != len(self.classes_):
                raise ValueError(f"y has {y.shape[1]} columns for {len(self.classes_)} classes.")
            return self._label_binarizer.transform(y), len(self.classes_)
        # Codes, not the binarizer's N by n_classes matrix: that would outgrow X.
        codes = np.searchsorted(self.classes_, y)
        return codes, len(self.classes_) if len(self.classes_) > 2 else 1

    def _check_labels(self, labels: np.ndarray) -> None:
        if self.warm_start and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )
        unseen = np.setdiff1d(labels, self.classes_)
        if len(unseen):
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {unseen}. It must hold only those of "
                f"the first call, {self.classes_}."
            )

    def _loss(self) -> str:
        multiclass = self._label_binarizer.y_type_ == "multiclass"
        return CLASSIFICATION_LOSSES[self.loss] if multiclass else "sigmoid_cross_entropy"

    def _stratify(self, y: np.ndarray) -> np.ndarray | None:
        # Spelt out, so that a class too small to split is called by the name upstream gives it.
        binary = y.shape[1] == 1 and len(self.classes_) <= 2
        return np.where(y[:, 0] == 1, "True", "False") if binary else None

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: Any) -> float:
        if outputs.shape[1] > y.shape[1]:  # softmax
            codes = outputs.argmax(axis=1)[:, np.newaxis]
        elif len(self.classes_) == 1:
            codes = np.zeros_like(y)
        else:
            codes = outputs > 0.5
        return float(np.average((codes == y).all(axis=1), weights=weight))

    @available_if(partial_fit_available)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go once over the data, from the current weights and optimizer state.

        Absent for ``solver='lbfgs'``; `early_stopping` is refused.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, all among `classes`, or a matrix of 0 and 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows' losses; None weighs all alike.
        classes : array-like of shape (n_classes,), default=None
            All labels that any call will bring. Needed by the first call.

        Returns
        -------
        self : object
            The updated estimator.
        """
        with unchanged_on_error(self):
            if _check_partial_fit_first_call(self, classes):
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The labels, or a matrix of 0 and 1 if `y` was one.
        """
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
        return self._label_binarizer.inverse_transform(outputs)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to 1, except for multilabel problems, where each
            column is the probability of its label.
        """
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            The logarithm of `predict_proba`.
        """
        return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@document("'exp' for ``loss='poisson'``, otherwise 'identity'.")
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron regressor, compiled with numba.

    A stack of hidden layers with one raw output per column of `y`, or more where the loss asks for
    them (the scales of 'gaussian' and 'laplace'). With the same parameters and an
    integer `random_state`, float64 data give the weights, losses and predictions of
    `sklearn.neural_network.MLPRegressor` up to rounding.

    Parameters
    ----------
    loss : str, default='squared_error'
        What is minimised, averaged over the rows and summed over the columns of `y`; ``p`` is the
        prediction.

        - 'squared_error': ``(p - y) ** 2 / 2``; predicts means.
        - 'absolute_error': ``|p - y|``; predicts medians and is robust against outliers.
        - 'poisson': half the Poisson deviance, ``p - y + y * log(y / p)``, with ``p`` the
          exponential of the raw output; needs ``y >= 0``.
        - 'quantile': ``max(q * (y - p), (1 - q) * (p - y))``; predicts the `quantile` ``q``.
        - 'huber': ``(p - y) ** 2 / 2`` up to an error of `huber_delta`, and from there on a
          straight line.
        - 'gaussian': the negative log-likelihood of a normal distribution whose mean and variance
          both depend on the features (see `covariance`).
        - 'laplace': the same for a Laplace distribution, median and scale.

        With the last two `predict` can return standard deviations too. They take targets of about
        unit scale best.

    <parameters>

    quantile : float, default=0.5
        The quantile that ``loss='quantile'`` predicts, between 0 and 1, both excluded.

    huber_delta : float, default=1.0
        The error, greater than 0, from which on ``loss='huber'`` is a straight line.

    covariance : {'diagonal', 'full'}, default='diagonal'
        What ``loss='gaussian'`` learns: one variance for each column of `y`, or all covariances
        between columns too.

    <architecture>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    MLPClassifier : The same network for class labels.

    Notes
    -----
    The validation score of `early_stopping` is R².

    A loss that is NaN or infinite ends the fit: with `early_stopping` the best weights are kept
    and a warning is given, otherwise a `ValueError` is raised. Targets far from unit scale are the
    usual cause.

    With several columns in `y`, `loss_` is the sum over them of the squared error; scikit-learn
    reports the mean, while its gradient is that of the sum.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, chapter 6 (MIT Press, 2016).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS, 2010): the initial weights.

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR, 2015).

    Goodfellow et al., "Maxout networks" (ICML, 2013).

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.preprocessing import scale
    >>> from nbnet import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=0)
    >>> reg = MLPRegressor(loss="absolute_error", hidden_layer_sizes=(30,),
    ...                    solver="lbfgs", max_iter=500, random_state=0).fit(X, scale(y))
    >>> reg.score(X, scale(y)) > 0.9
    True
    """

    _parameter_constraints = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        **{
            setting.name: [Interval(Real, setting.low, setting.high, closed="neither")]
            for row in LOSSES.values()
            for setting in row.settings
        },
        "covariance": [StrOptions({"diagonal", "full"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        negative_slope: float = 0.01,
        pieces: int = 2,
        quantile: float = 0.5,
        huber_delta: float = 1.0,
        covariance: str = "diagonal",
        architecture: Callable[[graph.Node], graph.Node] | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            negative_slope=negative_slope,
            pieces=pieces,
            loss=loss,
            architecture=architecture,
        )
        self.quantile = quantile
        self.huber_delta = huber_delta
        self.covariance = covariance

    def _encode_targets(self, y: Any, first: bool, incremental: bool) -> tuple[np.ndarray, int]:
        if issparse(y):
            raise TypeError("y must be a dense array; a sparse y is only read as class labels.")
        if y.dtype.kind not in "fiub":
            y = y.astype(np.float64)  # or an error that names what is no number
        return y, 1 if y.ndim == 1 else y.shape[1]

    def _loss(self) -> str:
        if self.loss == "gaussian" and self.covariance == "full":
            return "full_gaussian"
        return REGRESSION_LOSSES[self.loss]

    def _loss_setting(self) -> dict[str, float]:
        return {s.name: getattr(self, s.name) for s in LOSSES[self._loss()].settings}

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: Any) -> float:
        outputs = outputs[:, : y.shape[1]]  # before the scales, where they are learned
        if not np.isfinite(outputs).all():
            return np.nan
        with np.errstate(over="ignore"):  # of a diverging fit: the score is -inf then
            return float(r2_score(y, outputs, sample_weight=weight))

    @available_if(partial_fit_available)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go once over the data, from the current weights and optimizer state.

        Absent for ``solver='lbfgs'``; `early_stopping` is refused.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows' losses; None weighs all alike.

        Returns
        -------
        self : object
            The updated estimator.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """Predict targets, and how far they scatter.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether to return the standard deviation too, for a loss that learns one: 'gaussian' or
            'laplace'.
        return_cov : bool, default=False
            Whether to return the covariance of the targets instead.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, in the dtype of the model.
        std : ndarray of the shape of `y`
            If `return_std`.
        cov : ndarray of shape (n_samples, n_outputs, n_outputs)
            If `return_cov`; n_outputs is 1 for a single target. It is that of the noise in each
            sample, not between samples.

        Raises
        ------
        ValueError
            If both are asked for, or the loss has no scale of its own.
        """
        if return_std and return_cov:
            raise ValueError("At most one of return_std and return_cov may be True; both are.")
        row = LOSSES[self._fitted_loss()]
        if (return_std or return_cov) and row.link != "location_and_scale":
            asked = "return_std" if return_std else "return_cov"
            (loss,) = (name for name, key in REGRESSION_LOSSES.items() if key == row.name)
            raise ValueError(
                f"{asked}=True needs a loss that learns a scale, 'gaussian' or 'laplace'; "
                f"this is loss={loss!r}."
            )
        outputs = self._outputs(X)
        n = row.n_targets(outputs.shape[1])
        y = outputs[:, 0] if n == 1 else outputs[:, :n]
        if return_cov:
            return y, _covariance(outputs, n, row)
        if return_std:
            variance = np.diagonal(_covariance(outputs, n, row), axis1=1, axis2=2)
            return y, np.sqrt(variance).reshape(y.shape)
        return y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = REGRESSION_LOSSES.get(self.loss)  # still unchecked here
        tags.target_tags.positive_only = loss is not None and LOSSES[loss].y_low >= 0
        return tags
