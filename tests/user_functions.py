"""Functions as users write them, in a module, so that they can be pickled by name.

Each is written for the eye, in the way that its author would think of it.
"""

import math
from math import exp

import numpy as np

SLOPE = 0.01


def sigmoid(z):
    """A helper that is not compiled by itself."""
    return 1.0 / (1.0 + exp(-z))


def sigmoid_derivative(z):
    s = sigmoid(z)
    return s * (1 - s)


def relu(z):
    return max(z, 0.0)


def relu_derivative(z):
    return 1 if z > 0 else 0


def leaky_relu(z):
    return z if z > 0 else SLOPE * z


def leaky_relu_derivative(z):
    return 1.0 if z > 0 else SLOPE


def tanh(z):
    return np.tanh(z)


def tanh_derivative(z):
    return 1 - math.tanh(z) ** 2


def softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def half_squared_error(z, y, gradient):
    total = 0.0
    for i in range(len(z)):
        gradient[i] = z[i] - y[i]
        total += gradient[i] ** 2 / 2
    return total


def half_squared_error_of_arrays(z, y, gradient):
    d = z - y
    gradient[:] = d
    return 0.5 * np.sum(d * d)


def half_poisson_deviance(z, y, gradient):
    total = 0.0
    for i in range(len(z)):
        mean = math.exp(z[i])
        total += mean - y[i]
        if y[i] > 0:
            total -= y[i] * (z[i] - math.log(y[i]))
        gradient[i] = mean - y[i]
    return total


def gaussian(z, y, gradient):
    """The negative log-likelihood of a normal distribution: mean and logarithm of the scale."""
    e = (y[0] - z[0]) * math.exp(-z[1])
    gradient[0] = -e * math.exp(-z[1])
    gradient[1] = 1 - e * e
    return math.log(2 * math.pi) / 2 + z[1] + e * e / 2


def cross_entropy(z, y, gradient):
    """Of the softmax; y is the place of the class."""
    right = int(y[0])
    top = z.max()
    total = 0.0
    for k in range(len(z)):
        gradient[k] = math.exp(z[k] - top)
        total += gradient[k]
    for k in range(len(z)):
        gradient[k] /= total
    gradient[right] -= 1
    return math.log(total) - (z[right] - top)


def sigmoid_cross_entropy(z, y, gradient):
    total = 0.0
    for i in range(len(z)):
        total += softplus(z[i]) - y[i] * z[i]
        gradient[i] = sigmoid(z[i]) - y[i]
    return total


def censored(z, y, gradient):
    """One prediction for two columns: a number, and whether the truth may be larger."""
    d = z[0] - y[0]
    if y[1] == 1 and d > 0:
        return 0.0
    gradient[0] = d
    return d * d / 2


def absolute_error(z, y, gradient):
    gradient[0] = 1.0 if z[0] > y[0] else -1.0
    return abs(z[0] - y[0])
