"""What y means: how targets are encoded for a loss, and how outputs are read.

`ClassTargets` and `RegressionTargets` hold plain values and know no estimator. An estimator makes
one from its parameters and y, or from what an earlier fit has left, and asks it for

- the loss (`loss`, a name in `LOSSES`, with its `numbers`) and the `metric` that scores it;
- `n_outputs`, `n_raw`, and `encode`, which turns y into numbers (N, T);
- `stratify`, the labels that a validation split keeps in proportion;
- `estimates` and `decode`: what outputs behind the link mean to a metric, and to a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy import sparse, stats
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import type_of_target, unique_labels

from nbnet.kernels.losses import LOSSES
from nbnet.kernels.user import CustomLoss, loss_row

__all__ = [
    "CLASSIFICATION_LOSSES",
    "LOSSES_WITH_SCALE",
    "REGRESSION_LOSSES",
    "ClassTargets",
    "RegressionTargets",
    "Targets",
]

# From the names that users write to those of LOSSES.
CLASSIFICATION_LOSSES = {row.classifier: row.name for row in LOSSES.values() if row.classifier}
REGRESSION_LOSSES = {row.regressor: row.name for row in LOSSES.values() if row.regressor}

# Those that learn how far targets scatter, in words.
_SCALES = [repr(row.regressor) for row in LOSSES.values() if row.regressor and row.learns_scale]
LOSSES_WITH_SCALE = f"{', '.join(_SCALES[:-1])} or {_SCALES[-1]}"


class Targets(Protocol):
    """What an estimator asks of its targets."""

    @property
    def metric(self) -> str:
        """A name in `METRICS`, or 'loss': the negative loss."""

    @property
    def loss(self) -> str | CustomLoss:
        """A name in `LOSSES`, or a loss of the user's."""

    @property
    def numbers(self) -> Mapping[str, Any]:
        """Hyperparameters of the loss, by name: floats, or a tuple of them."""

    @property
    def n_outputs(self) -> int:
        """T, or the number of classes where there are more than two."""

    @property
    def n_raw(self) -> int:
        """R, the raw outputs of the network; a ValueError if the loss is not for such targets."""

    def check_kind(self, y: Any) -> None:
        """Raise a ValueError if y, to validate on, is not of the kind that is learned."""

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
    settings : dict
        Hyperparameters that a loss may have, by name. With a `label_smoothing` above 0 the loss is
        the one that is `smoothed`.
    """

    classes: np.ndarray
    kind: str
    sparse: bool = False
    loss_name: str | CustomLoss = "log_loss"
    settings: Mapping[str, float] = field(default_factory=dict)

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
    def seen_in(
        cls,
        y: Any,
        loss_name: str | CustomLoss,
        settings: Mapping[str, float] | None = None,
    ) -> ClassTargets:
        """Learn the classes from y."""
        kind = cls.kind_of(y)
        return cls(unique_labels(y), kind, sparse.issparse(y), loss_name, settings or {})

    @property
    def multilabel(self) -> bool:
        """Whether a sample may have several labels."""
        return self.kind == "multilabel-indicator"

    @property
    def loss(self) -> str | CustomLoss:
        """A name in `LOSSES`, or a loss of the user's."""
        if isinstance(self.loss_name, CustomLoss):
            return self.loss_name
        row = LOSSES[CLASSIFICATION_LOSSES[self.loss_name]]
        if self.kind != "multiclass" and row.binary is not None:
            row = LOSSES[row.binary]
        if self.settings.get("label_smoothing", 0.0) > 0.0 and row.smoothed is not None:
            row = LOSSES[row.smoothed]
        return row.name

    @property
    def numbers(self) -> dict[str, float]:
        """Hyperparameters of the loss, by name."""
        return {s.name: self.settings.get(s.name, s.default) for s in loss_row(self.loss).settings}

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

    def check_kind(self, y: Any) -> None:
        """Raise a ValueError if y has a label that is not known, or another kind of labels."""
        kind = self.kind_of(y)
        if (kind == "multilabel-indicator") != self.multilabel:
            raise ValueError(f"it is {kind}, but y is {self.kind}.")
        unseen = sorted(set(unique_labels(y).tolist()) - set(self.classes.tolist()), key=str)
        if unseen:
            what = "columns" if self.multilabel else "labels"
            raise ValueError(
                f"it has the {what} {unseen}, which y does not have; those of y are "
                f"{self.classes.tolist()}."
            )

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
        Hyperparameters of the loss, by name: floats, or a tuple of them.
    center, unit : tuple of float
        What is subtracted from each column before it is learned, and what it is then divided by.
        Empty where y is learned as it is.
    """

    n_outputs: int
    loss: str | CustomLoss = "half_squared_error"
    loss_name: str | CustomLoss = "squared_error"
    numbers: Mapping[str, Any] = field(default_factory=dict)
    center: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    @property
    def quantiles(self) -> tuple[float, ...] | None:
        """The levels, where there may be several quantiles of each target; otherwise None."""
        levels = self.numbers.get("quantile")
        return levels if isinstance(levels, tuple) else None

    @property
    def metric(self) -> str:
        """R², for several quantiles their D², and the loss where not each target is predicted."""
        if isinstance(self.loss, CustomLoss) and self.n_raw < self.n_outputs:
            return "loss"
        return "r2" if self.quantiles is None else "d2_pinball"

    @property
    def n_raw(self) -> int:
        """R, the number of raw outputs."""
        row = loss_row(self.loss)
        return row.n_raw(self.n_outputs, row.levels(self.numbers))

    @staticmethod
    def columns_of(y: Any) -> int:
        """T, or a TypeError if y is sparse."""
        if sparse.issparse(y):
            raise TypeError("y must be a dense array; a sparse y is only read as class labels.")
        return 1 if y.ndim == 1 else y.shape[1]

    @classmethod
    def read_by(
        cls,
        loss: str | CustomLoss,
        numbers: Mapping[str, Any],
        n_raw: int,
        center: tuple[float, ...] = (),
        unit: tuple[float, ...] = (),
    ) -> RegressionTargets:
        """The targets of a fitted model with so many raw outputs."""
        row = loss_row(loss)
        name = row.regressor or loss
        n_targets = row.n_targets(n_raw, row.levels(numbers))
        return cls(n_targets, loss, name, numbers, center, unit)

    @property
    def has_location(self) -> bool:
        """Whether the loss takes any number as a target, so that y may be moved and scaled."""
        if isinstance(self.loss, CustomLoss):
            return False  # what a unit of y is, its function alone knows
        row = LOSSES[self.loss]
        anywhere = row.y_low == -np.inf and row.y_high == np.inf
        return anywhere and row.link in ("identity", "location_and_scale")

    def standardized(self, y: np.ndarray, weight: np.ndarray | None) -> RegressionTargets:
        """The same targets in units in which the columns of y have mean 0 and variance 1.

        Parameters
        ----------
        y : float64 ndarray of shape (N, T)
            The rows to train on.
        weight : ndarray of shape (N,) or None
            Their weights.

        Raises
        ------
        ValueError
            If the loss does not take all numbers, or mean or variance are not finite.
        """
        if isinstance(self.loss, CustomLoss):
            raise ValueError(
                f"standardize_y=True is not for a loss of your own, which sees y in its own units; "
                f"this is loss={self.loss!r}."
            )
        if not self.has_location:
            row = loss_row(self.loss)
            raise ValueError(
                f"standardize_y=True needs a loss that takes any number as a target; loss="
                f"{self.loss_name!r} needs {row.y_low:g} <= y <= {row.y_high:g}, and its "
                f"predictions are {row.link!r} of what the network computes."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            scaler = StandardScaler().fit(y, sample_weight=weight)
        center, unit = scaler.mean_, scaler.scale_  # of a constant column 1
        if not (np.isfinite(center).all() and np.isfinite(unit).all()):
            raise ValueError(
                f"standardize_y=True needs a y whose mean and variance are finite; got {center} "
                f"and {unit**2}."
            )
        return replace(self, center=tuple(center.tolist()), unit=tuple(unit.tolist()))

    def check_kind(self, y: Any) -> None:
        """Raise a ValueError if y has another number of columns."""
        if self.columns_of(y) != self.n_outputs:
            raise ValueError(f"it has {self.columns_of(y)} columns, but y has {self.n_outputs}.")

    def encode(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """The numbers (N, T)."""
        if y.dtype.kind not in "fiub":
            y = y.astype(np.float64)  # or an error that names what is no number
        y = y.reshape(len(y), -1)
        row = loss_row(self.loss)
        low, high = y.min(), y.max()
        if not row.admits(np.array([low, high])).all():
            least = "<" if row.y_open else "<="
            raise ValueError(
                f"loss={self.loss_name!r} needs {row.y_low:g} {least} y <= {row.y_high:g}; got y "
                f"from {low:g} to {high:g}."
            )
        if self.center:
            y = (y - np.array(self.center)) / np.array(self.unit)
        with np.errstate(over="ignore"):
            encoded = np.ascontiguousarray(y, dtype=dtype)
        if not np.isfinite(encoded).all():
            raise ValueError(f"y has values too large for {encoded.dtype}, the dtype of X.")
        if not row.admits(encoded).all():
            raise ValueError(
                f"loss={self.loss_name!r} needs y > {row.y_low:g}; y has values too small for "
                f"{encoded.dtype}, the dtype of X."
            )
        return encoded

    def stratify(self, y: np.ndarray) -> None:
        """Nothing: numbers have no proportions to keep."""
        return None

    def estimates(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions (N, T): the outputs before the scales, where these are learned.

        Of several quantiles (N, T * Q), those of a target side by side and in order: they are
        learned independently and may cross, and sorting them makes no target's loss larger.
        """
        if self.quantiles is None:
            return outputs[:, : self.n_outputs]
        levels = outputs.reshape(len(outputs), self.n_outputs, len(self.quantiles))
        return np.sort(levels, axis=2).reshape(len(outputs), -1)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions (N,) or (N, T), or of several quantiles (N, Q) or (N, T, Q)."""
        estimates = self.estimates(outputs)
        n_levels = 1 if self.quantiles is None else len(self.quantiles)
        if self.center:
            estimates = self._in_units_of_y(estimates, n_levels)
        if self.quantiles is None:
            return estimates[:, 0] if estimates.shape[1] == 1 else estimates
        if self.n_outputs == 1:
            return estimates
        return estimates.reshape(len(outputs), self.n_outputs, n_levels)

    def _in_units_of_y(self, located: np.ndarray, n_levels: int = 1) -> np.ndarray:
        """Locations (N, T), or `n_levels` of each target side by side, as y has them."""
        unit, center = (np.repeat(numbers, n_levels) for numbers in (self.unit, self.center))
        return (located * unit + center).astype(located.dtype, copy=False)

    def covariance(self, outputs: np.ndarray) -> np.ndarray:
        """Covariances (N, T, T) from outputs (N, R): locations, scales, and the rest.

        The rest is the lower triangle of M, whose diagonal is 1 / scale: ``Sigma^-1 = M^T M``.
        """
        covariance = self._covariance(outputs)
        if self.unit:
            covariance = (covariance * np.outer(self.unit, self.unit)).astype(outputs.dtype)
        return covariance

    def _covariance(self, outputs: np.ndarray) -> np.ndarray:
        row, n = loss_row(self.loss), self.n_outputs
        scales, rest = outputs[:, n : 2 * n], outputs[:, 2 * n :]
        if not row.pairs:
            variance = _VARIANCES.get(row.name, _square)(outputs[:, :n], scales)
            return np.eye(n, dtype=outputs.dtype) * variance[:, np.newaxis]
        # By forward substitution: far from the data a scale may round to 0, which has no inverse.
        factor = np.zeros((len(outputs), n, n))
        for i in range(n):
            row_of_M = rest[:, np.newaxis, i * (i - 1) // 2 : i * (i + 1) // 2]
            below = (row_of_M @ factor[:, :i, :i])[:, 0]
            factor[:, i, :i] = -scales[:, i : i + 1] * below
            factor[:, i, i] = scales[:, i]
        return (factor @ factor.swapaxes(1, 2)).astype(outputs.dtype, copy=False)

    def interval(self, outputs: np.ndarray, coverage: float) -> np.ndarray:
        """Bounds (N, T, 2) of a target: below and above them lie (1 - coverage) / 2 each.

        Raises
        ------
        ValueError
            If the loss learns no such bounds, or the bounds of other coverages alone.
        """
        bounds = self._interval(outputs, coverage)
        if self.unit:
            unit, center = (
                np.array(numbers)[:, np.newaxis] for numbers in (self.unit, self.center)
            )
            bounds = bounds * unit + center
        return bounds.astype(outputs.dtype, copy=False)

    def _interval(self, outputs: np.ndarray, coverage: float) -> np.ndarray:
        """The same in the units that are learned."""
        if self.loss == "quantile":
            at = self._levels_around(coverage)
            return self.estimates(outputs).reshape(len(outputs), self.n_outputs, -1)[:, :, at]
        row, n = loss_row(self.loss), self.n_outputs
        if not row.learns_scale:
            raise ValueError(
                "predict_interval needs loss='quantile' with several levels, or a loss that learns "
                f"how far targets scatter, {LOSSES_WITH_SCALE}; this is loss={self.loss_name!r}."
            )
        locations, scales = outputs[:, :n], outputs[:, n : 2 * n]
        if row.pairs:
            scales = np.sqrt(np.diagonal(self._covariance(outputs), axis1=1, axis2=2))
        distribution = _DISTRIBUTIONS[row.name](locations.astype(float), scales.astype(float))
        return np.stack(distribution.interval(coverage), axis=2)

    def _levels_around(self, coverage: float) -> list[int]:
        """Where the two levels lie that leave out the same share below and above."""
        levels = np.ravel(self.numbers["quantile"])
        wanted = np.array([1.0 - coverage, 1.0 + coverage]) / 2.0
        distance = np.abs(levels[:, np.newaxis] - wanted)
        nearest = distance.argmin(axis=0)
        if distance.min(axis=0).max() < _SAME_LEVEL and nearest[0] < nearest[1]:
            return list(nearest)
        low, high = np.meshgrid(levels, levels, indexing="ij")
        possible = (high - low)[(low < high) & (np.abs(low + high - 1.0) < _SAME_LEVEL)]
        allowed = " or ".join(f"coverage={share:g}" for share in np.sort(possible))
        raise ValueError(
            f"coverage={coverage:g} needs the levels {wanted[0]:g} and {wanted[1]:g}, but the "
            f"model has learned quantile={self.numbers['quantile']!r}, which allows "
            f"{allowed or 'no coverage: there must be two levels that sum to 1'}."
        )


# Levels of quantiles that differ by less are the same: 1 - 0.9 is not 0.1.
_SAME_LEVEL = 1e-9


def _square(location: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return scale**2


# From locations and scales, where the latter are no standard deviations.
_VARIANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "laplace": lambda location, scale: scale**2 * 2,
    "negative_binomial": lambda mean, dispersion: mean + dispersion * mean**2,
}


def _negative_binomial(mean: np.ndarray, dispersion: np.ndarray) -> Any:
    """By the number of failures and the probability; the Poisson distribution in the limit."""
    dispersion = np.maximum(dispersion, 1e-9)
    return stats.nbinom(1.0 / dispersion, 1.0 / (1.0 + dispersion * mean))


_DISTRIBUTIONS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "gaussian": stats.norm,
    "full_gaussian": stats.norm,
    "laplace": stats.laplace,
    "negative_binomial": _negative_binomial,
}


def _log_softmax(raw: np.ndarray) -> np.ndarray:
    """log(softmax(raw)) by row; log1p of the others' sum keeps the logarithm of nearly 1 exact."""
    top = raw.argmax(axis=1)[:, np.newaxis]
    below = raw - np.take_along_axis(raw, top, axis=1)
    others = np.exp(below)
    np.put_along_axis(others, top, 0, axis=1)
    return below - np.log1p(others.sum(axis=1, keepdims=True))
