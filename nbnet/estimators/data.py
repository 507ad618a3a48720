"""Data of a fit, and checks beyond scikit-learn's: what is no number is refused, not made one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Self, TypeVar

import numpy as np
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight

from nbnet.kernels.entry import SMALLEST
from nbnet.training.recipe import Problem

__all__ = [
    "Measured",
    "check_sample_weight",
    "in_double",
    "naming",
    "refuse_text_and_times",
    "sums_to_a_number",
]

_TEXT_AND_TIMES = {"M": "dates", "m": "durations", "U": "text", "S": "text"}
_OBJECTS = {
    str: "text",
    bytes: "text",
    datetime.date: "dates",
    datetime.timedelta: "durations",
    np.datetime64: "dates",
    np.timedelta64: "durations",
}


def sums_to_a_number(X: np.ndarray) -> bool:
    """Whether no number of X is NaN or infinite; if False, the sum may just have overflown."""
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(X.sum())


@dataclass(frozen=True)
class Measured:
    """Rows to validate on.

    Attributes
    ----------
    X, y, sample_weight
        As in a `Problem`.
    told_X, told_y
        As a scorer of the user's gets them.
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    told_X: Any
    told_y: Any

    @classmethod
    def of(cls, problem: Problem, rows: np.ndarray, told_y: Any) -> Self:
        """Copy some rows of a problem whose targets were `told_y`."""
        X, weight = problem.X[rows], problem.sample_weight
        weight = None if weight is None else weight[rows]
        return cls(X, problem.y[rows], weight, X, told_y[rows])


Data = TypeVar("Data", Problem, Measured)


def in_double(data: Data) -> Data:
    """The same rows in float64."""

    def double(array: Any) -> Any:
        return None if array is None else array.astype(np.float64, copy=False)

    return replace(
        data, X=double(data.X), y=double(data.y), sample_weight=double(data.sample_weight)
    )


@contextmanager
def naming(parameters: str) -> Iterator[None]:
    """Have errors of the block say which parameters they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"In {parameters}: {error}") from error


def check_sample_weight(sample_weight: Any, X: Any, parameter: str = "sample_weight") -> np.ndarray:
    """Weights (N,) of the rows of X in its dtype, none negative and not all 0."""
    refuse_text_and_times(sample_weight, parameter)
    try:
        weights: np.ndarray = _check_sample_weight(sample_weight, X, dtype=X.dtype)
    except ValueError as error:
        told = str(error).replace("sample_weight", parameter)
        raise ValueError(told if parameter in told else f"{parameter}: {told}") from None
    if weights.min() < 0:
        raise ValueError(f"{parameter} must be non-negative; its smallest is {weights.min():g}.")
    with np.errstate(over="ignore"):
        total = weights.sum(dtype=np.float64)
    if total < SMALLEST:
        raise ValueError(
            f"{parameter} must sum to at least {SMALLEST:.3g}, the smallest normal number; the "
            f"sum is {total:.3g}."
        )
    return weights


def refuse_text_and_times(data: Any, parameter: str) -> None:
    """Raise a ValueError that names the first column of text, dates or durations.

    NumPy would make numbers of them: of text that reads like a number, and of dates the time since
    1970 in whatever unit they have.
    """
    for where, column in _columns_in_doubt(data):
        held = _text_or_times(column)
        if held:
            what, example = held
            raise ValueError(
                f"{parameter} must hold numbers, but {where}holds {what}, such as {example!r}. "
                "Encode it as numbers first."
            )


def _columns_in_doubt(data: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Columns that may hold something else than numbers, each after words that say where it is."""
    if sparse.issparse(data) or data is None:
        return
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):  # a data frame
        positional = getattr(data, "iloc", None)
        for i, name in enumerate(data.columns):
            column = data[name] if positional is None else positional[:, i]
            if getattr(column.dtype, "kind", "O") not in "fiubc":
                yield f"its column {name!r} ", np.asarray(column)
        return
    if not hasattr(data, "dtype"):
        try:
            data = np.asarray(data, dtype=object)  # or one text in a list would make all of it text
        except ValueError:  # ragged: scikit-learn says so
            return
    data = data if isinstance(data, np.ndarray) else np.asarray(data)
    if data.dtype.kind in "fiubc":
        return
    if data.ndim == 2:
        yield from ((f"its column {i} ", data[:, i]) for i in range(data.shape[1]))
    else:
        yield "it ", data.ravel()


def _text_or_times(column: np.ndarray) -> tuple[str, Any] | None:
    """What a column holds if it is not numbers, with an example."""
    if column.size and column.dtype.kind in _TEXT_AND_TIMES:
        return _TEXT_AND_TIMES[column.dtype.kind], column[0]
    if column.dtype.kind == "O":
        for type_ in set(map(type, column)):
            for kind, what in _OBJECTS.items():
                if issubclass(type_, kind):
                    return what, next(value for value in column if type(value) is type_)
    return None
