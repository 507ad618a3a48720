"""Schedules of the learning rate.

===========  =======================================================================
name         learning rate of an epoch
===========  =======================================================================
constant     initial
invscaling   initial / (samples + 1) ** power_t
adaptive     initial / 5 / 5 ..., once for each time that training stalled
===========  =======================================================================

A schedule is a function of counts: of updates, epochs and samples. It returns one learning rate for
the epoch, or an array with one for each of its updates. Whatever a schedule remembers is a count in
`FitState`, so a fit that is continued elsewhere goes on at the same rate.

To add one: its function, its row in `SCHEDULES` and its name in `ScheduleName`. The estimators'
parameter `learning_rate` and its documentation follow from the row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nbnet.kernels.records import STEP_COLUMNS
from nbnet.training.recipe import Recipe
from nbnet.training.state import FitState

__all__ = ["SCHEDULES", "Counts", "Schedule", "ScheduleName", "learning_rate", "steps"]


@dataclass(frozen=True)
class Counts:
    """How far a fit has come when an epoch begins.

    Attributes
    ----------
    step : int
        Updates before this epoch, since the optimizer began.
    n_steps : int
        Updates of this epoch.
    epoch : int
        Complete epochs of this call.
    max_iter : int
        The largest number of epochs of this call.
    samples : int
        Rows seen by all epochs so far; 0 in the first epoch of a new optimizer.
    slow_downs : int
        How often training has stalled and gone on at a lower rate.
    """

    step: int
    n_steps: int
    epoch: int
    max_iter: int
    samples: int
    slow_downs: int


def _constant(initial: float, counts: Counts) -> float:
    return initial


def _invscaling(initial: float, counts: Counts, power_t: float) -> float:
    return initial / (counts.samples + 1) ** power_t


def _adaptive(initial: float, counts: Counts) -> float:
    for _ in range(counts.slow_downs):
        initial /= 5.0  # step by step: a division by the power would round differently
    return initial


@dataclass(frozen=True)
class Schedule:
    """A row of `SCHEDULES`.

    Attributes
    ----------
    name : str
    rate : callable
        ``rate(initial, counts, **numbers)`` returns the learning rate of the epoch, or an array of
        shape (n_steps,).
    text : str
        What it does, for the estimators' documentation.
    numbers : dict of str to float
        Its hyperparameters and their defaults. Those that estimators have too are taken from there.
    slowest : float or None
        A fit that stalls at a learning rate above this goes on at a lower one. With None it stops.
    """

    name: str
    rate: Callable[..., float | np.ndarray]
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    slowest: float | None = None


ScheduleName = Literal["constant", "invscaling", "adaptive"]

SCHEDULES = {
    row.name: row
    for row in (
        Schedule("constant", _constant, "`learning_rate_init` throughout."),
        Schedule(
            "invscaling",
            _invscaling,
            "``learning_rate_init / (t_ + 1) ** power_t``, set after each epoch.",
            {"power_t": 0.5},
        ),
        Schedule(
            "adaptive",
            _adaptive,
            "divided by 5 wherever training would otherwise stop for want of improvement, until it "
            "is at most 1e-6.",
            slowest=1e-6,
        ),
    )
}


def learning_rate(recipe: Recipe, state: FitState, n_steps: int = 1) -> float | np.ndarray:
    """The learning rate of the next epoch, or one for each of its `n_steps` updates."""
    counts = Counts(
        step=state.step,
        n_steps=n_steps,
        epoch=state.n_iter,
        max_iter=recipe.max_iter,
        samples=state.t if state.step else 0,
        slow_downs=state.slow_downs,
    )
    row = SCHEDULES[recipe.schedule]
    return row.rate(recipe.learning_rate_init, counts, **recipe.schedule_numbers)


def steps(recipe: Recipe, state: FitState, n_steps: int) -> np.ndarray:
    """The numbers of each update of the next epoch.

    Returns
    -------
    float64 ndarray of shape (n_steps, len(STEP_COLUMNS))
    """
    table = np.zeros((n_steps, len(STEP_COLUMNS)))
    table[:, STEP_COLUMNS.index("learning_rate")] = learning_rate(recipe, state, n_steps)
    return table
