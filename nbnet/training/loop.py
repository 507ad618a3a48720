"""The loop over epochs, and what it begins with."""

import math
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from nbnet.graph.session import Session
from nbnet.training.monitor import Monitor
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.schedules import steps
from nbnet.training.state import Ending, FitState, check_finite

__all__ = ["open_session", "split_rows", "train_by_epochs"]


def train_by_epochs(session: Session, recipe: Recipe, state: FitState, monitor: Monitor) -> Ending:
    """Train until the monitor ends it, for `max_iter` epochs, or until Ctrl-C.

    `state` is continued from and brought up to date; `session` must have been opened with it. A
    ValueError is raised if the parameters that a model would get are not finite.
    """
    n_steps = -(-len(state.rows) // recipe.batch_size)
    ending = None
    try:
        while ending is None and state.n_iter < recipe.max_iter:
            monitor.before_epoch(session, state)
            began = perf_counter()
            if recipe.shuffle:
                state.random_state.shuffle(state.rows)  # the draws of `permutation`, without copies
            numbers = steps(recipe, state, n_steps)
            loss = session.epoch(state.rows, numbers)
            state.add_epoch(loss, float(numbers[0, 0]), session.step)
            ending = monitor.after_epoch(session, state, perf_counter() - began)
    except KeyboardInterrupt:
        ending = Ending.interrupted(state.n_iter)
    state.take(session)
    check_finite(state.outcome)
    return ending or Ending.unconverged(recipe.max_iter)


def open_session(problem: Problem, recipe: Recipe, state: FitState) -> Session:
    """Lay out the memory that `train_by_epochs` works in; the problem's arrays are not copied."""
    numbers: dict[str, Any] = {**problem.numbers, **recipe.solver_numbers}
    return Session(
        problem.network,
        state.params,
        problem.X,
        problem.y,
        problem.sample_weight,
        loss=problem.loss,
        optimizer=recipe.solver,
        **numbers,
        batch_size=recipe.batch_size,
        alpha=recipe.alpha,
        slots=state.slots,
        step=state.step,
        clip_norm=recipe.clip_norm,
        average=recipe.average,
        averaged=state.averaged,
        seed=state.seed,
        checked=True,
    )


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
    try:
        train, validation = train_test_split(
            np.arange(n_rows, dtype=np.int64),
            test_size=validation_fraction,
            random_state=random_state,
            stratify=stratify,
        )
    except ValueError as error:
        if "_size" not in str(error):  # that is, it speaks of the classes
            raise
        n_validation = math.ceil(validation_fraction * n_rows)
        parts = f"{n_validation} to validate on and {n_rows - n_validation} to train on"
        enough = "" if stratify is None else ", and each part needs a row of each class"
        raise ValueError(
            f"early_stopping=True cannot split n_samples={n_rows} by validation_fraction="
            f"{validation_fraction}: that is {parts}{enough}."
        ) from error
    if len(validation) < 2:
        raise ValueError(
            "The validation set is too small. early_stopping=True needs at least 2 rows to "
            f"validate on; validation_fraction={validation_fraction} of {n_rows} rows leaves "
            f"{len(validation)}."
        )
    return train, validation
