"""What users hand over, as kernels want it: flat, contiguous, of one dtype, and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from nbnet.kernels.losses import CUSTOM_LOSS, LOSSES, Loss
from nbnet.kernels.machine.vectors import VECTOR_BYTES
from nbnet.kernels.records import NUMBERS, Setting
from nbnet.kernels.user import CustomLoss, loss_row

__all__ = [
    "NO_INDICES",
    "NO_ORDER",
    "Samples",
    "aligned_zeros",
    "check_loss",
    "check_targets",
    "check_weights",
    "frozen",
    "n_targets_of",
    "row_of",
    "take_numbers",
]


def aligned_zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin on a vector's boundary: no load crosses a cache line."""
    dtype = np.dtype(dtype)
    spare = VECTOR_BYTES // dtype.itemsize
    buffer = np.zeros(size + spare, dtype=dtype)
    address = buffer.__array_interface__["data"][0]  # half the time of buffer.ctypes.data
    skip = (-address % VECTOR_BYTES) // dtype.itemsize
    return buffer[skip : skip + size]


def frozen(array: Any, dtype: Any) -> np.ndarray:
    """Flat, contiguous, read-only: one type for the compiler, whatever the user's array is.

    Copies only if dtype or layout do not fit.
    """
    fits = isinstance(array, np.ndarray) and array.dtype == dtype and array.flags.carray
    if not fits:
        array = np.require(array, dtype=dtype, requirements=["C", "A"])
    flat = array.reshape(-1).view(np.ndarray)
    flat.flags.writeable = False
    return flat


# What a kernel gets where there is nothing.
NO_INDICES, NO_ORDER = frozen([], np.int32), frozen([], np.int64)


def row_of(table: dict[str, Any], parameter: str, name: Any) -> Any:
    """The row of a table with this name, or an error that lists the names."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{parameter} must be one of {sorted(table)}, got {name!r}")
    return table[name]


def check_loss(loss: Any) -> Loss:
    """The row of a loss by its name, or of a loss of the user's."""
    return loss_row(loss) if isinstance(loss, CustomLoss) else row_of(LOSSES, "loss", loss)


@dataclass(slots=True)
class Samples:
    """X as kernels see it."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n: int
    sparse: bool

    @classmethod
    def of(cls, X: Any, n_features: int, dtype: np.dtype, checked: bool = False) -> Samples:
        """Look at X (N, I), an array or CSR; where it was `checked` before, only convert it."""
        if checked and not sparse.issparse(X):
            return cls(frozen(X, dtype), NO_INDICES, NO_ORDER, X.shape[0], False)
        if not sparse.issparse(X):
            X = np.asarray(X)
        if X.dtype.kind not in "fiub":
            raise ValueError(f"X must hold real numbers, got dtype {X.dtype}")
        if X.ndim != 2 or X.shape[1] != n_features:
            raise ValueError(f"X must have shape (n_samples, {n_features}), got {X.shape}")
        if sparse.issparse(X):
            X = X.tocsr()
            X.check_format(full_check=True)  # kernels trust indices, and the user may change them
            return cls(
                frozen(X.data, dtype),
                frozen(X.indices, np.int32),
                frozen(X.indptr, np.int64),
                X.shape[0],
                True,
            )
        return cls(frozen(X, dtype), NO_INDICES, NO_ORDER, X.shape[0], False)


def n_targets_of(row: Loss, n_outputs: int, levels: int = 1) -> int:
    """The number of targets (classes) of a loss on so many raw outputs."""
    counted = row.n_targets(n_outputs, levels)
    if counted == 0:
        one, two, three = (row.n_raw(n, levels) for n in (1, 2, 3))
        raise ValueError(
            f"loss={row.name!r} needs {one} raw outputs for one target, {two} "
            f"for two, {three} for three, and so on; the network has {n_outputs}"
        )
    return counted


def check_targets(
    y: Any, row: Loss, n: int, n_outputs: int, dtype: np.dtype, levels: int = 1
) -> np.ndarray:
    """Targets (N, T), checked against the loss."""
    y = np.asarray(y)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must hold real numbers, got dtype {y.dtype}")
    if y.ndim == 1:
        y = y[:, None]
    if row.code == CUSTOM_LOSS:
        counted = y.shape[-1]
        if row.n_raw(counted) != n_outputs:
            raise ValueError(
                f"loss={row.name!r} needs {row.n_raw(counted)} raw outputs for y of shape "
                f"{y.shape}; the network has {n_outputs}"
            )
    else:
        counted = n_targets_of(row, n_outputs, levels)
    n_targets = 1 if row.integer_targets else counted
    if y.shape != (n, n_targets):
        raise ValueError(
            f"y must have shape ({n}, {n_targets}) for loss={row.name!r} and {n_outputs} raw "
            f"outputs, got {y.shape}"
        )
    high = counted - 1 if row.integer_targets else row.y_high
    valid = np.isfinite(y) & row.admits(y) & (y <= high)
    if row.integer_targets:
        valid &= y == np.floor(y)
    if not valid.all():
        kind = "integers" if row.integer_targets else "finite numbers"
        raise ValueError(
            f"y must hold {kind} in {'(' if row.y_open else '['}{row.y_low:g}, {high:g}] for "
            f"loss={row.name!r}, got {y[~valid][0]!r}"
        )
    with np.errstate(over="ignore"):
        cast = y.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        raise ValueError(f"y must be finite in {dtype}, got {y[~np.isfinite(cast)][0]!r}")
    if not row.admits(cast).all():
        raise ValueError(
            f"y must be > {row.y_low:g} in {dtype} for loss={row.name!r}, "
            f"got {y[~row.admits(cast)][0]!r}"
        )
    return cast


def take_numbers(settings: tuple[Setting, ...], given: dict[str, Any]) -> np.ndarray:
    """Take the numbers that `settings` names out of `given`, checked: float64, at least NUMBERS."""
    read = [setting.read(given.pop(setting.name, setting.default)) for setting in settings]
    numbers = np.ravel(read[0]) if len(read) == 1 else np.array(read)
    return np.pad(numbers, (0, max(0, NUMBERS - len(numbers))))


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Weights (N,), finite and not negative."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"sample_weight must hold real numbers, got dtype {weights.dtype}")
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weights.shape}")
    valid = np.isfinite(weights) & (weights >= 0)
    if not valid.all():
        raise ValueError(f"sample_weight must be finite and >= 0, got {weights[~valid][0]!r}")
    return weights
