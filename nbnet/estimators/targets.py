"""What y means: how targets are encoded for a loss, and how outputs are read.

`ClassTargets` and `RegressionTargets` hold plain values and know no estimator. An estimator makes
one from its parameters and y, or from what an earlier fit has left, and asks it for

- the loss (`loss`, a name in `LOSSES`, with its `numbers`) and the `metric` that scores it;
- `n_outputs`, and `encode`, which turns y into numbers (N, T);
- `stratify`, the labels that a validation split keeps in proportion;
- `estimates` and `decode`: what outputs behind the link mean to a metric, and to a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import type_of_target, unique_labels

from nbnet.kernels.losses import LOSSES
from nbnet.kernels.user import CustomLoss, loss_row

__all__ = [
    "CLASSIFICATION_LOSSES",
    "REGRESSION_LOSSES",
    "ClassTargets",
    "RegressionTargets",
    "Targets",
]

# From the names that users write to those of LOSSES.
CLASSIFICATION_LOSSES = {row.classifier: row.name for row in LOSSES.values() if row.classifier}
REGRESSION_LOSSES = {row.regressor: row.name for row in LOSSES.values() if row.regressor}


class Targets(Protocol):
    """What an estimator asks of its targets."""

    @property
    def metric(self) -> str:
        """A name in `METRICS`."""

    @property
    def loss(self) -> str | CustomLoss:
        """A name in `LOSSES`, or a loss of the user's."""

    @property
    def numbers(self) -> Mapping[str, float]:
        """Hyperparameters of the loss, by name."""

    @property
    def n_outputs(self) -> int:
        """T, or the number of classes where there are more than two."""

    @property
    def n_raw(self) -> int:
        """R, the raw outputs of the network; a ValueError if the loss is not for such targets."""

    def encode(self, y: Any, dtype: Any) -> np.ndarray:
        """Targets (N, T) as numbers, or a ValueError if the loss does not admit them."""

    def estimates(self, outputs: np.ndarray) -> np.ndarray:
        """What a metric reads of outputs (N, R) behind the link."""

    def decode(self, outputs: np.ndarray) -> Any:
        """Predictions in the form of y."""

    def stratify(self, y: np.ndarray) -> np.ndarray | None:
        """Labels (N,) that a split keeps in proportion, from encoded targets."""


@dataclass(slots=True)
class ClassTargets:
    """Class labels in one column, or a matrix of 0 and 1 (multilabel).

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        All labels, sorted; the columns' numbers where multilabel.
    kind : {'binary', 'multiclass', 'multilabel-indicator'}
        As scikit-learn's `type_of_target` says of y; one class is binary.
    sparse : bool
        Whether predictions of several labels are a sparse matrix.
    loss_name : str or CustomLoss
        A key of `CLASSIFICATION_LOSSES`, or a loss of the user's.
    """

    classes: np.ndarray
    kind: str
    sparse: bool = False
    loss_name: str | CustomLoss = "log_loss"

    metric: ClassVar[str] = "accuracy"

    @staticmethod
    def kind_of(y: Any) -> str:
        """The kind of y, or a ValueError if y holds no class labels."""
        kind: str = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns with other values than 0 and 1 (multiclass-multioutput); it "
                "must be one column of class labels, or a matrix of 0 and 1 for several labels."
            )
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            raise ValueError(
                f"Unknown label type: {kind}. A classifier needs y to hold class labels; for "
                "numbers there is MLPRegressor."
            )
        return kind

    @classmethod
    def seen_in(cls, y: Any, loss_name: str | CustomLoss) -> ClassTargets:
        """Learn the classes from y."""
        kind = cls.kind_of(y)
        return cls(unique_labels(y), kind, sparse.issparse(y), loss_name)

    @property
    def multilabel(self) -> bool:
        """Whether a sample may have several labels."""
        return self.kind == "multilabel-indicator"

    @property
    def loss(self) -> str | CustomLoss:
        """A name in `LOSSES`, or a loss of the user's."""
        if isinstance(self.loss_name, CustomLoss):
            return self.loss_name
        multiclass = self.kind == "multiclass"
        return CLASSIFICATION_LOSSES[self.loss_name] if multiclass else "sigmoid_cross_entropy"

    @property
    def numbers(self) -> dict[str, float]:
        """Hyperparameters of the loss: none."""
        return {}

    @property
    def n_outputs(self) -> int:
        """The number of classes if there are more than two, otherwise 1; labels if multilabel."""
        n_classes = len(self.classes)
        return n_classes if self.multilabel or n_classes > 2 else 1

    @property
    def n_raw(self) -> int:
        """R, the raw outputs of the network; a ValueError if the loss is not for such targets."""
        loss = self.loss
        if not isinstance(loss, CustomLoss):
            return loss_row(loss).n_raw(self.n_outputs)
        fits = not self.multilabel if loss.link == "softmax" else self.kind != "multiclass"
        if loss.n_raw is not None or loss.link not in ("softmax", "logistic") or not fits:
            raise ValueError(
                f"loss={loss!r} of a classifier needs n_raw=None, and link='softmax' for classes "
                f"or link='logistic' for two classes or for labels; y is {self.kind}."
            )
        return len(self.classes) if loss.link == "softmax" else self.n_outputs

    def check_known(self, y: Any, all_of_them: bool) -> None:
        """Raise a ValueError if y has a label that is not known or, if asked for, lacks one."""
        kind = self.kind_of(y)
        labels = unique_labels(y)
        if all_of_them and set(labels) != set(self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {labels}"
            )
        unseen = np.setdiff1d(labels, self.classes)
        if len(unseen):
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {unseen}. It must hold only those of "
                f"the first call, {self.classes}."
            )
        if (kind == "multilabel-indicator") != self.multilabel:
            raise ValueError(f"y is {kind}, but in the previous call it was {self.kind}.")

    def encode(self, y: Any, dtype: Any) -> np.ndarray:
        """Codes (N, 1) of the labels, or the matrix (N, T) as 0 and 1."""
        if not self.multilabel:  # codes, not n_classes columns: these would outgrow X
            codes = np.searchsorted(self.classes, y)
            return np.ascontiguousarray(codes.reshape(-1, 1), dtype=dtype)
        if y.shape[1] != len(self.classes):
            raise ValueError(f"y has {y.shape[1]} columns for {len(self.classes)} classes.")
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        return np.ascontiguousarray(y != 0, dtype=dtype)

    def stratify(self, y: np.ndarray) -> np.ndarray | None:
        """Labels of a binary problem; None for others."""
        # Spelt out, so that a class too small to split is called by the name upstream gives it.
        binary = not self.multilabel and len(self.classes) <= 2
        return np.where(y[:, 0] == 1, "True", "False") if binary else None

    def estimates(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities (N, n_classes) in the order of the classes."""
        if outputs.shape[1] > 1:
            return outputs
        if len(self.classes) == 1:
            return np.ones_like(outputs)
        return np.hstack([1 - outputs, outputs])

    def log_estimates(self, raw: np.ndarray, loss: str | CustomLoss) -> np.ndarray:
        """Logarithms of the probabilities, exact, from raw outputs (N, R) of a loss."""
        if loss_row(loss).link == "softmax":
            if loss_row(loss).pinned:
                raw = np.pad(raw, ((0, 0), (1, 0)))
            return _log_softmax(raw)
        if len(self.classes) == 1:
            return np.zeros_like(raw)
        positive = -np.logaddexp(0, -raw)
        return positive if self.multilabel else np.hstack([-np.logaddexp(0, raw), positive])

    def decode(self, outputs: np.ndarray) -> Any:
        """Labels (N,), or a matrix (N, T) of 0 and 1."""
        if self.multilabel:
            labels = (outputs > 0.5).astype(int)
            return sparse.csr_matrix(labels) if self.sparse else labels
        if outputs.shape[1] > 1:
            codes = outputs.argmax(axis=1)
        else:
            codes = (outputs[:, 0] > 0.5).astype(np.intp)
        return self.classes.take(codes, mode="clip")  # one class: it is always predicted


@dataclass(slots=True)
class RegressionTargets:
    """Numbers in one column or several.

    Attributes
    ----------
    n_outputs : int
        T, the number of columns.
    loss : str or CustomLoss
        A name in `LOSSES`, or a loss of the user's.
    loss_name : str or CustomLoss
        What users write for it.
    numbers : dict
        Hyperparameters of the loss, by name.
    """

    n_outputs: int
    loss: str | CustomLoss = "half_squared_error"
    loss_name: str | CustomLoss = "squared_error"
    numbers: Mapping[str, float] = field(default_factory=dict)

    metric: ClassVar[str] = "r2"

    @staticmethod
    def columns_of(y: Any) -> int:
        """T, or a TypeError if y is sparse."""
        if sparse.issparse(y):
            raise TypeError("y must be a dense array; a sparse y is only read as class labels.")
        return 1 if y.ndim == 1 else y.shape[1]

    @classmethod
    def read_by(cls, loss: str | CustomLoss, n_raw: int) -> RegressionTargets:
        """The targets of a fitted model with so many raw outputs."""
        return cls(loss_row(loss).n_targets(n_raw), loss)

    @property
    def n_raw(self) -> int:
        """R, the raw outputs of the network."""
        return loss_row(self.loss).n_raw(self.n_outputs)

    def encode(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """The numbers (N, T)."""
        if y.dtype.kind not in "fiub":
            y = y.astype(np.float64)  # or an error that names what is no number
        y = y.reshape(len(y), -1)
        row = loss_row(self.loss)
        if y.min() < row.y_low or y.max() > row.y_high:
            raise ValueError(
                f"loss={self.loss_name!r} needs {row.y_low:g} <= y <= {row.y_high:g}; got y from "
                f"{y.min():g} to {y.max():g}."
            )
        with np.errstate(over="ignore"):
            encoded = np.ascontiguousarray(y, dtype=dtype)
        if not np.isfinite(encoded).all():
            raise ValueError(f"y has values too large for {encoded.dtype}, the dtype of X.")
        return encoded

    def stratify(self, y: np.ndarray) -> None:
        """Nothing: numbers have no proportions to keep."""
        return None

    def estimates(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions (N, T), or fewer: the outputs before others, such as scales."""
        return outputs[:, : self.n_outputs]

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions (N,) or (N, T)."""
        if self.n_outputs == 1 or outputs.shape[1] == 1:
            return outputs[:, 0]
        return outputs[:, : self.n_outputs]

    def covariance(self, outputs: np.ndarray) -> np.ndarray:
        """Covariances (N, T, T) from outputs (N, R): locations, scales, and the rest.

        The rest is the lower triangle of M, whose diagonal is 1 / scale: ``Sigma^-1 = M^T M``.
        """
        row, n = loss_row(self.loss), self.n_outputs
        scales, rest = outputs[:, n : 2 * n], outputs[:, 2 * n :]
        if not row.pairs:
            variance = scales**2 * (2 if row.name == "laplace" else 1)
            return np.eye(n, dtype=outputs.dtype) * variance[:, np.newaxis]
        # By forward substitution: far from the data a scale may round to 0, which has no inverse.
        factor = np.zeros((len(outputs), n, n))
        for i in range(n):
            row_of_M = rest[:, np.newaxis, i * (i - 1) // 2 : i * (i + 1) // 2]
            below = (row_of_M @ factor[:, :i, :i])[:, 0]
            factor[:, i, :i] = -scales[:, i : i + 1] * below
            factor[:, i, i] = scales[:, i]
        return (factor @ factor.swapaxes(1, 2)).astype(outputs.dtype, copy=False)


def _log_softmax(raw: np.ndarray) -> np.ndarray:
    """log(softmax(raw)) by row; log1p of the others' sum keeps the logarithm of nearly 1 exact."""
    top = raw.argmax(axis=1)[:, np.newaxis]
    below = raw - np.take_along_axis(raw, top, axis=1)
    others = np.exp(below)
    np.put_along_axis(others, top, 0, axis=1)
    return below - np.log1p(others.sum(axis=1, keepdims=True))
