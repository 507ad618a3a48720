"""Activations and losses of the user's own: values, and rows like those of the tables.

`CustomActivation` and `CustomLoss` hold Python functions and nothing else, so they can be compared,
copied and pickled as the functions can. Each has a ``row``, which tells all other code what a row
of ``ACTIVATIONS`` or ``LOSSES`` tells it. Its functions are compiled (`c_functions`) and compared
with finite differences when a plan or a session first needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from numbers import Integral, Real
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np

from nbnet.kernels.activations import ACTIVATIONS, CUSTOM_ACTIVATION, Activation
from nbnet.kernels.c_functions import (
    CFunction,
    derivative_of_run,
    loss_of_row,
    python_function,
    value_of_run,
)
from nbnet.kernels.differences import check_derivative, check_gradient
from nbnet.kernels.losses import CUSTOM_LOSS, LOSSES, Loss

__all__ = ["CustomActivation", "CustomLoss", "activation_row", "loss_row"]

Derivable = Callable[[float], float]
RowLoss = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
LinkName = Literal["identity", "exp", "logistic", "softmax"]


class _Value:
    """A value that is its arguments: it may be compared, copied and pickled as they may."""

    _functions: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self._functions:
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"{name} of {type(self).__name__} must be a function, got "
                    f"{getattr(self, name)!r}"
                )
        name = self._arguments()["name"]
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise TypeError(f"name must be a string that is not empty, or None, got {name!r}")
        # Not a field: what follows from the arguments. An address is good as long as its owner.
        object.__setattr__(self, "_made", {})
        object.__setattr__(self, "_lock", Lock())

    def _arguments(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once."""
        made: dict[Any, Any] = self._made
        if key not in made:
            with self._lock:
                if key not in made:
                    made[key] = make()
        return made[key]

    @property
    def _label(self) -> str:
        """What pictures and tables call it."""
        given: str | None = self._arguments()["name"]
        named = getattr(getattr(self, self._functions[0]), "__name__", "")
        return given or (named if named.isidentifier() else "custom")

    def __repr__(self) -> str:
        words = []
        for argument in fields(self):  # type: ignore[arg-type]
            given = getattr(self, argument.name)
            told = getattr(given, "__name__", repr(given))
            if argument.name in self._functions:
                words.append(told)
            elif given != argument.default:
                words.append(f"{argument.name}={told}")
        return f"{type(self).__name__}({', '.join(words)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._arguments()), ()

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self  # a clone needs nothing compiled anew


@dataclass(frozen=True, repr=False)
class CustomActivation(_Value):
    """An activation of your own: two Python functions of one number, which numba compiles.

    An instance can stand wherever the name of an activation can: as `activation` of the estimators,
    alone or in a sequence, and in `nbnet.graph.activation`.

    Parameters
    ----------
    value : callable
        ``g(z)``, a function of one number that returns a number.
    derivative : callable
        ``g'(z)``, likewise a function of z. At a kink it may return either side's derivative.
    gain : float, default=6.0
        Initial weights of the layer are uniform within ``sqrt(gain / (fan_in + fan_out))``.
    name : str, default=None
        What summaries and pictures call it; None takes the name of `value`.

    Raises
    ------
    TypeError
        At the first use, if numba cannot compile a function, or it returns no number.
    ValueError
        At the first use, if the derivative is not that of the value by finite differences, or one
        of them is not finite at an ordinary number.

    See Also
    --------
    CustomLoss : A loss of your own.

    Notes
    -----
    The functions are plain Python, of the part that numba compiles: arithmetic, conditions, loops,
    `math`, NumPy's functions of numbers, and other such functions. Numbers of their module count as
    constants. exp, expm1, log, log1p and tanh are nbnet's own and take about a nanosecond, others
    of `math` some ten. In a float32 model floating-point constants are float32 too; an integer
    beside a float32 number makes numba compute in float64. A function that raises an error gives
    NaN.

    Each function is compiled once for each dtype, in some tenths of a second, in each process; what
    nbnet keeps on disk serves all of them. An instance can be pickled if its functions can: those
    with a name at the top of a module can, and cloudpickle and joblib take others too.

    Examples
    --------
    >>> import math
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import CustomActivation, MLPClassifier
    >>> def snake(z):
    ...     return z + math.sin(z) ** 2
    >>> def snake_derivative(z):
    ...     return 1 + math.sin(2 * z)
    >>> X, y = load_iris(return_X_y=True)
    >>> own = CustomActivation(snake, snake_derivative)
    >>> clf = MLPClassifier(hidden_layer_sizes=(20,), activation=own, solver="lbfgs", alpha=0.1,
    ...                     tol=0.01, max_iter=1000, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.95
    True
    """

    value: Derivable
    derivative: Derivable
    gain: float = field(default=6.0, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    _functions = ("value", "derivative")

    def __post_init__(self) -> None:
        super().__post_init__()
        gain = self.gain
        if isinstance(gain, bool) or not isinstance(gain, Real) or not 0 < gain < np.inf:
            raise ValueError(f"gain must be a number > 0 and finite, got {gain!r}")

    @property
    def row(self) -> Activation:
        """What a row of ``ACTIVATIONS`` would say of it."""
        return Activation(
            self._label,
            CUSTOM_ACTIVATION,
            f"{self._label}(z)",
            gain=float(self.gain),
            derivative_from_value=False,
            zero_at_zero=False,
        )

    def addresses(self, dtype: Any, training: bool) -> tuple[int, int]:
        """Where kernels find value and, if `training`, derivative (else 0); checked and compiled.

        They are good as long as this object.
        """
        self._once("checked", self._check)
        dtype = np.dtype(dtype)

        def address(name: str, make: Callable[..., CFunction]) -> int:
            what = f"the {name} of {self!r}"
            made: CFunction = self._once(
                (name, dtype), lambda: make(what, getattr(self, name), dtype)
            )
            return made.address

        value = address("value", value_of_run)
        return value, address("derivative", derivative_of_run) if training else 0

    def _check(self) -> bool:
        value, derivative = map(python_function, (self.value, self.derivative))
        check_derivative(repr(self), value, derivative)
        return True


@dataclass(frozen=True, repr=False)
class CustomLoss(_Value):
    """A loss of your own: a Python function of one row, which numba compiles.

    An instance can stand wherever the name of a loss can: as `loss` of the estimators, and in the
    methods of `nbnet.graph.Network`.

    Parameters
    ----------
    function : callable
        ``f(z, y, gradient)``: returns the loss of a row and writes its gradient. `z` (R,) are the
        raw outputs of the network, `y` (T,) the targets, `gradient` (R,) is to hold the derivative
        by each raw output; it holds zeros before. `z` and `y` are copies.
    n_raw : int or callable, default=None
        R, the number of raw outputs: a number, or a function of the number of targets T. None is T;
        for a classifier it follows from `link`.
    link : {'identity', 'exp', 'logistic', 'softmax'}, default='identity'
        What `predict` makes of the raw outputs (softmax: of all of a row together). Your function
        sees them before that.
    name : str, default=None
        What messages call it; None takes the name of `function`.

    Raises
    ------
    TypeError
        At the first use, if numba cannot compile the function, or it returns no number.
    ValueError
        At the first use, if the gradient is not that of the value by finite differences at the
        first rows of the data, or the loss is not finite there.

    See Also
    --------
    CustomActivation : An activation of your own.

    Notes
    -----
    What is minimised is the mean of the rows' losses, weighted by `sample_weight`, plus the L2
    penalty. Rows of weight 0 are not looked at.

    `MLPRegressor` predicts the first T of the outputs behind the link, or all R if there are fewer.
    Then there is no `score`, which is R², and `early_stopping` judges the loss.

    `MLPClassifier` takes two links. With ``link='softmax'`` there is one raw output per class, and
    ``y[0]`` is the position of the row's class in `classes_`. With ``link='logistic'`` there is one
    raw output for two classes, or one per label, and `y` holds 0 or 1. `n_raw` stays None.

    What is said of functions in the notes on `CustomActivation` holds here too.

    Examples
    --------
    Too low costs four times as much as too high:

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from nbnet import CustomLoss, MLPRegressor
    >>> def cost(z, y, gradient):
    ...     d = z[0] - y[0]
    ...     weight = 4.0 if d < 0 else 1.0
    ...     gradient[0] = weight * d
    ...     return weight * d * d / 2
    >>> X, y = map(scale, load_diabetes(return_X_y=True))
    >>> reg = MLPRegressor(loss=CustomLoss(cost), hidden_layer_sizes=(20,), solver="lbfgs",
    ...                    alpha=10, tol=0.01, max_iter=1000, random_state=0).fit(X, y)
    >>> float((reg.predict(X) > y).mean()) > 0.6
    True
    """

    function: RowLoss
    n_raw: int | Callable[[int], int] | None = field(default=None, kw_only=True)
    link: LinkName = field(default="identity", kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    _functions = ("function",)

    def __post_init__(self) -> None:
        super().__post_init__()
        n_raw = self.n_raw
        counts = isinstance(n_raw, Integral) and not isinstance(n_raw, bool) and n_raw >= 1
        if not (n_raw is None or callable(n_raw) or counts):
            raise ValueError(f"n_raw must be an integer >= 1, a function or None, got {n_raw!r}")
        if self.link not in get_args(LinkName):
            raise ValueError(f"link must be one of {get_args(LinkName)}, got {self.link!r}")

    @property
    def row(self) -> Loss:
        """What a row of ``LOSSES`` would say of it."""
        return _LossRow(self._label, CUSTOM_LOSS, self.link, extra=True, loss=self)

    def count(self, n_targets: int) -> int:
        """R for T targets."""
        if not callable(self.n_raw):
            return n_targets if self.n_raw is None else int(self.n_raw)
        n_raw = self.n_raw(n_targets)
        if isinstance(n_raw, bool) or not isinstance(n_raw, Integral) or n_raw < 1:
            raise ValueError(
                f"n_raw of {self!r} must return an integer >= 1; for {n_targets} targets it "
                f"returns {n_raw!r}"
            )
        return int(n_raw)

    def address(self, dtype: Any) -> int:
        """Where kernels find the function; it is good as long as this object."""
        dtype = np.dtype(dtype)
        made: CFunction = self._once(dtype, lambda: loss_of_row(repr(self), self.function, dtype))
        return made.address

    def check(
        self, n_raw: int, n_targets: int, look: Callable[[], tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """Compare the gradient with finite differences, once for so many raw outputs and targets.

        `look` returns both for a few rows.
        """

        def compare() -> bool:
            check_gradient(repr(self), python_function(self.function), *look())
            return True

        self._once(("checked", n_raw, n_targets), compare)


@dataclass(frozen=True)
class _LossRow(Loss):
    """The row of a loss of the user's."""

    loss: CustomLoss | None = None

    def n_raw(self, n: int, levels: int = 1) -> int:
        assert self.loss is not None
        return self.loss.count(n)

    def n_targets(self, n_raw: int, levels: int = 1) -> int:
        return n_raw  # any number may have so many raw outputs


def activation_row(activation: str | CustomActivation) -> Activation:
    """The row of a name in ``ACTIVATIONS``, or of an activation of the user's."""
    return activation.row if isinstance(activation, CustomActivation) else ACTIVATIONS[activation]


def loss_row(loss: str | CustomLoss) -> Loss:
    """The row of a name in ``LOSSES``, or of a loss of the user's."""
    return loss.row if isinstance(loss, CustomLoss) else LOSSES[loss]
