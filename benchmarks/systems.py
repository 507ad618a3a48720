"""The systems that train a workload: one class each, with the same two methods.

``SYSTEMS[name](workload, threads)`` prepares the data, ``train(epochs)`` trains from the initial
parameters and returns the loss of each epoch: the mean over its rows of the batch losses, each
taken before its update. Every system computes with float32, Adam with the same constants, no
penalty.

PyTorch and JAX are written here as someone who cares for speed would write them for the CPU: fused
Adam, and an epoch that is one compiled function.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from benchmarks.workloads import LEARNING_RATE, SEED, Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Estimator:
    """Either library's MLPClassifier, through its public interface."""

    def __init__(self, classifier: type, workload: Workload):
        self.X, self.y = workload.data()
        self.make = lambda epochs: classifier(
            hidden_layer_sizes=workload.hidden,
            solver="adam",
            alpha=0.0,
            batch_size=min(workload.batch_size, workload.n_samples),
            learning_rate_init=LEARNING_RATE,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
            max_iter=epochs,
            n_iter_no_change=np.inf,
            random_state=SEED,
        )

    def train(self, epochs: int) -> list[float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # max_iter is reached, as wanted
            return self.make(epochs).fit(self.X, self.y).loss_curve_


class Nbnet(Estimator):
    def __init__(self, workload: Workload, threads: int | None):
        from nbnet import MLPClassifier

        super().__init__(MLPClassifier, workload)


class ScikitLearn(Estimator):
    def __init__(self, workload: Workload, threads: int | None):
        from sklearn.neural_network import MLPClassifier

        super().__init__(MLPClassifier, workload)


class Torch:
    # Up to this size PyTorch is faster when it gathers the rows of a whole epoch at once.
    GATHER_AT_ONCE = 8 * 2**20

    def __init__(self, workload: Workload, threads: int | None):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.workload = torch, workload
        X, y = workload.data()
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.loss = torch.nn.functional.cross_entropy
        if workload.n_outputs == 1:
            self.y = self.y.to(torch.float32)[:, None]
            self.loss = torch.nn.functional.binary_cross_entropy_with_logits

    def network(self, weights, biases):
        torch = self.torch
        layers = []
        for W, b in zip(weights, biases, strict=True):
            dense = torch.nn.Linear(*W.shape)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(W.T))
                dense.bias.copy_(torch.from_numpy(b))
            layers += [dense, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def train(self, epochs: int) -> list[float]:
        torch, rng = self.torch, np.random.RandomState(SEED)
        network = self.network(*self.workload.initial_parameters(rng))
        adam = torch.optim.Adam(
            network.parameters(), LEARNING_RATE, (BETA_1, BETA_2), EPSILON, fused=True
        )
        at_once = self.X.nbytes <= self.GATHER_AT_ONCE
        losses = []
        for _, order in zip(range(epochs), self.workload.orders(rng), strict=False):
            order = torch.from_numpy(order)
            if at_once:
                X, y = self.X[order], self.y[order]
            total = torch.zeros(())
            for batch in self.workload.batches:
                if at_once:
                    X_batch, y_batch = X[batch], y[batch]
                else:
                    X_batch, y_batch = self.X[order[batch]], self.y[order[batch]]
                loss = self.loss(network(X_batch), y_batch)
                adam.zero_grad()
                loss.backward()
                adam.step()
                total += loss.detach() * len(X_batch)
            losses.append(float(total) / self.workload.n_samples)
        return losses


class Jax:
    def __init__(self, workload: Workload, threads: int | None):
        import jax
        import jax.numpy as jnp

        self.workload = workload
        X, y = workload.data()
        self.X = jnp.asarray(X)
        self.y = jnp.asarray(y, dtype=jnp.float32 if workload.n_outputs == 1 else jnp.int32)
        # One compiled function for a whole epoch; the old parameters' memory is used again.
        self.epoch = jax.jit(self.epoch_of(jax, jnp), donate_argnums=0)

    def epoch_of(self, jax, jnp) -> Callable:
        n_outputs, batch_size = self.workload.n_outputs, self.workload.batch_size
        full, rest = divmod(self.workload.n_samples, batch_size)
        tree_map = jax.tree.map

        def mean_loss(params, X, y):
            h = X
            for W, b in params[:-1]:
                h = jnp.maximum(h @ W + b, 0)
            W, b = params[-1]
            z = h @ W + b
            if n_outputs == 1:
                return jnp.mean(jax.nn.softplus(z[:, 0]) - y * z[:, 0])
            at_label = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
            return jnp.mean(jax.nn.logsumexp(z, axis=1) - at_label)

        def step(state, X, y):
            params, m, v, t = state
            loss, gradient = jax.value_and_grad(mean_loss)(params, X, y)
            t = t + 1
            m = tree_map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
            v = tree_map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)
            # 1 - beta**t by expm1: float32 would lose four digits in the first steps
            rate = LEARNING_RATE * jnp.sqrt(-jnp.expm1(t * np.log(BETA_2)))
            rate = rate / -jnp.expm1(t * np.log(BETA_1))
            params = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
            return (params, m, v, t), loss

        def epoch(state, X, y, order):
            def batch(state, rows):
                return step(state, X[rows], y[rows])

            total = 0.0
            if full:
                rows = order[: full * batch_size].reshape(full, batch_size)
                state, losses = jax.lax.scan(batch, state, rows)
                total = losses.sum() * batch_size
            if rest:
                state, loss = batch(state, order[full * batch_size :])
                total = total + loss * rest
            return state, total / (full * batch_size + rest)

        return epoch

    def train(self, epochs: int) -> list[float]:
        import jax.numpy as jnp

        rng = np.random.RandomState(SEED)
        weights, biases = self.workload.initial_parameters(rng)
        params, m, v = (
            [(make(W), make(b)) for W, b in zip(weights, biases, strict=True)]
            for make in (jnp.asarray, jnp.zeros_like, jnp.zeros_like)
        )
        state = (params, m, v, jnp.float32(0))
        losses = []
        for _, order in zip(range(epochs), self.workload.orders(rng), strict=False):
            state, loss = self.epoch(state, self.X, self.y, jnp.asarray(order, dtype=jnp.int32))
            losses.append(float(loss))
        return losses


def parse(name: str) -> tuple[str, int | None]:
    """Split 'torch-2' into the system and its number of threads."""
    system, _, threads = name.partition("-")
    return system, int(threads) if threads else None


SYSTEMS = {"nbnet": Nbnet, "sklearn": ScikitLearn, "torch": Torch, "jax": Jax}
PACKAGES = {"nbnet": "nbnet", "sklearn": "scikit-learn", "torch": "torch", "jax": "jax"}


def available(cores: int) -> list[str]:
    """Names of the systems that are installed; PyTorch with one thread and with all cores."""
    names = ["nbnet", "sklearn"]
    if find_spec("torch"):
        names += [f"torch-{threads}" for threads in sorted({1, cores})]
    if find_spec("jax"):
        names.append("jax")
    return names
