"""Who watches a fit: the monitor, which measures and judges, and listeners, which are told.

After each epoch the `Monitor` measures the score on held-out rows, if there are any, counts epochs
without improvement, and says whether the fit ends. Then it tells the listeners: functions of an
`Epoch`. A listener that returns True ends the fit. One that has a method `before_epoch` is also
told when an epoch begins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from nbnet.graph.readout import Readout
from nbnet.graph.session import Session
from nbnet.training.metrics import METRICS
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import learning_rate, schedule_of
from nbnet.training.state import NON_FINITE, Ending, FitState

__all__ = [
    "Epoch",
    "HeldOut",
    "Listener",
    "Model",
    "Monitor",
    "keep_best",
    "print_epoch",
    "record",
    "tell_of_beginning",
]


@dataclass(frozen=True)
class Epoch:
    """What listeners are told of an epoch, or of an iteration of L-BFGS.

    Attributes
    ----------
    n_iter : int
        Its number, from 1.
    loss : float
        The training loss.
    score : float or None
        The validation score, if there is one.
    learning_rate : float or None
        That of its first update; None for L-BFGS.
    seconds : float
        The time it took, without that of the listeners.
    note : str
        What the monitor has to say about it; mostly empty.
    snapshot : callable
        Returns a `FitState` from which the fit can be continued, a copy.
    validation_loss : float or None
        The loss on the rows held out, without penalty, if there are any.
    """

    n_iter: int
    loss: float
    score: float | None
    learning_rate: float | None
    seconds: float
    note: str
    snapshot: Callable[[], FitState]
    validation_loss: float | None = None


Listener: TypeAlias = Callable[[Epoch], bool | None]


def print_epoch(epoch: Epoch, write: Callable[[str], None] = print) -> None:
    """Write a line on an epoch, one on its score, and what the monitor has to say."""
    write(f"Iteration {epoch.n_iter}, loss = {epoch.loss:.8f}")
    if epoch.score is not None:
        write(f"Validation score: {epoch.score:.6f}")
    if epoch.note:
        write(epoch.note)


def tell_of_beginning(listeners: Sequence[Listener], snapshot: Callable[[], FitState]) -> None:
    """Tell the listeners that want to know it that an epoch begins, from what `snapshot` makes."""
    for listener in listeners:
        before_epoch = getattr(listener, "before_epoch", None)
        if before_epoch is not None:
            before_epoch(snapshot)


class Model(Protocol):
    """A network with its parameters of the moment, as a session is one."""

    @property
    def outcome(self) -> np.ndarray:
        """The parameters (P,) that a model would get, a copy."""

    def forward(self, X: Any) -> np.ndarray:
        """The raw outputs (N, R)."""


@dataclass(frozen=True)
class HeldOut:
    """Rows to validate on, and how.

    Attributes
    ----------
    X, y, sample_weight
        As in `Problem`.
    metric : str
        A name in `METRICS`, or 'loss': the negative loss.
    estimates : callable
        Makes what the metric reads of outputs behind the link.
    readout : Readout
        The link and the loss.
    numbers : dict
        Hyperparameters of the loss, by name, of which a metric may ask for some.
    scorer : callable or None
        ``scorer(model, raw, outputs)`` returns the score in place of the metric, from outputs
        before and behind the link.
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    metric: str
    estimates: Callable[[np.ndarray], np.ndarray]
    readout: Readout
    numbers: Mapping[str, Any] = field(default_factory=dict)
    scorer: Callable[[Model, np.ndarray, np.ndarray], float] | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        rows: np.ndarray,
        metric: str,
        estimates: Callable[[np.ndarray], np.ndarray],
    ) -> "HeldOut":
        """Copy some rows of a problem."""
        weight = None if problem.sample_weight is None else problem.sample_weight[rows]
        return cls.beside(problem, problem.X[rows], problem.y[rows], weight, metric, estimates)

    @classmethod
    def beside(
        cls,
        problem: Problem,
        X: Any,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        metric: str,
        estimates: Callable[[np.ndarray], np.ndarray],
    ) -> "HeldOut":
        """Take other rows than those of a problem, of the same kind."""
        network = problem.network
        plan = network.plan(y.dtype, 1, sparse=issparse(problem.X), noise=True)
        readout = Readout(y, sample_weight, network.n_outputs, problem.loss, problem.numbers, plan)
        return cls(X, y, sample_weight, metric, estimates, readout, problem.numbers)

    def measure(self, model: Model) -> tuple[float, float]:
        """Score and loss of a model; the network runs once."""
        raw = model.forward(self.X)
        loss = self.readout.loss(raw)
        if self.scorer is None and self.metric == "loss":
            return -loss, loss
        outputs = self.readout.outputs(raw)
        if self.scorer is not None:
            return self.scorer(model, raw, outputs), loss
        metric = METRICS[self.metric]
        numbers = {name: self.numbers[name] for name in metric.numbers}
        estimates = self.estimates(outputs)
        return metric.function(estimates, self.y, self.sample_weight, **numbers), loss

    @property
    def nan_is_judged(self) -> bool:
        """Whether a score of NaN counts as one without improvement.

        One of the default metrics resets the count, as in scikit-learn.
        """
        return self.scorer is not None or self.metric == "loss"


def record(held_out: HeldOut, model: Model, state: FitState, finite: bool = True) -> float:
    """Measure a model on rows held out, add score and loss to the state, and return the score."""
    state.expect_scores()
    score, loss = held_out.measure(model) if finite else (np.nan, np.nan)
    assert state.validation_scores is not None
    assert state.validation_losses is not None
    state.validation_scores.append(score)
    state.validation_losses.append(loss)
    return score


def keep_best(state: FitState, score: float | None, model: Model, keep: bool) -> None:
    """Note whether the last epoch is the best, and keep its parameters if asked to.

    By its score, if there is one, otherwise by the training loss.
    """
    if score is not None:
        assert state.best_validation_score is not None
        better = score > state.best_validation_score
        if better:
            state.best_validation_score = score
    else:
        assert state.best_loss is not None
        better = state.loss < state.best_loss
    if better:
        state.best_n_iter = state.n_iter
        if keep:
            state.best_params = model.outcome


class Monitor:
    """Measures and judges each epoch, tells the listeners, and says when the fit ends.

    Parameters
    ----------
    recipe : Recipe
        Its `tol`, `n_iter_no_change` and schedule say what is judged how.
    held_out : HeldOut or None
        If given, these rows are measured. With early stopping their score is judged, and the best
        parameters are kept; otherwise the training loss is judged.
    listeners : sequence of callable
        Each is called with an `Epoch`; True ends the fit.
    """

    def __init__(
        self, recipe: Recipe, held_out: HeldOut | None = None, listeners: Sequence[Listener] = ()
    ):
        self.recipe = recipe
        self.held_out = held_out
        self.listeners = listeners

    def before_epoch(self, session: Session, state: FitState) -> None:
        """Tell the listeners that an epoch begins."""
        tell_of_beginning(self.listeners, lambda: state.snapshot(session))

    def after_epoch(self, session: Session, state: FitState, seconds: float) -> Ending | None:
        """Watch the epoch that `state` has just recorded.

        Returns
        -------
        Ending or None
            None if training goes on.

        Raises
        ------
        ValueError
            If the loss is not finite and there are no best parameters.
        """
        score, ending, note = None, None, ""
        finite = bool(np.isfinite(state.loss))
        if self.held_out is not None:
            score = record(self.held_out, session, state, finite)
        if not finite and state.best_params is None:
            raise ValueError(NON_FINITE)
        self._judge(score, finite, session, state)
        if not finite:
            ending = _diverged(state)
        elif state.no_improvement_count > self.recipe.n_iter_no_change:
            ending, note = self._stalled(state)
        epoch = Epoch(
            state.n_iter,
            state.loss,
            score,
            state.learning_rates[-1],
            seconds,
            note,
            lambda: state.snapshot(session),
            state.validation_losses[-1] if state.validation_losses else None,
        )
        asked = [listener(epoch) for listener in self.listeners]  # all hear of it
        return Ending("stopped") if ending is None and any(asked) else ending

    def _judge(self, score: float | None, finite: bool, session: Session, state: FitState) -> None:
        """Count the epoch by its score or its loss, and keep its parameters if it is the best."""
        recipe = self.recipe
        if recipe.early_stopping:
            assert score is not None
            assert state.best_validation_score is not None
            stalled = score < state.best_validation_score + recipe.tol
            if np.isnan(score) and self.held_out is not None and self.held_out.nan_is_judged:
                stalled = True
            self._count(state, stalled)
        elif finite:
            assert state.best_loss is not None
            self._count(state, stalled=state.loss > state.best_loss - recipe.tol)
        keep_best(state, score, session, recipe.early_stopping or recipe.restore_best)
        if finite and state.best_loss is not None:
            state.best_loss = min(state.best_loss, state.loss)

    @staticmethod
    def _count(state: FitState, stalled: bool) -> None:
        state.no_improvement_count = state.no_improvement_count + 1 if stalled else 0

    def _stalled(self, state: FitState) -> tuple[Ending | None, str]:
        """Lower the learning rate, or end the fit."""
        judged = "validation score" if self.recipe.early_stopping else "training loss"
        note = (
            f"No improvement of the {judged} by tol={self.recipe.tol} in "
            f"{self.recipe.n_iter_no_change} iterations. "
        )
        slowest = schedule_of(self.recipe).slowest
        if slowest is None or np.min(learning_rate(self.recipe, state)) <= slowest:
            return Ending("converged"), note + "Stopping."
        state.slow_downs += 1
        state.no_improvement_count = 0
        return None, note + f"Learning rate {learning_rate(self.recipe, state):g}."


def _diverged(state: FitState) -> Ending:
    return Ending(
        "diverged",
        ConvergenceWarning(
            f"The training loss became {state.loss} in iteration {state.n_iter}. Training stopped; "
            "the parameters of the best epoch are kept. Scale the data or lower "
            "learning_rate_init."
        ),
    )
