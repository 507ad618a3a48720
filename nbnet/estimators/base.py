"""What the two estimators share: all but targets, losses and predictions.

A fit checks and encodes the data, builds the network that the parameters describe, trains it
(`nbnet.training`) and publishes the result as attributes. Between calls `coefs_` and `intercepts_`
are the only place where a model's weights live: every method reads them afresh, so they may be
pickled, shared or set by hand. A call that raises leaves the estimator as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import lru_cache, wraps
from numbers import Integral, Real
from types import MethodType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from nbnet import graph
from nbnet.estimators.callbacks_support import TellsCallbacks, with_callbacks
from nbnet.estimators.data import (
    Measured,
    check_sample_weight,
    in_double,
    naming,
    refuse_text_and_times,
    sums_to_a_number,
)
from nbnet.estimators.exchange import to_upstream
from nbnet.estimators.parameters import HIDDEN_UNITS, MatrixLike, Parameter
from nbnet.estimators.pickles import restored, stamped
from nbnet.estimators.scoring import Scorer, scorer_of
from nbnet.estimators.targets import Targets
from nbnet.estimators.warn import warn
from nbnet.estimators.weights import NOTHING_CUT, cut, initial, packed, uncut
from nbnet.graph.network import Network
from nbnet.graph.session import SEEDS
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.ops import OPS
from nbnet.kernels.optimizers import OPTIMIZERS
from nbnet.kernels.user import CustomActivation, CustomLoss, loss_row
from nbnet.training.lbfgs import train_by_lbfgs
from nbnet.training.loop import open_session, split_rows, train_by_epochs
from nbnet.training.monitor import HeldOut, Listener, Monitor
from nbnet.training.progress import shown
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import SCHEDULES, schedule_of
from nbnet.training.state import NON_FINITE, Ending, FitState

__all__ = ["ATTRIBUTES", "BaseMLP", "single_updates", "unchanged_on_error", "validated"]

_DTYPES = (np.float64, np.float32)
# Hyperparameters that estimators call by scikit-learn's names.
_PARAMETER_OF = {"nesterov": "nesterovs_momentum"}
# What only 'sgd' and 'adam' leave behind.
_OF_EPOCHS = (
    "loss_curve_",
    "learning_rates_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "validation_losses_",
    "best_n_iter_",
    "_training",
)
# What rows held out leave behind, whatever the solver.
_OF_SCORES = ("validation_scores", "best_validation_score", "validation_losses", "best_n_iter")
# What partial_fit goes on with: of the recipe, and of the state.
_OF_OPTIMIZER = (
    "solver",
    "solver_numbers",
    "learning_rate_init",
    "schedule",
    "schedule_numbers",
    "average",
)
_OF_STATE = ("slots", "step", "slow_downs", "no_improvement_count", "averaged")
Method = TypeVar("Method", bound=Callable[..., Any])
# Activation and width of each hidden layer.
Layers = tuple[tuple[str | CustomActivation, int], ...]

ATTRIBUTES = """\
    coefs_ : list of ndarray
        ``coefs_[i]``, of shape (fan_in, fan_out), holds the weights between layers i and i + 1.
        Weights set by hand are used by the next call. Of a layer_norm node of an `architecture`
        they have shape (width,).

    intercepts_ : list of ndarray
        ``intercepts_[i]`` holds the biases of layer i + 1.

    loss_ : float
        Loss of the last epoch or iteration, penalty included: the mean over the epoch's batches,
        each measured before its update and weighed by its rows.

    loss_curve_ : list of float
        `loss_` after each epoch. Absent after 'lbfgs'.

    learning_rates_ : list of float
        The learning rate of the first update of each epoch. Absent after 'lbfgs'.

    best_loss_ : float or None
        Smallest `loss_` so far; None with `early_stopping`. Absent after 'lbfgs'.

    validation_scores_ : list of float or None
        Validation score (see `scoring`) after each epoch or iteration; None without
        `early_stopping` and `X_val`. Absent after 'lbfgs' without `X_val`, and so are the next
        three.

    best_validation_score_ : float or None
        Highest of the `validation_scores_`.

    validation_losses_ : list of float or None
        Loss on the same rows, without penalty; None where `validation_scores_` is None.

    best_n_iter_ : int
        The epoch or iteration of the last call, from 1, with the highest validation score, or with
        the smallest `loss_` where there are no scores; 0 if none was better than those of earlier
        calls. Its weights are kept with `early_stopping` or `restore_best`.

    n_iter_ : int
        Epochs or iterations of the last call.

    t_ : int
        Rows seen in training, over all epochs of 'sgd' and 'adam'.

    n_layers_ : int
        Number of layers, input and output included: one more than `coefs_` has entries.

    n_outputs_ : int
        Number of outputs: columns of `y`, or classes if there are more than two, otherwise 1.

    out_activation_ : str
        <out_activation>

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if all columns of `X` had a string for a name."""


@lru_cache(maxsize=128)
def _network(
    n_features: int,
    layers: Layers,
    n_outputs: int,
    pieces: int,
    negative_slope: float,
    dropout: tuple[float, ...],
    output_gain: float | None,
) -> Network:
    """Build the network of a stack of hidden layers, each an activation and a width."""
    output = graph.mlp(
        n_features,
        layers,
        n_outputs,
        negative_slope=negative_slope,
        pieces=pieces,
        dropout=dropout,
    )
    return Network(output, output_gain=output_gain)


def _network_around(
    architecture: Callable[[graph.Node], graph.Node], n_features: int, n_raw: int
) -> Network:
    """Build the network whose body a function of the user's builds."""
    x = graph.input(n_features, name="x")
    body = architecture(x)
    if not isinstance(body, graph.Node):
        raise TypeError(
            f"architecture must return a node of nbnet.graph, but {architecture!r} returned "
            f"{body!r}"
        )
    network = Network(graph.dense(body, n_raw, name="output"))
    if network.nodes[0] is not x:
        raise ValueError(
            f"architecture must build on the node it is given, but {architecture!r} returned "
            f"{body!r}, which is computed from another input"
        )
    return network


def _hidden_layers(network: Network) -> list[graph.Node]:
    (body,) = network.output.inputs
    while OPS[body.op].training_only:
        (body,) = body.inputs
    units = [node for node in network.nodes if node.op in ("activation", "maxout")]
    return [node for node in units if node is not body] + [body]


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator back its attributes if the block raises: a refused call loses nothing."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def validated(method: Method) -> Method:
    """Have scikit-learn validate the parameters before a method that fits."""
    return cast(Method, _fit_context(prefer_skip_nested_validation=True)(method))


class _SingleUpdates:
    """A method that a model lacks while its solver has no single update."""

    def __init__(self, method: Callable[..., Any]):
        @wraps(method)
        def guarded(model: BaseMLP, *arguments: Any, **named: Any) -> Any:
            _check_single_updates(model)
            return method(model, *arguments, **named)

        self.guarded = guarded

    def __get__(self, model: BaseMLP | None, owner: type) -> Callable[..., Any]:
        if model is None:
            return self.guarded
        _check_single_updates(model)  # so that `hasattr` says no
        return MethodType(self.guarded, model)


def single_updates(method: Method) -> Method:
    """Make a method absent under ``solver='lbfgs'``; the AttributeError says why."""
    return cast(Method, _SingleUpdates(method))


def _check_single_updates(model: BaseMLP) -> None:
    if model.solver == "lbfgs":
        raise AttributeError(
            f"This {type(model).__name__} has no attribute 'partial_fit', as solver='lbfgs' has no "
            "single update. Use solver='sgd' or solver='adam'."
        )


class BaseMLP(TellsCallbacks, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the classifier and the regressor share: everything but targets and predictions."""

    _parameters: Mapping[str, Parameter]

    n_features_in_: int
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_: float
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str

    if TYPE_CHECKING:  # inherited from scikit-learn, which has no types

        def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # noqa: D102
        def set_params(self, **params: Any) -> Self: ...  # noqa: D102
        def fit_transform(self, X: MatrixLike, y: Any = None, **more: Any) -> np.ndarray: ...  # noqa: D102
        def get_feature_names_out(self, input_features: Any = None) -> np.ndarray: ...  # noqa: D102

    # What the two estimators fill in.

    def _targets(self, y: Any, first: bool, incremental: bool) -> Targets:
        """What y means, by the parameters and by what earlier calls have left."""
        raise NotImplementedError

    def _weigh(
        self,
        targets: Targets,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        incremental: bool,
    ) -> np.ndarray | None:
        """The weights of rows (N,) with encoded targets y (N, T), by the parameters."""
        return sample_weight

    @property
    def _standardizes(self) -> bool:
        """Whether targets are learned in units of their own."""
        return False

    def _standardize(
        self, targets: Targets, y: np.ndarray, sample_weight: np.ndarray | None, first: bool
    ) -> Targets:
        """The targets in their units, from rows to train on (N, T) or from earlier calls."""
        raise NotImplementedError

    def _hint(self, problem: Problem, targets: Targets, loss: float | None) -> str:
        """What to add to a warning: why a fit diverged (None) or may have ended at a high loss."""
        return ""

    def _fitted_loss(self) -> str | CustomLoss:
        """The loss by which raw outputs are read: `loss` may have been set anew since."""
        raise NotImplementedError

    # Fitting.

    @validated
    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: MatrixLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to data, from new random weights unless `warm_start` is set.

        Ctrl-C stops the training, warns and leaves a usable model. A call that raises leaves the
        estimator as it was.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features. float32 gives a float32 model, anything else a float64 model.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets: class labels or a matrix of 0 and 1 (multilabel) in classification, numbers in
            regression.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows' losses; None weighs all alike.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Rows to validate on. With `early_stopping` they are judged, and none of `X` are set
            aside; otherwise they are only measured, and the weights that are learned are the same
            as without them. In a `Pipeline` with ``transform_input=["X_val"]`` they are transformed
            as `X` is.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets, of the same kind as `y`; labels must be among those of `y`.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights in scores and losses; None weighs all alike.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            validation = (X_val, y_val, sample_weight_val)
            self._fit(X, y, sample_weight, validation, incremental=False)
        return self

    @with_callbacks
    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any] = (None, None, None),
        *,
        incremental: bool,
    ) -> None:
        if incremental:
            self._check_endless()
        layers = self._declared_layers()  # before anything else, what is wrong with the parameters
        validates = _is_given(*validation)
        self._warn_of_what_has_no_effect(validates)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y, sample_weight = self._check_data(X, y, sample_weight, first)
        data = self._data_for_callbacks(X, y, sample_weight)
        targets = self._targets(y, first, incremental)
        # In float64 as long as units are to be found: float32 may not hold y, but y in units.
        encoded = targets.encode(y, np.float64 if self._standardizes else X.dtype)
        sample_weight = self._weigh(targets, encoded, sample_weight, incremental)

        network = self._build(X.shape[1], layers, targets.n_raw)
        random_state = check_random_state(self.random_state)
        if first:
            params = initial(network, targets, random_state, X.dtype)
        else:
            params = self._packed(network).astype(X.dtype, copy=False)
        stochastic = self.solver != "lbfgs"
        rows, held_out = np.arange(len(encoded), dtype=np.int64), None
        if self.early_stopping and stochastic and not validates:
            rows, held_out = self._split(encoded, sample_weight, targets, random_state)
        if self._standardizes:
            weight = None if sample_weight is None else sample_weight[rows]
            targets = self._standardize(targets, encoded[rows], weight, first)
            encoded = targets.encode(encoded, X.dtype)
        problem = Problem(network, X, encoded, sample_weight, targets.loss, targets.numbers)
        measured = None
        if validates:
            measured = self._check_validation(*validation, targets, X.dtype)
        elif held_out is not None:
            measured = Measured.of(problem, held_out, y)
        if not stochastic:
            rows = np.empty(0, dtype=np.int64)
        state = FitState(params, rows, random_state, held_out)
        if stochastic and any(OPS[node.op].training_only for node in network.nodes):
            state.seed = int(random_state.randint(SEEDS, dtype=np.int64))
        del X, y, encoded, rows  # what is in no problem or state need not stay in memory
        # By these scorers read outputs, too.
        self._loss_of_fit, self._numbers_of_fit = targets.loss, dict(targets.numbers)
        train = self._train_by_epochs if stochastic else self._train_by_lbfgs
        try:
            recipe, ending = train(problem, targets, state, measured, first, incremental, data)
        except ValueError as error:
            if str(error) == NON_FINITE:
                raise ValueError(NON_FINITE + self._hint(problem, targets, None)) from None
            raise
        self._publish(problem, targets, recipe, state)
        self._end_callbacks(data)
        self._warn_of_no_best(recipe, state)
        warning = ending.warning
        if incremental and ending.reason == "max_iter":
            return
        if not incremental and ending.reason in ("converged", "max_iter", "diverged"):
            diverged = ending.reason == "diverged"
            hint = self._hint(problem, targets, None if diverged else state.loss)
            if hint:
                warning = ConvergenceWarning(
                    f"{warning or f'Training ended after {state.n_iter} iterations.'}{hint}"
                )
        if warning is not None:
            warn(warning)

    def _check_endless(self) -> None:
        """Refuse what needs an end that `partial_fit` does not know."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.restore_best:
            raise ValueError(
                "partial_fit does not support restore_best=True: losses of different parts of the "
                "data do not tell which weights are the best."
            )
        for name, given in (
            ("learning_rate", _of_share(self.learning_rate)),
            ("warmup_fraction", self.warmup_fraction > 0),
        ):
            if given:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} follows the share of all updates that is "
                    "done, which partial_fit does not know. Use learning_rate='constant' and "
                    "warmup_fraction=0."
                )

    def _check_data(
        self, X: Any, y: Any, sample_weight: Any, first: bool
    ) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Check X, y and weights, once: what trains on them takes them as they are."""
        regression = isinstance(self, RegressorMixin)
        refuse_text_and_times(X, "X")
        if regression:
            refuse_text_and_times(y, "y")
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            order="C",
            dtype=_DTYPES if first else self._dtype,
            multi_output=True,
            y_numeric=regression,
            reset=first,
        )
        if not isinstance(X, np.ndarray):
            X.check_format(full_check=True)  # kernels take its indices for addresses
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        return X, y, sample_weight

    def _check_validation(
        self, X: Any, y: Any, sample_weight: Any, targets: Targets, dtype: Any
    ) -> Measured:
        """Check rows to validate on as those to train on, and encode their targets."""
        told = X
        regression = isinstance(self, RegressorMixin)
        refuse_text_and_times(X, "X_val")
        if regression:
            refuse_text_and_times(y, "y_val")
        with naming("X_val and y_val"):
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr",
                order="C",
                dtype=dtype,
                multi_output=True,
                y_numeric=regression,
                ensure_min_samples=2,
                reset=False,
            )
            if not isinstance(X, np.ndarray):
                X.check_format(full_check=True)
            if y.ndim == 2 and y.shape[1] == 1:
                y = column_or_1d(y, warn=True)
        with naming("y_val"):
            targets.check_kind(y)
            encoded = targets.encode(y, dtype)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X, "sample_weight_val")
        return Measured(X, encoded, sample_weight, told, y)

    def _held_out(
        self, problem: Problem, targets: Targets, measured: Measured | None
    ) -> HeldOut | None:
        """What the monitor measures, by the parameter `scoring`."""
        if measured is None:
            return None
        held_out = HeldOut.beside(
            problem,
            measured.X,
            measured.y,
            measured.sample_weight,
            self._metric(targets),
            targets.estimates,
        )
        scorer = scorer_of(self.scoring, targets.metric)
        if scorer is None:
            return held_out
        weight = measured.sample_weight
        seen = (problem.network, measured.told_X, measured.told_y, weight)
        return replace(held_out, scorer=Scorer(scorer, self.scoring, self, *seen))

    def _metric(self, targets: Targets) -> str:
        """The name of the validation score."""
        if self.scoring is None:
            return targets.metric
        name = getattr(self.scoring, "__qualname__", type(self.scoring).__name__)
        return self.scoring if isinstance(self.scoring, str) else name

    def _train_by_epochs(
        self,
        problem: Problem,
        targets: Targets,
        state: FitState,
        measured: Measured | None,
        first: bool,
        incremental: bool,
        data: Mapping[str, Any],
    ) -> tuple[Recipe, Ending]:
        held_out = self._held_out(problem, targets, measured)
        recipe = self._recipe(self._metric(targets))
        recipe = replace(recipe, batch_size=self._rows_per_batch(len(state.rows)))
        self._recall(state, recipe, held_out, first)
        if incremental:
            recipe = replace(recipe, max_iter=1)
            if not first:
                recipe = self._recall_optimizer(recipe, state)
        with self._listeners(problem, targets, recipe, incremental, data) as listeners:
            monitor = Monitor(recipe, held_out, listeners)
            ending = train_by_epochs(open_session(problem, recipe, state), recipe, state, monitor)
        return recipe, ending

    def _train_by_lbfgs(
        self,
        problem: Problem,
        targets: Targets,
        state: FitState,
        measured: Measured | None,
        first: bool,
        incremental: bool,
        data: Mapping[str, Any],
    ) -> tuple[Recipe, Ending]:
        # In float64 whatever X is: in float32 the line search cannot tell losses apart.
        state.params = state.params.astype(np.float64, copy=False)
        state.t = 0 if first else getattr(self, "t_", 0)
        trained = in_double(problem)
        held_out = self._held_out(trained, targets, measured and in_double(measured))
        recipe = self._recipe(self._metric(targets))
        with self._listeners(problem, targets, recipe, incremental, data) as listeners:
            ending = train_by_lbfgs(trained, recipe, state, listeners, held_out)
        return recipe, ending

    def _warn_of_no_best(self, recipe: Recipe, state: FitState) -> None:
        scores = state.validation_scores
        if (recipe.early_stopping or recipe.restore_best) and scores and np.isnan(scores).all():
            warn(
                f"The validation score was NaN in each of {len(scores)} epochs, so that no epoch "
                f"is the best. It is what scoring={self.scoring!r} gave for the rows to validate "
                "on. The weights are not those of a best epoch."
            )

    def _publish(self, problem: Problem, targets: Targets, recipe: Recipe, state: FitState) -> None:
        network = problem.network
        params = state.outcome.astype(problem.X.dtype, copy=False)
        self.coefs_, self.intercepts_, self._cut_from = cut(network, params)
        layers = () if self.architecture is not None else self._fitted_layers()
        self._built = self._body(layers), network
        self.loss_ = state.loss
        self.n_iter_ = state.n_iter
        self.t_ = state.t
        self.n_layers_ = len(self.coefs_) + 1
        self.n_outputs_ = targets.n_outputs
        self.out_activation_ = loss_row(targets.loss).link
        if recipe.solver == "lbfgs":
            for name in _OF_EPOCHS:
                self.__dict__.pop(name, None)  # an earlier fit by another solver may have left them
        if recipe.solver != "lbfgs" or state.validation_scores is not None:
            for name in _OF_SCORES:
                setattr(self, f"{name}_", getattr(state, name))
        if recipe.solver == "lbfgs":
            return
        self.loss_curve_ = state.loss_curve
        self.learning_rates_ = state.learning_rates
        self.best_loss_ = state.best_loss
        # Plain data, so that no class of ours but the estimator is named in a pickle.
        self._training = {
            **{name: getattr(recipe, name) for name in _OF_OPTIMIZER},
            **{name: getattr(state, name) for name in _OF_STATE},
            # Beside an average, which `coefs_` then are, what it is of.
            "params": None if state.averaged is None else state.params,
            "metric": recipe.metric,
        }

    @contextmanager
    def _listeners(
        self,
        problem: Problem,
        targets: Targets,
        recipe: Recipe,
        incremental: bool,
        data: Mapping[str, Any],
    ) -> Iterator[list[Listener]]:
        """Who is told of the epochs inside the block: what `verbose` shows, and the callbacks."""

        def fitted(state: FitState) -> dict[str, Any]:
            model = copy(self)
            model._publish(problem, targets, recipe, state)
            return dict(vars(model))

        task_name = "partial_fit" if incremental else "fit"
        callbacks = self._begin_callbacks(task_name, recipe.max_iter, data, fitted)
        with shown(recipe) as listeners:
            yield [*listeners, *callbacks]

    def _recipe(self, metric: str) -> Recipe:
        """The recipe that the parameters describe."""
        schedule = self.learning_rate
        if self.solver != "sgd" and not _of_share(schedule):
            schedule = "constant"  # as upstream
        numbers = SCHEDULES[schedule].numbers if isinstance(schedule, str) else {}
        settings = {} if self.solver == "lbfgs" else OPTIMIZERS[self.solver].settings
        return Recipe(
            solver=self.solver,
            solver_numbers=self._numbers(settings),
            learning_rate_init=float(self.learning_rate_init),
            schedule=schedule,
            schedule_numbers=self._numbers(numbers),
            warmup_fraction=float(self.warmup_fraction),
            alpha=float(self.alpha),
            weight_decay=float(self.weight_decay),
            clip_norm=None if self.clip_norm is None else float(self.clip_norm),
            average=float(self.average),
            max_iter=int(self.max_iter),
            max_fun=int(self.max_fun),
            shuffle=bool(self.shuffle),
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=bool(self.early_stopping),
            validation_fraction=self.validation_fraction,
            metric=metric,
            verbose=int(self.verbose),
            restore_best=bool(self.restore_best),
        )

    def _numbers(self, defaults: Mapping[str, float]) -> dict[str, float]:
        """Hyperparameters of a row of a table: ours where we have them, else its defaults."""
        return {
            name: float(getattr(self, _PARAMETER_OF.get(name, name), default))
            for name, default in defaults.items()
        }

    def _recall(
        self, state: FitState, recipe: Recipe, held_out: HeldOut | None, first: bool
    ) -> None:
        """Take up what earlier calls have recorded, as it bears on what decides when to stop."""
        if held_out is not None:
            state.expect_scores()
        if recipe.early_stopping:
            state.best_loss = None
            if self.scoring is None:
                state.best_params = state.params
        if first:
            return
        if recipe.early_stopping or recipe.restore_best:
            state.best_params = state.params  # until an epoch beats those of earlier calls
        state.t = getattr(self, "t_", 0)
        state.loss_curve = list(getattr(self, "loss_curve_", ()))
        state.learning_rates = list(getattr(self, "learning_rates_", ()))
        past = getattr(self, "_training", {})
        state.no_improvement_count = past.get("no_improvement_count", 0)
        names = ["best_loss", "validation_losses"]
        if past.get("metric", recipe.metric) == recipe.metric:  # others cannot be compared
            names += ["validation_scores", "best_validation_score"]
        for name in names:
            recorded = getattr(self, f"{name}_", None)
            if recorded is not None and getattr(state, name) is not None:
                setattr(state, name, copy(recorded))

    def _recall_optimizer(self, recipe: Recipe, state: FitState) -> Recipe:
        """Go on with the optimizer of the last call, if it still fits, whatever is set since."""
        past = getattr(self, "_training", None)
        if past is None or past["slots"].shape[1] != len(state.params):
            return recipe
        state.slots = past["slots"].astype(state.params.dtype, copy=False)
        state.step, state.slow_downs = past["step"], past["slow_downs"]
        averaged = past.get("averaged")
        if averaged is not None and np.array_equal(state.params, averaged):  # not set by hand since
            state.averaged = averaged.astype(state.params.dtype, copy=False)
            state.params = past["params"].astype(state.params.dtype, copy=False)
        recalled = {name: past[name] for name in _OF_OPTIMIZER if name in past}
        if schedule_of(replace(recipe, **recalled)).of_share:  # of a fit with an end
            del recalled["schedule"], recalled["schedule_numbers"]
        return replace(recipe, **recalled)

    def _split(
        self,
        y: np.ndarray,
        weight: np.ndarray | None,
        targets: Targets,
        random_state: np.random.RandomState,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train and to validate on."""
        if self.validation_fraction == 0:
            raise ValueError("early_stopping=True needs validation_fraction > 0; got 0.")
        rows, held_out = split_rows(
            len(y), self.validation_fraction, random_state, targets.stratify(y)
        )
        if weight is not None and not (weight[rows].any() and weight[held_out].any()):
            raise ValueError(
                "early_stopping=True needs rows of positive sample_weight both to train and to "
                "validate on; in the split drawn, one side has none."
            )
        return rows, held_out

    def _rows_per_batch(self, n_rows: int) -> int:
        if isinstance(self.batch_size, str):  # 'auto'
            return min(200, n_rows)
        if self.batch_size > n_rows:  # the first words are those that users filter by
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                f"clipped: batch_size={self.batch_size} is larger than the {n_rows} rows to train "
                f"on; using {n_rows}."
            )
        return min(int(self.batch_size), n_rows)

    # The parameters.

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            loss = self.loss
            if isinstance(loss, str) or not _looks_like_sizes(loss):
                raise
            raise InvalidParameterError(
                f"{error} The first parameter of {type(self).__name__} is loss; did you mean "
                f"hidden_layer_sizes={loss!r}?"
            ) from None
        for name, row in self._parameters.items():
            value = getattr(self, name)
            if isinstance(value, bool) and any(isinstance(c, Interval) for c in row.constraint):
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be {row.kind}. "
                    f"Got {value!r} instead."
                )

    def _warn_of_what_has_no_effect(self, validates: bool) -> None:
        """Warn of parameters that others make ineffective, if they differ from their defaults.

        `validates` says whether rows to validate on are given.
        """
        replaced: set[str] = {"scoring", "restore_best"} if validates else set()
        if isinstance(self.scoring, str) and self.scoring == "loss":
            replaced.add("scoring")  # without rows held out it is the training loss that is judged
        if validates and self._differs("validation_fraction"):
            warn(
                f"validation_fraction={self.validation_fraction!r} has no effect beside X_val: no "
                "rows are set aside."
            )
        for name, row in self._parameters.items():
            if row.replaces and getattr(self, name) is not None:
                replaced.update(row.replaces)
                idle = [other for other in row.replaces if self._differs(other)]
                if idle:
                    told = ", ".join(f"{other}={getattr(self, other)!r}" for other in idle)
                    warn(f"{told} has no effect beside {name}={getattr(self, name)!r}.")
        for name, row in self._parameters.items():
            if row.needs is None or name in replaced or not self._differs(name):
                continue
            other, values = row.needs
            given = getattr(self, other)
            if given not in values:
                needed = " or ".join(f"{other}={value!r}" for value in values)
                warn(
                    f"{name}={getattr(self, name)!r} has no effect beside {other}={given!r}; it "
                    f"needs {needed}."
                )

        if self.solver == "lbfgs" and _of_share(self.learning_rate):
            warn(f"learning_rate={self.learning_rate!r} has no effect beside solver='lbfgs'.")

    def _differs(self, name: str) -> bool:
        """Whether a parameter has another value than its default."""
        value, default = getattr(self, name), self._parameters[name].default
        if isinstance(default, tuple):
            return not np.array_equal(np.ravel(np.asarray(value, dtype=object)), default)
        return bool(value != default) if np.ndim(value) == 0 else True

    # The network and its weights.

    @property
    def _dtype(self) -> Any:
        return np.float32 if self.coefs_[0].dtype == np.float32 else np.float64

    def _layer_activations(self, n_hidden: int) -> list[str | CustomActivation]:
        """One activation per hidden layer, from the parameter `activation`."""
        if isinstance(self.activation, str | CustomActivation):
            return [self.activation] * n_hidden
        names = list(self.activation)
        if len(names) != n_hidden:
            raise ValueError(
                f"activation={self.activation!r} has length {len(names)} for {n_hidden} hidden "
                "layers; it must be one name, or one per hidden layer."
            )
        for name in names:
            if not isinstance(name, CustomActivation) and name not in HIDDEN_UNITS:
                raise ValueError(
                    f"activation={self.activation!r} holds {name!r}; each entry must be one of "
                    f"{', '.join(map(repr, HIDDEN_UNITS))}, or a CustomActivation."
                )
        return names

    def _dropout_rates(self, n_hidden: int) -> tuple[float, ...]:
        """One rate per hidden layer, from the parameter `dropout`; none if all are 0."""
        if isinstance(self.dropout, Real):  # it is asked before each prediction
            rates: list[Any] = [self.dropout] * n_hidden
        else:
            rates = np.ravel(np.asarray(self.dropout, dtype=object)).tolist()
        if len(rates) != n_hidden:
            raise ValueError(
                f"dropout={self.dropout!r} has length {len(rates)} for {n_hidden} hidden layers; "
                "it must be one number, or one per hidden layer."
            )
        for rate in rates:
            number = isinstance(rate, Real) and not isinstance(rate, bool)
            if not (number and 0 <= float(rate) < 1):
                raise ValueError(
                    f"dropout={self.dropout!r} holds {rate!r}; each must be a number in [0, 1)."
                )
        return tuple(map(float, rates))

    def _declared_layers(self) -> Layers:
        """Activation and width of each hidden layer, as the parameters say."""
        sizes: Any = self.hidden_layer_sizes
        widths = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(map(_is_width, widths)):
            raise ValueError(
                "hidden_layer_sizes must be a positive int or a sequence of them; got "
                f"{self.hidden_layer_sizes!r}."
            )
        return tuple(
            zip(self._layer_activations(len(widths)), (int(w) for w in widths), strict=True)
        )

    def _fitted_layers(self) -> Layers:
        """Activation and width of each hidden layer, the widths read off `coefs_`."""
        widths = [coef.shape[0] for coef in self.coefs_[1:]]
        return tuple(zip(self._layer_activations(len(widths)), widths, strict=True))

    def _build(self, n_features: int, layers: Layers, n_raw: int) -> Network:
        """Build the network of the parameters: `architecture`, or else a stack of `layers`."""
        if self.architecture is not None:
            return _network_around(self.architecture, n_features, n_raw)
        gain = None
        if not layers and isinstance(self.activation, CustomActivation):
            gain = float(self.activation.gain)
        if not layers and isinstance(self.activation, str) and self.activation in ACTIVATIONS:
            gain = ACTIVATIONS[self.activation].gain  # sets the scale upstream even here
        # A cache would keep users' functions.
        make = _network if _are_named(layers) else _network.__wrapped__
        return make(
            n_features,
            layers,
            n_raw,
            int(self.pieces),
            float(self.negative_slope),
            self._dropout_rates(len(layers)),
            gain,
        )

    def _body(self, layers: Layers) -> Any:
        """What the network is made of, by the parameters."""
        if self.architecture is not None:
            return self.architecture
        numbers = int(self.pieces), float(self.negative_slope)
        return layers, *numbers, self._dropout_rates(len(layers))

    def _fitted_network(self) -> Network:
        layers: Layers = ()
        n_raw = self.coefs_[-1].shape[1]
        if self.architecture is None:
            layers = self._fitted_layers()
            if _are_named(layers):
                return self._build(self.coefs_[0].shape[0], layers, n_raw)
        built, network = getattr(self, "_built", (None, None))
        if network is None or built != self._body(layers):  # unpickled, or set anew
            network = self._build(self.n_features_in_, layers, n_raw)
        return network

    def _packed(self, network: Network) -> np.ndarray:
        """`coefs_` and `intercepts_` as the flat vector of a network, if they fit it."""
        cut_from = getattr(self, "_cut_from", NOTHING_CUT)
        params = uncut(network, self.coefs_, self.intercepts_, cut_from)
        if params is not None:
            return params
        names = ["architecture"]
        if self.architecture is None:
            names = ["hidden_layer_sizes", "activation", "pieces"]
        asked = {name: getattr(self, name) for name in names}
        return packed(network, self.coefs_, self.intercepts_, self._dtype, asked)

    def to_network(self) -> tuple[Network, np.ndarray]:
        """Hand over the fitted network, for all that `nbnet.graph` can do with one.

        Nodes of a plain stack are named 'x', 'z1', 'h1', 'z2', 'h2', ..., 'output' (a maxout layer
        has no z).

        Returns
        -------
        net : nbnet.graph.Network
            Its raw outputs are logits, or what the loss makes of them; with `standardize_y` in
            standard deviations of y from its mean.
        params : ndarray of shape (P,)
            `coefs_` and `intercepts_` as one flat vector, a copy.
        """
        check_is_fitted(self, "coefs_")
        network = self._fitted_network()
        return network, self._packed(network).copy()

    def to_sklearn(self) -> Any:
        """Make scikit-learn's own estimator of this model: it predicts the same up to rounding.

        Parameters, weights, history and the optimizer's state are copied, so that a warm refit
        or `partial_fit` goes on. With `standardize_y` the units of y become part of the last
        layer, and the optimizer begins anew. `nbnet.from_sklearn` is the way back.

        Returns
        -------
        model : sklearn.neural_network.MLPClassifier or sklearn.neural_network.MLPRegressor

        Raises
        ------
        ValueError
            If scikit-learn lacks the activation, the loss, the architecture or a value of a
            parameter. It warns of parameters that only the training had.
        """
        check_is_fitted(self, "coefs_")
        return to_upstream(self, self._fitted_network(), self._fitted_loss())

    def _check_features(self, X: Any) -> Any:
        """Validate X, in one dtype and C order, against the fitted model.

        scikit-learn takes two thirds of the time that one row is predicted in to find nothing
        wrong with it. So what is plainly right is not shown to it.
        """
        if (
            type(X) is np.ndarray
            and X.dtype in _DTYPES
            and X.flags.c_contiguous
            and X.ndim == 2
            and X.shape[0] > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")  # or it would warn
            and sums_to_a_number(X)
        ):
            return X
        refuse_text_and_times(X, "X")
        dtypes = _DTYPES if self._dtype is np.float64 else _DTYPES[::-1]
        return validate_data(self, X, accept_sparse="csr", order="C", dtype=dtypes, reset=False)

    def _run(self, network: Network, X: Any, **what: Any) -> np.ndarray:
        """`Network.forward` of the fitted network."""
        X = self._check_features(X)
        params = self._packed(network)
        if X.dtype != params.dtype:  # one of them is float64
            params = params.astype(np.float64, copy=False)
        return network.forward(params, X, **what)

    def _outputs(self, X: Any) -> np.ndarray:
        """Compute outputs (N, R) behind the link: probabilities or predicted values."""
        check_is_fitted(self, "coefs_")
        return self._run(self._fitted_network(), X, loss=self._fitted_loss())

    def _sampled_outputs(self, X: Any, n_samples: Any) -> Iterator[np.ndarray]:
        """Compute outputs (N, R) `n_samples` times, each with other masks of dropout."""
        check_is_fitted(self, "coefs_")
        if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be an integer >= 1 or None, got {n_samples!r}")
        network = self._fitted_network()
        if not any(OPS[node.op].training_only for node in network.nodes):
            raise ValueError(
                f"n_samples={n_samples} needs a model with dropout, whose masks are drawn anew for "
                f"each sample; this one has none: dropout={self.dropout!r}."
            )
        X = self._check_features(X)
        seeds = check_random_state(self.random_state).randint(SEEDS, size=n_samples, dtype=np.int64)
        for seed in seeds.tolist():
            yield self._run(network, X, loss=self._fitted_loss(), seed=seed)

    def transform(self, X: MatrixLike, layer: int | str = -1) -> np.ndarray:
        """Compute the activations of a hidden layer: the features that the network has learned.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        layer : int or str, default=-1
            Which hidden layer, counted from 0; -1 is the last one, which the output layer reads
            (without hidden layers the features themselves). With `architecture`, hidden layers are
            the activations and maxout nodes in the order of computation, and what it returned; a
            string is the name of a node, of which a plain stack has those in `to_network`.

        Returns
        -------
        H : ndarray of shape (n_samples, width)
            In the dtype of the model. For ``layer=-1`` the columns have the names of
            `get_feature_names_out`.
        """
        check_is_fitted(self, "coefs_")
        node: Any = layer
        network = self._fitted_network()
        if not isinstance(layer, str):
            hidden = _hidden_layers(network)
            if isinstance(layer, bool) or not isinstance(layer, Integral):
                raise TypeError(f"layer must be an integer or the name of a node, got {layer!r}")
            if not -len(hidden) <= layer < len(hidden):
                raise ValueError(
                    f"layer must lie between {-len(hidden)} and {len(hidden) - 1}, as there are "
                    f"{len(hidden)} hidden layers; got {layer}"
                )
            node = hidden[layer]
        named = not isinstance(layer, str) and node is hidden[-1]
        if not named and _get_output_config("transform", self)["dense"] != "default":
            raise ValueError(
                f"layer must be -1 where set_output asks for a data frame, whose columns "
                f"get_feature_names_out names; got {layer!r}"
            )
        return self._run(network, X, node=node)

    @property
    def _n_features_out(self) -> int:
        return self.coefs_[-1].shape[0]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the flat vector, from which a copy's arrays would not be cut, and the network.

        The latter is what the parameters say.
        """
        state = super().__getstate__()
        return stamped({k: v for k, v in state.items() if k not in ("_cut_from", "_built")})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(restored(type(self).__name__, state, self._parameters))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _are_named(layers: Layers) -> bool:
    """Whether no activation is the user's."""
    return not [activation for activation, _ in layers if not isinstance(activation, str)]


def _of_share(learning_rate: Any) -> bool:
    """Whether this schedule follows the share of all updates that is done."""
    return not isinstance(learning_rate, str) or SCHEDULES[learning_rate].of_share


def _is_given(X_val: Any, y_val: Any, sample_weight_val: Any) -> bool:
    """Whether there are rows to validate on, or a ValueError if only a part of them is there."""
    given = [X_val is not None, y_val is not None]
    if given[0] != given[1]:
        there, absent = ("X_val", "y_val") if given[0] else ("y_val", "X_val")
        raise ValueError(f"{there} is given without {absent}; fit needs both or neither.")
    if sample_weight_val is not None and not given[0]:
        raise ValueError(
            "sample_weight_val is given without X_val and y_val, whose rows it weighs."
        )
    return given[0]


def _looks_like_sizes(value: Any) -> bool:
    """Whether a value might be meant for `hidden_layer_sizes`."""
    if isinstance(value, Integral):
        return True
    return isinstance(value, list | tuple | np.ndarray) and all(
        isinstance(width, Integral) for width in value
    )


def _is_width(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0
