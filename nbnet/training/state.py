"""Where a fit stands, as plain arrays and numbers, and how it ended."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nbnet.graph.session import Session

__all__ = ["NON_FINITE", "Ending", "FitState", "check_finite"]

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


@dataclass(frozen=True)
class Ending:
    """Why a fit ended.

    Attributes
    ----------
    reason : {'converged', 'max_iter', 'diverged', 'interrupted', 'stopped'}
        'stopped' is at the wish of a listener.
    warning : Warning or None
        What the caller should warn of.
    """

    reason: str
    warning: Warning | None = None

    @classmethod
    def interrupted(cls, n_iter: int) -> Self:
        """Ctrl-C after `n_iter` complete epochs or iterations."""
        text = f"after {n_iter} complete iterations; the model is kept as it is."
        return cls("interrupted", UserWarning(f"Training interrupted by user {text}"))

    @classmethod
    def unconverged(cls, max_iter: int) -> Self:
        """The last epoch allowed, in the words by which scikit-learn's users filter warnings."""
        text = f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization"
        return cls("max_iter", ConvergenceWarning(f"{text} hasn't converged yet."))


@dataclass
class FitState:
    """All that training changes: a copy of it goes on bit for bit as the original would.

    Attributes
    ----------
    params : ndarray of shape (P,)
        The parameters.
    rows : int64 ndarray of shape (M,)
        The rows to train on, in their present order.
    random_state : RandomState
        Where one permutation an epoch is drawn from.
    held_out : int64 ndarray or None
        The rows to validate on.
    seed : int or None
        Where the masks of dropout follow from; None without dropout.
    slots : ndarray of shape (S, P) or None
        What the optimizer keeps for each parameter; None before the first epoch.
    averaged : ndarray of shape (P,) or None
        The average of the parameters over the updates, if one is kept.
    step : int
        Updates so far, since the optimizer began.
    slow_downs : int
        How often training has stalled and gone on at a lower learning rate.
    n_iter : int
        Complete epochs (or iterations of L-BFGS) of this call.
    t : int
        Rows seen, over all epochs and calls.
    loss : float
        Loss of the last epoch.
    loss_curve : list of float
        The losses of all epochs.
    learning_rates : list of float
        The learning rates of the first updates of all epochs.
    best_loss : float or None
        The smallest of them; None where validation scores are judged.
    validation_scores : list of float or None
        The scores of all epochs; None where no rows are held out.
    best_validation_score : float or None
        The highest of them.
    no_improvement_count : int
        Epochs in a row without an improvement.
    best_params : ndarray of shape (P,) or None
        The parameters of the best epoch; None where the last are kept.
    validation_losses : list of float or None
        The losses of all epochs on the rows held out, without penalty; None where there are none.
    best_n_iter : int
        The epoch of this call with the highest validation score, or the smallest loss where no rows
        are held out; 0 if none was better than those of earlier calls.
    """

    params: np.ndarray
    rows: np.ndarray
    random_state: np.random.RandomState
    held_out: np.ndarray | None = None
    seed: int | None = None
    slots: np.ndarray | None = None
    averaged: np.ndarray | None = None
    step: int = 0
    slow_downs: int = 0
    n_iter: int = 0
    t: int = 0
    loss: float = np.nan
    loss_curve: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    best_loss: float | None = np.inf
    validation_scores: list[float] | None = None
    best_validation_score: float | None = None
    no_improvement_count: int = 0
    best_params: np.ndarray | None = None
    validation_losses: list[float] | None = None
    best_n_iter: int = 0

    @property
    def outcome(self) -> np.ndarray:
        """The parameters that a model gets: the best, or else the average, or else the last."""
        if self.best_params is not None:
            return self.best_params
        return self.params if self.averaged is None else self.averaged

    def add_epoch(self, loss: float, learning_rate: float, step: int) -> None:
        """Record an epoch over `rows` that ended at update `step`."""
        self.n_iter += 1
        self.t += len(self.rows)
        self.loss = loss
        self.loss_curve.append(loss)
        self.learning_rates.append(learning_rate)
        self.step = step

    def expect_scores(self) -> None:
        """Begin lists of scores and losses of rows held out, if there are none yet."""
        if self.validation_scores is None or self.best_validation_score is None:
            self.validation_scores, self.best_validation_score = [], -np.inf
        if self.validation_losses is None:
            self.validation_losses = []

    def take(self, session: Session) -> None:
        """Take parameters and optimizer state out of a session."""
        self.params = session.params
        self.slots = session.slots
        self.averaged = session.averaged
        self.step = session.step

    def snapshot(self, session: Session) -> FitState:
        """Copy the state as it is between two epochs of a session."""
        copied = copy.deepcopy(replace(self, params=_NOTHING, slots=None, averaged=None))
        copied.take(session)
        return copied

    def to_arrays(self) -> dict[str, Any]:
        """Write the state as arrays, numbers and one string; what is None is left out.

        Raises
        ------
        ValueError
            If `random_state` is not built on the bit generator MT19937, as RandomState is unless
            another one is passed to it.
        """
        state: Any = self.random_state.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise ValueError(
                "The state of a fit can be written if random_state is built on MT19937; this one "
                f"is built on {state['bit_generator']}."
            )
        arrays: dict[str, Any] = {
            "random_state_generator": state["bit_generator"],
            "random_state_key": state["state"]["key"].copy(),
            "random_state_position": state["state"]["pos"],
            "random_state_has_gauss": state["has_gauss"],
            "random_state_gauss": state["gauss"],
        }
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, list):
                arrays[entry.name] = np.array(value, dtype=np.float64)
            elif isinstance(value, np.ndarray):
                arrays[entry.name] = value.copy()
            elif value is not None and entry.name != "random_state":
                arrays[entry.name] = value
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Read what `to_arrays` wrote; a number may have become an array without dimensions.

        Raises
        ------
        ValueError
            If something is missing, or is not part of a state.
        """
        values = dict(arrays)
        try:
            generator = str(values.pop("random_state_generator"))
            key, position, has_gauss, gauss = (
                values.pop(f"random_state_{part}")
                for part in ("key", "position", "has_gauss", "gauss")
            )
            given = {name: values.pop(name) for name in ("params", "rows")}
        except KeyError as error:
            raise ValueError(f"The state of a fit lacks {error}.") from None
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown:
            raise ValueError(f"The state of a fit has no {unknown}.")
        random_state = np.random.RandomState()
        random_state.set_state(
            (generator, np.asarray(key), int(position), int(has_gauss), float(gauss))
        )
        state = cls(random_state=random_state, best_loss=None, **given)
        for name, value in values.items():
            value = np.asarray(value)
            setattr(state, name, value.tolist() if name in _NUMBERS_AND_LISTS else value)
        return state


_NOTHING = np.empty(0)
_NUMBERS_AND_LISTS = {entry.name for entry in fields(FitState)} - {
    "params", "rows", "random_state", "held_out", "slots", "averaged", "best_params",
}  # fmt: skip


def check_finite(params: np.ndarray) -> None:
    """Raise a ValueError if a parameter is NaN or infinite."""
    if not np.isfinite(params).all():
        raise ValueError(NON_FINITE)
