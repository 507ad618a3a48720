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


def hint_at_scale(problem: Problem, params: np.ndarray | None) -> str:
    """What to say of the scale of the targets; empty if it is not at fault.

    It is if a column is far from unit scale, and the loss of the trained parameters (P,) is above
    that of a constant; None if there are no such parameters, as training diverged.
    """
    y = problem.y.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # then it is far, indeed
        mean, std = y.mean(axis=0), y.std(axis=0)
    far = ~(std == 0) & (~(np.abs(mean) <= LARGE) | ~(std <= LARGE) | (std < SMALL))
    if not far.any() or (params is not None and not _constant_is_better(problem, params)):
        return ""
    column = int(np.argmax(far))
    which = "y" if len(far) == 1 else f"Column {column} of y"
    found = "" if params is None else ", and a constant would fit it better than this model does"
    return (
        f" {which} has mean {mean[column]:.3g} and standard deviation {std[column]:.3g}, far from "
        f"unit scale{found}. Set standardize_y=True, or scale y."
    )


def _constant_is_better(problem: Problem, params: np.ndarray) -> bool:
    network, y = problem.network, problem.y
    raw = network.forward(params.astype(y.dtype, copy=False), problem.X)
    general = network.plan(y.dtype, 1, sparse=issparse(problem.X)).general
    weight = problem.sample_weight
    readout = Readout(y, weight, network.n_outputs, problem.loss, problem.numbers, general)
    with np.errstate(over="ignore", invalid="ignore"):
        constants = [y.mean(axis=0), *np.quantile(y, LEVELS, axis=0)]
        std = y.std(axis=0)
    losses = []
    for constant in constants:
        fixed = np.zeros_like(raw)
        fixed[:, : y.shape[1]] = constant
        if loss_row(problem.loss).link == "location_and_scale":
            fixed[:, y.shape[1] : 2 * y.shape[1]] = np.log(np.where(std > 0, std, 1))
        losses.append(readout.loss(fixed))
    return not readout.loss(raw) <= np.nanmin(losses)
