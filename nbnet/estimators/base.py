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
from numbers import Integral
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
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from nbnet import graph
from nbnet.estimators.callbacks_support import TellsCallbacks, with_callbacks
from nbnet.estimators.data import check_sample_weight, refuse_text_and_times, sums_to_a_number
from nbnet.estimators.parameters import HIDDEN_UNITS, MatrixLike, Parameter
from nbnet.estimators.pickles import restored, stamped
from nbnet.estimators.targets import Targets
from nbnet.estimators.warn import warn
from nbnet.estimators.weights import NOTHING_CUT, cut, initial, packed, uncut
from nbnet.graph.network import Network
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.optimizers import OPTIMIZERS
from nbnet.training.lbfgs import train_by_lbfgs
from nbnet.training.loop import open_session, split_rows, train_by_epochs
from nbnet.training.monitor import HeldOut, Listener, Monitor
from nbnet.training.progress import shown
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import SCHEDULES
from nbnet.training.state import Ending, FitState

__all__ = ["ATTRIBUTES", "BaseMLP", "single_updates", "unchanged_on_error", "validated"]

_DTYPES = (np.float64, np.float32)
# Hyperparameters that estimators call by scikit-learn's names.
_PARAMETER_OF = {"nesterov": "nesterovs_momentum"}
# What only 'sgd' and 'adam' leave behind.
_OF_EPOCHS = (
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_training",
)
# What partial_fit goes on with: of the recipe, and of the state.
_OF_OPTIMIZER = (
    "solver",
    "solver_numbers",
    "learning_rate_init",
    "schedule",
    "schedule_numbers",
)
_OF_STATE = ("slots", "step", "slow_downs", "no_improvement_count")
Method = TypeVar("Method", bound=Callable[..., Any])

ATTRIBUTES = """\
    coefs_ : list of ndarray
        ``coefs_[i]``, of shape (fan_in, fan_out), holds the weights between layers i and i + 1.
        Weights set by hand are used by the next call.

    intercepts_ : list of ndarray
        ``intercepts_[i]`` holds the biases of layer i + 1.

    loss_ : float
        Loss of the last epoch or iteration, penalty included: the mean over the epoch's batches,
        each measured before its update and weighed by its rows.

    loss_curve_ : list of float
        `loss_` after each epoch. Absent after 'lbfgs'.

    best_loss_ : float or None
        Smallest `loss_` so far; None with `early_stopping`. Absent after 'lbfgs'.

    validation_scores_ : list of float or None
        Validation score after each epoch; None without `early_stopping`. Absent after 'lbfgs'.

    best_validation_score_ : float or None
        Highest of the `validation_scores_`. Absent after 'lbfgs'.

    n_iter_ : int
        Epochs or iterations of the last call.

    t_ : int
        Rows seen in training, over all epochs of 'sgd' and 'adam'.

    n_layers_ : int
        Number of layers, input and output included.

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
    layers: tuple[tuple[str, int], ...],
    n_outputs: int,
    pieces: int,
    negative_slope: float,
    output_gain: float | None,
) -> Network:
    """Build the network of a stack of hidden layers, each an activation and a width."""
    output = graph.mlp(n_features, layers, n_outputs, negative_slope=negative_slope, pieces=pieces)
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

    def _fitted_loss(self) -> str:
        """The key of LOSSES by which raw outputs are read: `loss` may have been set anew since."""
        raise NotImplementedError

    # Fitting.

    @validated
    def fit(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
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

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, incremental=False)
        return self

    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        layers = self._declared_layers()  # before anything else, what is wrong with the parameters
        self._warn_of_what_has_no_effect()
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y, sample_weight = self._check_data(X, y, sample_weight, first)
        data = self._data_for_callbacks(X, y, sample_weight)
        targets = self._targets(y, first, incremental)
        y = targets.encode(y, X.dtype)

        network = self._build(X.shape[1], layers, LOSSES[targets.loss].n_raw(targets.n_outputs))
        random_state = check_random_state(self.random_state)
        if first:
            params = initial(network, targets, random_state, X.dtype)
        else:
            params = self._packed(network).astype(X.dtype, copy=False)
        problem = Problem(network, X, y, sample_weight, targets.loss, targets.numbers)
        train = self._train_by_lbfgs if self.solver == "lbfgs" else self._train_by_epochs
        recipe, state, ending = train(
            problem, targets, params, random_state, first, incremental, data
        )
        self._publish(problem, targets, recipe, state)
        self._end_callbacks(data)
        if ending.warning is not None and not (incremental and ending.reason == "max_iter"):
            warn(ending.warning)

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

    def _train_by_epochs(
        self,
        problem: Problem,
        targets: Targets,
        params: np.ndarray,
        random_state: np.random.RandomState,
        first: bool,
        incremental: bool,
        data: Mapping[str, Any],
    ) -> tuple[Recipe, FitState, Ending]:
        rows, held_out = np.arange(len(problem.y), dtype=np.int64), None
        if self.early_stopping:
            rows, held_out = self._split(problem, targets, random_state)
        state = FitState(params, rows, random_state, held_out)
        self._recall(state, first)
        recipe = replace(self._recipe(targets.metric), batch_size=self._rows_per_batch(len(rows)))
        if incremental:
            recipe = replace(recipe, max_iter=1)
            if not first:
                recipe = self._recall_optimizer(recipe, state)
        watched = None
        if held_out is not None:
            watched = HeldOut.of(problem, held_out, recipe.metric, targets.estimates)
        with self._listeners(problem, targets, recipe, incremental, data) as listeners:
            monitor = Monitor(recipe, watched, listeners)
            ending = train_by_epochs(open_session(problem, recipe, state), recipe, state, monitor)
        return recipe, state, ending

    def _train_by_lbfgs(
        self,
        problem: Problem,
        targets: Targets,
        params: np.ndarray,
        random_state: np.random.RandomState,
        first: bool,
        incremental: bool,
        data: Mapping[str, Any],
    ) -> tuple[Recipe, FitState, Ending]:
        # In float64 whatever X is: in float32 the line search cannot tell losses apart.
        def double(array: Any) -> Any:
            return None if array is None else array.astype(np.float64, copy=False)

        state = FitState(double(params), np.empty(0, dtype=np.int64), random_state)
        state.t = 0 if first else getattr(self, "t_", 0)
        in_double = replace(
            problem,
            X=double(problem.X),
            y=double(problem.y),
            sample_weight=double(problem.sample_weight),
        )
        recipe = self._recipe(targets.metric)
        with self._listeners(problem, targets, recipe, incremental, data) as listeners:
            ending = train_by_lbfgs(in_double, recipe, state, listeners)
        return recipe, state, ending

    def _publish(self, problem: Problem, targets: Targets, recipe: Recipe, state: FitState) -> None:
        network = problem.network
        params = state.outcome.astype(problem.X.dtype, copy=False)
        self.coefs_, self.intercepts_, self._cut_from = cut(network, params)
        self._built = self.architecture, network
        self._loss_of_fit = targets.loss
        self.loss_ = state.loss
        self.n_iter_ = state.n_iter
        self.t_ = state.t
        self.n_layers_ = len(self.coefs_) + 1
        self.n_outputs_ = targets.n_outputs
        self.out_activation_ = LOSSES[targets.loss].link
        if recipe.solver == "lbfgs":
            for name in _OF_EPOCHS:
                self.__dict__.pop(name, None)  # an earlier fit by another solver may have left them
            return
        self.loss_curve_ = state.loss_curve
        self.best_loss_ = state.best_loss
        self.validation_scores_ = state.validation_scores
        self.best_validation_score_ = state.best_validation_score
        # Plain data, so that no class of ours but the estimator is named in a pickle.
        self._training = {
            **{name: getattr(recipe, name) for name in _OF_OPTIMIZER},
            **{name: getattr(state, name) for name in _OF_STATE},
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
        schedule = self.learning_rate if self.solver == "sgd" else "constant"
        settings = {} if self.solver == "lbfgs" else OPTIMIZERS[self.solver].settings
        return Recipe(
            solver=self.solver,
            solver_numbers=self._numbers(settings),
            learning_rate_init=float(self.learning_rate_init),
            schedule=schedule,
            schedule_numbers=self._numbers(SCHEDULES[schedule].numbers),
            alpha=float(self.alpha),
            max_iter=int(self.max_iter),
            max_fun=int(self.max_fun),
            shuffle=bool(self.shuffle),
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            early_stopping=bool(self.early_stopping),
            validation_fraction=self.validation_fraction,
            metric=metric,
            verbose=int(self.verbose),
        )

    def _numbers(self, defaults: Mapping[str, float]) -> dict[str, float]:
        """Hyperparameters of a row of a table: ours where we have them, else its defaults."""
        return {
            name: float(getattr(self, _PARAMETER_OF.get(name, name), default))
            for name, default in defaults.items()
        }

    def _recall(self, state: FitState, first: bool) -> None:
        """Take up what earlier calls have recorded, as it bears on what decides when to stop."""
        if self.early_stopping:
            state.best_loss, state.validation_scores = None, []
            state.best_validation_score = -np.inf
            state.best_params = state.params
        if first:
            return
        state.t = getattr(self, "t_", 0)
        state.loss_curve = list(getattr(self, "loss_curve_", ()))
        state.no_improvement_count = getattr(self, "_training", {}).get("no_improvement_count", 0)
        for name in ("best_loss", "validation_scores", "best_validation_score"):
            past = getattr(self, f"{name}_", None)
            if past is not None and getattr(state, name) is not None:
                setattr(state, name, copy(past))

    def _recall_optimizer(self, recipe: Recipe, state: FitState) -> Recipe:
        """Go on with the optimizer of the last call, if it still fits, whatever is set since."""
        past = getattr(self, "_training", None)
        if past is None or past["slots"].shape[1] != len(state.params):
            return recipe
        state.slots = past["slots"].astype(state.params.dtype, copy=False)
        state.step, state.slow_downs = past["step"], past["slow_downs"]
        return replace(recipe, **{name: past[name] for name in _OF_OPTIMIZER})

    def _split(
        self, problem: Problem, targets: Targets, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train and to validate on."""
        if self.validation_fraction == 0:
            raise ValueError("early_stopping=True needs validation_fraction > 0; got 0.")
        rows, held_out = split_rows(
            len(problem.y), self.validation_fraction, random_state, targets.stratify(problem.y)
        )
        weight = problem.sample_weight
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

    def _warn_of_what_has_no_effect(self) -> None:
        """Warn of parameters that others make ineffective, if they differ from their defaults."""
        replaced: set[str] = set()
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

    def _layer_activations(self, n_hidden: int) -> list[str]:
        """One name per hidden layer, from the parameter `activation`."""
        if isinstance(self.activation, str):
            return [self.activation] * n_hidden
        names = list(self.activation)
        if len(names) != n_hidden:
            raise ValueError(
                f"activation={self.activation!r} has length {len(names)} for {n_hidden} hidden "
                "layers; it must be one name, or one per hidden layer."
            )
        for name in names:
            if name not in HIDDEN_UNITS:
                raise ValueError(
                    f"activation={self.activation!r} holds {name!r}; each entry must be one of "
                    f"{', '.join(map(repr, HIDDEN_UNITS))}."
                )
        return names

    def _declared_layers(self) -> tuple[tuple[str, int], ...]:
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

    def _fitted_layers(self) -> tuple[tuple[str, int], ...]:
        """Activation and width of each hidden layer, the widths read off `coefs_`."""
        widths = [coef.shape[0] for coef in self.coefs_[1:]]
        return tuple(zip(self._layer_activations(len(widths)), widths, strict=True))

    def _build(self, n_features: int, layers: tuple[tuple[str, int], ...], n_raw: int) -> Network:
        """Build the network of the parameters: `architecture`, or else a stack of `layers`."""
        if self.architecture is not None:
            return _network_around(self.architecture, n_features, n_raw)
        gain = None
        if not layers and isinstance(self.activation, str) and self.activation in ACTIVATIONS:
            gain = ACTIVATIONS[self.activation].gain  # sets the scale upstream even here
        return _network(
            n_features, layers, n_raw, int(self.pieces), float(self.negative_slope), gain
        )

    def _fitted_network(self) -> Network:
        if self.architecture is None:
            return self._build(
                self.coefs_[0].shape[0], self._fitted_layers(), self.coefs_[-1].shape[1]
            )
        architecture, network = getattr(self, "_built", (None, None))
        if network is None or architecture is not self.architecture:  # unpickled, or set anew
            network = self._build(self.n_features_in_, (), self.coefs_[-1].shape[1])
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
            Its raw outputs are logits, or what the loss makes of them.
        params : ndarray of shape (P,)
            `coefs_` and `intercepts_` as one flat vector, a copy.
        """
        check_is_fitted(self, "coefs_")
        network = self._fitted_network()
        return network, self._packed(network).copy()

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


def _looks_like_sizes(value: Any) -> bool:
    """Whether a value might be meant for `hidden_layer_sizes`."""
    if isinstance(value, Integral):
        return True
    return isinstance(value, list | tuple | np.ndarray) and all(
        isinstance(width, Integral) for width in value
    )


def _is_width(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0
