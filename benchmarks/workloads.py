"""The training workloads: data, initial parameters, order of the rows, operation count.

Everything that has to be the same for all systems is made here, from one seed, with the random
numbers that scikit-learn's estimators draw: first the initial parameters, layer by layer, then one
shuffle per epoch, composed with the shuffles before it. So each system sees the same batches in the
same order from the same start, and the loss curves must agree to float32 rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SEED = 0
LEARNING_RATE = 1e-3
DTYPE = np.float32


@dataclass(frozen=True)
class Workload:
    """One stack of ReLU layers on random data; a classifier for `n_classes` classes.

    Two classes take one logistic output, as in scikit-learn, more take a softmax; for every system.
    The last batch of an epoch is short where `batch_size` does not divide `n_samples`; for every
    system.
    """

    name: str
    n_samples: int
    n_features: int
    hidden: tuple[int, ...]
    n_classes: int
    batch_size: int
    epochs: int  # timed epochs after the warm-up epoch
    stands_for: str

    @property
    def n_outputs(self) -> int:
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.n_features, *self.hidden, self.n_outputs)

    @property
    def batches(self) -> list[slice]:
        starts = range(0, self.n_samples, self.batch_size)
        return [slice(i, min(i + self.batch_size, self.n_samples)) for i in starts]

    @property
    def flops_per_epoch(self) -> int:
        """Multiplications and additions in the matrix products of one epoch.

        Each layer does three products of 2·fan_in·fan_out operations a row: forward, gradient of
        the weights, gradient of the input; the first layer needs no gradient of its input.
        """
        products = [2 * a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        return self.n_samples * (3 * sum(products) - products[0])

    def smaller(self, n_samples: int) -> "Workload":
        """Return the same network on fewer rows, for a smoke test."""
        return Workload(**{**self.__dict__, "n_samples": min(n_samples, self.n_samples)})

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal features (N, I); labels (N,) from a random linear map plus noise."""
        rng = np.random.default_rng(SEED)
        X = rng.standard_normal((self.n_samples, self.n_features), dtype=DTYPE)
        scores = X @ rng.standard_normal((self.n_features, self.n_classes), dtype=DTYPE)
        scores += rng.standard_normal(scores.shape, dtype=DTYPE)
        return X, scores.argmax(axis=1)

    def initial_parameters(
        self, rng: np.random.RandomState
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights (fan_in, fan_out) and biases (fan_out,) as scikit-learn draws them for ReLU."""
        weights, biases = [], []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            bound = np.sqrt(6.0 / (fan_in + fan_out))
            weights.append(rng.uniform(-bound, bound, (fan_in, fan_out)).astype(DTYPE))
            biases.append(rng.uniform(-bound, bound, fan_out).astype(DTYPE))
        return weights, biases

    def orders(self, rng: np.random.RandomState) -> Iterator[np.ndarray]:
        """Yield the order of the rows in each epoch, as scikit-learn draws it."""
        order = np.arange(self.n_samples)
        while True:
            shuffled = np.arange(self.n_samples)
            rng.shuffle(shuffled)
            order = order[shuffled]
            yield order


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", 20_000, 30, (100,), 2, 200, 10, "scikit-learn's defaults, small table"),
        Workload("W2", 20_000, 54, (256, 256), 7, 256, 5, "typical tabular network"),
        Workload("W3", 10_000, 784, (512, 256), 10, 128, 3, "MNIST"),
        Workload("W4", 8_192, 784, (1024, 1024), 10, 512, 3, "matrix products dominate"),
        Workload("W5", 20_000, 8, (64, 64), 2, 64, 10, "many tiny steps"),
    )
}
