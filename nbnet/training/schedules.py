"""Schedules of the learning rate.

===========  =======================================================================
name         learning rate of an epoch, or of an update at the share p of all of them
===========  =======================================================================
constant     initial
invscaling   initial / (samples + 1) ** power_t
adaptive     initial / 5 / 5 ..., once for each time that training stalled
linear       initial (1 - p)
cosine       initial (1 + cos(pi p)) / 2
flat_cosine  initial; from p = 1/2 on initial (1 + cos(pi (2 p - 1))) / 2
one_cycle    from initial / 25 up to initial at p = 0.3, then down to initial / 250,000
coslog       initial (1 - cos(2 pi log2(1 + 15 p))) / 2: four waves, each longer
===========  =======================================================================

(Loshchilov and Hutter, 2017, "SGDR": the cosine, without restarts. Smith and Topin, 2018,
"Super-convergence": one cycle, here in two arcs of a cosine. Holzmüller et al., 2024, "Better by
default": flat_cosine and coslog.)

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

__all__ = [
    "SCHEDULES",
    "Counts",
    "Schedule",
    "ScheduleName",
    "learning_rate",
    "schedule_of",
    "steps",
]


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

    @property
    def shares(self) -> np.ndarray:
        """The share of all updates that is done before each of the epoch's, (n_steps,)."""
        done = self.epoch * self.n_steps + np.arange(self.n_steps)
        return done / (self.max_iter * self.n_steps)


def _constant(initial: float, counts: Counts) -> float:
    return initial


def _invscaling(initial: float, counts: Counts, power_t: float) -> float:
    return initial / (counts.samples + 1) ** power_t


def _adaptive(initial: float, counts: Counts) -> float:
    for _ in range(counts.slow_downs):
        initial /= 5.0  # step by step: a division by the power would round differently
    return initial


def _linear(initial: float, counts: Counts) -> np.ndarray:
    return initial * (1.0 - counts.shares)


def _down(shares: np.ndarray) -> np.ndarray:
    """Half a wave of a cosine, from 1 at the share 0 to 0 at 1."""
    return (1.0 + np.cos(np.pi * shares)) / 2.0


def _cosine(initial: float, counts: Counts) -> np.ndarray:
    return initial * _down(counts.shares)


def _flat_cosine(initial: float, counts: Counts) -> np.ndarray:
    return initial * _down(np.maximum(2.0 * counts.shares - 1.0, 0.0))


def _one_cycle(initial: float, counts: Counts) -> np.ndarray:
    first, last = initial / 25.0, initial / 250_000.0
    up = first + (initial - first) * _down(1.0 - counts.shares / 0.3)
    down = last + (initial - last) * _down((counts.shares - 0.3) / 0.7)
    return np.where(counts.shares < 0.3, up, down)


def _coslog(initial: float, counts: Counts) -> np.ndarray:
    return initial * (1.0 - np.cos(2.0 * np.pi * np.log2(1.0 + 15.0 * counts.shares))) / 2.0


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
    of_share : bool
        Whether it follows the share of `max_iter` that is done. It is then there for each
        optimizer, and not for `partial_fit`, which knows no such share.
    """

    name: str
    rate: Callable[..., float | np.ndarray]
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    slowest: float | None = None
    of_share: bool = False


ScheduleName = Literal[
    "constant",
    "invscaling",
    "adaptive",
    "linear",
    "cosine",
    "flat_cosine",
    "one_cycle",
    "coslog",
]

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
        Schedule(
            "linear", _linear, "falls in a straight line, to 0 after `max_iter`.", of_share=True
        ),
        Schedule("cosine", _cosine, "falls in half a wave of a cosine, to 0.", of_share=True),
        Schedule(
            "flat_cosine",
            _flat_cosine,
            "`learning_rate_init` for half of the epochs, then 'cosine'.",
            of_share=True,
        ),
        Schedule(
            "one_cycle",
            _one_cycle,
            "rises from a 25th to `learning_rate_init` over 30 % of the updates, then falls to a "
            "250,000th.",
            of_share=True,
        ),
        Schedule(
            "coslog",
            _coslog,
            "rises and falls in four waves, each longer than the one before.",
            of_share=True,
        ),
    )
}


def schedule_of(recipe: Recipe) -> Schedule:
    """The schedule of a recipe: a row of `SCHEDULES`, or one made of the user's function."""
    if isinstance(recipe.schedule, str):
        return SCHEDULES[recipe.schedule]
    function = recipe.schedule

    def rate(initial: float, counts: Counts) -> np.ndarray:
        factors = np.array([float(function(float(share))) for share in counts.shares])
        wrong = np.flatnonzero(~((factors >= 0) & (factors < np.inf)))
        if len(wrong):
            raise ValueError(
                "learning_rate must return a factor >= 0 of learning_rate_init; of the share "
                f"{counts.shares[wrong[0]]:.6g} it returned {factors[wrong[0]]}."
            )
        return initial * factors

    return Schedule("a function", rate, "", of_share=True)


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
    rate = schedule_of(recipe).rate(recipe.learning_rate_init, counts, **recipe.schedule_numbers)
    if recipe.warmup_fraction == 0:
        return rate
    ends = counts.shares + 1 / (recipe.max_iter * n_steps)  # or the first update would not move
    return rate * np.minimum(ends / recipe.warmup_fraction, 1.0)


def steps(recipe: Recipe, state: FitState, n_steps: int) -> np.ndarray:
    """The numbers of each update of the next epoch.

    Returns
    -------
    float64 ndarray of shape (n_steps, len(STEP_COLUMNS))
    """
    columns = {
        "learning_rate": learning_rate(recipe, state, n_steps),
        "decay": recipe.weight_decay,
        "dropout": 1.0,
    }
    table = np.empty((n_steps, len(STEP_COLUMNS)))
    for i, name in enumerate(STEP_COLUMNS):
        table[:, i] = columns[name]
    return table
