"""Naive NumPy twins of what nbnet computes, written for the eye.

A network is walked node by node, as general back-propagation is told in the book (Goodfellow,
Bengio and Courville, *Deep Learning*, section 6.5): forward in topological order; backward in the
reverse order, each op multiplying the gradient of its value by its Jacobian, and a node that feeds
several others summing what comes back over the different paths.

Everything here is computed in float64 from the formulas, without blocks, tiles, threads or fused
steps, and nothing is imported from nbnet: a twin that shared code with the kernels could not
contradict them. Each table of nbnet has a table of the same name here; `missing` says which row
still lacks a twin.

At a kink a twin takes scikit-learn's side: the slope of ReLU and the sign of a difference are 0 at
0, leaky ReLU takes the negative slope, and of equal pieces of a maxout unit the first one wins.

Shapes: N samples, I inputs, O units, K maxout pieces, T targets, R raw outputs, P parameters, S
optimizer slots.
"""

import numpy as np
from scipy import stats
from scipy.special import (
    betaln,
    digamma,
    erfcx,
    expit,
    huber,
    log_expit,
    log_softmax,
    logsumexp,
    ndtr,
    softmax,
    xlogy,
)

# Activations ----------------------------------------------------------------------------------
# name: (value, slope), both of the pre-activations z and the negative slope a


def softplus(z):
    """log(1 + exp(z)), which is z for large z."""
    return np.logaddexp(0.0, z)


def normal_cdf(z):
    """Of the standard normal distribution, with exp(-z^2 / 2) taken out where that is small."""
    below = 0.5 * np.exp(-0.5 * z * z) * erfcx(np.abs(z) / np.sqrt(2.0))
    return np.where(z < 0.0, below, ndtr(z))


def elu(z):
    return np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0)))


def elu_slope(z):
    return np.where(z > 0.0, 1.0, np.exp(np.minimum(z, 0.0)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


ACTIVATIONS = {
    "identity": (lambda z, a: z, lambda z, a: np.ones_like(z)),
    "logistic": (lambda z, a: expit(z), lambda z, a: expit(z) * expit(-z)),
    "tanh": (lambda z, a: np.tanh(z), lambda z, a: 4.0 * expit(2.0 * z) * expit(-2.0 * z)),
    "relu": (lambda z, a: np.maximum(z, 0.0), lambda z, a: np.where(z > 0.0, 1.0, 0.0)),
    "leaky_relu": (
        lambda z, a: np.maximum(z, 0.0) + a * np.minimum(z, 0.0),
        lambda z, a: np.where(z > 0.0, 1.0, a),
    ),
    "abs": (lambda z, a: np.abs(z), lambda z, a: np.sign(z)),
    "softplus": (lambda z, a: softplus(z), lambda z, a: expit(z)),
    "gelu": (
        lambda z, a: z * normal_cdf(z),
        lambda z, a: normal_cdf(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi),
    ),
    "silu": (
        lambda z, a: z * expit(z),
        lambda z, a: expit(z) + z * expit(z) * expit(-z),
    ),
    "elu": (lambda z, a: elu(z), lambda z, a: elu_slope(z)),
    "selu": (
        lambda z, a: SELU_SCALE * np.where(z > 0.0, z, SELU_ALPHA * elu(z)),
        lambda z, a: SELU_SCALE * np.where(z > 0.0, 1.0, SELU_ALPHA * elu_slope(z)),
    ),
    "mish": (
        lambda z, a: z * np.tanh(softplus(z)),
        lambda z, a: np.tanh(softplus(z)) + z * expit(z) * (1.0 - np.tanh(softplus(z)) ** 2),
    ),
}


# Losses and their inverse links ---------------------------------------------------------------
# name: (value (N,), gradient (N, R)), both of raw outputs z (N, R), targets y (N, T) and, where the
# loss has one, its setting. `LINKS` has the distribution's parameters (N, R), `KINKS` the signed
# distances, in arrays, from the places where a second derivative is missing.


def one_hot(y, n_classes):
    """Class indices (N, 1) as rows of the identity (N, R)."""
    return np.eye(n_classes)[y[:, 0].astype(int)]


def pinned(z):
    """Logits (N, K) of all classes: that of class 0 is the constant 0."""
    return np.hstack([np.zeros((len(z), 1)), z])


def full_gaussian_parts(z):
    """Means (N, T), logarithms a (N, T) and the factors M (N, T, T) with M_ii = exp(-a_i)."""
    counts = [T * (T + 3) // 2 for T in range(z.shape[1] + 1)]
    n_targets = counts.index(z.shape[1])
    mean, a = z[:, :n_targets], z[:, n_targets : 2 * n_targets]
    M = np.zeros((len(z), n_targets, n_targets))
    for n in range(len(z)):
        below = iter(z[n, 2 * n_targets :])
        for i in range(n_targets):
            for j in range(i):
                M[n, i, j] = next(below)
            M[n, i, i] = np.exp(-a[n, i])
    return mean, a, M


def full_gaussian(z, y):
    """Minus the logarithm of the normal density of which M is the inverse Cholesky factor."""
    mean, a, M = full_gaussian_parts(z)
    value = np.zeros(len(z))
    for n in range(len(z)):
        white = M[n] @ (y[n] - mean[n])
        value[n] = a[n].sum() - stats.norm.logpdf(white).sum()
    return value


def full_gaussian_gradient(z, y):
    """White noise e = M (y - mean): its squares are fed by the means, the diagonal and the rest."""
    mean, _, M = full_gaussian_parts(z)
    n_targets = mean.shape[1]
    gradient = np.zeros(z.shape)
    for n in range(len(z)):
        d = y[n] - mean[n]
        white = M[n] @ d
        gradient[n, :n_targets] = -M[n].T @ white
        gradient[n, n_targets : 2 * n_targets] = 1.0 - white * np.diag(M[n]) * d
        gradient[n, 2 * n_targets :] = [white[i] * d[j] for i in range(n_targets) for j in range(i)]
    return gradient


def gaussian(z, y):
    mean, a = np.hsplit(z, 2)
    return np.sum(a - stats.norm.logpdf((y - mean) * np.exp(-a)), axis=1)


def gaussian_gradient(z, y):
    mean, a = np.hsplit(z, 2)
    return np.hstack([(mean - y) * np.exp(-2.0 * a), 1.0 - (mean - y) ** 2 * np.exp(-2.0 * a)])


def laplace(z, y):
    """By hand: scipy takes the logarithm of the density, which is 0 far out."""
    median, a = np.hsplit(z, 2)
    return np.sum(np.log(2.0) + a + np.abs((y - median) * np.exp(-a)), axis=1)


def laplace_gradient(z, y):
    median, a = np.hsplit(z, 2)
    scaled = (median - y) * np.exp(-a)
    return np.hstack([np.sign(scaled) * np.exp(-a), 1.0 - np.abs(scaled)])


def scale_link(z, n_targets):
    """Locations as they are, scales from their logarithms, and what comes after them."""
    return np.hstack(
        [z[:, :n_targets], np.exp(z[:, n_targets : 2 * n_targets]), z[:, 2 * n_targets :]]
    )


def clipped_linear(z, y, dtype=np.float64):
    """Cross-entropy of the probability max(0, min(1, z)), for the logarithm at least tiny."""
    tiny = np.float64(np.finfo(dtype).tiny)
    p = np.maximum(0.0, np.minimum(1.0, z))
    return np.sum(
        -y * np.log(np.maximum(p, tiny)) - (1.0 - y) * np.log(np.maximum(1.0 - p, tiny)), axis=1
    )


def clipped_linear_gradient(z, y, dtype=np.float64):
    inside = (z > 0.0) & (z < 1.0)
    p = np.where(inside, z, 0.5)
    return np.where(inside, -y / p + (1.0 - y) / (1.0 - p), 0.0)


def quantile_gap(z, y, quantile):
    """Levels (R,), and z - y (N, R): with Q levels, the first Q raw outputs are of target 0."""
    levels = np.tile(quantile, y.shape[1])
    return levels, z - np.repeat(y, len(levels) // y.shape[1], axis=1)


def pinball(z, y, quantile=0.5):
    """Summed over the levels, of which there may be several, and the targets."""
    q, d = quantile_gap(z, y, quantile)
    return np.sum(np.maximum(-q * d, (1.0 - q) * d), axis=1)


def pinball_gradient(z, y, quantile=0.5):
    q, d = quantile_gap(z, y, quantile)
    return np.select([d < 0.0, d > 0.0], [-q + 0.0 * d, 1.0 - q + 0.0 * d], d)


def smoothed_softmax(z, y, label_smoothing=0.0):
    """Cross-entropy with targets 1 - e on the class and e / K more on each of K classes."""
    return -np.sum(smoothed_classes(z, y, label_smoothing) * log_softmax(z, axis=1), axis=1)


def smoothed_softmax_gradient(z, y, label_smoothing=0.0):
    return softmax(z, axis=1) - smoothed_classes(z, y, label_smoothing)


def smoothed_classes(z, y, e):
    K = z.shape[1]
    return (1.0 - e) * one_hot(y, K) + e / K


def smoothed_labels(y, e):
    """Labels 0 and 1 as two classes, each of which gets half of e."""
    return y * (1.0 - e) + e / 2.0


def log_others(z, y):
    """log(1 - p) of the probability p of the right class: a sum over the other classes."""
    z = z - z.max(axis=1, keepdims=True)  # or the logarithms below would be rounded like it
    others = np.where(one_hot(y, z.shape[1]) == 1.0, -np.inf, z)
    with np.errstate(divide="ignore"):  # there may be no others
        return np.maximum(logsumexp(others, axis=1) - logsumexp(z, axis=1), -700.0)


def softmax_focal(z, y, focal_gamma=2.0):
    """(1 - p)^gamma (-log p). (Lin et al., 2017, equation 4.)"""
    log_p = np.sum(one_hot(y, z.shape[1]) * log_softmax(z, axis=1), axis=1)
    return -np.exp(focal_gamma * log_others(z, y)) * log_p


def softmax_focal_gradient(z, y, focal_gamma=2.0):
    """d/dp = gamma (1 - p)^(gamma - 1) log p - (1 - p)^gamma / p; dp/dz_j = p (delta_j - p_j)."""
    truth, log_p_all = one_hot(y, z.shape[1]), log_softmax(z, axis=1)
    log_p = np.sum(truth * log_p_all, axis=1, keepdims=True)
    log_q = log_others(z, y)[:, None]
    p, log_p_all = np.exp(log_p), np.exp(log_p_all)
    by_p_times_p = focal_gamma * np.exp((focal_gamma - 1.0) * log_q) * log_p * p
    by_p_times_p = by_p_times_p - np.exp(focal_gamma * log_q)
    # 1 - p_y is the sum of the others'
    differences = np.where(truth == 1.0, np.exp(log_q), -log_p_all)
    return by_p_times_p * differences


def sigmoid_focal(z, y, focal_gamma=2.0):
    """Each label by itself; a y between 0 and 1 is so much of each."""
    of_1 = expit(-z) ** focal_gamma * -log_expit(z)
    of_0 = expit(z) ** focal_gamma * -log_expit(-z)
    return np.sum(y * of_1 + (1.0 - y) * of_0, axis=1)


def sigmoid_focal_gradient(z, y, focal_gamma=2.0):
    """The derivative of (1 - p)^gamma (-log p) by the logit of p is d below."""

    def d(logit):
        p, q = expit(logit), expit(-logit)
        return q**focal_gamma * (focal_gamma * p * log_expit(logit) - q)

    return y * d(z) - (1.0 - y) * d(-z)


def tweedie(z, y, tweedie_power=1.5):
    p, mean = tweedie_power, np.exp(z)
    deviance = y ** (2.0 - p) / ((1.0 - p) * (2.0 - p))
    deviance = deviance - y * mean ** (1.0 - p) / (1.0 - p) + mean ** (2.0 - p) / (2.0 - p)
    return np.sum(deviance, axis=1)


def tweedie_gradient(z, y, tweedie_power=1.5):
    return np.exp((2.0 - tweedie_power) * z) - y * np.exp((1.0 - tweedie_power) * z)


def negative_binomial(z, y):
    """Minus the logarithm of its probability function, mean exp(z) and dispersion exp(a) = 1 / r.

    Gamma(r) / Gamma(y + r) is a beta function over Gamma(y), which scipy knows for any r.
    """
    z, a = np.hsplit(z, 2)
    r = np.exp(-a)
    some = np.where(y > 0.0, y, 1.0)
    gammas = np.where(y > 0.0, betaln(r, some) + np.log(some), 0.0)  # y! Gamma(r) / Gamma(y + r)
    # (y + r) log(1 + m / r) - y log(m / r), with log(m / r) = z + a
    return np.sum(gammas + r * softplus(z + a) + y * softplus(-z - a), axis=1)


def negative_binomial_gradient(z, y):
    z, a = np.hsplit(z, 2)
    r = np.exp(-a)
    by_mean = r * expit(z + a) - y * expit(-z - a)
    by_r = digamma(r) - digamma(y + r) + softplus(z + a)
    return np.hstack([by_mean, by_mean - r * by_r])


LOSSES = {
    "softmax_cross_entropy": (
        lambda z, y: -np.sum(one_hot(y, z.shape[1]) * log_softmax(z, axis=1), axis=1),
        lambda z, y: softmax(z, axis=1) - one_hot(y, z.shape[1]),
    ),
    # -y log p - (1 - y) log(1 - p) with p = 1 / (1 + exp(-z)); softplus((1 - 2y) z) for y in {0, 1}
    "sigmoid_cross_entropy": (
        lambda z, y: np.sum(y * softplus(-z) + (1.0 - y) * softplus(z), axis=1),
        lambda z, y: (1.0 - y) * expit(z) - y * expit(-z),
    ),
    "half_squared_error": (
        lambda z, y: np.sum(0.5 * (z - y) ** 2, axis=1),
        lambda z, y: z - y,
    ),
    "absolute_error": (
        lambda z, y: np.sum(np.abs(z - y), axis=1),
        lambda z, y: np.sign(z - y),
    ),
    "half_poisson_deviance": (
        lambda z, y: np.sum(np.exp(z) - y * z + xlogy(y, y) - y, axis=1),
        lambda z, y: np.exp(z) - y,
    ),
    "quantile": (pinball, pinball_gradient),
    "huber": (
        lambda z, y, huber_delta=1.0: np.sum(huber(huber_delta, z - y), axis=1),
        lambda z, y, huber_delta=1.0: np.clip(z - y, -huber_delta, huber_delta),
    ),
    "gaussian": (gaussian, gaussian_gradient),
    "full_gaussian": (full_gaussian, full_gaussian_gradient),
    "laplace": (laplace, laplace_gradient),
    "pinned_softmax_cross_entropy": (
        lambda z, y: LOSSES["softmax_cross_entropy"][0](pinned(z), y),
        lambda z, y: LOSSES["softmax_cross_entropy"][1](pinned(z), y)[:, 1:],
    ),
    "clipped_linear_cross_entropy": (clipped_linear, clipped_linear_gradient),
    "half_sigmoid_squared_error": (
        lambda z, y: np.sum(0.5 * (expit(z) - y) ** 2, axis=1),
        lambda z, y: (expit(z) - y) * expit(z) * expit(-z),
    ),
    "inner_product": (
        lambda z, y: np.sum(z * y, axis=1),
        lambda z, y: y + np.zeros_like(z),
    ),
    "smoothed_softmax_cross_entropy": (smoothed_softmax, smoothed_softmax_gradient),
    "smoothed_pinned_softmax_cross_entropy": (
        lambda z, y, **e: smoothed_softmax(pinned(z), y, **e),
        lambda z, y, **e: smoothed_softmax_gradient(pinned(z), y, **e)[:, 1:],
    ),
    "smoothed_sigmoid_cross_entropy": (
        lambda z, y, label_smoothing=0.0: LOSSES["sigmoid_cross_entropy"][0](
            z, smoothed_labels(y, label_smoothing)
        ),
        lambda z, y, label_smoothing=0.0: LOSSES["sigmoid_cross_entropy"][1](
            z, smoothed_labels(y, label_smoothing)
        ),
    ),
    "softmax_focal": (softmax_focal, softmax_focal_gradient),
    "sigmoid_focal": (sigmoid_focal, sigmoid_focal_gradient),
    "half_tweedie_deviance": (tweedie, tweedie_gradient),
    "half_gamma_deviance": (
        lambda z, y: np.sum(z - np.log(y) + y * np.exp(-z) - 1.0, axis=1),
        lambda z, y: 1.0 - y * np.exp(-z),
    ),
    "half_binomial_deviance": (
        lambda z, y: np.sum(
            xlogy(y, y) + xlogy(1.0 - y, 1.0 - y) - y * log_expit(z) - (1.0 - y) * log_expit(-z),
            axis=1,
        ),
        lambda z, y: (1.0 - y) * expit(z) - y * expit(-z),
    ),
    "negative_binomial": (negative_binomial, negative_binomial_gradient),
}

LINKS = {
    "softmax_cross_entropy": lambda z: softmax(z, axis=1),
    "sigmoid_cross_entropy": expit,
    "half_squared_error": lambda z: z,
    "absolute_error": lambda z: z,
    "half_poisson_deviance": np.exp,
    "quantile": lambda z: z,
    "huber": lambda z: z,
    "gaussian": lambda z: scale_link(z, z.shape[1] // 2),
    "full_gaussian": lambda z: scale_link(z, full_gaussian_parts(z)[0].shape[1]),
    "laplace": lambda z: scale_link(z, z.shape[1] // 2),
    "pinned_softmax_cross_entropy": lambda z: softmax(pinned(z), axis=1),
    "clipped_linear_cross_entropy": lambda z: np.clip(z, 0.0, 1.0),
    "half_sigmoid_squared_error": expit,
    "inner_product": lambda z: z,
    "smoothed_softmax_cross_entropy": lambda z: softmax(z, axis=1),
    "smoothed_pinned_softmax_cross_entropy": lambda z: softmax(pinned(z), axis=1),
    "smoothed_sigmoid_cross_entropy": expit,
    "softmax_focal": lambda z: softmax(z, axis=1),
    "sigmoid_focal": expit,
    "half_tweedie_deviance": np.exp,
    "half_gamma_deviance": np.exp,
    "half_binomial_deviance": expit,
    "negative_binomial": np.exp,
}

KINKS = {
    "absolute_error": lambda z, y: [z - y],
    "quantile": lambda z, y, quantile=0.5: [quantile_gap(z, y, quantile)[1]],
    "huber": lambda z, y, huber_delta=1.0: [z - y - huber_delta, z - y + huber_delta],
    "laplace": lambda z, y: [z[:, : y.shape[1]] - y],
    "clipped_linear_cross_entropy": lambda z, y: [z, z - 1.0],
}

# Raw outputs per T targets, where that is not T.
RAW_OUTPUTS = {
    "gaussian": lambda n_targets: 2 * n_targets,
    "full_gaussian": lambda n_targets: n_targets * (n_targets + 3) // 2,
    "laplace": lambda n_targets: 2 * n_targets,
    "negative_binomial": lambda n_targets: 2 * n_targets,
}


def kinks(loss, z, y, **settings):
    """Signed distances, in a list of arrays, from the kinks of the loss."""
    return KINKS[loss](z, y, **settings) if loss in KINKS else []


def of_dtype(loss, dtype, settings):
    """What the loss is told: its settings and, where its value depends on it, the dtype."""
    return settings | ({"dtype": dtype} if loss == "clipped_linear_cross_entropy" else {})


# Optimizers -----------------------------------------------------------------------------------
# name: update(params, gradient, slots, t, learning_rate, hyper) -> new params
# slots (S, P) change in place


def sgd(params, gradient, slots, t, learning_rate, hyper):
    """Momentum, with Nesterov's look-ahead in the form that needs one gradient a step."""
    velocity = hyper["momentum"] * slots[0] - learning_rate * gradient
    slots[0] = velocity
    if hyper["nesterov"]:
        return params + hyper["momentum"] * velocity - learning_rate * gradient
    return params + velocity


def adam(params, gradient, slots, t, learning_rate, hyper):
    """Adam (Kingma and Ba, 2014, end of section 2): epsilon comes after the bias correction."""
    beta_1, beta_2 = hyper["beta_1"], hyper["beta_2"]
    slots[0] = beta_1 * slots[0] + (1.0 - beta_1) * gradient
    slots[1] = beta_2 * slots[1] + (1.0 - beta_2) * gradient**2
    step_size = learning_rate * np.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
    return params - step_size * slots[0] / (np.sqrt(slots[1]) + hyper["epsilon"])


OPTIMIZERS = {"sgd": sgd, "adam": adam}

HYPER = {"momentum": 0.9, "nesterov": True, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


# Ops ------------------------------------------------------------------------------------------
# name: (forward, backward)
# forward(node, inputs, W, b) -> value
# backward(node, inputs, W, b, delta) -> (gradient of each input, dW, db)
# W, b, dW and db are None for an op without parameters


def dense(node, inputs, W, b):
    return inputs[0] @ W + b


def dense_backward(node, inputs, W, b, delta):
    return [delta @ W.T], inputs[0].T @ delta, delta.sum(axis=0)


def activation(node, inputs, W, b):
    return ACTIVATIONS[node.activation][0](inputs[0], node.numbers.get("negative_slope"))


def activation_backward(node, inputs, W, b, delta):
    derivative = ACTIVATIONS[node.activation][1](inputs[0], node.numbers.get("negative_slope"))
    return [delta * derivative], None, None


def maxout_pieces(node, inputs, W, b):
    """The affine pieces of each unit, (N, O, K): unit i owns columns i*K .. i*K + K-1."""
    return (inputs[0] @ W + b).reshape(len(inputs[0]), node.width, node.pieces)


def maxout(node, inputs, W, b):
    return maxout_pieces(node, inputs, W, b).max(axis=2)


def maxout_backward(node, inputs, W, b, delta):
    """The gradient goes to the piece that won."""
    winner = maxout_pieces(node, inputs, W, b).argmax(axis=2)
    won = np.arange(node.pieces) == winner[:, :, None]
    delta = (won * delta[:, :, None]).reshape(len(delta), -1)
    return dense_backward(node, inputs, W, b, delta)


def add(node, inputs, W, b):
    return sum(inputs)


def add_backward(node, inputs, W, b, delta):
    return [delta for _ in inputs], None, None


def multiply(node, inputs, W, b):
    return np.prod(inputs, axis=0)


def multiply_backward(node, inputs, W, b, delta):
    """Each factor takes the product of the others, not product / factor where that is 0."""
    others = [inputs[:i] + inputs[i + 1 :] for i in range(len(inputs))]
    return [delta * np.prod(rest, axis=0) for rest in others], None, None


def concat(node, inputs, W, b):
    return np.concatenate(inputs, axis=1)


def concat_backward(node, inputs, W, b, delta):
    ends = np.cumsum([value.shape[1] for value in inputs])
    return np.split(delta, ends[:-1], axis=1), None, None


def dropout(node, inputs, W, b):
    """Its input: what a mask does to the value, `Twin.masks` says."""
    return inputs[0]


def dropout_backward(node, inputs, W, b, delta):
    return [delta], None, None


def random_bits(counter, first_key, second_key):
    """32 bits of a counter and two keys; Python's integers have no bound, hence the remainders."""
    x = counter ^ first_key
    x = x ^ (x // 2**16)
    x = x * 0x21F0AAAD % 2**32
    x = x ^ second_key
    x = x ^ (x // 2**15)
    x = x * 0x735A2D97 % 2**32
    return x ^ (x // 2**15)


def dropout_mask(rate, seed, step, node, n_rows, width):
    """Factors (N, width) of a node's numbers: 0 with probability `rate`, otherwise 1 / (1 - rate).

    `node` is its place among the plan's nodes; row 0 is the batch's first.
    """
    low, high = seed % 2**32, seed // 2**32
    of_step = random_bits(step % 2**32, low, high)
    first_key, second_key = random_bits(node, of_step, low), random_bits(node, high, of_step)
    drawn = [
        [random_bits((row * width + c) % 2**32, first_key, second_key) for c in range(width)]
        for row in range(n_rows)
    ]
    return (np.array(drawn) >= int(rate * 2**32)) / (1 - rate)


def standardized(x, epsilon):
    """Each row less its mean, over the root of its variance and epsilon."""
    return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + epsilon)


def standardized_backward(x, epsilon, delta):
    """Row by row: dh_i / dx_j = (1{i = j} - 1 / n - h_i h_j / n) / sqrt(variance + epsilon)."""
    H, n = standardized(x, epsilon), x.shape[1]
    result = np.zeros(x.shape)
    for r in range(len(x)):
        jacobian = (np.eye(n) - 1.0 / n - np.outer(H[r], H[r]) / n) / np.sqrt(x[r].var() + epsilon)
        result[r] = delta[r] @ jacobian
    return result


def layer_norm(node, inputs, W, b):
    return W * standardized(inputs[0], node.numbers["epsilon"]) + b


def layer_norm_backward(node, inputs, W, b, delta):
    x, epsilon = inputs[0], node.numbers["epsilon"]
    dW = (delta * standardized(x, epsilon)).sum(axis=0)
    return [standardized_backward(x, epsilon, delta * W)], dW, delta.sum(axis=0)


OPS = {
    "dense": (dense, dense_backward),
    "activation": (activation, activation_backward),
    "maxout": (maxout, maxout_backward),
    "add": (add, add_backward),
    "multiply": (multiply, multiply_backward),
    "concat": (concat, concat_backward),
    "dropout": (dropout, dropout_backward),
    "layer_norm": (layer_norm, layer_norm_backward),
}

TABLES = {
    "ACTIVATIONS": ACTIVATIONS,
    "LOSSES": LOSSES,
    "OPTIMIZERS": OPTIMIZERS,
    "OPS": OPS,
    "LINKS": LINKS,
}


def missing(table, names):
    """The names of nbnet's table that the naive table of that name has no entry for."""
    return sorted(set(names) - set(TABLES[table]))


# Networks -------------------------------------------------------------------------------------


def topological_order(output):
    """Every ancestor of `output`, inputs before the nodes that use them, `output` last."""
    order = []
    stack = [output]
    while stack:
        node = stack[-1]
        pending = [parent for parent in node.inputs if parent not in order]
        if node in order:
            stack.pop()
        elif pending:
            stack.extend(pending)
        else:
            order.append(stack.pop())
    return order


class Twin:
    """The naive network that ends in `output`.

    Parameters
    ----------
    output : nbnet.graph.Node
    block_names : sequence of str, optional
        Names of the nodes with parameters in the order of their blocks in the parameter vector.
        Without it the topological order is taken, which is the only one in a chain.
    """

    def __init__(self, output, block_names=None):
        self.output = output
        self.nodes = topological_order(output)
        owners = [node for node in self.nodes if node.op in ("dense", "maxout", "layer_norm")]
        if block_names is not None:
            by_name = {node.name: node for node in owners}
            assert sorted(by_name) == sorted(block_names), (sorted(by_name), sorted(block_names))
            owners = [by_name[name] for name in block_names]
        self.masks = {}  # of nodes: what their values are multiplied by
        self.layout = {}
        self.n_params = 0
        for node in owners:
            fan_in, columns = node.inputs[0].width, node.width * node.pieces
            shape = (columns,) if node.op == "layer_norm" else (fan_in, columns)
            weights = slice(self.n_params, self.n_params + int(np.prod(shape)))
            bias = slice(weights.stop, weights.stop + columns)
            self.layout[node] = weights, bias, shape
            self.n_params = bias.stop
        self.penalised = [node for node in owners if node.op != "layer_norm"]

    def coefs(self, params):
        """Weights and bias vectors, by node."""
        return {
            node: (params[w].reshape(shape), params[b])
            for node, (w, b, shape) in self.layout.items()
        }

    def values(self, params, X):
        """The value (N, width) of every node."""
        params = np.asarray(params, dtype=np.float64)
        coefs = self.coefs(params)
        values = {}
        for node in self.nodes:
            if node.op == "input":
                values[node] = as_dense(X)
            else:
                forward, _ = OPS[node.op]
                inputs = [values[parent] for parent in node.inputs]
                values[node] = forward(node, inputs, *coefs.get(node, (None, None)))
                values[node] = values[node] * self.masks.get(node, 1.0)
        return values

    def forward(self, params, X, loss=None):
        """Raw outputs (N, R), or what the inverse link of a loss makes of them."""
        raw = self.values(params, X)[self.output]
        return raw if loss is None else LINKS[loss](raw)

    def backward(self, params, X, delta):
        """Gradients of a scalar J, given its gradient `delta` (N, R) at the raw outputs.

        Returns
        -------
        at_nodes : dict, the gradient (N, width) at every node
        at_params : ndarray (P,)
        """
        params = np.asarray(params, dtype=np.float64)
        coefs = self.coefs(params)
        values = self.values(params, X)
        at_nodes = {node: np.zeros_like(value) for node, value in values.items()}
        at_nodes[self.output] += delta
        at_params = np.zeros(self.n_params)
        for node in reversed(self.nodes):
            if node.op == "input":
                continue
            _, backward = OPS[node.op]
            inputs = [values[parent] for parent in node.inputs]
            at_inputs, dW, db = backward(
                node,
                inputs,
                *coefs.get(node, (None, None)),
                at_nodes[node] * self.masks.get(node, 1.0),
            )
            for parent, gradient in zip(node.inputs, at_inputs, strict=True):
                at_nodes[parent] += gradient
            if node in self.layout:
                weights, bias, _ = self.layout[node]
                at_params[weights] = dW.ravel()
                at_params[bias] = db
        return at_nodes, at_params

    def loss(self, params, X, y, *, loss, alpha=0.0, sample_weight=None, **settings):
        """sum_i w_i l_i / sum_i w_i + alpha / 2 * ||W||^2 / sum_i w_i."""
        settings = of_dtype(loss, np.asarray(params).dtype, settings)
        params = np.asarray(params, dtype=np.float64)
        z, y, w = self.forward(params, X), as_columns(y), as_weights(sample_weight, y)
        coefs = self.coefs(params)
        penalty = sum(np.sum(coefs[node][0] ** 2) for node in self.penalised)
        return (w @ LOSSES[loss][0](z, y, **settings) + 0.5 * alpha * penalty) / w.sum()

    def loss_and_gradient(self, params, X, y, *, loss, alpha=0.0, sample_weight=None, **settings):
        """The loss and its gradient (P,): to a weight lead two paths, by outputs and by penalty."""
        value = self.loss(
            params, X, y, loss=loss, alpha=alpha, sample_weight=sample_weight, **settings
        )
        params = np.asarray(params, dtype=np.float64)
        delta = self.delta(params, X, y, loss, sample_weight, **settings)
        _, gradient = self.backward(params, X, delta)
        w = as_weights(sample_weight, y)
        for weights, _, _ in (self.layout[node] for node in self.penalised):
            gradient[weights] += alpha * params[weights] / w.sum()
        return value, gradient

    def gradients(self, params, X, y, *, loss, wrt, sample_weight=None, **settings):
        """Gradient of the weighted mean loss at each node of `wrt`, (N, width)."""
        delta = self.delta(params, X, y, loss, sample_weight, **settings)
        at_nodes, _ = self.backward(params, X, delta)
        return [at_nodes[node] for node in wrt]

    def delta(self, params, X, y, loss, sample_weight=None, **settings):
        """Gradient of the weighted mean loss at the raw outputs, (N, R)."""
        z, y, w = self.forward(params, X), as_columns(y), as_weights(sample_weight, y)
        return (w / w.sum())[:, None] * LOSSES[loss][1](z, y, **settings)

    def sides(self, params, X, kinks):
        """On which side of every kink each row is: booleans, or winning pieces.

        `kinks` maps an activation's name to the places where it has no derivative.
        """
        values = self.values(params, X)
        coefs = self.coefs(np.asarray(params, dtype=np.float64))
        sides = []
        for node in self.nodes:
            inputs = [values[parent] for parent in node.inputs]
            if node.op == "maxout":
                sides.append(maxout_pieces(node, inputs, *coefs[node]).argmax(axis=2))
            sides.extend(inputs[0] > kink for kink in kinks.get(node.activation, ()))
        return sides

    def clearance(self, params, X, kinks):
        """Distance (N,) of each row from the nearest kink."""
        values = self.values(params, X)
        coefs = self.coefs(np.asarray(params, dtype=np.float64))
        clearance = np.full(X.shape[0], np.inf)
        for node in self.nodes:
            inputs = [values[parent] for parent in node.inputs]
            if node.op == "maxout":
                pieces = np.sort(maxout_pieces(node, inputs, *coefs[node]), axis=2)
                clearance = np.minimum(clearance, (pieces[:, :, -1] - pieces[:, :, -2]).min(axis=1))
            for kink in kinks.get(node.activation, ()):
                clearance = np.minimum(clearance, np.abs(inputs[0] - kink).min(axis=1))
        return clearance


def train(
    twin, params, X, y, order, *, loss, optimizer, learning_rate, batch_size, alpha=0.0,
    sample_weight=None, slots=None, step=0, n_slots=None, settings=(), decay=0.0, clip_norm=np.inf,
    average=0.0, averaged=None, masks=None, **hyper,
):  # fmt: skip
    """One epoch over the rows `order`, in batches of `batch_size`.

    Batches without weight are passed over; a loss that is not finite ends the epoch before its
    update. `settings` are the loss's, `hyper` the optimizer's. `masks(step, n_rows)` gives those of
    the twin. Weights decay by their learning rate times `decay` before the optimizer's step.

    Returns
    -------
    loss : float
        Mean over the rows of the loss that their batch had before its update, or the loss that was
        not finite.
    params, slots, step
    averaged : the exponential average of the parameters, begun at 0 and not yet corrected for that
    """
    hyper, settings = HYPER | hyper, dict(settings)
    params = np.array(params, dtype=np.float64)
    averaged = np.zeros(len(params)) if averaged is None else averaged
    slots = np.zeros((n_slots, len(params))) if slots is None else np.array(slots, dtype=np.float64)
    total = rows = 0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        w = None if sample_weight is None else sample_weight[batch]
        if w is not None and w.sum() == 0:
            continue
        if masks is not None:
            twin.masks = masks(step + 1, len(batch))
        value, gradient = twin.loss_and_gradient(
            params, X[batch], y[batch], loss=loss, alpha=alpha, sample_weight=w, **settings
        )
        if not np.isfinite(value):
            return value, params, slots, step, averaged
        total += value * len(batch)
        rows += len(batch)
        step += 1
        gradient = gradient * min(1.0, clip_norm / max(np.linalg.norm(gradient), 1e-300))
        for weights, _, _ in twin.layout.values():
            params[weights] -= learning_rate * decay * params[weights]
        params = OPTIMIZERS[optimizer](params, gradient, slots, step, learning_rate, hyper)
        averaged = average * averaged + (1 - average) * params
    return total / max(rows, 1), params, slots, step, averaged


def as_dense(X):
    """X, sparse or not, as a float64 array."""
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)


def as_columns(y):
    """Targets (N,) or (N, T) as (N, T)."""
    y = np.asarray(y, dtype=np.float64)
    return y[:, None] if y.ndim == 1 else y


def as_weights(sample_weight, y):
    """Weights (N,), ones where none are given."""
    return np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
