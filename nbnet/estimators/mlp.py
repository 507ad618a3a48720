"""MLPClassifier and MLPRegressor: the scikit-learn shell around a network.

Each adds to what they share, `BaseMLP`, its targets and its predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn import neural_network as upstream
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from nbnet import graph
from nbnet.estimators.base import (
    ATTRIBUTES,
    BaseMLP,
    single_updates,
    unchanged_on_error,
    validated,
)
from nbnet.estimators.class_weight import weigh_classes
from nbnet.estimators.exchange import filled_from_upstream
from nbnet.estimators.parameters import (
    CLASSIFIER_PARAMETERS,
    REGRESSOR_PARAMETERS,
    ActivationName,
    ClassificationLossName,
    CovarianceName,
    MatrixLike,
    RegressionLossName,
    SolverName,
    declared,
    store,
)
from nbnet.estimators.scale import hint_at_scale
from nbnet.estimators.targets import (
    LOSSES_WITH_SCALE,
    REGRESSION_LOSSES,
    ClassTargets,
    RegressionTargets,
    Targets,
)
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.records import Setting
from nbnet.kernels.user import CustomActivation, CustomLoss, loss_row
from nbnet.training.metrics import METRICS
from nbnet.training.recipe import Problem
from nbnet.training.schedules import ScheduleName

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]

_COVERAGE = Setting("coverage", 0.9, 0.0, 1.0)


@declared(
    CLASSIFIER_PARAMETERS,
    attributes=ATTRIBUTES.replace(
        "<out_activation>", "'softmax' for several classes, 'logistic' for two, one or many labels."
    ),
)
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron classifier, compiled with numba.

    A stack of hidden layers with one raw output per class (two classes: one output). Training
    minimises the log-loss or a variant of it, computed from the raw outputs, plus an L2 penalty.
    With the same parameters and an integer `random_state`, float64 data give the weights, losses
    and predictions of `sklearn.neural_network.MLPClassifier` up to rounding.

    Parameters
    ----------
    <parameters>

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
    validation score of `early_stopping` is the accuracy, unless `scoring` names another; only a
    binary problem is split with its classes in proportion.

    A loss that is NaN or infinite ends the fit: with `early_stopping` the best weights are kept
    and a warning is given, otherwise a `ValueError` is raised.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, chapter 6 (MIT Press, 2016).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS, 2010): the initial weights.

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR, 2015).

    Goodfellow et al., "Maxout networks" (ICML, 2013).

    Szegedy et al., "Rethinking the inception architecture for computer vision" (CVPR, 2016): label
    smoothing.

    Lin et al., "Focal loss for dense object detection" (ICCV, 2017).

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

    classes_: np.ndarray

    if TYPE_CHECKING:  # inherited from scikit-learn, which has no types

        def score(  # noqa: D102
            self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float: ...

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | np.ndarray = (100,),
        activation: ActivationName
        | CustomActivation
        | Sequence[ActivationName | CustomActivation] = "relu",
        *,
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        weight_decay: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: ScheduleName | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        warmup_fraction: float = 0.0,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        clip_norm: float | None = None,
        early_stopping: bool = False,
        restore_best: bool = False,
        validation_fraction: float = 0.1,
        scoring: str | Callable[..., float] | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        average: float = 0.0,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        negative_slope: float = 0.01,
        pieces: int = 2,
        dropout: float | Sequence[float] | np.ndarray = 0.0,
        loss: ClassificationLossName | CustomLoss = "log_loss",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        architecture: Callable[[graph.Node], graph.Node] | None = None,
    ) -> None:
        store(self, locals())

    def _targets(self, y: Any, first: bool, incremental: bool) -> ClassTargets:
        if hasattr(self, "classes_") and (incremental or not first):
            targets = self._declared_targets()
            targets.check_known(y, all_of_them=self.warm_start)
        else:
            targets = ClassTargets.seen_in(y, self.loss, self._settings())
        self.classes_ = targets.classes
        self._labels = {"kind": targets.kind, "sparse": targets.sparse}
        return targets

    def _settings(self) -> dict[str, float]:
        """Hyperparameters that a loss may have."""
        names = {s.name for row in LOSSES.values() for s in row.settings}
        return {name: float(getattr(self, name)) for name in self._parameters if name in names}

    def _declared_targets(self) -> ClassTargets:
        """The known classes, with the loss that the parameters name."""
        kind = self._kind_of_labels()
        return ClassTargets(self.classes_, **kind, loss_name=self.loss, settings=self._settings())

    def _weigh(
        self,
        targets: Targets,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        incremental: bool,
    ) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all "
                "rows. Compute the weights from all of y, or from a large enough sample of it, and "
                "pass them as a dict: weights = sklearn.utils.class_weight.compute_class_weight("
                "'balanced', classes=classes, y=y), class_weight=dict(zip(classes, weights))."
            )
        assert isinstance(targets, ClassTargets)
        if targets.multilabel:
            raise ValueError(
                f"class_weight={self.class_weight!r} needs one label per row. With several, a row "
                "has one weight for the losses of all its labels, so a class of one label cannot "
                "be weighed alone. Pass sample_weight instead."
            )
        codes = y[:, 0].astype(np.intp)
        return weigh_classes(self.class_weight, targets.classes, codes, sample_weight, y.dtype)

    def _kind_of_labels(self) -> dict[str, Any]:
        """What `ClassTargets` has to know beside the classes."""
        labels = getattr(self, "_labels", None)
        if labels is None:  # a model whose attributes were set by hand
            labels = {"kind": "multiclass" if len(self.classes_) > 2 else "binary"}
        return labels

    def _fitted_targets(self) -> ClassTargets:
        return ClassTargets(self.classes_, **self._kind_of_labels())

    def _fitted_loss(self) -> str | CustomLoss:
        loss = getattr(self, "_loss_of_fit", None)
        if loss is None:
            loss = self._declared_targets().loss
        return loss

    def _moments(self, X: Any, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (N, R) of the outputs over masks of dropout."""
        mean: Any = 0.0
        squares: Any = 0.0  # of the deviations from the mean so far (Welford, 1962)
        for k, outputs in enumerate(self._sampled_outputs(X, n_samples), start=1):
            before, mean = outputs - mean, mean + (outputs - mean) / k
            squares = squares + before * (outputs - mean)
        return mean, squares / n_samples

    @single_updates
    @validated
    def partial_fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Go once over the data, from the current weights and optimizer state.

        Absent for ``solver='lbfgs'``; `early_stopping` and `restore_best` are refused.

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
                self._labels = {
                    "kind": type_of_target(y if multilabel else classes),
                    "sparse": multilabel and issparse(y),
                }
            self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: MatrixLike, *, n_samples: int | None = None) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        n_samples : int, default=None
            As in `predict_proba`: the label is that of the mean probabilities.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The labels, or a matrix of 0 and 1 if `y` was one.
        """
        outputs = self._outputs(X) if n_samples is None else self._moments(X, n_samples)[0]
        return self._fitted_targets().decode(outputs)

    @overload
    def predict_proba(
        self, X: MatrixLike, *, n_samples: int | None = None, return_std: Literal[False] = False
    ) -> np.ndarray: ...

    @overload
    def predict_proba(
        self, X: MatrixLike, *, n_samples: int, return_std: Literal[True]
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def predict_proba(
        self, X: MatrixLike, *, n_samples: int | None = None, return_std: bool = False
    ) -> Any:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        n_samples : int, default=None
            Predict so many times with random masks of `dropout` (Monte-Carlo dropout) and return
            the means. None predicts once, and drops nothing. An int as `random_state` makes each
            call draw the same masks. (Gal and Ghahramani, 2016.)
        return_std : bool, default=False
            Whether to return the standard deviations over these samples too.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; rows sum to 1, except for multilabel problems, where each
            column is the probability of its label.
        std : ndarray of the shape of `probabilities`
            If `return_std`.

        Raises
        ------
        ValueError
            If `return_std` is asked for without `n_samples`, or the model has no dropout to sample.
        """
        targets = self._fitted_targets
        if n_samples is not None:
            mean, variance = self._moments(X, n_samples)
            mean = targets().estimates(mean)
            # With two classes, that of one is 1 minus that of the other.
            std = np.broadcast_to(np.sqrt(variance), mean.shape).copy()
            return (mean, std) if return_std else mean
        if return_std:
            raise ValueError(
                "return_std=True needs n_samples: probabilities scatter over masks of dropout."
            )
        outputs = self._outputs(X)
        return targets().estimates(outputs)

    def predict_log_proba(self, X: MatrixLike) -> np.ndarray:
        """Predict the logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            The logarithm of `predict_proba`, computed from the raw outputs: finite and exact also
            where a probability rounds to 0 or 1.
        """
        check_is_fitted(self, "coefs_")
        network, targets = self._fitted_network(), self._fitted_targets()
        exact = targets.log_estimates(self._run(network, X), self._fitted_loss())
        if not targets.multilabel:
            return exact
        # Probabilities that round to 1 are alike here too: columns are ranked as scikit-learn does.
        probabilities = self._outputs(X)
        return np.where(probabilities < 0.5, exact, np.log(np.maximum(probabilities, 0.5)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@declared(
    REGRESSOR_PARAMETERS,
    attributes=ATTRIBUTES.replace(
        "<out_activation>",
        "The link from raw outputs to predictions: 'exp', 'logistic', 'identity', or\n"
        "        'location_and_scale' for 'gaussian' and 'laplace'.",
    )
    + """

    y_mean_, y_scale_ : ndarray of shape (`n_outputs_`,)
        What `standardize_y` subtracts from the columns of `y`, and divides them by then (1 for a
        constant column). Absent without it.""",
)
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron regressor, compiled with numba.

    A stack of hidden layers with one raw output per column of `y`, or more where the loss asks for
    them (several quantiles; the scales of 'gaussian' and 'laplace'). With the same parameters and
    an integer `random_state`, float64 data give the weights, losses and predictions of
    `sklearn.neural_network.MLPRegressor` up to rounding.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    MLPClassifier : The same network for class labels.

    Notes
    -----
    Unless `scoring` names another, the validation score of `early_stopping` and that of `score` are
    R²; for several quantiles, the mean over the levels of scikit-learn's `d2_pinball_score`.

    Several quantiles are learned each for itself, and may cross in training. Predictions and
    validation scores are of sorted ones: to sort makes the loss of no row larger.

    A loss that is NaN or infinite ends the fit: with `early_stopping` the best weights are kept
    and a warning is given, otherwise a `ValueError` is raised. Targets far from unit scale are the
    usual cause; see `standardize_y`.

    With several columns in `y`, `loss_` is the sum over them of the squared error; scikit-learn
    reports the mean, while its gradient is that of the sum.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, chapter 6 (MIT Press, 2016).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS, 2010): the initial weights.

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR, 2015).

    Goodfellow et al., "Maxout networks" (ICML, 2013).

    Chernozhukov, Fernández-Val and Galichon, "Quantile and probability curves without crossing"
    (Econometrica, 2010): why quantiles are sorted.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.preprocessing import scale
    >>> from nbnet import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=0)
    >>> reg = MLPRegressor(loss="absolute_error", hidden_layer_sizes=(30,), solver="lbfgs",
    ...                    max_iter=500, random_state=0).fit(X, scale(y))
    >>> reg.score(X, scale(y)) > 0.9
    True
    """

    def __init__(
        self,
        loss: RegressionLossName | CustomLoss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] | np.ndarray = (100,),
        activation: ActivationName
        | CustomActivation
        | Sequence[ActivationName | CustomActivation] = "relu",
        *,
        solver: SolverName = "adam",
        alpha: float = 0.0001,
        weight_decay: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: ScheduleName | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        warmup_fraction: float = 0.0,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        clip_norm: float | None = None,
        early_stopping: bool = False,
        restore_best: bool = False,
        validation_fraction: float = 0.1,
        scoring: str | Callable[..., float] | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        average: float = 0.0,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        negative_slope: float = 0.01,
        pieces: int = 2,
        dropout: float | Sequence[float] | np.ndarray = 0.0,
        quantile: float | Sequence[float] | np.ndarray = 0.5,
        huber_delta: float = 1.0,
        tweedie_power: float = 1.5,
        covariance: CovarianceName = "diagonal",
        standardize_y: bool = False,
        architecture: Callable[[graph.Node], graph.Node] | None = None,
    ) -> None:
        store(self, locals())

    def _loss_key(self) -> str | CustomLoss:
        if isinstance(self.loss, CustomLoss):
            return self.loss
        if self.loss == "gaussian" and self.covariance == "full":
            return "full_gaussian"
        return REGRESSION_LOSSES[self.loss]

    def _targets(self, y: Any, first: bool, incremental: bool) -> RegressionTargets:
        if not self.standardize_y:
            for name in ("y_mean_", "y_scale_"):  # of an earlier fit
                self.__dict__.pop(name, None)
        loss = self._loss_key()
        settings = loss_row(loss).settings
        numbers = {s.name: s.read(getattr(self, s.name, s.default)) for s in settings}
        return RegressionTargets(RegressionTargets.columns_of(y), loss, self.loss, numbers)

    def _fitted_loss(self) -> str | CustomLoss:
        return getattr(self, "_loss_of_fit", None) or self._loss_key()

    def _fitted_targets(self, n_raw: int) -> RegressionTargets:
        """What so many raw outputs mean: the numbers of the loss may have been set anew too."""
        key = self._fitted_loss()
        if isinstance(key, CustomLoss):  # R does not tell T
            return RegressionTargets(getattr(self, "n_outputs_", n_raw), key, key)
        numbers = getattr(self, "_numbers_of_fit", None)
        if numbers is None:  # an older model, or one whose attributes were set by hand
            settings = loss_row(key).settings
            numbers = {s.name: s.read(getattr(self, s.name, s.default)) for s in settings}
        return RegressionTargets.read_by(key, numbers, n_raw, *self._units())

    @property
    def _standardizes(self) -> bool:
        return bool(self.standardize_y)

    def _standardize(
        self, targets: Targets, y: np.ndarray, sample_weight: np.ndarray | None, first: bool
    ) -> Targets:
        assert isinstance(targets, RegressionTargets)
        if first or not hasattr(self, "y_mean_"):
            targets = targets.standardized(y, sample_weight)
        else:
            center, unit = self._units()
            targets = replace(targets, center=center, unit=unit)
        self.y_mean_, self.y_scale_ = np.array(targets.center), np.array(targets.unit)
        return targets

    def _hint(self, problem: Problem, targets: Targets, loss: float | None) -> str:
        assert isinstance(targets, RegressionTargets)
        if self.standardize_y or not targets.has_location:
            return ""
        return hint_at_scale(problem, loss)

    def _units(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Center and unit of the targets of a fitted model, for `RegressionTargets`."""
        if not hasattr(self, "y_mean_"):
            return (), ()
        return tuple(self.y_mean_.tolist()), tuple(self.y_scale_.tolist())

    @single_updates
    @validated
    def partial_fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go once over the data, from the current weights and optimizer state.

        Absent for ``solver='lbfgs'``; `early_stopping` and `restore_best` are refused.

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

    @overload
    def predict(
        self,
        X: MatrixLike,
        return_std: Literal[False] = False,
        return_cov: Literal[False] = False,
        *,
        n_samples: int | None = None,
    ) -> np.ndarray: ...

    @overload
    def predict(
        self,
        X: MatrixLike,
        return_std: Literal[True],
        return_cov: Literal[False] = False,
        *,
        n_samples: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @overload
    def predict(
        self,
        X: MatrixLike,
        return_std: Literal[False] = False,
        *,
        return_cov: Literal[True],
        n_samples: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(
        self,
        X: MatrixLike,
        return_std: bool = False,
        return_cov: bool = False,
        *,
        n_samples: int | None = None,
    ) -> Any:
        """Predict targets, and how far they scatter.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether to return the standard deviation too, for a loss that learns one: 'gaussian',
            'laplace' or 'negative_binomial'.
        return_cov : bool, default=False
            Whether to return the covariance of the targets instead.
        n_samples : int, default=None
            Predict so many times with random masks of `dropout` (Monte-Carlo dropout): the
            predictions are the means, and `return_std` or `return_cov` adds how far they scatter,
            with any loss, to what the loss has learned of the noise. None predicts once, and drops
            nothing. An int as `random_state` makes each call draw the same masks. (Gal and
            Ghahramani, 2016.)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, in the dtype of the model. With Q levels of `quantile` in a sequence
            there is a last axis of length Q: the quantiles in order, sorted in each row so that
            they never cross.
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
        check_is_fitted(self, "coefs_")
        if n_samples is not None:
            return self._predict_by_masks(X, n_samples, return_std, return_cov)
        key = self._fitted_loss()
        row = loss_row(key)
        if (return_std or return_cov) and not row.learns_scale:
            asked = "return_std" if return_std else "return_cov"
            raise ValueError(
                f"{asked}=True needs a loss that learns how far targets scatter, "
                f"{LOSSES_WITH_SCALE}; this is loss={row.regressor or key!r}."
            )
        outputs = self._outputs(X)
        targets = self._fitted_targets(outputs.shape[1])
        y = targets.decode(outputs)
        if return_cov:
            return y, targets.covariance(outputs)
        if return_std:
            variance = np.diagonal(targets.covariance(outputs), axis1=1, axis2=2)
            return y, np.sqrt(variance).reshape(y.shape)
        return y

    def _predict_by_masks(self, X: Any, n_samples: int, return_std: bool, return_cov: bool) -> Any:
        """`predict` over masks of dropout: the variance is that of means and the mean variance."""
        learned = loss_row(self._fitted_loss()).learns_scale
        mean: Any = 0.0
        squares: Any = 0.0  # of the deviations from the mean so far (Welford, 1962)
        noise: Any = 0.0
        for k, outputs in enumerate(self._sampled_outputs(X, n_samples), start=1):
            targets = self._fitted_targets(outputs.shape[1])
            y = targets.decode(outputs)
            each = y.reshape(len(y), -1)
            before, mean = each - mean, mean + (each - mean) / k
            squares = squares + before[:, :, np.newaxis] * (each - mean)[:, np.newaxis, :]
            if learned:
                noise = noise + (targets.covariance(outputs) - noise) / k
        predicted, covariance = mean.reshape(y.shape), squares / n_samples + noise
        if return_cov:
            return predicted, covariance
        if return_std:
            variance = np.diagonal(covariance, axis1=1, axis2=2)
            return predicted, np.sqrt(variance).reshape(predicted.shape)
        return predicted

    def predict_interval(self, X: MatrixLike, coverage: float = 0.9) -> np.ndarray:
        """Predict bounds between which a target lies with a given probability.

        As many targets lie below the lower bound as above the upper one: these are the quantiles
        ``(1 - coverage) / 2`` and ``(1 + coverage) / 2`` of what the model has learned.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        coverage : float, default=0.9
            The probability, between 0 and 1, both excluded. With ``loss='quantile'`` both levels
            must be among those learned.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            The lower and the upper bound of each target, in the dtype of the model.

        Raises
        ------
        ValueError
            If the loss is not 'quantile', 'gaussian', 'laplace' or 'negative_binomial', or if the
            levels for this coverage were not learned.
        """
        check_is_fitted(self, "coefs_")
        coverage = _COVERAGE.check(coverage)
        outputs = self._outputs(X)
        targets = self._fitted_targets(outputs.shape[1])
        interval = targets.interval(outputs, coverage)
        return interval[:, 0] if targets.n_outputs == 1 else interval

    def score(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Score the predictions: R², or for several quantiles the mean of their D².

        The D² of a level is scikit-learn's `d2_pinball_score`: 1 for a perfect prediction, 0 for
        one as good as the best constant quantile.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
        """
        check_is_fitted(self, "coefs_")
        targets = self._fitted_targets(self.coefs_[-1].shape[1])
        if targets.quantiles is None:
            return float(super().score(X, y, sample_weight))
        outputs = self._outputs(X)
        estimates = targets.decode(outputs).reshape(len(outputs), -1)
        y = np.asarray(y)
        check_consistent_length(estimates, y, sample_weight)
        y = y.reshape(len(y), -1)
        if y.shape[1] != targets.n_outputs:
            raise ValueError(f"y has {y.shape[1]} columns; the model predicts {targets.n_outputs}.")
        weight = None if sample_weight is None else np.asarray(sample_weight)
        metric = METRICS[targets.metric]
        return metric.function(estimates, y, weight, quantile=targets.quantiles)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = REGRESSION_LOSSES.get(self.loss) if isinstance(self.loss, str) else None
        tags.target_tags.positive_only = loss is not None and LOSSES[loss].y_low >= 0
        return tags


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """Make one of our estimators of scikit-learn's: it predicts the same up to rounding.

    Parameters, weights, history and the optimizer's state are copied, so that a warm refit or
    `partial_fit` goes on. A model that is not fitted gives one that is not. `to_sklearn` of the
    estimators is the way back.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or sklearn.neural_network.MLPRegressor

    Returns
    -------
    MLPClassifier or MLPRegressor

    Raises
    ------
    TypeError
        If it is something else.
    """
    for theirs, ours in (
        (upstream.MLPClassifier, MLPClassifier),
        (upstream.MLPRegressor, MLPRegressor),
    ):
        if isinstance(model, theirs):
            told = model.get_params(deep=False)
            new = ours(**{name: clone(value, safe=False) for name, value in told.items()})
            if hasattr(model, "coefs_"):
                filled_from_upstream(new, model, ours._fitted_network)
            return new
    raise TypeError(
        "from_sklearn needs an MLPClassifier or MLPRegressor of sklearn.neural_network; got "
        f"{model!r}."
    )
