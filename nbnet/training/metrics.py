"""Metrics: scores of outputs that are in hand, the higher the better.

A metric sees estimates, that is outputs behind the link as users read them (class probabilities,
or predictions), and encoded targets; one may ask for hyperparameters of the loss. To add one: its
function and its row in `METRICS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import d2_pinball_score, r2_score

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes
    ----------
    name : str
    function : callable
        ``function(estimates, y, weight)`` returns the score of M rows: `estimates` of shape (M, K)
        or (M, T), encoded targets `y` of shape (M, T), `weight` of shape (M,) or None.
    numbers : tuple of str
        The hyperparameters of the loss that the function takes too, by name.
    """

    name: str
    function: Callable[..., float]
    numbers: tuple[str, ...] = ()


def _accuracy(estimates: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """The share of rows whose labels are all right."""
    if estimates.shape[1] == y.shape[1] > 1:  # multilabel: each column is a probability of its own
        labels = estimates > 0.5
    else:
        labels = estimates.argmax(axis=1)[:, np.newaxis]
    return float(np.average((labels == y).all(axis=1), weights=weight))


def _r2(estimates: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """The coefficient of determination; NaN if an estimate is not finite."""
    if not np.isfinite(estimates).all():
        return np.nan
    with np.errstate(over="ignore"):  # of a diverging fit: the score is -inf then
        return float(r2_score(y, estimates, sample_weight=weight))


def _d2_pinball(
    estimates: np.ndarray, y: np.ndarray, weight: np.ndarray | None, quantile: tuple[float, ...]
) -> float:
    """The mean over levels and targets of D²: 1 less the loss over that of a constant quantile.

    `estimates` (M, T * Q) hold the quantiles of a target side by side; NaN if one is not finite.
    """
    if not np.isfinite(estimates).all():
        return np.nan
    levels = estimates.reshape(*y.shape, len(quantile))
    with np.errstate(over="ignore"):
        scores = [
            d2_pinball_score(y, levels[:, :, i], sample_weight=weight, alpha=level)
            for i, level in enumerate(quantile)
        ]
    return float(np.mean(scores))


METRICS = {
    row.name: row
    for row in (
        Metric("accuracy", _accuracy),
        Metric("r2", _r2),
        Metric("d2_pinball", _d2_pinball, ("quantile",)),
    )
}
