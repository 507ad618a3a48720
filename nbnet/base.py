"""What the two estimators share: all but targets, losses and predictions.

A fit validates and encodes the data, builds the network that the parameters describe, trains it
(`nbnet.training`) and publishes the result as attributes. Between calls `coefs_` and `intercepts_`
are the only place where a model's weights live: every method reads them afresh, so they may be
pickled, shared or set by hand. A call that raises leaves the estimator as it was.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import lru_cache
from math import isfinite
from numbers import Integral, Real
from operator import is_
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from nbnet import graph
from nbnet.graph.network import Network
from nbnet.graph.session import Session as Trainer
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from nbnet.training import (
    History,
    OptimizerState,
    Problem,
    split_rows,
    train_by_epochs,
    train_by_lbfgs,
)

__all__ = ["HIDDEN_UNITS", "BaseMLP", "document", "partial_fit_available", "unchanged_on_error"]

_DTYPES = (np.float64, np.float32)
HIDDEN_UNITS = (*ACTIVATIONS, "maxout")  # the names that `activation` may take

_FORMULAS = "\n".join(f"        - '{row.name}': ``{row.formula}``" for row in ACTIVATIONS.values())

_PARAMETERS = f"""\
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units in each hidden layer; one int means one layer. With ``()`` there is none,
        and the model is linear in the features up to its output.

    activation : str or sequence of str, default='relu'
        What the hidden units compute from the affine map ``z = h W + b`` of the layer below: one
        name for all hidden layers, or one per hidden layer. Names are
        {", ".join(repr(name) for name in HIDDEN_UNITS)}.

{_FORMULAS}
        - 'maxout': each unit is the largest of its `pieces` affine functions of ``h``

    solver : {{'lbfgs', 'sgd', 'adam'}}, default='adam'
        How the loss is minimised.

        - 'adam': stochastic gradients scaled by running moments. Good without tuning on data sets
          of thousands of rows or more.
        - 'sgd': stochastic gradient descent with momentum, and the only one that follows the
          `learning_rate` schedule.
        - 'lbfgs': SciPy's L-BFGS-B on all rows at once, always in float64. Often the best on small
          data sets.

    alpha : float, default=0.0001
        Strength of the L2 penalty ``alpha / 2 * sum(W ** 2)`` on the weights (biases go free). It
        is added to the sum of a batch's losses before that is divided by the sum of its weights.

    batch_size : int or 'auto', default='auto'
        Rows between two updates of 'sgd' and 'adam'; 'auto' is ``min(200, n_samples)``. More than
        there are rows means all of them, with a warning.

    learning_rate : {{'constant', 'invscaling', 'adaptive'}}, default='constant'
        Schedule of the learning rate of 'sgd'.

        - 'constant': `learning_rate_init` throughout.
        - 'invscaling': ``learning_rate_init / (t_ + 1) ** power_t``, set after each epoch.
        - 'adaptive': divided by 5 wherever training would otherwise stop for want of improvement,
          until it is at most 1e-6.

    learning_rate_init : float, default=0.001
        Initial learning rate of 'sgd' and 'adam'.

    power_t : float, default=0.5
        Exponent of 'invscaling'.

    max_iter : int, default=200
        Largest number of epochs ('sgd', 'adam') or iterations ('lbfgs').

    shuffle : bool, default=True
        Whether to permute the rows before every epoch of 'sgd' and 'adam'.

    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, the validation split and the permutations. An int makes
        every fit repeat the same numbers, whatever the number of threads.

    tol : float, default=1e-4
        What counts as an improvement of the training loss or the validation score; for 'lbfgs'
        the largest entry of the gradient at which it has converged.

    verbose : bool or int, default=False
        Whether to print a line per epoch or iteration.

    warm_start : bool, default=False
        Whether `fit` starts from the weights of the previous fit. The layers, features and outputs
        must be the same.

    momentum : float, default=0.9
        Momentum of 'sgd', between 0 and 1.

    nesterovs_momentum : bool, default=True
        Whether that is Nesterov's momentum.

    early_stopping : bool, default=False
        Whether to set rows aside and to stop once the score on them no longer improves, instead of
        the training loss. The weights that scored best are kept. For 'sgd' and 'adam'.

    validation_fraction : float, default=0.1
        The share of rows that `early_stopping` sets aside.

    beta_1 : float, default=0.9
        Decay rate of the first moment in 'adam', in [0, 1).

    beta_2 : float, default=0.999
        Decay rate of the second moment in 'adam', in [0, 1).

    epsilon : float, default=1e-8
        Added to the root of the second moment in 'adam'.

    n_iter_no_change : int or np.inf, default=10
        Training stops after more than this many epochs in a row without an improvement of at least
        `tol`. For 'sgd' and 'adam'.

    max_fun : int, default=15000
        Largest number of evaluations of the loss by 'lbfgs'.

    negative_slope : float, default=0.01
        Slope of 'leaky_relu' below zero, at least 0.

    pieces : int, default=2
        Affine functions per 'maxout' unit, at least 2. A maxout layer of ``u`` units has weights of
        shape ``(fan_in, u * pieces)``; the pieces of a unit are neighbouring columns."""

_ARCHITECTURE = """\
    architecture : callable, default=None
        Builds the network between the features and the output layer, in place of
        `hidden_layer_sizes`, `activation`, `negative_slope` and `pieces`: a function that is given
        the input, a node of `nbnet.graph`, and returns the node that the output layer reads. Nodes
        may have names, but 'x' and 'output' are those of the input and the output layer.
        ``coefs_`` and ``intercepts_`` then have one entry for each dense or maxout node, each after
        those it depends on. To pickle the model, or to search with processes, it must be a
        function that can be pickled: one with a name, at the top of a module."""

_ATTRIBUTES = """\
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
        {out_activation}

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if all columns of `X` had a string for a name."""


def document(out_activation: str) -> Any:
    """Fill the parameters and attributes that both estimators share into a docstring."""

    def fill(cls: type) -> type:
        if cls.__doc__:  # absent under python -OO
            attributes = _ATTRIBUTES.replace("{out_activation}", out_activation)
            for name, text in (
                ("parameters", _PARAMETERS),
                ("architecture", _ARCHITECTURE),
                ("attributes", attributes),
            ):
                cls.__doc__ = cls.__doc__.replace(f"    <{name}>", text)
        return cls

    return fill


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


def partial_fit_available(estimator: "BaseMLP") -> bool:
    """Tell whether there are single updates, or raise the error that says why not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit needs solver='sgd' or 'adam': solver='lbfgs' has no single update."
        )
    return True


class BaseMLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the classifier and the regressor share: everything but targets and predictions."""

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(HIDDEN_UNITS)), "array-like"],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "negative_slope": [Interval(Real, 0, None, closed="left")],
        "pieces": [Interval(Integral, 2, None, closed="left")],
        "architecture": [callable, None],
    }

    n_features_in_: int
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    def __init__(
        self,
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
        loss: str = "log_loss",
        architecture: Callable[[graph.Node], graph.Node] | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.negative_slope = negative_slope
        self.pieces = pieces
        self.loss = loss
        self.architecture = architecture

    # What the two estimators fill in.

    def _encode_targets(self, y: Any, first: bool, incremental: bool) -> tuple[np.ndarray, int]:
        """Return targets as numbers (a column or T columns), and how many: T, or the classes."""
        raise NotImplementedError

    def _loss(self) -> str:
        """Name in LOSSES of what is minimised."""
        raise NotImplementedError

    def _loss_setting(self) -> dict[str, float]:
        """What that loss is told."""
        return {}

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: Any) -> float:
        """Score outputs (M, R) against encoded targets (M, T) of held-out rows."""
        raise NotImplementedError

    def _stratify(self, y: np.ndarray) -> np.ndarray | None:
        """Labels (N,) that the validation split keeps in proportion, from encoded targets."""
        return None

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
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

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        self._declared_layers()  # before anything else, what is wrong with the parameters
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            order="C",
            dtype=(np.float64, np.float32) if first else self._dtype,
            multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
            reset=first,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y, n_outputs = self._encode_targets(y, first, incremental)
        y = self._check_targets(y, X.dtype)
        if sample_weight is not None:
            sample_weight = _check_weights(sample_weight, X)

        network = self._build(
            X.shape[1], self._declared_layers(), LOSSES[self._loss()].n_raw(n_outputs)
        )
        random_state = check_random_state(self.random_state)
        if first:
            params = network.init(random_state, dtype=X.dtype)
            if LOSSES[self._loss()].link == "location_and_scale":
                # From unit scales on: the exponential of a random one may be any number.
                for last in (part[-1] for part in network.unpack(params, copy=False)):
                    last[..., n_outputs:] = 0
            history = self._new_history()
        else:
            params = self._packed(network).astype(X.dtype, copy=False)
            history = self._continued_history()
        problem = Problem(
            network, X, y, sample_weight, self._loss(), self.alpha, self._loss_setting()
        )

        if self.solver == "lbfgs":
            params = self._train_by_lbfgs(problem, params, history)
        else:
            params = self._train_by_epochs(
                problem, params, history, random_state, first=first, incremental=incremental
            )
        params = params.astype(X.dtype, copy=False)
        self.coefs_, self.intercepts_ = network.unpack(params, copy=False)
        self._cut_from = network.parameters, params, (*self.coefs_, *self.intercepts_)
        self._built = self.architecture, network
        self._loss_of_fit = problem.loss
        self.loss_ = history.loss
        self.n_iter_ = history.n_iter
        self.t_ = history.t
        self.n_layers_ = len(self.coefs_) + 1
        self.n_outputs_ = n_outputs
        self.out_activation_ = LOSSES[problem.loss].link

    def _train_by_epochs(
        self,
        problem: Problem,
        params: np.ndarray,
        history: History,
        random_state: np.random.RandomState,
        *,
        first: bool,
        incremental: bool,
    ) -> np.ndarray:
        X, y, weight = problem.X, problem.y, problem.sample_weight
        rows = np.arange(len(y), dtype=np.int64)
        validate = None
        if self.early_stopping:
            rows, held_out = self._split(y, weight, random_state)
            X_held_out, y_held_out = X[held_out], y[held_out]
            weight_held_out = None if weight is None else weight[held_out]

            def score(trainer: Trainer) -> float:
                outputs = trainer.forward(X_held_out, loss=problem.loss)
                return self._score_outputs(outputs, y_held_out, weight_held_out)

            validate = score

        self._optimizer = self._continued_optimizer(params, fresh=first or not incremental)
        params = train_by_epochs(
            problem,
            params,
            self._optimizer,
            history,
            random_state,
            rows=rows,
            batch_size=self._rows_per_batch(len(rows)),
            shuffle=self.shuffle,
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            verbose=bool(self.verbose),
            validate=validate,
            single_epoch=incremental,
        )
        self.loss_curve_ = history.loss_curve
        self.best_loss_ = history.best_loss
        self.validation_scores_ = history.validation_scores
        self.best_validation_score_ = history.best_validation_score
        self._no_improvement_count = history.no_improvement_count
        return params

    def _train_by_lbfgs(self, problem: Problem, params: np.ndarray, history: History) -> np.ndarray:
        # In float64 whatever X is: in float32 the line search cannot tell losses apart.
        def double(array: Any) -> Any:
            return None if array is None else array.astype(np.float64, copy=False)

        params = train_by_lbfgs(
            replace(
                problem,
                X=double(problem.X),
                y=double(problem.y),
                sample_weight=double(problem.sample_weight),
            ),
            double(params),
            history,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=bool(self.verbose),
        )
        for name in (
            "loss_curve_",
            "best_loss_",
            "validation_scores_",
            "best_validation_score_",
            "_no_improvement_count",
            "_optimizer",
        ):
            self.__dict__.pop(name, None)  # an earlier fit with another solver may have left them
        return params

    def _check_targets(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """Targets as (N, T) in the dtype of X, or an error if the loss does not admit them."""
        row = LOSSES[self._loss()]
        y = y.reshape(len(y), -1)
        if y.min() < row.y_low or y.max() > row.y_high:
            raise ValueError(
                f"loss={self.loss!r} needs {row.y_low:g} <= y <= {row.y_high:g}; got y from "
                f"{y.min():g} to {y.max():g}."
            )
        with np.errstate(over="ignore"):
            y = np.ascontiguousarray(y, dtype=dtype)
        if not np.isfinite(y).all():
            raise ValueError(f"y has values too large for {y.dtype}, the dtype of X.")
        return y

    def _split(
        self, y: np.ndarray, weight: np.ndarray | None, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train and to validate on."""
        if self.validation_fraction == 0:
            raise ValueError("early_stopping=True needs validation_fraction > 0; got 0.")
        rows, held_out = split_rows(
            len(y), self.validation_fraction, random_state, self._stratify(y)
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
        if self.batch_size > n_rows:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {n_rows} rows to train on; "
                f"using {n_rows}.",
                stacklevel=2,
            )
        return min(int(self.batch_size), n_rows)

    def _continued_optimizer(self, params: np.ndarray, fresh: bool) -> OptimizerState:
        """Take up the optimizer that the last call left behind if it still fits, or a new one."""
        state = getattr(self, "_optimizer", None)
        if not fresh and state is not None and state.slots.shape[1] == len(params):
            state = copy(state)
            state.slots = state.slots.astype(params.dtype, copy=False)
            return state
        if self.solver == "adam":
            settings = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
            return OptimizerState("adam", settings, self.learning_rate_init)
        settings = {"momentum": self.momentum, "nesterov": self.nesterovs_momentum}
        return OptimizerState(
            "sgd", settings, self.learning_rate_init, self.learning_rate, self.power_t
        )

    def _new_history(self) -> History:
        if self.early_stopping:
            return History(best_loss=None, validation_scores=[], best_validation_score=-np.inf)
        return History()

    def _continued_history(self) -> History:
        """Take up the history so far, as it bears on what decides when to stop this time."""
        history = self._new_history()
        history.t = getattr(self, "t_", 0)
        history.loss_curve = list(getattr(self, "loss_curve_", ()))
        history.no_improvement_count = getattr(self, "_no_improvement_count", 0)
        for name in ("best_loss", "validation_scores", "best_validation_score"):
            past = getattr(self, f"{name}_", None)
            if past is not None and getattr(history, name) is not None:
                setattr(history, name, copy(past))
        return history

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
        if not all(isinstance(width, Integral) and int(width) > 0 for width in widths):
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

    def _fitted_loss(self) -> str:
        """The key of LOSSES by which raw outputs are read: `loss` may have been set anew since."""
        return getattr(self, "_loss_of_fit", None) or self._loss()

    def _packed(self, network: Network) -> np.ndarray:
        """`coefs_` and `intercepts_` as the flat vector of a network, if they fit it.

        As long as they are the arrays that `fit` cut from such a vector, it is that vector: to copy
        it would take longer than to predict one row.
        """
        blocks, params, arrays = getattr(self, "_cut_from", ((), np.empty(0), ()))
        now = (*self.coefs_, *self.intercepts_)
        if blocks == network.parameters and len(arrays) == len(now) and all(map(is_, arrays, now)):
            return params
        try:
            return network.pack(self.coefs_, self.intercepts_, dtype=self._dtype)
        except ValueError as error:
            asked = (
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}, "
                f"activation={self.activation!r}, pieces={self.pieces}"
                if self.architecture is None
                else f"architecture={self.architecture!r}"
            )
            raise ValueError(
                f"The fitted coefs_ have shapes {[np.shape(w) for w in self.coefs_]}, but "
                f"{asked} and the data ask for "
                f"{[p.shape for p in network.parameters if p.role == 'weights']}. Set the "
                "parameters back, or fit with warm_start=False."
            ) from error

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
            and _sums_to_a_number(X)
        ):
            return X
        return validate_data(self, X, accept_sparse="csr", order="C", dtype=_DTYPES, reset=False)

    def _run(self, network: Network, X: Any, **what: Any) -> np.ndarray:
        """`Network.forward` of the fitted network."""
        X = self._check_features(X)
        params = self._packed(network)
        if X.dtype != params.dtype:  # one of them is float64
            params = params.astype(np.float64, copy=False)
        return network.forward(params, X, **what)

    def _outputs(self, X: Any) -> np.ndarray:
        """Compute outputs (N, R) behind the inverse link: probabilities or predicted values."""
        check_is_fitted(self, "coefs_")
        return self._run(self._fitted_network(), X, loss=self._fitted_loss())

    def transform(self, X: Any, layer: int | str = -1) -> np.ndarray:
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
        return {k: v for k, v in state.items() if k not in ("_cut_from", "_built")}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _sums_to_a_number(X: np.ndarray) -> bool:
    """Whether no number of X is NaN or infinite; if False, the sum may just have overflown."""
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(X.sum())


def _check_weights(sample_weight: Any, X: Any) -> np.ndarray:
    weights = _check_sample_weight(sample_weight, X, dtype=X.dtype)
    if weights.min() < 0:
        raise ValueError(f"sample_weight must be non-negative; its smallest is {weights.min():g}.")
    if not weights.any():
        raise ValueError("sample_weight must sum to more than 0; all weights are 0.")
    return weights
