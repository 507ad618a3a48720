"""The loss and its gradient over all rows, handed to SciPy's L-BFGS-B."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from nbnet.graph.network import Network
from nbnet.kernels.threads import one_blas_thread
from nbnet.training.monitor import (
    Epoch,
    HeldOut,
    Listener,
    keep_best,
    record,
    tell_of_beginning,
)
from nbnet.training.recipe import Problem, Recipe
from nbnet.training.state import NON_FINITE, Ending, FitState, check_finite

__all__ = ["train_by_lbfgs"]

_CALLBACK_STOPPED = 99  # SciPy's status after a StopIteration


def train_by_lbfgs(
    problem: Problem,
    recipe: Recipe,
    state: FitState,
    listeners: Sequence[Listener] = (),
    held_out: HeldOut | None = None,
) -> Ending:
    """Train on all rows at once.

    Parameters
    ----------
    problem : Problem
        What is minimised. In float64: the line search compares losses that differ by less than
        float32 can tell apart.
    recipe : Recipe
        Its `alpha`, `max_iter`, `max_fun`, `tol` and `restore_best` are read.
    state : FitState
        Continued from its float64 `params`. Its `params`, `n_iter` and `loss` are brought up to
        date; after Ctrl-C they are those of the last complete iteration.
    listeners : sequence of callable
        Each is called with an `Epoch` after each iteration; True ends the fit.
    held_out : HeldOut or None
        If given, these rows are measured after each iteration. With `restore_best` the parameters
        that score best are kept.

    Returns
    -------
    Ending

    Raises
    ------
    ValueError
        If loss or parameters are not finite at the end.
    """
    objective = problem.network.objective(
        problem.X,
        problem.y,
        loss=problem.loss,
        **problem.numbers,
        alpha=recipe.alpha,
        sample_weight=problem.sample_weight,
    )
    began, told = perf_counter(), False

    def evaluated(params: np.ndarray) -> tuple[float, np.ndarray]:
        """Evaluate loss and gradient; the first evaluation after an iteration begins the next."""
        nonlocal told
        if not told:
            told = True
            tell_of_beginning(listeners, lambda: deepcopy(state))
        return objective(params)

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        nonlocal began, told
        state.params = intermediate_result.x.copy()
        state.n_iter += 1
        state.loss = float(intermediate_result.fun)
        score: float | None = None
        if held_out is not None:
            model = _Iterate(problem.network, state.params)
            score = record(held_out, model, state)
            keep_best(state, score, model, recipe.restore_best)
        seconds = perf_counter() - began
        epoch = Epoch(
            state.n_iter,
            state.loss,
            score,
            None,
            seconds,
            "",
            lambda: deepcopy(state),
            state.validation_losses[-1] if state.validation_losses else None,
        )
        try:
            asked = [listener(epoch) for listener in listeners]
        except StopIteration as error:  # an error as any other, but SciPy would stop in silence
            raise RuntimeError("a listener raised StopIteration") from error
        began, told = perf_counter(), False
        if any(asked):
            raise StopIteration  # which SciPy takes for the wish to stop

    try:
        with one_blas_thread():
            result = minimize(
                evaluated if listeners else objective,
                state.params,
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={"maxfun": recipe.max_fun, "maxiter": recipe.max_iter, "gtol": recipe.tol},
            )
    except KeyboardInterrupt:
        check_finite(state.params)
        return Ending.interrupted(state.n_iter)

    state.n_iter = min(result.nit, recipe.max_iter)
    state.params = result.x
    state.loss = float(result.fun)
    if not np.isfinite(state.loss):
        raise ValueError(NON_FINITE)
    check_finite(state.params)
    if result.status == 0:
        return Ending("converged")
    if result.status == _CALLBACK_STOPPED:
        return Ending("stopped")
    return _unconverged(result, recipe, state.n_iter)


@dataclass(frozen=True)
class _Iterate:
    """The network at the end of an iteration: a `Model`."""

    network: Network
    outcome: np.ndarray

    def forward(self, X: Any) -> np.ndarray:
        return self.network.forward(self.outcome, X)


def _unconverged(result: OptimizeResult, recipe: Recipe, n_iter: int) -> Ending:
    """Begin with the words by which scikit-learn's users filter warnings."""
    return Ending(
        "max_iter",
        ConvergenceWarning(
            f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}): "
            f"{result.message}. Increase max_iter={recipe.max_iter} or max_fun={recipe.max_fun}, "
            "or scale the data."
        ),
    )
