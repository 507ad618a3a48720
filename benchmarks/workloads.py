"""The training workloads: data, initial parameters, order of the rows, operation count.

Everything that has to be the same for all systems is made here, from one seed, with the random
numbers that scikit-learn's estimators draw: first the initial parameters, layer by layer, then the
rows held out for validation, if any, then one shuffle per epoch, composed with the shuffles before
it. So each system sees the same batches in the same order from the same start, and the loss curves
must agree up to rounding; with dropout, up to what masks of another generator change.

``WORKLOADS`` are the five of the README's table, ``VARIANTS`` change one thing each: dtype, hidden
units, loss, solver, batch, kind of data, or what else a step does (``EXTRAS``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import xlogy
from sklearn.model_selection import train_test_split

SEED = 0
VALIDATION_FRACTION = 0.1
REGRESSION_LOSSES = ("squared_error", "absolute_error", "poisson")
# Fields of a workload: what a step of Adam may do besides, for several classes. scikit-learn has
# none of these.
EXTRAS = ("dropout", "weight_decay", "schedule", "clip_norm", "average", "label_smoothing")


@dataclass(frozen=True)
class Workload:
    """One stack of hidden layers on random data.

    Two classes take one logistic output, as in scikit-learn, more take a softmax; for every system.
    The last batch of an epoch is short where `batch_size` does not divide the number of rows; for
    every system.
    """

    name: str
    n_samples: int
    n_features: int
    hidden: tuple[int, ...]
    n_classes: int  # 1 for regression
    batch_size: int
    epochs: int  # timed epochs, or iterations of L-BFGS, after the warm-up epoch
    stands_for: str
    dtype: str = "float32"
    activation: str = "relu"
    pieces: int = 1  # of maxout units
    loss: str = "cross_entropy"  # or one of REGRESSION_LOSSES
    softmax_of_two: bool = False  # two classes by two outputs
    solver: str = "adam"  # or "sgd", with Nesterov momentum, or "lbfgs"
    learning_rate: float = 1e-3
    weighted: bool = False  # rows have weights
    early_stopping: bool = False  # rows are held out and scored after each epoch
    density: float = 1.0  # below 1, X is a CSR matrix
    dropout: float = 0.0  # of the units of each hidden layer
    weight_decay: float = 0.0  # decoupled, of the weights alone
    schedule: str = "constant"  # or "cosine": half a wave down to 0, update by update
    clip_norm: float | None = None  # of the gradient of all parameters
    average: float = 0.0  # decay of the exponential average of the parameters
    label_smoothing: float = 0.0  # the share of the target that all classes get alike

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Workload":
        """From its fields as JSON has them."""
        return cls(**{**stored, "hidden": tuple(stored["hidden"])})

    def stored(self) -> dict[str, Any]:
        """Return the fields that are not at their defaults: what a JSON keeps."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    @property
    def extras(self) -> dict[str, Any]:
        """Those of ``EXTRAS`` that are in use."""
        return {name: value for name, value in self.stored().items() if name in EXTRAS}

    @property
    def is_regression(self) -> bool:
        return self.loss in REGRESSION_LOSSES

    @property
    def n_outputs(self) -> int:
        return 1 if self.n_classes == 2 and not self.softmax_of_two else self.n_classes

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.n_features, *self.hidden, self.n_outputs)

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns of each layer's weights: one per unit, or one per piece of a maxout unit."""
        return (*(units * self.pieces for units in self.hidden), self.n_outputs)

    @property
    def n_training(self) -> int:
        """Rows left to train on."""
        held_out = np.ceil(VALIDATION_FRACTION * self.n_samples) if self.early_stopping else 0
        return self.n_samples - int(held_out)

    @property
    def batches(self) -> list[slice]:
        n = self.n_training
        return [slice(i, min(i + self.batch_size, n)) for i in range(0, n, self.batch_size)]

    @property
    def flops_per_epoch(self) -> int:
        """Multiplications and additions in the matrix products of one epoch.

        Each layer does three products of 2·fan_in·fan_out operations a row: forward, gradient of
        the weights, gradient of the input; the first layer needs no gradient of its input, and
        only the entries that X stores count.
        """
        products = [2 * a * b for a, b in zip(self.widths, self.columns, strict=False)]
        products[0] = round(products[0] * self.density)
        return self.n_training * (3 * sum(products) - products[0])

    def smaller(self, n_samples: int) -> "Workload":
        """Return the same network on fewer rows, for a smoke test."""
        n_samples = max(n_samples, self.n_classes)
        return replace(self, n_samples=min(n_samples, self.n_samples))

    def data(self) -> tuple[Any, np.ndarray]:
        """Features (N, I), normal where they are not 0; targets (N,) from a random linear map.

        The map's scores get noise. The largest tells the class; for regression the score, or a
        Poisson variable with the exponential of the score for its mean, is the target.
        """
        rng = np.random.default_rng(SEED)
        shape = (self.n_samples, self.n_features)
        if self.density < 1:
            X = sparse.random(
                *shape, self.density, format="csr", dtype=np.float32, random_state=SEED,
                data_rvs=rng.standard_normal,
            )  # fmt: skip
        else:
            X = rng.standard_normal(shape, dtype=np.float32)
        scores = X @ rng.standard_normal((self.n_features, self.n_classes), dtype=np.float32)
        scores += rng.standard_normal(scores.shape, dtype=np.float32)
        X = X.astype(self.dtype, copy=False)
        if not self.is_regression:
            y = scores.argmax(axis=1)
            if len(np.unique(y)) < self.n_classes:
                y[: self.n_classes] = range(self.n_classes)  # the estimators see what occurs
            return X, y
        scores = scores[:, 0] / np.sqrt(self.n_features)
        if self.loss == "poisson":
            scores = rng.poisson(np.exp(scores))
        return X, scores.astype(self.dtype, copy=False)

    def sample_weight(self) -> np.ndarray | None:
        """Weights (N,) of the rows, between 0.5 and 1.5, or None."""
        if not self.weighted:
            return None
        rng = np.random.default_rng(SEED + 1)
        return rng.uniform(0.5, 1.5, self.n_samples).astype(self.dtype)

    def learning_rates(self, epoch: int, epochs: int) -> np.ndarray:
        """Learning rate of each update of an epoch, in a fit of so many epochs."""
        steps = len(self.batches)
        if self.schedule == "constant":
            return np.full(steps, self.learning_rate)
        shares = (epoch + np.arange(steps) / steps) / epochs  # of all updates, done before each
        return self.learning_rate * (1 + np.cos(np.pi * shares)) / 2

    def loss_constant(self, y: np.ndarray) -> float:
        """Mean part of the loss that depends on the targets alone; it has no gradient."""
        return float(np.mean(xlogy(y, y) - y)) if self.loss == "poisson" else 0.0

    def initial_parameters(
        self, rng: np.random.RandomState
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights (fan_in, columns) and biases (columns,) as scikit-learn draws them.

        The pieces of a maxout unit are neighbouring columns.
        """
        weights, biases = [], []
        factor = 2.0 if self.activation == "logistic" else 6.0
        for fan_in, units, columns in zip(self.widths, self.widths[1:], self.columns, strict=False):
            bound = np.sqrt(factor / (fan_in + units))
            weights.append(rng.uniform(-bound, bound, (fan_in, columns)).astype(self.dtype))
            biases.append(rng.uniform(-bound, bound, columns).astype(self.dtype))
        return weights, biases

    def split(self, rng: np.random.RandomState, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and, with `early_stopping`, to score, as scikit-learn draws them."""
        rows = np.arange(self.n_samples)
        if not self.early_stopping:
            return rows, rows[:0]
        stratify = y if self.n_outputs == 1 and not self.is_regression else None
        return tuple(
            train_test_split(
                rows, test_size=VALIDATION_FRACTION, random_state=rng, stratify=stratify
            )
        )

    def mask_seed(self, rng: np.random.RandomState) -> int:
        """Seed of the masks of dropout; drawn, as by nbnet, only where there are any."""
        return int(rng.randint(2**62, dtype=np.int64)) % 2**31 if self.dropout else SEED

    def orders(self, rng: np.random.RandomState, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the order of the rows in each epoch, as scikit-learn draws it."""
        while True:
            shuffled = np.arange(len(rows))
            rng.shuffle(shuffled)
            rows = rows[shuffled]
            yield rows


def _named(workloads: list[Workload]) -> dict[str, Workload]:
    return {workload.name: workload for workload in workloads}


WORKLOADS = _named(
    [
        Workload("W1", 20_000, 30, (100,), 2, 200, 10, "scikit-learn's defaults, small table"),
        Workload("W2", 20_000, 54, (256, 256), 7, 256, 5, "typical tabular network"),
        Workload("W3", 10_000, 784, (512, 256), 10, 128, 3, "MNIST"),
        Workload("W4", 8_192, 784, (1024, 1024), 10, 512, 3, "matrix products dominate"),
        Workload("W5", 20_000, 8, (64, 64), 2, 64, 10, "many tiny steps"),
    ]
)


def _variant(base: str, suffix: str, stands_for: str, **changes: Any) -> Workload:
    workload = replace(WORKLOADS[base], stands_for=stands_for, **changes)
    return replace(workload, name=f"{base}-{suffix}", epochs=min(workload.epochs, 3))


def _regression(suffix: str, loss: str, stands_for: str) -> Workload:
    return _variant("W2", suffix, stands_for, loss=loss, n_classes=1)


CLIP_NORM = 0.75  # below the norm of nine tenths of the gradients of W2

VARIANTS = _named(
    [
        _variant("W1", "softmax", "two softmax outputs", softmax_of_two=True),
        _variant("W5", "softmax", "two softmax outputs", softmax_of_two=True),
        _variant("W2", "float64", "float64", dtype="float64"),
        _variant("W3", "float64", "float64", dtype="float64"),
        _variant("W2", "leaky-relu", "leaky ReLU", activation="leaky_relu"),
        _variant("W2", "abs", "absolute value units", activation="abs"),
        _variant("W2", "maxout-2", "maxout, 2 pieces", activation="maxout", pieces=2),
        _variant("W2", "maxout-4", "maxout, 4 pieces", activation="maxout", pieces=4),
        _variant("W2", "tanh", "tanh", activation="tanh"),
        _variant("W2", "logistic", "logistic units", activation="logistic"),
        _regression("squared", "squared_error", "regression, squared error"),
        _regression("absolute", "absolute_error", "regression, absolute error"),
        _regression("poisson", "poisson", "regression, Poisson"),
        _variant("W2", "26", "26 classes", n_classes=26),
        _variant("W2", "1000", "1,000 classes", n_classes=1000),
        Workload("odd", 20_000, 37, (90, 45), 3, 100, 3, "odd sizes"),
        _variant(
            "W2", "nesterov", "SGD, Nesterov momentum", solver="sgd", learning_rate=1e-2
        ),
        replace(
            _variant("W1", "lbfgs", "L-BFGS, float64; per iteration", solver="lbfgs"),
            dtype="float64", batch_size=20_000, epochs=20,
        ),
        _variant("W2", "early-stopping", "early stopping", early_stopping=True),
        _variant("W2", "weights", "sample weights", weighted=True),
        _variant("W2", "batch-1", "1,000 rows, one by one", n_samples=1000, batch_size=1),
        _variant("W2", "batch-10000", "batches of 10,000", batch_size=10_000),
        _variant("W2", "silu", "SiLU", activation="silu"),
        _variant("W2", "gelu", "GELU", activation="gelu"),
        _variant("W2", "dropout", "dropout 0.1", dropout=0.1),
        _variant("W2", "adamw", "AdamW, decay 0.01", weight_decay=0.01),
        _variant("W2", "cosine", "cosine schedule", schedule="cosine"),
        _variant("W2", "clip", "clipping by the global norm", clip_norm=CLIP_NORM),
        _variant("W2", "average", "averaged weights, decay 0.99", average=0.99),
        _variant("W2", "smoothing", "label smoothing 0.1", label_smoothing=0.1),
        _variant(
            "W2", "together", "dropout, AdamW, cosine, clipping",
            dropout=0.1, weight_decay=0.01, schedule="cosine", clip_norm=CLIP_NORM,
        ),
        Workload("csr", 20_000, 5000, (100,), 10, 200, 2, "CSR, 1 % density", density=0.01),
    ]
)  # fmt: skip
