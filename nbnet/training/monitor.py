"""Who watches a fit: the monitor, which measures and judges, and listeners, which are told.

After each epoch the `Monitor` measures the score on held-out rows, if there are any, counts epochs
without improvement, and says whether the fit ends. Then it tells the listeners: functions of an
`Epoch`. A listener that returns True ends the fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nbnet.graph.session import Session
from nbnet.kernels.user import CustomLoss
from nbnet.training.metrics import METRICS
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import SCHEDULES, learning_rate
from nbnet.training.state import NON_FINITE, Ending, FitState

__all__ = ["Epoch", "HeldOut", "Listener", "Monitor", "print_epoch"]


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
    """

    n_iter: int
    loss: float
    score: float | None
    learning_rate: float | None
    seconds: float
    note: str
    snapshot: Callable[[], FitState]


Listener: TypeAlias = Callable[[Epoch], bool | None]


def print_epoch(epoch: Epoch) -> None:
    """Print a line on an epoch, one on its score, and what the monitor has to say."""
    print(f"Iteration {epoch.n_iter}, loss = {epoch.loss:.8f}")
    if epoch.score is not None:
        print(f"Validation score: {epoch.score:.6f}")
    if epoch.note:
        print(epoch.note)


@dataclass(frozen=True)
class HeldOut:
    """Rows to validate on, and how.

    Attributes
    ----------
    X, y, sample_weight
        As in `Problem`.
    loss : str or CustomLoss
        A name in `LOSSES`, or a loss of the user's: its link is applied to the raw outputs.
    metric : str
        A name in `METRICS`.
    estimates : callable
        Makes what the metric reads of outputs behind the link.
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    loss: str | CustomLoss
    metric: str
    estimates: Callable[[np.ndarray], np.ndarray]

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
        return cls(problem.X[rows], problem.y[rows], weight, problem.loss, metric, estimates)

    def score(self, session: Session) -> float:
        """Score the current parameters of a session."""
        estimates = self.estimates(session.forward(self.X, loss=self.loss))
        return METRICS[self.metric].function(estimates, self.y, self.sample_weight)


class Monitor:
    """Measures and judges each epoch, tells the listeners, and says when the fit ends.

    Parameters
    ----------
    recipe : Recipe
        Its `tol`, `n_iter_no_change` and schedule say what is judged how.
    held_out : HeldOut or None
        If given, the score on these rows is judged, and the best parameters are kept; otherwise
        the training loss is judged.
    listeners : sequence of callable
        Each is called with an `Epoch`; True ends the fit.
    """

    def __init__(
        self, recipe: Recipe, held_out: HeldOut | None = None, listeners: Sequence[Listener] = ()
    ):
        self.recipe = recipe
        self.held_out = held_out
        self.listeners = listeners

    def after_epoch(
        self, session: Session, state: FitState, rate: float, seconds: float
    ) -> Ending | None:
        """Watch the epoch that `state` has just recorded.

        Returns
        -------
        Ending or None
            None if training goes on.

        Raises
        ------
        ValueError
            If the loss is not finite and no rows are held out: there are no best parameters.
        """
        score, ending, note = None, None, ""
        finite = np.isfinite(state.loss)
        if self.held_out is not None:
            score = self.held_out.score(session) if finite else np.nan
            self._judge_score(score, session, state)
        elif not finite:
            raise ValueError(NON_FINITE)
        else:
            self._judge_loss(state)
        if not finite:
            ending = _diverged(state)
        elif state.no_improvement_count > self.recipe.n_iter_no_change:
            ending, note = self._stalled(state)
        epoch = Epoch(
            state.n_iter, state.loss, score, rate, seconds, note, lambda: state.snapshot(session)
        )
        asked = [listener(epoch) for listener in self.listeners]  # all hear of it
        return Ending("stopped") if ending is None and any(asked) else ending

    def _judge_loss(self, state: FitState) -> None:
        assert state.best_loss is not None
        self._count(state, stalled=state.loss > state.best_loss - self.recipe.tol)
        state.best_loss = min(state.best_loss, state.loss)

    def _judge_score(self, score: float, session: Session, state: FitState) -> None:
        """Count the epoch by its score. NaN is no improvement, but it resets the count."""
        assert state.validation_scores is not None
        assert state.best_validation_score is not None
        state.validation_scores.append(score)
        self._count(state, stalled=score < state.best_validation_score + self.recipe.tol)
        if score > state.best_validation_score:
            state.best_validation_score = score
            state.best_params = session.params

    @staticmethod
    def _count(state: FitState, stalled: bool) -> None:
        state.no_improvement_count = state.no_improvement_count + 1 if stalled else 0

    def _stalled(self, state: FitState) -> tuple[Ending | None, str]:
        """Lower the learning rate, or end the fit."""
        judged = "training loss" if self.held_out is None else "validation score"
        note = (
            f"No improvement of the {judged} by tol={self.recipe.tol} in "
            f"{self.recipe.n_iter_no_change} iterations. "
        )
        slowest = SCHEDULES[self.recipe.schedule].slowest
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
            "the parameters with the best validation score are kept. Scale the data or lower "
            "learning_rate_init."
        ),
    )
