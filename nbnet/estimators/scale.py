"""Whether a fit went wrong because its targets are far from unit scale."""

from __future__ import annotations

import numpy as np
from scipy.sparse import issparse

from nbnet.graph.readout import Readout
from nbnet.kernels.user import loss_row
from nbnet.training.recipe import Problem

__all__ = ["hint_at_scale"]

# A column that varies is far from unit scale if its mean or standard deviation is above the first,
# or its standard deviation below the second.
LARGE, SMALL = 100.0, 0.01
# The constant that a model is compared with is the best of the mean and these quantiles.
LEVELS = (0.05, 0.5, 0.95)


def hint_at_scale(problem: Problem, loss: float | None) -> str:
    """What to say of the scale of the targets; empty if it is not at fault.

    It is if a column is far from unit scale, and training ended at a loss, penalty included, above
    that of a constant, which has no penalty; None if training diverged.
    """
    y = problem.y.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # then it is far, indeed
        mean, std = y.mean(axis=0), y.std(axis=0)
    far = ~(std == 0) & (~(np.abs(mean) <= LARGE) | ~(std <= LARGE) | (std < SMALL))
    if not far.any() or (loss is not None and loss <= _loss_of_a_constant(problem, mean, std)):
        return ""
    column = int(np.argmax(far))
    which = "y" if len(far) == 1 else f"Column {column} of y"
    found = "" if loss is None else ", and a constant would fit it better than this model does"
    return (
        f" {which} has mean {mean[column]:.3g} and standard deviation {std[column]:.3g}, far from "
        f"unit scale{found}. Set standardize_y=True, or scale y."
    )


def _loss_of_a_constant(problem: Problem, mean: np.ndarray, std: np.ndarray) -> float:
    """The smallest loss of a few constants, given means and standard deviations (T,)."""
    network, y, weight = problem.network, problem.y, problem.sample_weight
    n_targets, n_raw = y.shape[1], network.n_outputs
    plan = network.plan(y.dtype, 1, sparse=issparse(problem.X), noise=True)
    readout = Readout(y, weight, n_raw, problem.loss, problem.numbers, plan)
    raw = np.zeros((1, n_raw))
    if loss_row(problem.loss).link == "location_and_scale":
        raw[:, n_targets : 2 * n_targets] = np.log(np.where(std > 0, std, 1))
    losses = []
    with np.errstate(over="ignore", invalid="ignore"):
        quantiles = np.quantile(y, LEVELS, axis=0)
    for location in (mean, *quantiles):
        raw[:, :n_targets] = location
        losses.append(readout.loss(raw))
    return min((loss for loss in losses if np.isfinite(loss)), default=np.inf)
