"""The systems that take part: one class each, with the same methods.

``make(name, workload)`` prepares the data. ``train(epochs)`` trains from the initial parameters and
returns the loss of each epoch, the mean over its rows of the batch losses, each taken before its
update; with early stopping also the score of the held-out rows after each epoch; with L-BFGS the
loss at the end alone. ``predictor()`` gives the function from X to probabilities at the initial
parameters. Every system computes in the workload's dtype, with the same constants and no penalty.

PyTorch and JAX are written here as someone who cares for speed would write them for the CPU: fused
optimizers, an epoch that is one compiled function, of a sparse X only the entries that are stored.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from functools import reduce
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from benchmarks.workloads import SEED, VALIDATION_FRACTION, Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9
NEGATIVE_SLOPE = 0.01


class Estimator:
    """Either library's estimators, through their public interface."""

    def __init__(self, library: Any, workload: Workload):
        self.workload = workload
        self.X, self.y = workload.data()
        self.weight = workload.sample_weight()
        self.settings = {
            "hidden_layer_sizes": workload.hidden,
            "activation": workload.activation,
            "solver": workload.solver,
            "alpha": 0.0,
            "batch_size": min(workload.batch_size, workload.n_training),
            "learning_rate_init": workload.learning_rate,
            "momentum": MOMENTUM,
            "beta_1": BETA_1,
            "beta_2": BETA_2,
            "epsilon": EPSILON,
            "early_stopping": workload.early_stopping,
            "validation_fraction": VALIDATION_FRACTION,
            "n_iter_no_change": np.inf,
            "tol": 0.0,
            "random_state": SEED,
        }
        self.kind = library.MLPClassifier
        if workload.is_regression:
            self.kind = library.MLPRegressor
            self.settings["loss"] = workload.loss

    def fit(self, epochs: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # max_iter is reached, as wanted
            model = self.kind(**self.settings, max_iter=epochs)
            return model.fit(self.X, self.y, sample_weight=self.weight)

    def train(self, epochs: int) -> dict[str, list[float]]:
        model = self.fit(epochs)
        if self.workload.solver == "lbfgs":
            return {"losses": [float(model.loss_)]}
        return {
            "losses": [float(loss) for loss in model.loss_curve_],
            "scores": [float(score) for score in model.validation_scores_ or ()],
        }

    def predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        model = self.fit(1)
        random = np.random.RandomState(SEED)
        coefs, intercepts = self.workload.initial_parameters(random)
        for fitted, wanted in zip(
            model.coefs_ + model.intercepts_, coefs + intercepts, strict=True
        ):
            fitted[...] = wanted  # in place: the arrays stay those of a fitted model
        return model.predict_proba


class ScikitLearn(Estimator):
    def __init__(self, workload: Workload, threads: int | None):
        import sklearn.neural_network

        super().__init__(sklearn.neural_network, workload)

    @staticmethod
    def can(workload: Workload) -> bool:
        return (
            workload.activation in ("relu", "tanh", "logistic")
            and workload.loss != "absolute_error"
            and not workload.softmax_of_two
        )


class Nbnet(Estimator):
    def __init__(self, workload: Workload, threads: int | None):
        import nbnet

        super().__init__(nbnet, workload)
        if workload.activation == "maxout":
            self.settings["pieces"] = workload.pieces

    @staticmethod
    def can(workload: Workload) -> bool:
        return True


class Bare:
    """A library without estimators: fits are driven here, an epoch is the subclass's.

    A subclass has ``start(weights, biases)``, the state of a fit from initial parameters;
    ``epoch(state, order)``, the next state and the epoch's loss; and, for the workloads that need
    them, ``score(state, rows)``, the share of these rows that is classified right; ``copy(state)``,
    a copy of the parameters; ``objective(weights, biases)``, the parameters as one vector and the
    function from such a vector to loss and gradient.
    """

    def __init__(self, workload: Workload):
        self.workload = workload
        self.X, self.y = workload.data()
        self.weight = workload.sample_weight()
        self.loss_constant = workload.loss_constant(self.y)

    @staticmethod
    def can(workload: Workload) -> bool:
        return True

    def initial_parameters(self, rng: np.random.RandomState) -> tuple[list, list]:
        """Return those of the workload, but the first pieces of all maxout units come first."""

        def piece_major(array: np.ndarray) -> np.ndarray:
            pieces = array.reshape(*array.shape[:-1], -1, self.workload.pieces)
            return np.ascontiguousarray(np.swapaxes(pieces, -1, -2).reshape(array.shape))

        weights, biases = self.workload.initial_parameters(rng)
        return tuple([*map(piece_major, arrays[:-1]), arrays[-1]] for arrays in (weights, biases))

    def train(self, epochs: int) -> dict[str, list[float]]:
        rng = np.random.RandomState(SEED)
        parameters = self.initial_parameters(rng)
        if self.workload.solver == "lbfgs":
            start, function = self.objective(*parameters)
            options = {"maxiter": epochs, "maxfun": 15_000, "gtol": 0.0}
            end = minimize(function, start, method="L-BFGS-B", jac=True, options=options)
            return {"losses": [float(end.fun)]}
        rows, held_out = self.workload.split(rng, self.y)
        state = self.start(*parameters)
        losses, scores = [], []
        for _, order in zip(range(epochs), self.workload.orders(rng, rows), strict=False):
            state, loss = self.epoch(state, order)
            losses.append(loss + self.loss_constant)
            if self.workload.early_stopping:
                score = self.score(state, held_out)
                if score > max(scores, default=-1.0):
                    self.best = self.copy(state)
                scores.append(score)
        return {"losses": losses, "scores": scores}


class NbnetGraph(Bare):
    """nbnet for what its estimators do not offer: two classes by two softmax outputs."""

    def __init__(self, workload: Workload, threads: int | None):
        from nbnet import graph
        from nbnet.graph.network import Network
        from nbnet.graph.session import Session

        super().__init__(workload)
        layers = [(workload.activation, units) for units in workload.hidden]
        self.network = Network(graph.mlp(workload.n_features, layers, workload.n_outputs))
        self.session = Session

    def start(self, weights, biases):
        return self.session(
            self.network, self.network.pack(weights, biases), self.X, self.y,
            loss="softmax_cross_entropy", batch_size=self.workload.batch_size,
            beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON,
        )  # fmt: skip

    def epoch(self, session, order):
        return session, session.epoch(order, self.workload.learning_rate)


class Torch(Bare):
    # Up to this size PyTorch is faster when it gathers the rows of a whole epoch at once.
    GATHER_AT_ONCE = 8 * 2**20

    def __init__(self, workload: Workload, threads: int | None):
        import torch

        super().__init__(workload)
        torch.set_num_threads(threads)
        self.torch, self.functional = torch, torch.nn.functional
        self.activation = {
            "relu": torch.relu,
            "leaky_relu": lambda z: self.functional.leaky_relu(z, NEGATIVE_SLOPE),
            "abs": torch.abs,
            "maxout": lambda z: z.view(len(z), workload.pieces, -1).amax(1),
            "tanh": torch.tanh,
            "logistic": torch.sigmoid,
        }[workload.activation]
        self.sparse = sparse.issparse(self.X)
        self.at_once = self.sparse or self.X.nbytes <= self.GATHER_AT_ONCE
        if not self.sparse:
            self.X = torch.from_numpy(self.X)
        self.targets = torch.from_numpy(self.y)
        if workload.n_outputs == 1:
            self.targets = self.targets.to(getattr(torch, workload.dtype))[:, None]
        if workload.weighted:
            self.weight = torch.from_numpy(self.weight)

    def mean_loss(self, z, y, weight):
        functional = self.functional
        reduction = "mean" if weight is None else "none"
        match self.workload.loss:
            case "squared_error":
                loss = 0.5 * functional.mse_loss(z, y, reduction=reduction)
            case "absolute_error":
                loss = functional.l1_loss(z, y, reduction=reduction)
            case "poisson":
                loss = functional.poisson_nll_loss(z, y, reduction=reduction)
            case "cross_entropy" if self.workload.n_outputs == 1:
                loss = functional.binary_cross_entropy_with_logits(z, y, reduction=reduction)
            case "cross_entropy":
                loss = functional.cross_entropy(z, y, reduction=reduction)
        return loss if weight is None else loss.view(-1) @ weight / weight.sum()

    def parameters(self, weights, biases) -> list:
        """Weights, (fan_out, fan_in) but for the first of a sparse X, and biases in turn."""
        tensors = []
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            W = W if self.sparse and i == 0 else np.ascontiguousarray(W.T)
            tensors += [self.torch.tensor(array, requires_grad=True) for array in (W, b)]
        return tensors

    def forward(self, parameters, X):
        """Raw outputs; a sparse X is indices of columns, values, and where rows begin."""
        (W, b), *others = zip(parameters[::2], parameters[1::2], strict=True)
        if self.sparse:
            columns, values, begins = X
            z = b + self.functional.embedding_bag(
                columns, W, begins, mode="sum", per_sample_weights=values
            )
        else:
            z = self.functional.linear(X, W, b)
        for W, b in others:
            z = self.functional.linear(self.activation(z), W, b)
        return z

    def start(self, weights, biases):
        parameters, rate = self.parameters(weights, biases), self.workload.learning_rate
        optimizers = self.torch.optim
        if self.workload.solver == "sgd":
            optimizer = optimizers.SGD(parameters, rate, MOMENTUM, nesterov=True, fused=True)
        else:
            optimizer = optimizers.Adam(parameters, rate, (BETA_1, BETA_2), EPSILON, fused=True)
        return parameters, optimizer, itertools.count(1)

    def batches(self, order):
        """Yield X, y and weights of each batch."""
        torch, X = self.torch, self.X
        if self.sparse:
            X = self.X[order]
            columns, values, ends = map(torch.from_numpy, (X.indices, X.data, X.indptr))
        order = torch.from_numpy(order)
        if self.at_once:
            X = X if self.sparse else X[order]
            y, weight = self.targets[order], None if self.weight is None else self.weight[order]
        for batch in self.workload.batches:
            if self.sparse:
                first, last = ends[batch.start], ends[batch.stop]
                X_batch = columns[first:last], values[first:last], ends[batch] - first
                yield X_batch, y[batch], None if weight is None else weight[batch]
            elif self.at_once:
                yield X[batch], y[batch], None if weight is None else weight[batch]
            else:
                rows = order[batch]
                weights = None if self.weight is None else self.weight[rows]
                yield X[rows], self.targets[rows], weights

    def epoch(self, state, order):
        parameters, optimizer, steps = state
        total = self.torch.zeros((), dtype=parameters[0].dtype)
        for X, y, weight in self.batches(order):
            loss = self.mean_loss(self.forward(parameters, X), y, weight)
            optimizer.zero_grad()
            loss.backward()
            # PyTorch adds epsilon after the bias correction, the others before it.
            optimizer.param_groups[0]["eps"] = EPSILON / math.sqrt(1 - BETA_2 ** next(steps))
            optimizer.step()
            total += loss.detach() * len(y)
        return state, float(total) / len(order)

    def score(self, state, rows):
        with self.torch.inference_mode():
            z = self.forward(state[0], self.X[rows])
            return float((z.argmax(1) == self.targets[rows]).double().mean())

    def copy(self, state):
        return [tensor.detach().clone() for tensor in state[0]]

    def objective(self, weights, biases):
        utils = self.torch.nn.utils
        parameters = self.parameters(weights, biases)

        def loss_and_gradient(vector):
            utils.vector_to_parameters(self.torch.from_numpy(vector), parameters)
            for tensor in parameters:
                tensor.grad = None
            loss = self.mean_loss(self.forward(parameters, self.X), self.targets, self.weight)
            loss.backward()
            gradient = utils.parameters_to_vector([tensor.grad for tensor in parameters])
            return loss.item(), gradient.numpy()

        return utils.parameters_to_vector(parameters).detach().numpy().copy(), loss_and_gradient

    def predictor(self):
        parameters = self.parameters(*self.initial_parameters(np.random.RandomState(SEED)))

        def predict(X):
            with self.torch.inference_mode():
                z = self.forward(parameters, self.torch.from_numpy(X))
                return self.torch.softmax(z, 1).numpy()

        return predict


class Jax(Bare):
    def __init__(self, workload: Workload, threads: int | None):
        import jax
        import jax.numpy as jnp

        super().__init__(workload)
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self.jax, self.jnp = jax, jnp
        self.activation = {
            "relu": lambda z: jnp.maximum(z, 0),
            "leaky_relu": lambda z: jnp.where(z > 0, z, NEGATIVE_SLOPE * z),
            "abs": jnp.abs,
            "maxout": self.maxout,
            "tanh": jnp.tanh,
            "logistic": jax.nn.sigmoid,
        }[workload.activation]
        self.sparse = sparse.issparse(self.X)
        X = self.padded(self.X) if self.sparse else self.X
        y = self.y.astype(workload.dtype if workload.n_outputs == 1 else np.int32)
        weight = np.ones(0, workload.dtype) if self.weight is None else self.weight
        self.rows = jax.tree.map(jnp.asarray, (X, y, weight))
        # One compiled function for a whole epoch; the old parameters' memory is used again.
        self.compiled_epoch = jax.jit(self.epoch_of_batches, donate_argnums=0)
        self.compiled_score = jax.jit(self.share_right)
        self.compiled_objective = jax.jit(jax.value_and_grad(self.loss_of_vector))

    @staticmethod
    def padded(X) -> tuple[np.ndarray, np.ndarray]:
        """Columns and values of the stored entries, (N, most in a row); zeros fill short rows."""
        stored = np.diff(X.indptr)
        used = np.arange(stored.max()) < stored[:, None]
        columns, values = np.zeros(used.shape, np.int32), np.zeros(used.shape, X.dtype)
        columns[used], values[used] = X.indices, X.data
        return columns, values

    def maxout(self, z):
        # One after the other: faster than a maximum along an axis.
        return reduce(self.jnp.maximum, self.jnp.split(z, self.workload.pieces, axis=1))

    def forward(self, params, X):
        (W, b), *others = params
        if self.sparse:
            columns, values = X
            z = self.jnp.einsum("bk,bko->bo", values, W[columns]) + b
        else:
            z = X @ W + b
        for W, b in others:
            z = self.activation(z) @ W + b
        return z

    def losses(self, z, y):
        jax, jnp = self.jax, self.jnp
        match self.workload.loss:
            case "squared_error":
                return 0.5 * (z[:, 0] - y) ** 2
            case "absolute_error":
                return jnp.abs(z[:, 0] - y)
            case "poisson":
                return jnp.exp(z[:, 0]) - y * z[:, 0]
        if self.workload.n_outputs == 1:
            return jax.nn.softplus(z[:, 0]) - y * z[:, 0]
        return jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]

    def mean_loss(self, params, X, y, weight):
        losses = self.losses(self.forward(params, X), y)
        return (losses * weight).sum() / weight.sum() if weight.size else losses.mean()

    def step(self, state, X, y, weight):
        jnp, tree_map, learning_rate = self.jnp, self.jax.tree.map, self.workload.learning_rate
        params, m, v, t = state
        loss, gradient = self.jax.value_and_grad(self.mean_loss)(params, X, y, weight)
        if self.workload.solver == "sgd":
            m = tree_map(lambda m, g: MOMENTUM * m - learning_rate * g, m, gradient)
            params = tree_map(
                lambda p, m, g: p + MOMENTUM * m - learning_rate * g, params, m, gradient
            )
            return (params, m, v, t), loss
        t = t + 1
        m = tree_map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
        v = tree_map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)
        # 1 - beta**t by expm1: float32 would lose four digits in the first steps
        rate = learning_rate * jnp.sqrt(-jnp.expm1(t * np.log(BETA_2)))
        rate = rate / -jnp.expm1(t * np.log(BETA_1))
        params = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        return (params, m, v, t), loss

    def epoch_of_batches(self, state, data, order):
        full, rest = divmod(self.workload.n_training, self.workload.batch_size)
        batch_size = self.workload.batch_size

        def batch(state, rows):
            return self.step(state, *self.take(data, rows))

        total = 0.0
        if full:
            rows = order[: full * batch_size].reshape(full, batch_size)
            state, losses = self.jax.lax.scan(batch, state, rows)
            total = losses.sum() * batch_size
        if rest:
            state, loss = batch(state, order[full * batch_size :])
            total = total + loss * rest
        return state, total / (full * batch_size + rest)

    def take(self, data, rows):
        return self.jax.tree.map(lambda array: array[rows] if array.size else array, data)

    def parameters(self, weights, biases):
        return [
            (self.jnp.asarray(W), self.jnp.asarray(b)) for W, b in zip(weights, biases, strict=True)
        ]

    def start(self, weights, biases):
        params = self.parameters(weights, biases)
        zeros = (self.jax.tree.map(self.jnp.zeros_like, params) for _ in range(2))
        return (params, *zeros, self.jnp.zeros((), self.workload.dtype))

    def epoch(self, state, order):
        order = self.jnp.asarray(order, dtype=self.jnp.int32)
        state, loss = self.compiled_epoch(state, self.rows, order)
        return state, float(loss)

    def share_right(self, params, data, rows):
        X, y, _ = self.take(data, rows)
        return self.jnp.mean(self.forward(params, X).argmax(axis=1) == y)

    def score(self, state, rows):
        return float(self.compiled_score(state[0], self.rows, rows))

    def copy(self, state):
        return self.jax.tree.map(self.jnp.copy, state[0])

    def loss_of_vector(self, vector, data):
        return self.mean_loss(self.unravel(vector), *data)

    def objective(self, weights, biases):
        from jax.flatten_util import ravel_pytree

        start, self.unravel = ravel_pytree(self.parameters(weights, biases))

        def loss_and_gradient(vector):
            loss, gradient = self.compiled_objective(vector, self.rows)
            return float(loss), np.asarray(gradient)

        return np.asarray(start), loss_and_gradient

    def predictor(self):
        params = self.parameters(*self.initial_parameters(np.random.RandomState(SEED)))
        compiled = self.jax.jit(lambda X: self.jax.nn.softmax(self.forward(params, X), axis=1))
        return lambda X: np.asarray(compiled(X))


CLASSES = {"nbnet": Nbnet, "sklearn": ScikitLearn, "torch": Torch, "jax": Jax}
PACKAGES = {"nbnet": "nbnet", "sklearn": "scikit-learn", "torch": "torch", "jax": "jax"}
LABELS = {"nbnet": "nbnet", "sklearn": "scikit-learn", "torch": "PyTorch", "jax": "JAX"}


def parse(name: str) -> tuple[str, int | None]:
    """Split 'torch-2' into the system and its number of threads."""
    system, _, threads = name.partition("-")
    return system, int(threads) if threads else None


def make(system: str, workload: dict[str, Any]) -> Estimator | Bare:
    """Prepare a system for a workload, given as the fields that JSON has of it."""
    name, threads = parse(system)
    kind, work = CLASSES[name], Workload.of(workload)
    if kind is Nbnet and work.softmax_of_two:
        kind = NbnetGraph
    return kind(work, threads)


def can(system: str, workload: Workload) -> bool:
    """Whether the system offers what the workload asks for."""
    return CLASSES[parse(system)[0]].can(workload)


def label(name: str) -> str:
    """The system by the name its makers give it."""
    system, threads = parse(name)
    if threads is None:
        return LABELS[system]
    return f"{LABELS[system]}, {threads} thread{'s' if threads > 1 else ''}"


def available(cores: int) -> list[str]:
    """Names of the systems that are installed; PyTorch with one thread and with all cores."""
    names = ["nbnet", "sklearn"]
    if find_spec("torch"):
        names += [f"torch-{threads}" for threads in sorted({1, cores})]
    if find_spec("jax"):
        names.append("jax")
    return names
