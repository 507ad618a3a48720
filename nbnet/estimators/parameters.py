"""The estimators' parameters, each declared once: default, constraint, documentation.

What scikit-learn validates by and what the docstrings say follow from the rows. Only the signature
is written out in each estimator: editors, type checkers and scikit-learn read it.

A parameter that has an effect only beside certain values of another names it in `needs`. A value
other than the default where that does not hold is warned of, so that nothing is silently ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import sparray, spmatrix
from sklearn.utils._param_validation import Interval, Options, StrOptions

from nbnet.estimators.scoring import SCORING_NAMES
from nbnet.estimators.targets import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.optimizers import OPTIMIZERS
from nbnet.kernels.user import CustomActivation, CustomLoss
from nbnet.training.schedules import SCHEDULES

__all__ = [
    "CLASSIFIER_PARAMETERS",
    "HIDDEN_UNITS",
    "REGRESSOR_PARAMETERS",
    "SOLVERS",
    "ActivationName",
    "ClassificationLossName",
    "CovarianceName",
    "MatrixLike",
    "Parameter",
    "RegressionLossName",
    "SolverName",
    "declared",
    "store",
]

# A test holds each of these types equal to its table.
ActivationName = Literal[
    "identity", "logistic", "tanh", "relu", "leaky_relu", "abs", "softplus",
    "gelu", "silu", "elu", "selu", "mish", "maxout",
]  # fmt: skip
SolverName = Literal["lbfgs", "sgd", "adam"]
ClassificationLossName = Literal["log_loss", "pinned_log_loss", "focal"]
RegressionLossName = Literal[
    "squared_error",
    "absolute_error",
    "poisson",
    "quantile",
    "huber",
    "gaussian",
    "laplace",
    "tweedie",
    "gamma",
    "binomial",
    "negative_binomial",
]
CovarianceName = Literal["diagonal", "full"]
MatrixLike: TypeAlias = ArrayLike | sparray | spmatrix

HIDDEN_UNITS = (*ACTIVATIONS, "maxout")
SOLVERS = ("lbfgs", *(name for name in OPTIMIZERS if name != "gradient"))


@dataclass(frozen=True)
class Parameter:
    """A row: all that is declared of a parameter.

    Attributes
    ----------
    name : str
    default : object
        That of the signature.
    kind : str
        What it may be, in words.
    constraint : list
        The same for scikit-learn's validation.
    text : str
        What it does.
    needs : tuple or None
        The name of another parameter and the values of it beside which this one has an effect.
    replaces : tuple of str
        The parameters that have no effect where this one is given.
    """

    name: str
    default: Any
    kind: str
    constraint: list[Any]
    text: str
    needs: tuple[str, tuple[Any, ...]] | None = None
    replaces: tuple[str, ...] = ()

    def document(self) -> str:
        """Describe it for a docstring in numpydoc's form."""
        lines = inspect.cleandoc(self.text).splitlines()
        indented = [f"    {line}" if line else "" for line in lines]
        return "\n".join([f"{self.name} : {self.kind}, default={self.default!r}", *indented])


def _names(names: Sequence[str]) -> str:
    return f"{{{', '.join(map(repr, names))}}}"


def _lines(texts: Mapping[str, str]) -> str:
    """One line for each name, to follow a paragraph in a row's text."""
    return "\n".join(f"        - '{name}': {text}" for name, text in texts.items())


def _table(*rows: Parameter) -> dict[str, Parameter]:
    return {row.name: row for row in rows}


_STOCHASTIC = tuple(name for name in SOLVERS if name != "lbfgs")

_SHARED = _table(
    Parameter(
        "hidden_layer_sizes",
        (100,),
        "int or array-like of int",
        ["array-like", Interval(Integral, 1, None, closed="left")],
        """
        Number of units in each hidden layer; one int means one layer. With ``()`` there is none,
        and the model is linear in the features up to its output.
        """,
    ),
    Parameter(
        "activation",
        "relu",
        "str, CustomActivation or sequence of them",
        [StrOptions(set(HIDDEN_UNITS)), CustomActivation, "array-like"],
        f"""
        What the hidden units compute from the affine map ``z = h W + b`` of the layer below: one
        name for all hidden layers, or one per hidden layer. Names are
        {", ".join(map(repr, HIDDEN_UNITS))}. In the place of a name there may be a
        `nbnet.CustomActivation`, made of two functions of your own.

{_lines({row.name: f"``{row.formula}``" for row in ACTIVATIONS.values()})}
        - 'maxout': each unit is the largest of its `pieces` affine functions of ``h``
        """,
    ),
    Parameter(
        "solver",
        "adam",
        _names(SOLVERS),
        [StrOptions(set(SOLVERS))],
        """
        How the loss is minimised.

        - 'adam': stochastic gradients scaled by running moments. Good without tuning on data sets
          of thousands of rows or more.
        - 'sgd': stochastic gradient descent with momentum, and the only one that follows the
          `learning_rate` schedule.
        - 'lbfgs': SciPy's L-BFGS-B on all rows at once, always in float64. Often the best on small
          data sets.
        """,
    ),
    Parameter(
        "alpha",
        0.0001,
        "float",
        [Interval(Real, 0, None, closed="left")],
        """
        Strength of the L2 penalty ``alpha / 2 * sum(W ** 2)`` on the weights (biases go free). It
        is added to the sum of a batch's losses before that is divided by the sum of its weights.
        """,
    ),
    Parameter(
        "weight_decay",
        0.0,
        "float",
        [Interval(Real, 0, None, closed="left")],
        """
        Decoupled weight decay (AdamW; the same for 'sgd'): before each update the weights lose this
        share, times the learning rate, of what they are (biases go free). Unlike that of `alpha`,
        its strength depends neither on the size of the batches nor on the gradients' scale.
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "batch_size",
        "auto",
        "int or 'auto'",
        [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        """
        Rows between two updates of 'sgd' and 'adam'; 'auto' is ``min(200, n_samples)``. More than
        there are rows means all of them, with a warning.
        """,
    ),
    Parameter(
        "learning_rate",
        "constant",
        "str or callable",
        [StrOptions(set(SCHEDULES)), callable],
        f"""
        Schedule of the learning rate. 'invscaling' and 'adaptive' are for 'sgd' alone, and 'adam'
        takes them for 'constant', as in scikit-learn.

{_lines({row.name: row.text for row in SCHEDULES.values()})}
        - a function: given the share of all updates that is done, from 0 to 1, it returns the
          factor of `learning_rate_init`.

        A schedule from 'linear' on follows the share of `max_iter` epochs. So `max_iter` is then
        the length of the fit, not merely its limit, and `partial_fit` refuses it.
        """,
    ),
    Parameter(
        "learning_rate_init",
        0.001,
        "float",
        [Interval(Real, 0, None, closed="neither")],
        "Initial learning rate of 'sgd' and 'adam'.",
    ),
    Parameter(
        "power_t",
        0.5,
        "float",
        [Interval(Real, 0, None, closed="left")],
        "Exponent of 'invscaling'.",
    ),
    Parameter(
        "warmup_fraction",
        0.0,
        "float",
        [Interval(Real, 0, 1, closed="left")],
        """
        The share of all updates, those of `max_iter` epochs, over which the learning rate rises
        from nearly 0 to what `learning_rate` says, in [0, 1).
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "max_iter",
        200,
        "int",
        [Interval(Integral, 1, None, closed="left")],
        "Largest number of epochs ('sgd', 'adam') or iterations ('lbfgs').",
    ),
    Parameter(
        "shuffle",
        True,
        "bool",
        ["boolean"],
        "Whether to permute the rows before every epoch of 'sgd' and 'adam'.",
    ),
    Parameter(
        "random_state",
        None,
        "int, RandomState instance or None",
        ["random_state"],
        """
        Source of the initial weights, the validation split and the permutations. An int makes
        every fit repeat the same numbers, whatever the number of threads.
        """,
    ),
    Parameter(
        "tol",
        1e-4,
        "float",
        [Interval(Real, 0, None, closed="left")],
        """
        What counts as an improvement of the training loss or the validation score; for 'lbfgs'
        the largest entry of the gradient at which it has converged.
        """,
    ),
    Parameter(
        "verbose",
        False,
        "bool or int",
        ["verbose"],
        """
        What `fit` shows. True or 1: on a terminal and in a notebook one line that is overwritten,
        with epochs (or iterations), loss, validation score, the time it took and the time that is
        left at most; elsewhere, and for `partial_fit`, a line per epoch. 2 or more: a line per
        epoch everywhere. Where the logger ``nbnet`` itself has a handler for level INFO, the lines
        per epoch become its records and nothing is printed.
        """,
    ),
    Parameter(
        "warm_start",
        False,
        "bool",
        ["boolean"],
        """
        Whether `fit` starts from the weights of the previous fit. The layers, features and outputs
        must be the same.
        """,
    ),
    Parameter(
        "momentum",
        0.9,
        "float",
        [Interval(Real, 0, 1, closed="both")],
        "Momentum of 'sgd', between 0 and 1.",
    ),
    Parameter(
        "nesterovs_momentum",
        True,
        "bool",
        ["boolean"],
        "Whether that is Nesterov's momentum.",
    ),
    Parameter(
        "clip_norm",
        None,
        "float or None",
        [Interval(Real, 0, None, closed="neither"), None],
        """
        The largest Euclidean norm of the gradient of all parameters, the L2 penalty's included; a
        larger gradient is scaled down to it before the update. None for any norm.
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "early_stopping",
        False,
        "bool",
        ["boolean"],
        """
        Whether to set rows aside and to stop once the score on them no longer improves, instead of
        the training loss. The weights that scored best are kept. If `fit` is given `X_val`, that
        is scored and no rows are set aside. For 'sgd' and 'adam'.
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "restore_best",
        False,
        "bool",
        ["boolean"],
        """
        Whether to keep the weights of the best epoch instead of the last: the one with the highest
        validation score if `fit` is given `X_val`, otherwise the one with the smallest training
        loss. When training stops does not change. `early_stopping` keeps the best weights anyway.
        With 'lbfgs' it needs `X_val`. `partial_fit` refuses it.
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "validation_fraction",
        0.1,
        "float",
        [Interval(Real, 0, 1, closed="left")],
        "The share of rows that `early_stopping` sets aside, unless `fit` is given `X_val`.",
    ),
    Parameter(
        "scoring",
        None,
        "str, callable or None",
        [StrOptions(set(SCORING_NAMES)), callable, None],
        """
        What the validation score is: the name of one of scikit-learn's scorers, or a function
        ``scoring(estimator, X, y)`` that returns a number, the higher the better. The estimator is
        the model of the moment; what it predicts for these rows has been computed already. Sample
        weights are passed if it has a parameter `sample_weight`. 'loss' is the negative loss of
        these rows, without penalty; if no rows are held out, the training loss is judged anyway.
        None means the accuracy in classification and R² in regression.
        """,
        needs=("early_stopping", (True,)),
    ),
    Parameter(
        "beta_1",
        0.9,
        "float",
        [Interval(Real, 0, 1, closed="left")],
        "Decay rate of the first moment in 'adam', in [0, 1).",
    ),
    Parameter(
        "beta_2",
        0.999,
        "float",
        [Interval(Real, 0, 1, closed="left")],
        "Decay rate of the second moment in 'adam', in [0, 1).",
    ),
    Parameter(
        "epsilon",
        1e-8,
        "float",
        [Interval(Real, 0, None, closed="neither")],
        "Added to the root of the second moment in 'adam'.",
    ),
    Parameter(
        "average",
        0.0,
        "float",
        [Interval(Real, 0, 1, closed="left")],
        """
        Decay of an exponential average of the parameters over the updates, in [0, 1); 0 for none.
        The model gets the average, and so does the score of `early_stopping`; the training loss is
        that of the parameters themselves. 0.999 averages over about 1,000 updates.
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "n_iter_no_change",
        10,
        "int or np.inf",
        [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        """
        Training stops after more than this many epochs in a row without an improvement of at least
        `tol`. For 'sgd' and 'adam'.
        """,
    ),
    Parameter(
        "max_fun",
        15000,
        "int",
        [Interval(Integral, 1, None, closed="left")],
        "Largest number of evaluations of the loss by 'lbfgs'.",
    ),
    Parameter(
        "negative_slope",
        0.01,
        "float",
        [Interval(Real, 0, None, closed="left")],
        "Slope of 'leaky_relu' below zero, at least 0.",
    ),
    Parameter(
        "pieces",
        2,
        "int",
        [Interval(Integral, 2, None, closed="left")],
        """
        Affine functions per 'maxout' unit, at least 2. A maxout layer of ``u`` units has weights of
        shape ``(fan_in, u * pieces)``; the pieces of a unit are neighbouring columns.
        """,
    ),
    Parameter(
        "dropout",
        0.0,
        "float or array-like of float",
        [Interval(Real, 0, 1, closed="left"), "array-like"],
        """
        The probability, in [0, 1), with which each activation of a hidden layer is set to 0 in an
        update. The others are divided by 1 minus it; prediction keeps all of them as they are. One
        number for all hidden layers, or one per hidden layer. For 'sgd' and 'adam'. (Srivastava et
        al., 2014.)
        """,
        needs=("solver", _STOCHASTIC),
    ),
    Parameter(
        "architecture",
        None,
        "callable",
        [callable, None],
        """
        Builds the network between the features and the output layer, in place of
        `hidden_layer_sizes`, `activation`, `negative_slope`, `pieces` and `dropout`: a function
        that is given the input, a node of `nbnet.graph`, and returns the node that the output layer
        reads. Nodes may have names, but 'x' and 'output' are those of the input and the output
        layer. ``coefs_`` and ``intercepts_`` then have one entry for each dense, maxout or
        layer_norm node, each after those it depends on. To pickle the model, or to search with
        processes, it must be a function that can be pickled: one with a name, at the top of a
        module.
        """,
        replaces=("hidden_layer_sizes", "activation", "negative_slope", "pieces", "dropout"),
    ),
)


def _number(name: str, key: str, losses: tuple[str, ...], text: str) -> Parameter:
    """The parameter that is a hyperparameter of a loss.

    `key` is the loss's name in `LOSSES`; beside the `losses`, which users write, it has an effect.
    """
    (setting,) = (s for s in LOSSES[key].settings if s.name == name)
    closed = "left" if setting.closed else "neither"
    constraint: list[Any] = [Interval(Real, setting.low, setting.high, closed=closed)]
    kind = "float"
    if setting.several:
        constraint, kind = [*constraint, "array-like"], "float or array-like of float"
    return Parameter(name, setting.default, kind, constraint, text, needs=("loss", losses))


CLASSIFIER_PARAMETERS = _SHARED | _table(
    Parameter(
        "class_weight",
        None,
        "dict, 'balanced' or None",
        [dict, StrOptions({"balanced"}), None],
        """
        Weights of classes by label, 1 for a label that is not named. They are multiplied into
        `sample_weight`. 'balanced' gives all classes the same sum of weights. Rows that
        `early_stopping` sets aside have them too, rows given as `X_val` do not. Not for several
        labels per row, whose losses have one weight together.
        """,
    ),
    Parameter(
        "loss",
        "log_loss",
        f"{_names(tuple(CLASSIFICATION_LOSSES))} or CustomLoss",
        [StrOptions(set(CLASSIFICATION_LOSSES)), CustomLoss],
        """
        What is minimised, averaged over the rows and, for several labels, summed over them.

        - 'log_loss': minus the logarithm of the probability of the right class. With more than two
          classes, probabilities are the softmax of one raw output per class; otherwise the
          logistic function of one.
        - 'pinned_log_loss': the same, with one raw output fewer than classes: the first class's is
          pinned at 0.
        - 'focal': the log-loss times ``(1 - p) ** focal_gamma``, ``p`` being the probability of the
          right class: rows that are predicted well count less. With probabilities as for
          'log_loss', which are no longer relative frequencies.

        Or a `nbnet.CustomLoss`, made of a function of your own.
        """,
    ),
    _number(
        "label_smoothing",
        "smoothed_softmax_cross_entropy",
        ("log_loss", "pinned_log_loss"),
        """
        A share of the target's probability, at least 0 and less than 1, that is spread over all
        classes alike: ``e / K`` for each of K classes. A label that is there or not has
        ``1 - e / 2`` or ``e / 2``. `loss_` is that of these targets, and not 0 at best; scores
        count the labels as they are.
        """,
    ),
    _number(
        "focal_gamma",
        "softmax_focal",
        ("focal",),
        "How much less 'focal' counts rows that are predicted well, at least 0; 0 is the log-loss.",
    ),
)


REGRESSOR_PARAMETERS = _SHARED | _table(
    Parameter(
        "loss",
        "squared_error",
        "str or CustomLoss",
        [StrOptions(set(REGRESSION_LOSSES)), CustomLoss],
        """
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
        - 'tweedie': half the Tweedie deviance of power `tweedie_power`, for amounts of which many
          are 0; ``p`` is the exponential of the raw output; needs ``y >= 0``.
        - 'gamma': half the gamma deviance, ``log(p / y) + y / p - 1``, for amounts whose scatter
          grows with their mean; ``p`` as for 'tweedie'; needs ``y > 0``.
        - 'binomial': half the binomial deviance of shares ``0 <= y <= 1``, ``p`` being the logistic
          function of the raw output. For k successes in n trials, y is ``k / n`` and the weight of
          the row n.
        - 'negative_binomial': the negative log-likelihood of counts that scatter more than
          'poisson' allows: their variance is ``p + d * p ** 2``, and both ``p`` and the dispersion
          ``d`` are exponentials of raw outputs that depend on the features; needs ``y >= 0``.

        Or a `nbnet.CustomLoss`, made of a function of your own.

        With 'gaussian', 'laplace' and 'negative_binomial' `predict` can return standard deviations
        too. The first two take targets of about unit scale best.
        """,
    ),
    _number(
        "quantile",
        "quantile",
        ("quantile",),
        """
        The quantile that ``loss='quantile'`` predicts, between 0 and 1, both excluded. A sequence
        of Q levels that increase makes one model learn them all, its loss being their sum:
        `predict` then returns an axis of Q numbers more.
        """,
    ),
    _number(
        "huber_delta",
        "huber",
        ("huber",),
        "The error, greater than 0, from which on ``loss='huber'`` is a straight line.",
    ),
    _number(
        "tweedie_power",
        "half_tweedie_deviance",
        ("tweedie",),
        """
        The power of the mean to which the variance is proportional with ``loss='tweedie'``, between
        1 (Poisson) and 2 (gamma), both excluded.
        """,
    ),
    Parameter(
        "covariance",
        "diagonal",
        "{'diagonal', 'full'}",
        [StrOptions({"diagonal", "full"})],
        """
        What ``loss='gaussian'`` learns: one variance for each column of `y`, or all covariances
        between columns too.
        """,
        needs=("loss", ("gaussian",)),
    ),
    Parameter(
        "standardize_y",
        False,
        "bool",
        ["boolean"],
        """
        Whether the columns of `y` are learned with mean 0 and variance 1, those of the weighted
        rows to train on. Predictions, standard deviations and covariances have the units of `y`;
        `loss_curve_`, `validation_losses_`, `huber_delta` and the raw outputs of `to_network` are
        in standard deviations. Further calls with `warm_start` and `partial_fit` keep the numbers
        of the first. Not for 'poisson', whose targets have a zero of their own.
        """,
    ),
)

Estimator = TypeVar("Estimator", bound=type)


def declared(table: Mapping[str, Parameter], **sections: str) -> Callable[[Estimator], Estimator]:
    """Give an estimator class what follows from the rows of its parameters.

    The docstring's ``<parameters>`` is filled from the rows, other such marks from `sections`.
    """

    def declare(cls: Estimator) -> Estimator:
        rows = [table[name] for name in inspect.signature(cls).parameters]
        cls._parameters = {row.name: row for row in rows}  # type: ignore[attr-defined]
        cls._parameter_constraints = {row.name: row.constraint for row in rows}  # type: ignore[attr-defined]
        if cls.__doc__:  # absent under python -OO
            text = "\n\n".join(row.document() for row in rows)
            indented = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
            cls.__doc__ = cls.__doc__.replace("    <parameters>", indented)
            for name, section in sections.items():
                cls.__doc__ = cls.__doc__.replace(f"    <{name}>", section)
        return cls

    return declare


def store(estimator: object, arguments: Mapping[str, Any]) -> None:
    """Make attributes of the arguments of ``__init__``, which are its ``locals()``."""
    vars(estimator).update({k: v for k, v in arguments.items() if k not in ("self", "__class__")})
