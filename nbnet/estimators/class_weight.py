"""Weights of classes, which become weights of rows."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from nbnet.kernels.entry import SMALLEST

__all__ = ["weigh_classes"]


def weigh_classes(
    class_weight: Mapping[Any, float] | str,
    classes: np.ndarray,
    codes: np.ndarray,
    sample_weight: np.ndarray | None,
    dtype: Any,
) -> np.ndarray:
    """Multiply the weights of rows by those of their classes.

    Parameters
    ----------
    class_weight : dict or 'balanced'
        The weight of each class, 1 for a class that is not named; 'balanced' gives all classes in
        the data the same sum of weights.
    classes : ndarray of shape (n_classes,)
        The labels.
    codes : integer ndarray of shape (N,)
        The place of each row's label among them.
    sample_weight : ndarray of shape (N,) or None
        The weights so far; None means 1.
    dtype : dtype
        That of the result.

    Returns
    -------
    ndarray of shape (N,)

    Raises
    ------
    ValueError
        If a weight is not a number >= 0, a label is not known, or the products are too large or
        too small for the dtype.
    """
    if isinstance(class_weight, str):
        of_class = _balanced(len(classes), codes, sample_weight)
    else:
        of_class = _named(class_weight, classes)
    weights = of_class[codes]
    with np.errstate(over="ignore"):
        if sample_weight is not None:
            weights = weights * sample_weight
        weights = weights.astype(dtype, copy=False)
        total = weights.sum(dtype=np.float64)
    if not np.isfinite(weights).all() or total < SMALLEST:
        raise ValueError(
            f"class_weight={class_weight!r}, multiplied with sample_weight, must give weights that "
            f"are finite in {weights.dtype} and do not sum to 0; they range from "
            f"{weights.min():g} to {weights.max():g}."
        )
    return weights


def _balanced(n_classes: int, codes: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """The sum of all weights, over the number of classes times the sum of each."""
    weight = None if sample_weight is None else sample_weight.astype(np.float64, copy=False)
    count = np.bincount(codes, weight, minlength=n_classes).astype(np.float64)
    seen = count > 0
    of_class = np.ones(n_classes)
    of_class[seen] = count.sum() / (np.count_nonzero(seen) * count[seen])
    return of_class


def _named(class_weight: Mapping[Any, float], classes: np.ndarray) -> np.ndarray:
    for label, weight in class_weight.items():
        number = isinstance(weight, Real) and not isinstance(weight, bool | np.bool_)
        if not number or not 0 <= weight < np.inf:
            raise ValueError(
                f"class_weight must map labels to finite numbers >= 0; it maps {label!r} to "
                f"{weight!r}."
            )
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and not all(label in class_weight for label in labels):
        # Where all classes have weights, others may be those that a fold happens to lack.
        raise ValueError(
            f"class_weight has the labels {unknown}, which y does not have; its labels are "
            f"{labels}."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])
