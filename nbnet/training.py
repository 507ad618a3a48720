"""From initial to trained parameters: epochs, batches, learning-rate schedules, stopping rules.

Two ways lead there. `train_by_epochs` visits the rows in shuffled batches and updates the
parameters after each; `train_by_lbfgs` hands the loss and gradient over all rows to SciPy. Both
take and return a flat parameter vector and write what happened into a `History`.

Nothing here knows of estimators, labels or attributes with a trailing underscore. The order in
which random numbers are drawn (the validation split, then one permutation per epoch) is part of
the contract: it is what makes a fit reproduce scikit-learn's seed for seed.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from nbnet.graph.network import Network
from nbnet.graph.session import Session as Trainer
from nbnet.kernels.threads import one_blas_thread

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


@dataclass(frozen=True)
class Problem:
    """What a fit minimises: the weighted mean of a loss over rows, plus the L2 penalty.

    Attributes
    ----------
    network : Network
        Maps features to raw outputs.
    X : ndarray or CSR of shape (N, I)
        The rows, C-contiguous where dense.
    y : ndarray of shape (N, T)
        Targets, in the dtype of `X`.
    sample_weight : ndarray of shape (N,) or None
        Weights of the rows, in the dtype of `X`; None weighs all alike.
    loss : str
        A name in `LOSSES`.
    alpha : float
        Strength of the penalty on the weights (biases go free).
    setting : dict
        What the loss is told, by name; empty for most.
    """

    network: Network
    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    loss: str
    alpha: float
    setting: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimizerState:
    """The settings of a stochastic optimizer and what it remembers between epochs.

    Plain data, so that a half-fitted model can be pickled. The settings are those it started
    with: `partial_fit` continues with them whatever the estimator's parameters say by then.

    Attributes
    ----------
    name : str
        A name in `OPTIMIZERS`.
    settings : dict
        What that row lists under `settings`.
    learning_rate_init, schedule, power_t
        How the learning rate goes, as the estimators' parameters say.
    learning_rate : float
        That of the next epoch.
    slots : ndarray of shape (S, P) or None
        The state of each parameter; None before the first epoch.
    step : int
        Updates so far.
    """

    name: str
    settings: dict[str, Any]
    learning_rate_init: float
    schedule: str = "constant"
    power_t: float = 0.5
    learning_rate: float = field(init=False)
    slots: np.ndarray | None = None
    step: int = 0

    def __post_init__(self) -> None:
        self.learning_rate = float(self.learning_rate_init)

    def epoch_ends(self, t: int) -> None:
        """Set the next epoch's learning rate; `t` counts the samples seen so far."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def slow_down(self) -> bool:
        """Lower the learning rate of a fit that stalls; False if it should stop instead."""
        if self.schedule != "adaptive" or self.learning_rate <= 1e-6:
            return False
        self.learning_rate /= 5.0
        return True


@dataclass
class History:
    """How a fit went, epoch by epoch (or iteration by iteration of L-BFGS).

    `best_loss` is None when validation scores decide; `validation_scores` and
    `best_validation_score` are None when the training loss does. All but `n_iter` and `loss`
    carry over into a warm start.
    """

    n_iter: int = 0
    t: int = 0
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    best_loss: float | None = np.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    no_improvement_count: int = 0

    def add_loss(self, loss: float, n_rows: int) -> None:
        """Record the loss of an epoch over `n_rows` rows."""
        self.n_iter += 1
        self.t += n_rows
        self.loss = loss
        self.loss_curve.append(loss)

    def judge_loss(self, tol: float) -> None:
        """Count the epoch as an improvement, or not, by its training loss."""
        assert self.best_loss is not None
        self._count(stalled=self.loss > self.best_loss - tol)
        self.best_loss = min(self.best_loss, self.loss)

    def judge_score(self, score: float, tol: float) -> bool:
        """Count the epoch by its validation score; True if that is the best so far.

        A NaN score is no improvement, but it resets the count.
        """
        assert self.validation_scores is not None
        assert self.best_validation_score is not None
        self.validation_scores.append(score)
        self._count(stalled=score < self.best_validation_score + tol)
        if score > self.best_validation_score:
            self.best_validation_score = score
            return True
        return False

    def _count(self, stalled: bool) -> None:
        self.no_improvement_count = self.no_improvement_count + 1 if stalled else 0


def split_rows(
    n_rows: int,
    validation_fraction: float,
    random_state: np.random.RandomState,
    stratify: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers into those to train on and those to validate on.

    Parameters
    ----------
    n_rows : int
        N, the number of rows.
    validation_fraction : float
        The share of them to validate on.
    random_state : RandomState
        Where the split is drawn from.
    stratify : ndarray of shape (N,) or None
        Labels whose proportions both parts shall keep.

    Returns
    -------
    train, validation : int64 ndarrays
        Row numbers, each in shuffled order.
    """
    train, validation = train_test_split(
        np.arange(n_rows, dtype=np.int64),
        test_size=validation_fraction,
        random_state=random_state,
        stratify=stratify,
    )
    if len(validation) < 2:
        raise ValueError(
            "The validation set is too small. early_stopping=True needs at least 2 rows to "
            f"validate on; validation_fraction={validation_fraction} of {n_rows} rows leaves "
            f"{len(validation)}."
        )
    return train, validation


def train_by_epochs(
    problem: Problem,
    params: np.ndarray,
    optimizer: OptimizerState,
    history: History,
    random_state: np.random.RandomState,
    *,
    rows: np.ndarray,
    batch_size: int,
    shuffle: bool,
    max_iter: int,
    tol: float,
    n_iter_no_change: float,
    verbose: bool,
    validate: Callable[[Trainer], float] | None = None,
    single_epoch: bool = False,
) -> np.ndarray:
    """Train with a stochastic optimizer until it converges, `max_iter` epochs or Ctrl-C.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    params : ndarray of shape (P,)
        Where to start.
    optimizer : OptimizerState
        Continued from and brought up to date in place.
    history : History
        Continued from and brought up to date in place.
    random_state : RandomState
        Where one permutation an epoch is drawn from, if `shuffle`.
    rows : int64 ndarray of shape (M,)
        The rows of `problem` to train on; shuffled in place.
    batch_size : int
        B, the rows between two updates.
    shuffle : bool
        Whether to permute the rows before every epoch. Permutations compose.
    max_iter : int
        The largest number of epochs.
    tol, n_iter_no_change : float
        Stop, or lower the learning rate, once more than `n_iter_no_change` epochs in a row did
        not improve by `tol`.
    verbose : bool
        Whether to print a line an epoch.
    validate : callable or None
        Gives the validation score of a trainer's current parameters. If there is one, it and not
        the training loss decides when to stop, and the parameters that scored best are returned.
    single_epoch : bool
        Run one epoch, and do not warn that it was not enough.

    Returns
    -------
    params : ndarray of shape (P,)
        The trained parameters.

    Raises
    ------
    ValueError
        If loss or parameters are no longer finite. With `validate`, a non-finite loss ends the
        fit with a warning instead.
    """
    trainer = Trainer(
        problem.network,
        params,
        problem.X,
        problem.y,
        problem.sample_weight,
        loss=problem.loss,
        **problem.setting,
        optimizer=optimizer.name,
        batch_size=batch_size,
        alpha=problem.alpha,
        slots=optimizer.slots,
        step=optimizer.step,
        **optimizer.settings,
    )
    best = params
    try:
        for _ in range(1 if single_epoch else max_iter):
            if shuffle:
                random_state.shuffle(rows)  # the draws of `permutation`, without its copies
            loss = trainer.epoch(rows, optimizer.learning_rate)
            history.add_loss(loss, len(rows))
            if verbose:
                print(f"Iteration {history.n_iter}, loss = {loss:.8f}")

            finite = np.isfinite(loss)
            if not finite and validate is None:
                raise ValueError(NON_FINITE)
            if validate is None:
                history.judge_loss(tol)
            else:
                score = validate(trainer) if finite else np.nan
                if verbose:
                    print(f"Validation score: {score:.6f}")
                if history.judge_score(score, tol):
                    best = trainer.params
            if not finite:
                warnings.warn(
                    f"The training loss became {loss} in iteration {history.n_iter}. Training "
                    "stopped; the parameters with the best validation score are kept. Scale the "
                    "data or lower learning_rate_init.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                break

            optimizer.epoch_ends(history.t)
            if history.no_improvement_count > n_iter_no_change:
                slower = optimizer.slow_down()
                if verbose:
                    what = "training loss" if validate is None else "validation score"
                    print(
                        f"No improvement of the {what} by tol={tol} in {n_iter_no_change} "
                        "iterations. "
                        + (f"Learning rate {optimizer.learning_rate:g}." if slower else "Stopping.")
                    )
                if not slower:
                    break
                history.no_improvement_count = 0
        else:
            if not single_epoch:
                warnings.warn(
                    f"The optimization has not converged within max_iter={max_iter} iterations.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
    except KeyboardInterrupt:
        _warn_interrupted(history)

    optimizer.slots = trainer.slots
    optimizer.step = trainer.step
    return _finite(best if validate is not None else trainer.params)


def train_by_lbfgs(
    problem: Problem,
    params: np.ndarray,
    history: History,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: bool,
) -> np.ndarray:
    """Train with SciPy's L-BFGS-B on all rows at once.

    Parameters
    ----------
    problem : Problem
        What is minimised. In float64: the line search compares losses that differ by less than
        float32 can tell apart.
    params : float64 ndarray of shape (P,)
        Where to start.
    history : History
        Its `n_iter` and `loss` are set.
    max_iter : int
        The largest number of iterations.
    max_fun : int
        The largest number of evaluations of loss and gradient.
    tol : float
        Converged once no entry of the gradient is larger.
    verbose : bool
        Whether to print a line an iteration.

    Returns
    -------
    params : float64 ndarray of shape (P,)
        The trained parameters; after Ctrl-C those of the last complete iteration.

    Raises
    ------
    ValueError
        If loss or parameters are not finite at the end.
    """
    objective = problem.network.objective(
        problem.X,
        problem.y,
        loss=problem.loss,
        **problem.setting,
        alpha=problem.alpha,
        sample_weight=problem.sample_weight,
    )

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        nonlocal params
        params = intermediate_result.x.copy()
        history.n_iter += 1
        history.loss = float(intermediate_result.fun)
        if verbose:
            print(f"Iteration {history.n_iter}, loss = {history.loss:.8f}")

    history.n_iter = 0
    try:
        with one_blas_thread():
            result = minimize(
                objective,
                params,
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
            )
    except KeyboardInterrupt:
        _warn_interrupted(history)
        return _finite(params)

    history.n_iter = min(result.nit, max_iter)
    history.loss = float(result.fun)
    if not np.isfinite(history.loss):
        raise ValueError(NON_FINITE)
    if result.status != 0:
        warnings.warn(
            f"lbfgs has not converged within {history.n_iter} iterations: {result.message}. "
            f"Raise max_iter={max_iter} or max_fun={max_fun}, or scale the data.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return _finite(result.x)


def _finite(params: np.ndarray) -> np.ndarray:
    if not np.isfinite(params).all():
        raise ValueError(NON_FINITE)
    return params


def _warn_interrupted(history: History) -> None:
    warnings.warn(
        f"Training interrupted after {history.n_iter} complete iterations; the model is kept as "
        "it is.",
        UserWarning,
        stacklevel=3,
    )
