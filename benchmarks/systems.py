"""The systems that take part: one class each, with the same methods.

``make(name, workload)`` prepares the data. ``train(epochs)`` trains from the initial parameters and
returns the loss of each epoch, the mean over its rows of the batch losses, each taken before its
update; with early stopping also the score of the held-out rows after each epoch; with L-BFGS the
loss at the end alone. ``averaged_loss()`` is the loss over all rows of the averaged parameters that
the last ``train`` left. ``predictor()`` gives the function from X to probabilities at the initial
parameters. Every system computes in the workload's dtype, with the same constants and no penalty.

PyTorch and JAX are written here as someone who cares for speed would write them for the CPU: fused
optimizers, an epoch that is one compiled function, of a sparse X only the entries that are stored,
of the ways to draw a mask in JAX the fastest.
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
from sklearn.metrics import log_loss

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
        names = {"schedule": "learning_rate"}
        self.settings |= {names.get(key, key): value for key, value in workload.extras.items()}

    def fit(self, epochs: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # max_iter is reached, as wanted
            model = self.kind(**self.settings, max_iter=epochs)
            return model.fit(self.X, self.y, sample_weight=self.weight)

    def train(self, epochs: int) -> dict[str, list[float]]:
        model = self.trained = self.fit(epochs)
        if self.workload.solver == "lbfgs":
            return {"losses": [float(model.loss_)]}
        return {
            "losses": [float(loss) for loss in model.loss_curve_],
            "scores": [float(score) for score in model.validation_scores_ or ()],
        }

    def averaged_loss(self) -> float:
        return float(log_loss(self.y, self.trained.predict_proba(self.X)))

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
            and not workload.extras
        )


class Nbnet(Estimator):
    def __init__(self, workload: Workload, threads: int | None):
        import nbnet

        super().__init__(nbnet, workload)
        if workload.activation == "maxout":
            self.settings["pieces"] = workload.pieces

    @staticmethod
    def can(workload: Workload) -> bool:
        return not (workload.softmax_of_two and workload.extras)  # a graph, without these


class Bare:
    """A library without estimators: fits are driven here, an epoch is the subclass's.

    A subclass has ``start(weights, biases)``, the state of a fit from initial parameters;
    ``epoch(state, order, rates)``, the next state and the epoch's loss, of one learning rate for
    each batch; and, for the workloads that need them, ``fitted(state)``, the parameters of the
    model, averaged if wanted; ``score(state, rows)``, the share of these rows that it classifies
    right; ``copy(state)``, a copy of it; ``probabilities(parameters)``, the function from X to
    those; ``objective(weights, biases)``, the parameters as one vector and the function from such a
    vector to loss and gradient.
    """

    def __init__(self, workload: Workload):
        self.workload = workload
        self.X, self.y = workload.data()
        self.weight = workload.sample_weight()
        self.loss_constant = workload.loss_constant(self.y)

    @staticmethod
    def can(workload: Workload) -> bool:
        adam_and_softmax = workload.solver == "adam" and workload.n_outputs > 1
        return adam_and_softmax or not workload.extras

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
        self.mask_seed = self.workload.mask_seed(rng)
        state = self.start(*parameters)
        losses, scores = [], []
        for epoch, order in zip(range(epochs), self.workload.orders(rng, rows), strict=False):
            rates = self.workload.learning_rates(epoch, epochs)
            state, loss = self.epoch(state, order, rates)
            losses.append(loss + self.loss_constant)
            if self.workload.early_stopping:
                score = self.score(state, held_out)
                if score > max(scores, default=-1.0):
                    self.best = self.copy(state)
                scores.append(score)
        self.state = state
        return {"losses": losses, "scores": scores}

    def averaged_loss(self) -> float:
        predict = self.probabilities(self.fitted(self.state))
        return float(log_loss(self.y, predict(np.asarray(self.X))))

    def predictor(self) -> Callable[[np.ndarray], np.ndarray]:
        start = self.parameters(*self.initial_parameters(np.random.RandomState(SEED)))
        return self.probabilities(start)


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

    def epoch(self, session, order, rates):
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
            "silu": self.functional.silu,
            "gelu": self.functional.gelu,
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
                loss = functional.cross_entropy(
                    z, y, reduction=reduction, label_smoothing=self.workload.label_smoothing
                )
        return loss if weight is None else loss.view(-1) @ weight / weight.sum()

    def parameters(self, weights, biases) -> list:
        """Weights, (fan_out, fan_in) but for the first of a sparse X, and biases in turn."""
        tensors = []
        for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
            W = W if self.sparse and i == 0 else np.ascontiguousarray(W.T)
            tensors += [self.torch.tensor(array, requires_grad=True) for array in (W, b)]
        return tensors

    def forward(self, parameters, X, dropout=0.0):
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
            h = self.activation(z)
            if dropout:
                h = self.functional.dropout(h, dropout)
            z = self.functional.linear(h, W, b)
        return z

    def start(self, weights, biases):
        self.torch.manual_seed(self.mask_seed)
        parameters, rate = self.parameters(weights, biases), self.workload.learning_rate
        optimizers, decay = self.torch.optim, self.workload.weight_decay
        adam = {"betas": (BETA_1, BETA_2), "eps": EPSILON, "fused": True}
        if self.workload.solver == "sgd":
            optimizer = optimizers.SGD(parameters, rate, MOMENTUM, nesterov=True, fused=True)
        elif decay:
            weights, biases = ({"params": parameters[i::2]} for i in range(2))
            biases["weight_decay"] = 0.0
            optimizer = optimizers.AdamW([weights, biases], rate, weight_decay=decay, **adam)
        else:
            optimizer = optimizers.Adam(parameters, rate, **adam)
        averages = [tensor.detach().clone() for tensor in parameters]
        return parameters, optimizer, itertools.count(1), averages

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

    def epoch(self, state, order, rates):
        parameters, optimizer, steps, averages = state
        dropout, clip_norm = self.workload.dropout, self.workload.clip_norm
        decay = self.workload.average
        total = self.torch.zeros((), dtype=parameters[0].dtype)
        for (X, y, weight), rate in zip(self.batches(order), rates.tolist(), strict=True):
            loss = self.mean_loss(self.forward(parameters, X, dropout), y, weight)
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                self.clip([tensor.grad for tensor in parameters], clip_norm)
            t = next(steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
                # PyTorch adds epsilon after the bias correction, the others before it.
                group["eps"] = EPSILON / math.sqrt(1 - BETA_2**t)
            optimizer.step()
            if decay:
                with self.torch.no_grad():
                    share = (1 - decay) / (1 - decay**t)
                    self.torch._foreach_lerp_(averages, parameters, share)
            total += loss.detach() * len(y)
        return state, float(total) / len(order)

    def clip(self, gradients, clip_norm):
        """As `clip_grad_norm_`, but without the 1e-6 that it adds to the norm."""
        norm = self.torch.nn.utils.get_total_norm(gradients, foreach=True)
        self.torch._foreach_mul_(gradients, (clip_norm / norm).clamp(max=1.0))

    def fitted(self, state):
        parameters, _, _, averages = state
        return averages if self.workload.average else parameters

    def score(self, state, rows):
        with self.torch.inference_mode():
            z = self.forward(self.fitted(state), self.X[rows])
            return float((z.argmax(1) == self.targets[rows]).double().mean())

    def copy(self, state):
        return [tensor.detach().clone() for tensor in self.fitted(state)]

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

    def probabilities(self, parameters):
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
        jax.config.update("jax_threefry_partitionable", False)  # masks take half the time
        self.jax, self.jnp = jax, jnp
        self.activation = {
            "relu": lambda z: jnp.maximum(z, 0),
            "leaky_relu": lambda z: jnp.where(z > 0, z, NEGATIVE_SLOPE * z),
            "abs": jnp.abs,
            "maxout": self.maxout,
            "tanh": jnp.tanh,
            "logistic": jax.nn.sigmoid,
            "silu": jax.nn.silu,
            "gelu": lambda z: jax.nn.gelu(z, approximate=False),
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

    def forward(self, params, X, keys=()):
        """Raw outputs; with a key for each hidden layer its units are dropped."""
        (W, b), *others = params
        if self.sparse:
            columns, values = X
            z = self.jnp.einsum("bk,bko->bo", values, W[columns]) + b
        else:
            z = X @ W + b
        for i, (W, b) in enumerate(others):
            h = self.activation(z)
            if len(keys):
                h = self.dropped(h, keys[i])
            z = h @ W + b
        return z

    def dropped(self, h, key):
        """By 16 random bits a unit, of the default generator: the fastest way by far."""
        rate = self.workload.dropout
        bits = self.jax.random.bits(key, h.shape, np.uint16)
        return self.jnp.where(bits < round(rate * 2**16), 0, h / (1 - rate))

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
        z_y = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
        smoothing = self.workload.label_smoothing
        if smoothing:
            z_y = (1 - smoothing) * z_y + smoothing * z.mean(axis=1)
        return jax.nn.logsumexp(z, axis=1) - z_y

    def mean_loss(self, params, X, y, weight, keys=()):
        losses = self.losses(self.forward(params, X, keys), y)
        return (losses * weight).sum() / weight.sum() if weight.size else losses.mean()

    def step(self, state, learning_rate, X, y, weight):
        jnp, tree_map, workload = self.jnp, self.jax.tree.map, self.workload
        params, m, v, t, average, key = state
        keys = ()
        if workload.dropout:
            key, *keys = self.jax.random.split(key, 1 + len(workload.hidden))
        loss, gradient = self.jax.value_and_grad(self.mean_loss)(params, X, y, weight, keys)
        if workload.clip_norm is not None:
            squares = sum((g * g).sum() for g in self.jax.tree.leaves(gradient))
            factor = jnp.minimum(workload.clip_norm / jnp.sqrt(squares), 1)
            gradient = tree_map(lambda g: factor * g, gradient)
        if workload.solver == "sgd":
            m = tree_map(lambda m, g: MOMENTUM * m - learning_rate * g, m, gradient)
            params = tree_map(
                lambda p, m, g: p + MOMENTUM * m - learning_rate * g, params, m, gradient
            )
            return (params, m, v, t, average, key), loss
        t = t + 1
        m = tree_map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
        v = tree_map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)
        # 1 - beta**t by expm1: float32 would lose four digits in the first steps
        rate = learning_rate * jnp.sqrt(-jnp.expm1(t * np.log(BETA_2)))
        rate = rate / -jnp.expm1(t * np.log(BETA_1))
        if workload.weight_decay:
            kept = 1 - learning_rate * workload.weight_decay
            params = [(kept * W, b) for W, b in params]
        params = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        if workload.average:
            share = (1 - workload.average) / -jnp.expm1(t * np.log(workload.average))
            average = tree_map(lambda a, p: a + share * (p - a), average, params)
        return (params, m, v, t, average, key), loss

    def epoch_of_batches(self, state, data, order, rates):
        full, rest = divmod(self.workload.n_training, self.workload.batch_size)
        batch_size = self.workload.batch_size

        def batch(state, rows_and_rate):
            rows, rate = rows_and_rate
            return self.step(state, rate, *self.take(data, rows))

        total = 0.0
        if full:
            rows = order[: full * batch_size].reshape(full, batch_size)
            state, losses = self.jax.lax.scan(batch, state, (rows, rates[:full]))
            total = losses.sum() * batch_size
        if rest:
            state, loss = batch(state, (order[full * batch_size :], rates[full]))
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
        m, v, average = (self.jax.tree.map(self.jnp.zeros_like, params) for _ in range(3))
        return (
            params, m, v, self.jnp.zeros((), self.workload.dtype),
            average if self.workload.average else None,
            self.jax.random.key(self.mask_seed) if self.workload.dropout else None,
        )  # fmt: skip

    def epoch(self, state, order, rates):
        order = self.jnp.asarray(order, dtype=self.jnp.int32)
        rates = self.jnp.asarray(rates, dtype=self.workload.dtype)
        state, loss = self.compiled_epoch(state, self.rows, order, rates)
        return state, float(loss)

    def fitted(self, state):
        params, _, _, _, average, _ = state
        return average if self.workload.average else params

    def share_right(self, params, data, rows):
        X, y, _ = self.take(data, rows)
        return self.jnp.mean(self.forward(params, X).argmax(axis=1) == y)

    def score(self, state, rows):
        return float(self.compiled_score(self.fitted(state), self.rows, rows))

    def copy(self, state):
        return self.jax.tree.map(self.jnp.copy, self.fitted(state))

    def loss_of_vector(self, vector, data):
        return self.mean_loss(self.unravel(vector), *data)

    def objective(self, weights, biases):
        from jax.flatten_util import ravel_pytree

        start, self.unravel = ravel_pytree(self.parameters(weights, biases))

        def loss_and_gradient(vector):
            loss, gradient = self.compiled_objective(vector, self.rows)
            return float(loss), np.asarray(gradient)

        return np.asarray(start), loss_and_gradient

    def probabilities(self, params):
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
